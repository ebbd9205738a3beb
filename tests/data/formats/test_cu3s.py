"""The vendor's package `cuvis` is real here; the compiled binding beneath it is `tests/projects/cubert_binding`."""

import gc
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.data import Cubes, open_cubes, read_cube
from cuvis_ai_core.errors import CubeError, MissingExtraError

FRAMES = np.arange(4 * 2 * 3 * 5, dtype=np.uint16).reshape(4, 2, 3, 5)
Session = Callable[..., Path]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Return a function that writes a session file."""

    def write(name: str = "lentils.cu3s", frames: Any = FRAMES, **more: Any) -> Path:
        path = tmp_path / name
        with path.open("wb") as file:
            np.savez(file, frames=frames, wavelengths=np.array([450, 500, 550, 600, 650]), **more)
        return path

    return write


@pytest.fixture
def readers() -> Any:
    """Return the built-in readers."""
    with NodeRegistry(discover=False) as registry:
        return registry.cube_readers()


def test_measurements(native: Any, session: Session, readers: Any) -> None:
    """A session file is a sequence of cubes with wavelengths, source and number; each is read when asked for."""
    path = session()
    cubes = open_cubes(path, readers)
    native.calls.clear()
    assert len(cubes) == 4
    assert native.calls == []
    cube = cubes[2]
    assert native.calls == ["measurement 2"]
    assert np.array_equal(cube.data, FRAMES[2])
    assert cube.wavelengths is not None
    assert (cube.wavelengths.tolist(), cube.source, cube.index) == ([450, 500, 550, 600, 650], path, 2)
    assert [each.index for each in cubes[-2:]] == [2, 3]


def test_recorded_cubes_need_no_processing(native: Any, session: Session, readers: Any) -> None:
    """What was recorded as a cube is returned as it is."""
    path = session(frames=FRAMES[:1], processed=True)
    assert np.array_equal(read_cube(path, readers).data, FRAMES[0])


@pytest.mark.parametrize(
    ("mode", "factor"), [("Reflectance", 10), ("reflectance", 10), ("Raw", 1), ("darksubtract", 1)]
)
def test_processing(native: Any, session: Session, readers: Any, mode: str, factor: int) -> None:
    """The SDK processes to the mode that is asked for, in upper or lower case."""
    path = session(references=["Dark", "White"])
    cube = read_cube(path, readers, index=1, processing_mode=mode)
    assert np.array_equal(cube.data, FRAMES[1] * factor)


def test_which_measurement(native: Any, session: Session, readers: Any) -> None:
    """One cube of several must be named, and must be there."""
    with pytest.raises(CubeError, match=r"holds 4 cubes\.\nSay which one .* from 0 to 3"):
        read_cube(session(), readers)
    with pytest.raises(CubeError, match="has cubes 0 to 3; number 4 is not there"):
        read_cube(session(), readers, index=4)


def test_unknown_mode(native: Any, session: Session, readers: Any) -> None:
    """A mode that does not exist is answered by the nearest one."""
    with pytest.raises(CubeError, match=r"There is no processing mode 'reflectence'\. Did you mean 'Reflectance'\?"):
        open_cubes(session(), readers, processing_mode="reflectence")


def test_missing_references(native: Any, session: Session, readers: Any) -> None:
    """Reflectance without a white reference names the references that there are."""
    with pytest.raises(
        CubeError, match=r"Measurement 0 .* cannot be processed to Reflectance\. References .*: Dark\."
    ) as caught:
        read_cube(session(references=["Dark"]), readers, index=0, processing_mode="Reflectance")
    assert "a White one too" in str(caught.value)


def test_errors_of_the_sdk(
    native: Any, session: Session, readers: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The SDK's own words arrive in one error, and not in the log."""
    handlers = list(logging.getLogger().handlers)
    damaged = tmp_path / "damaged.cu3s"
    damaged.write_bytes(b"no session")
    with pytest.raises(CubeError, match=r"damaged.cu3s'.* cannot be opened: not a valid session file"):
        open_cubes(damaged, readers)
    bright = session("bright.cu3s", np.full((1, 2, 2, 5), 65535, np.uint16))
    with pytest.raises(CubeError, match="measurement 0 cannot be read: overilluminated"):
        read_cube(bright, readers)
    assert caplog.records == []
    assert logging.getLogger().handlers == handlers


@pytest.mark.slow
def test_files_are_closed(native: Any, session: Session, readers: Any) -> None:
    """Going through many session files keeps one open."""
    for number in range(3):
        session(f"{number}.cu3s")
    cubes = Cubes(session().parent, readers)
    assert len(cubes) == 16
    most = 0
    for cube in cubes:
        assert cube.data.shape == (2, 3, 5)
        gc.collect()
        most = max(most, len(native.open_sessions))
    assert most == 1


def test_package_missing(session: Session, readers: Any, fresh_sdk: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the error names the extra."""
    monkeypatch.setitem(sys.modules, "cuvis", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cuvis-ai-core\[cu3s\]'") as caught:
        open_cubes(session(), readers)
    assert caught.value.extra == "cu3s"


@pytest.mark.parametrize(("variable", "says"), [(None, "it is not set"), ("nowhere", "it is '.*nowhere'")])
def test_native_library_missing(session: Session, tmp_path: Path, variable: str | None, says: str) -> None:
    """With the real binding and without its library the error names the library and the variable."""
    environment = {name: value for name, value in os.environ.items() if name != "CUVIS"}
    if variable:
        environment["CUVIS"] = str(tmp_path / variable)
    code = (
        "import sys; from pathlib import Path; from cuvis_ai_core.data.formats.cu3s import Cu3sFile\n"
        "try: Cu3sFile(Path(sys.argv[1]))\nexcept Exception as error: print(type(error).__name__, error)"
    )
    command = [sys.executable, "-c", code, str(session())]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.startswith("CubeError")
    assert "needs the native library libcuvis" in done.stdout
    assert re.search(says, done.stdout), done.stdout
    assert done.stderr == ""
