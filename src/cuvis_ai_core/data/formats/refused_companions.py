"""Files beside an image that a library opens by itself: those that it names, and those that are called after it."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

from cuvis_ai_core.errors import CubeError

_RASTERS: Final = (".msk", ".ovr")
"""Of the mask and of smaller images of a raster: whatever GDAL opens, a virtual format too."""

_METADATA: Final = (".xml", ".txt", ".dim", ".imd", ".rpb", ".aux", ".pvl")
"""Files that GDAL looks for beside rasters of some satellites, whatever the image is called."""


def beside(path: Path, name: str) -> Path | None:
    """Return the place of a file in the folder of another one; None where it, or a link there, leads elsewhere."""
    other = path.parent / name
    # The name alone, and resolved: a link in the folder leads elsewhere as well as a path does.
    return other if Path(name).name == name and other.resolve().parent == path.parent.resolve() else None


def refuse_companions(path: Path, begins: Collection[bytes]) -> None:
    """Refuse a raster with a file beside it that would make GDAL wait, or open any other file or address.

    Args:
        path: The raster.
        begins: How files begin whose pixels lie in them.

    Raises:
        CubeError: There is such a file.
    """
    with os.scandir(path.parent) as entries:
        for entry in entries:
            name, file = entry.name.lower(), path.parent / entry.name
            is_own = name.startswith(path.stem.lower())
            if not (is_own or name.endswith(_METADATA)) or entry.is_dir() or not file.exists():
                continue
            if not entry.is_file():
                raise _refused(path, file, "is a pipe or a device, no file")
            # GDAL opens a mask by whatever driver it likes, a virtual format with addresses among them.
            if is_own and name.endswith(_RASTERS) and not _begin(file).startswith(tuple(begins)):
                raise _refused(path, file, "begins like no raster whose pixels lie in it")


def _begin(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(16)


def _refused(path: Path, file: Path, why: str) -> CubeError:
    return CubeError(
        f"The cube '{path}' is not read: '{file.name}' beside it, which GDAL would open with it, {why}.",
        hint="Remove that file, or put the image into a folder of its own.",
        path=path,
    )
