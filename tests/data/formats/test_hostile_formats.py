"""Files of the field's formats that name files elsewhere, or are small on disk and large in memory."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core.data import Cube, read_cube
from cuvis_ai_core.errors import CubeError
from cuvis_ai_core.registry import NodeRegistry

CUBE = np.arange(16, dtype=np.uint8).reshape(2, 2, 4)


@pytest.fixture
def read() -> Callable[[Path], Cube]:
    """Return a function that reads a cube with its values."""

    def whole(path: Path) -> Cube:
        cube = read_cube(path, NodeRegistry(discover=False).cube_readers())
        np.asarray(cube.data)
        return cube

    return whole


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Write a file that a cube has no business with, raw and as HDF5."""
    h5py = pytest.importorskip("h5py")
    (tmp_path / "home").mkdir()
    (tmp_path / "home/key").write_bytes(b"secret" * 10)
    with h5py.File(tmp_path / "home/key.h5", "w") as file:
        file["cube"] = CUBE
    (tmp_path / "scenes").mkdir()
    return tmp_path / "home/key"


@pytest.mark.parametrize("relative", [False, True])
def test_an_external_dataset_of_hdf5_is_not_read(
    read: Any,
    secret: Path,
    monkeypatch: pytest.MonkeyPatch,
    relative: bool,  # noqa: FBT001
) -> None:
    """It would be any file, whatever it is."""
    import h5py

    monkeypatch.chdir(secret.parent)
    with h5py.File("../scenes/x.h5", "w") as file:
        file.create_dataset("cube", (2, 2, 4), "u1", external=[("key" if relative else str(secret), 0, 16)])
    with pytest.raises(CubeError, match=r"in another file, '.*key', which is not read"):
        read(secret.parents[1] / "scenes/x.h5")


def test_a_link_to_another_hdf5_file_is_said(read: Any, secret: Path) -> None:
    """A file that has nothing else is not called empty."""
    import h5py

    with h5py.File(secret.parents[1] / "scenes/x.h5", "w") as file:
        file["cube"] = h5py.ExternalLink("../home/key.h5", "/cube")
        file["wavelengths"] = [400.0, 500.0]
    with pytest.raises(CubeError, match=r"keeps '/cube' in another file, '../home/key.h5', which is not read"):
        read(secret.parents[1] / "scenes/x.h5")


def test_links_and_virtual_datasets_of_hdf5_stay_beside_it(read: Any, secret: Path, tmp_path: Path) -> None:
    """A virtual dataset may be made of files in its own folder; a link there that leads elsewhere is elsewhere."""
    import h5py

    def virtual(source: str) -> Path:
        layout = h5py.VirtualLayout((2, 2, 4), "u1")
        layout[:] = h5py.VirtualSource(source, "cube", shape=(2, 2, 4))
        with h5py.File(tmp_path / "scenes/v.h5", "w") as file:
            file.create_virtual_dataset("cube", layout)
        return tmp_path / "scenes/v.h5"

    (tmp_path / "scenes/linked.h5").symlink_to(f"{secret}.h5")
    for source in (f"{secret}.h5", "../home/key.h5", "linked.h5"):
        with pytest.raises(CubeError, match="which is not read"):
            read(virtual(source))
    with h5py.File(tmp_path / "scenes/part.h5", "w") as file:
        file["cube"] = CUBE
    np.testing.assert_array_equal(np.asarray(read(virtual("part.h5")).data), CUBE)
    with h5py.File(tmp_path / "scenes/l.h5", "w") as file:
        file["cube"] = h5py.ExternalLink(f"{secret}.h5", "/cube")
    with pytest.raises(CubeError):
        read(tmp_path / "scenes/l.h5")


