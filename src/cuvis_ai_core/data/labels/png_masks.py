"""Masks: the class of each pixel of a cube, and PNG files of them."""

import struct
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core._untrusted_files import open_file
from cuvis_ai_core.data.cube import Cube
from cuvis_ai_core.data.labels.cube_matching import PictureNames, Place, refuse_shared
from cuvis_ai_core.data.labels.mask_colours import CLASS_DICT, LABELMAP, Palette, find_palette
from cuvis_ai_core.data.magic import stand_in
from cuvis_ai_core.errors import AnnotationError

Mask = NDArray[np.int32]
"""The class of each pixel, int32 `[height, width]`; 0 is background, or not known."""

_NUMBERS: Final = frozenset({"1", "L", "P", "I", "I;16"})
"""Modes of pictures, in Pillow's words, in which a pixel is one number."""

_COLOURS: Final = frozenset({"RGB", "RGBA", "LA"})
_OPAQUE: Final = 255
_BYTE: Final = 8
_STRETCH: Final = {2: 85, 4: 17}
"""By which Pillow multiplies the values of grey pictures of so many bits."""

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_HEADER: Final = struct.Struct(">8s8sIIB")
"""The first bytes of a PNG: its signature, the name of the first chunk, width, height, bits per channel."""


class PngMasks:
    """Masks in PNG files: grey values, or the numbers of palette entries, are classes.

    A picture in colours is a mask where its channels agree, or where a palette file lies beside it (`labelmap.txt` of
    CVAT, or `class_dict.csv`).

    Args:
        path: One mask, for one cube; or a folder with a mask `<stem of the file>.png` for each cube, or
            `<stem>_<number in the file>.png` where a file holds several. In it may be folders, and names as labelling
            tools write them.

    Raises:
        AnnotationError: There is no such file or folder, or the palette file breaks a rule.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            raise no_annotations(path)
        folder = path if path.is_dir() else path.parent
        self._palette = find_palette(folder) or find_palette(folder.parent)
        self._files = {file: str(file.relative_to(path)) for file in _pictures(path)} if path.is_dir() else {}
        self._names = PictureNames(self._files)

    @property
    def classes(self) -> Mapping[int, str]:
        """The names of classes, where a palette file gives them."""
        return {} if self._palette is None else self._palette.names

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a palette file makes of colours."""
        if self._palette is None:
            return ()
        listed = ", ".join(f"{colour} = {number}" for colour, number in self._palette.colours.items())
        return (f"Classes of masks in colours by '{self._palette.path}': {listed}.",)

    def check(self, cubes: Sequence[Place], used: Sequence[Place]) -> None:
        """Check that each cube has a mask of its own.

        Args:
            cubes: File and number in the file of each cube of the data.
            used: Those whose masks will be asked for.

        Raises:
            AnnotationError: One mask would serve several cubes, or a cube has none.
        """
        del cubes  # a folder may have masks of other data too
        files = [(place, self._file(place)) for place in used]
        refuse_shared(self._path, ((place, file, f"the mask '{file}'") for place, file in files))

    def mask(self, cube: Cube) -> Mask:
        """Read the mask of a cube.

        Raises:
            AnnotationError: There is none, it is no mask, or it is of another size than the cube.
        """
        file = self._file((cube.source or Path("cube"), cube.index))
        return read_mask(file, cube, self._palette)

    def _file(self, place: Place) -> Path:
        if not self._path.is_dir():
            return self._path
        found = self._names.find(place)
        if len(found) == 1:
            return found[0]
        stem, index = place[0].stem, place[1]
        names = [f"{stem}_{index}.png"] + [f"{stem}.png"] * (index == 0)
        if found:
            several = " and ".join(f"'{self._files[each]}'" for each in found[:2])
            raise AnnotationError(
                f"The folder '{self._path}' has several masks for cube {index} of '{place[0]}': {several}.",
                hint="Keep one, or put them into folders that are named as those of the cubes.",
                path=self._path,
            )
        raise AnnotationError(
            f"The folder '{self._path}' has no mask for cube {index} of '{place[0]}'.{self._names.near(place)}",
            hint=f"Masks are named after cubes: {' or '.join(names)}.",
            path=self._path,
        )


