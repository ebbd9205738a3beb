"""From a path to a cube: which reader takes it."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Final

from cuvis_ai_core.data.cube import Cube
from cuvis_ai_core.errors import CubeError

_ENVI_DATA_SUFFIXES: Final = frozenset({".bil", ".bin", ".bip", ".bsq", ".dat", ".img", ".raw"})


def read_cube(path: str | PathLike[str], readers: Mapping[str, Callable[[Path], Cube]]) -> Cube:
    """Read a cube with the reader of its suffix, in upper or lower case.

    Args:
        path: The file; `~` is the home folder.
        readers: Suffix in lower case, with its dot, to reader. The longest suffix that fits wins
            (`.ome.tif` over `.tif`).

    Raises:
        CubeError: No such file, no reader for it, or the reader failed.
    """
    file = Path(path).expanduser()
    suffix = _suffix(file, readers)
    _check_file(file, readers)
    if suffix is None:
        raise CubeError(
            f"No reader for the cube '{file}'. Known suffixes: {_known(readers)}.",
            hint=_envi_hint(file) or "Convert the file, or load a plugin that reads it.",
            path=file,
        )
    return _read(file, suffix, readers[suffix])


def _suffix(file: Path, readers: Mapping[str, Callable[[Path], Cube]]) -> str | None:
    name = file.name.lower()
    return max((suffix for suffix in readers if name.endswith(suffix)), key=len, default=None)


def _known(readers: Mapping[str, Callable[[Path], Cube]]) -> str:
    return ", ".join(sorted(readers)) or "none"


def _check_file(file: Path, readers: Mapping[str, Callable[[Path], Cube]]) -> None:
    try:
        is_file, is_folder = file.is_file(), file.is_dir()
    except OSError as error:
        raise CubeError(f"The cube '{file}' cannot be reached: {error.strerror}.", path=file) from error
    if is_folder:
        raise CubeError(
            f"The cube '{file}' is a folder; a cube is a file.",
            hint=f"Name one file in it; known suffixes: {_known(readers)}.",
            path=file,
        )
    if not is_file:
        raise CubeError(f"There is no cube '{file}'.", hint=_missing_hint(file), path=file)


def _missing_hint(file: Path) -> str:
    if not file.parent.is_dir():
        return f"There is no folder '{file.parent}' either. Check the path."
    similar = get_close_matches(file.name, [entry.name for entry in file.parent.iterdir()], n=1)
    return f"Did you mean '{file.with_name(similar[0])}'?" if similar else "Check the path."


def _envi_hint(file: Path) -> str | None:
    for header in (file.with_suffix(".hdr"), file.with_name(f"{file.name}.hdr")):
        if header.is_file():
            return f"This is the data file of an ENVI image. Give its header: '{header}'."
    if file.suffix.lower() in _ENVI_DATA_SUFFIXES:
        return "If this is the data file of an ENVI image, give its header, the file that ends in .hdr."
    return None


def _read(file: Path, suffix: str, reader: Callable[[Path], Cube]) -> Cube:
    try:
        cube = reader(file)
    except CubeError:
        raise
    except Exception as error:
        raise CubeError(f"The cube '{file}' cannot be read: {type(error).__name__}: {error}", path=file) from error
    if not isinstance(cube, Cube):
        raise CubeError(
            f"The reader of '{suffix}' returned {type(cube).__name__} for '{file}'; a reader returns a Cube.",
            hint="Report it to the authors of the plugin that contributes this reader.",
            path=file,
        )
    return cube