@pytest.mark.slow
def test_small_files_of_large_cubes_name_the_limit(read: Any, tmp_path: Path) -> None:
    """A few kilobytes that are called gigabytes."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("cube", (1000, 1000, 1000), "u1", chunks=(100, 100, 100), compression="gzip")
    with pytest.raises(CubeError, match=r"unpack to 954 MiB; the limit is 256 MiB"):
        read(tmp_path / "x.h5")
    savemat = pytest.importorskip("scipy.io").savemat
    savemat(tmp_path / "x.mat", {"cube": np.zeros((700, 700, 700), np.uint8)}, do_compression=True)
    with pytest.raises(CubeError, match="the limit is 256 MiB"):
        read(tmp_path / "x.mat")
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((300, 1000, 1000), np.uint8), compression="zlib")
    with pytest.raises(CubeError, match="the limit is 256 MiB"):
        read(tmp_path / "x.tif")


class _Planted:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self._file), "w")


@pytest.mark.parametrize("dtype", ["<f4", "|O"])
@pytest.mark.parametrize("place", [{"compressor": {"id": "pickle"}}, {"filters": [{"id": "pickle"}]}])
def test_pickles_in_zarr_stores_are_not_read(read: Any, tmp_path: Path, dtype: str, place: dict[str, Any]) -> None:
    """Though there is a codec for them."""
    pytest.importorskip("zarr")
    store = tmp_path / "x.zarr"
    store.mkdir()
    about = {"zarr_format": 2, "shape": [2, 2, 2], "chunks": [2, 2, 2], "dtype": dtype, "fill_value": 0, "order": "C"}
    (store / ".zarray").write_text(json.dumps({"compressor": None, "filters": None, **about, **place}))
    (store / "0.0.0").write_bytes(pickle.dumps(_Planted(tmp_path / "ran")))
    with pytest.raises(CubeError):
        read(store)
    assert not (tmp_path / "ran").exists()


def _virtual(place: Path, *sources: tuple[str, str], before: Callable[[Any], object] = lambda _: None) -> Path:
    """Write an HDF5 file whose cube is made of others."""
    import h5py

    with h5py.File(place, "w") as file:
        before(file)
        layout = h5py.VirtualLayout((2, 2, 4), "u1")
        for source, name in sources:
            layout[:] = h5py.VirtualSource(source, name, shape=(2, 2, 4))
        file.create_virtual_dataset("cube", layout)
    return place


def test_parts_of_virtual_datasets_are_judged_as_the_whole(
    read: Any, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part beside the file, or in it, may itself be made of what lies elsewhere."""
    import h5py

    scenes, key = secret.parents[1] / "scenes", f"{secret}.h5"

    def raw(file: Any, name: str = "cube") -> None:
        file.create_dataset(name, (2, 2, 4), "u1", external=[(str(secret), 0, 16)])

    with h5py.File(scenes / "raw.h5", "w") as file:
        raw(file)
    with h5py.File(scenes / "link.h5", "w") as file:
        file["cube"] = h5py.ExternalLink(key, "/cube")
        file["soft"] = h5py.SoftLink("/cube")
    _virtual(scenes / "parts.h5", (key, "cube"))
    monkeypatch.chdir(secret.parent)  # where HDF5 looks for what is not beside a file
    for number, sources in enumerate(
        [
            *([("raw.h5", "cube")], [("link.h5", "cube")], [("link.h5", "soft")], [("parts.h5", "cube")]),
            [("key.h5", "cube")],
        ]
    ):
        with pytest.raises(CubeError, match=r"which is not read|is not beside it"):
            read(_virtual(scenes / f"v{number}.h5", *sources))
    for name, before in (
        ("#refs#/x", lambda file: raw(file, "#refs#/x")),
        ("away/cube", lambda file: file.__setitem__("away", h5py.ExternalLink(key, "/"))),
    ):
        with pytest.raises(CubeError, match="which is not read"):
            read(_virtual(scenes / f"{name[:2]}.h5", (".", name), before=before))


def test_parts_in_parts_are_read_as_far_as_they_end(read: Any, secret: Path) -> None:
    """HDF5 goes round in a circle until it crashes, waits for a pipe, and reads each part as often as it is named."""
    import h5py

    scenes = secret.parents[1] / "scenes"
    with h5py.File(scenes / "part.h5", "w") as file:
        file["cube"] = CUBE
    _virtual(scenes / "two.h5", ("part.h5", "cube"), ("part.h5", "/cube"))
    np.testing.assert_array_equal(np.asarray(read(_virtual(scenes / "three.h5", ("two.h5", "cube"))).data), CUBE)
    _virtual(scenes / "there.h5", ("back.h5", "cube"))
    os.mkfifo(scenes / "pipe")
    several = [("level0.h5", "cube")] * 100
    _virtual(scenes / "level0.h5", *[("part.h5", "cube")] * 100)
    _virtual(scenes / "level1.h5", *several)
    for number, sources in enumerate(
        ([("v0.h5", "cube")], [(".", "cube")], [("level1.h5", "cube")] * 10, [("pipe", "cube")])
    ):
        with pytest.raises(CubeError, match=r"made of itself|is not beside it"):
            read(_virtual(scenes / f"v{number}.h5", *sources))
    with pytest.raises(CubeError, match="made of itself"):
        read(_virtual(scenes / "back.h5", ("there.h5", "cube")))


@pytest.mark.parametrize("way", ["raw", "link"])
@pytest.mark.parametrize("what", ["Data Fields/VNIR_Cube", "Geolocation Fields/Latitude"])
def test_products_of_prisma_keep_all_in_their_file(read: Any, secret: Path, what: str, way: str) -> None:
    """Also their places, which go into results."""
    import h5py

    shape = (4, 4, 4) if "Cube" in what else (4, 4)
    with h5py.File(secret.with_name("raw.h5"), "w") as file:
        file["x"] = np.zeros(shape, "u1")
    place = secret.parents[1] / "scenes/PRS.he5"
    with h5py.File(place, "w") as file:
        swath = file.create_group("HDFEOS/SWATHS/PRS_L1_HCO")
        if way == "raw":
            swath.create_dataset(what, shape, "u1", external=[(str(secret), 0, 64)])
        else:
            swath[what] = h5py.ExternalLink(str(secret.with_name("raw.h5")), "/x")
        if "Cube" not in what:
            swath["Data Fields/VNIR_Cube"] = np.zeros((4, 4, 4), "u2")
        file.attrs.update({key: np.arange(4) + 400.0 for key in ("List_Cw_Vnir", "List_Fwhm_Vnir")})
        file.attrs.update(ScaleFactor_Vnir=1.0, Offset_Vnir=0.0)
    with pytest.raises(CubeError, match="which is not read"):
        read(place)