def read_mask(path: Path, cube: Cube, palette: Palette | None = None) -> Mask:
    """Read the PNG mask of a cube.

    Args:
        path: The picture: grey values, palette numbers, three channels that agree, or colours of a palette.
        cube: The cube, whose size the picture has.
        palette: Classes by colour.

    Raises:
        AnnotationError: There is no such file, it is no such picture, or of another size.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        width, height, depth = _header(path)
        check_size((height, width), cube, path)  # before the pixels, which may take all memory
        with (
            # The size was compared with that of the cube before.
            warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
            Image.open(path) as image,
        ):
            if image.mode in _NUMBERS:
                return np.asarray(image).astype(np.int32) // (_STRETCH.get(depth, 1) if image.mode == "L" else 1)
            if image.mode not in _COLOURS or depth > _BYTE:
                raise _no_mask(path, f"is a picture of mode {image.mode} with channels of more than 8 bits")
            pixels = np.asarray(image.convert("RGB"))
            opaque = "A" not in image.mode or bool((np.asarray(image)[..., -1] == _OPAQUE).all())
    except FileNotFoundError as error:
        raise no_annotations(path) from error
    # Pillow raises SyntaxError for a chunk of a PNG that is broken.
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        what, hint = stand_in(path) or (f"no picture that can be read: {error}", None)
        raise AnnotationError(f"The mask '{path}' is {what}", hint=hint, path=path) from error
    if not opaque:
        raise _no_mask(path, "is transparent in places")
    if palette is not None:
        return palette.classes(pixels, path)
    if (pixels != pixels[..., :1]).any():
        raise _no_mask(path, "is a picture in colours, and no palette file lies beside it")
    return pixels[..., 0].astype(np.int32)


def _no_mask(path: Path, what: str) -> AnnotationError:
    return AnnotationError(
        f"The mask '{path}' {what}; a mask has one grey value, or one palette number, per pixel.",
        hint=f"Save the class numbers as a grey PNG of 8 or 16 bits, or say beside it in {LABELMAP} ('name:r,g,b::' in "
        f"each line) or {CLASS_DICT} (columns name,r,g,b) which colour is which class.",
        path=path,
    )


def _header(path: Path) -> tuple[int, int, int]:
    """Return width, height and bits per channel of a PNG; of more than 8 in colours, Pillow keeps 8 without a word."""
    from PIL import UnidentifiedImageError

    with open_file(path) as file:
        begin = file.read(_HEADER.size)
    if len(begin) < _HEADER.size or not begin.startswith(_SIGNATURE):
        raise UnidentifiedImageError("it is no PNG")
    _, _, width, height, depth = _HEADER.unpack(begin)
    return width, height, depth


def _pictures(folder: Path) -> list[Path]:
    # Not `*.png`, whose capitals count on Linux.
    found = (file for file in folder.rglob("*") if file.suffix.lower() == ".png" and file.is_file())
    # macOS leaves `._mask.png` beside a file on disks of other systems (AppleDouble).
    return sorted(file for file in found if not any(part.startswith(".") for part in file.relative_to(folder).parts))


def check_size(size: tuple[int, ...], cube: Cube, path: Path) -> None:
    """Check that a mask has the size of its cube.

    Args:
        size: Its height and width.
        cube: The cube.
        path: Where the mask lies.

    Raises:
        AnnotationError: It has another.
    """
    if size != cube.data.shape[:2]:
        raise AnnotationError(
            f"The annotations in '{path}' are {size[0]} x {size[1]} pixels, but cube {cube.index} of "
            f"'{cube.source}' is {cube.data.shape[0]} x {cube.data.shape[1]} (height x width).",
            hint="Annotations fit the cube as it is read. Were they drawn on a turned or a scaled picture?",
            path=path,
        )


def no_annotations(path: Path) -> AnnotationError:
    """Return the error for a path at which there is nothing."""
    return AnnotationError(f"There are no annotations at '{path}'.", hint="Check the path.", path=path)
