import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.data import Cube, read_cube
from cuvis_ai_core.errors import CubeError


def _reader(band: int) -> Callable[[Path], Cube]:
    return lambda path: Cube(np.full((1, 1, 1), band), source=path)


READERS: Mapping[str, Callable[[Path], Cube]] = {
    ".hdr": _reader(1),
    ".tif": _reader(2),
    ".ome.tif": _reader(3),
}


def _touch(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize(
    ("name", "band"), [("a.hdr", 1), ("a.HDR", 1), ("a.b.TIF", 2), ("a.ome.tif", 3), ("a.OME.Tif", 3)]
)
def test_choice(tmp_path: Path, name: str, band: int) -> None:
    """The longest suffix that fits chooses the reader in any case."""
    path = _touch(tmp_path, name)
    cube = read_cube(path, READERS)
    assert (cube.data.item(), cube.source) == (band, path)


def test_path_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path may be text and start at home."""
    _touch(tmp_path, "a.hdr")
    with monkeypatch.context() as patch:
        patch.setenv("HOME", str(tmp_path))
        patch.setenv("USERPROFILE", str(tmp_path))
        assert read_cube("~/a.hdr", READERS).data.item() == 1


def test_unknown_suffix(tmp_path: Path) -> None:
    """An unknown suffix names the known ones."""
    path = _touch(tmp_path, "a.h5")
    with pytest.raises(CubeError, match=r"(?s)Known suffixes: \.hdr, \.ome\.tif, \.tif\..*load a plugin") as caught:
        read_cube(path, READERS)
    assert caught.value.path == path


def test_no_readers(tmp_path: Path) -> None:
    """Without any reader no suffix is known."""
    with pytest.raises(CubeError, match="Known suffixes: none"):
        read_cube(_touch(tmp_path, "a.npy"), {})


@pytest.mark.parametrize(
    ("data", "header"), [("a.img", "a.hdr"), ("a.bip", "a.bip.hdr"), ("a", "a.hdr"), ("a.xyz", "a.hdr")]
)
def test_envi_data_file(tmp_path: Path, data: str, header: str) -> None:
    """The data file of an ENVI image is read by the reader of the header beside it."""
    _touch(tmp_path, header)
    assert read_cube(_touch(tmp_path, data), READERS).data.item() == 1


@pytest.mark.parametrize("suffix", [".img", ".DAT", ".raw", ".bsq"])
def test_envi_data_file_alone(tmp_path: Path, suffix: str) -> None:
    """What may be the data file of an ENVI image asks for a header."""
    with pytest.raises(CubeError, match=r"its header is missing: the file that ends in \.hdr"):
        read_cube(_touch(tmp_path, f"a{suffix}"), READERS)


def test_missing_file(tmp_path: Path) -> None:
    """A missing file suggests the nearest name."""
    _touch(tmp_path, "indian_pines.hdr")
    with pytest.raises(CubeError, match=r"(?s)There is no cube .*Did you mean '.*indian_pines\.hdr'"):
        read_cube(tmp_path / "indian_pine.hdr", READERS)


def test_a_pipe_is_no_cube(tmp_path: Path) -> None:
    """As a shell hands one in by `<(...)`; it is there, and is not looked for."""
    os.mkfifo(tmp_path / "63")
    with pytest.raises(CubeError, match=r"(?s)The cube '.*63' cannot be read: it is a pipe, no file\..*into a file"):
        read_cube(tmp_path / "63", READERS)


def test_missing_folder(tmp_path: Path) -> None:
    """A missing file in a missing folder says so."""
    with pytest.raises(CubeError, match=r"There is no folder '.*nowhere' either"):
        read_cube(tmp_path / "nowhere" / "a.hdr", READERS)


def test_folder(tmp_path: Path) -> None:
    """A folder is no cube."""
    folder = tmp_path / "a.hdr"
    folder.mkdir()
    with pytest.raises(CubeError, match="is a folder"):
        read_cube(folder, READERS)


def test_impossible_path(tmp_path: Path) -> None:
    """A path that the system refuses is an error of ours."""
    with pytest.raises(CubeError, match="cannot be reached"):
        read_cube(tmp_path / ("a" * 5000 + ".hdr"), READERS)


def test_reader_without_cube(tmp_path: Path) -> None:
    """A reader that returns no cube is named."""
    readers: Any = {".raw3": lambda _path: np.zeros((1, 1, 1))}
    with pytest.raises(CubeError, match=r"(?s)reader of '\.raw3' returned ndarray .*authors of the plugin"):
        read_cube(_touch(tmp_path, "a.raw3"), readers)


def test_failing_reader(tmp_path: Path) -> None:
    """A reader that fails becomes an error with its cause."""

    def broken(path: Path) -> Cube:
        raise KeyError("wavelength")

    with pytest.raises(CubeError, match=r"a\.x' cannot be read: KeyError: 'wavelength'") as caught:
        read_cube(_touch(tmp_path, "a.x"), {".x": broken})
    assert isinstance(caught.value.__cause__, KeyError)


def test_errors_of_readers(tmp_path: Path) -> None:
    """The own errors of a reader stay as they are."""

    def strict(path: Path) -> Cube:
        return Cube(np.zeros(1), source=path)

    with pytest.raises(CubeError, match=r"^The cube '.*a\.x' has shape \(1,\)") as caught:
        read_cube(_touch(tmp_path, "a.x"), {".x": strict})
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("suffix", ["npy", "npz", "hdr", "h5", "mat", "nc", "tif", "img"])
@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n", "a pointer of Git LFS", "lfs pull"),
        ("/annex/objects/SHA256E-s12345--4d7a.img\n", "a pointer of git-annex", "git annex get"),
        ("\n<!DOCTYPE html>\n<html><title>Login</title>", "a page of HTML", "Download it again"),
    ],
)
def test_what_lies_in_the_place_of_a_file_is_not_called_damaged(
    tmp_path: Path, text: str, what: str, hint: str, suffix: str
) -> None:
    """Pointers of Git's stores of large files, and answers of servers, say how the file is to be had."""
    pytest.importorskip({"h5": "h5py", "mat": "scipy", "nc": "h5py", "tif": "tifffile"}.get(suffix, "numpy"))
    (tmp_path / f"scene.{suffix}").write_text(text)
    if suffix == "img":
        (tmp_path / "scene.hdr").write_text(
            "ENVI\nsamples = 30\nlines = 20\nbands = 4\ndata type = 4\ninterleave = bip\nbyte order = 0\n"
        )
    readers = NodeRegistry(discover=False).cube_readers()
    for name in {f"scene.{suffix}", "scene.hdr" if suffix == "img" else f"scene.{suffix}"}:
        with pytest.raises(CubeError, match=rf"The file '.*scene\.{suffix}' is {what}, and has no values") as error:
            read_cube(tmp_path / name, readers)
        assert hint in str(error.value.hint)
