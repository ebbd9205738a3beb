"""The two files of an ENVI image, header and data: how they are named, and which belong together."""

import os
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cuvis_ai_core.data.magic import PACKED_BY_GZIP, other_kind, refuse_stand_in, suffix_by_content
from cuvis_ai_core.errors import CubeError

if TYPE_CHECKING:
    from cuvis_ai_core.data.formats.envi.header_fields import EnviHeader

ENVI: Final = ".hdr"
"""The suffix of headers, in any case."""

DATA_SUFFIXES: Final = (
    *(".img", ".dat", ".raw", ".bsq", ".bil", ".bip", ".envi", ".bin"),
    *(".rad", ".rfl", ".cmp", ".hyspex", ".cube", ".hsi"),
)
"""Suffixes of data files beside none; others are taken where their size fits."""

_DATA_ENDS: Final = ("", *DATA_SUFFIXES, *map(str.upper, DATA_SUFFIXES))

HEADER_SUFFIXES: Final = (".hdr", ".HDR", ".Hdr")


def find_header(data_file: Path) -> Path | None:
    """Return the header of a data file: `scene.img.hdr` before `scene.hdr`."""
    stems = (data_file.name, data_file.stem)
    names = [data_file.with_name(stem + suffix) for stem in stems for suffix in HEADER_SUFFIXES]
    return next((path for path in names if path.is_file() and path != data_file), None)


def header_of(data_file: Path) -> Path:
    """Return the header of a data file.

    Raises:
        CubeError: There is none beside it.
    """
    header = find_header(data_file)
    if header is None:
        raise CubeError(f"The data file '{data_file}' has no ENVI header beside it.", path=data_file)
    return header


def beside_header(header: Path) -> list[str]:
    """Return the files beside a header that are called as its data file is; the first one usually is it."""
    # Texts: of ten thousand cubes each is asked for some twenty names.
    base = os.path.splitext(header)[0]
    return [path for end in _DATA_ENDS if os.path.isfile(path := base + end)]


def find_data_file(header: "EnviHeader") -> Path:
    """Return the data file of a header.

    It has the name of the header without `.hdr`, or with another suffix. A file that has a header of its own is left to
    that one, and of several that which has the size; where no usual suffix has it, another may.

    Raises:
        CubeError: There is none, or more than one that fits.
    """
    base = header.path.with_suffix("")
    found = list(_candidates(header, base))
    # By size before name: only what has it can be the data.
    if bytes_of(header) not in [file.stat().st_size for file in found]:  # such as notes in scene.dat
        found = list(_by_size(header, base)) or found
    own = [file for file in found if not _has_another_header(file, header.path)] or found
    fitting = own if len(own) == 1 else [file for file in own if file.stat().st_size == bytes_of(header)]
    if len(fitting) == 1:
        return fitting[0]
    if not found and _is_of_another_format(header):
        raise header.error(
            f"describes a file of another format (file type = {header.text('file type')}), which has what it says "
            "itself.",
            hint=f"Give that file, as in '{base.with_suffix('.tif').name}'.",
        )
    if not found:
        others = [f"'{file.name}' has the size, and is {kind}" for file, kind in _of_other_kinds(header, base)]
        raise header.error(
            f"has no data file beside it{': ' + others[0] if others else ''}.",
            hint=f"Put it there as '{base.name}', or as '{base.name}' with {', '.join(DATA_SUFFIXES)}.",
        )
    names = ", ".join(f"'{file.name}' ({file.stat().st_size} bytes)" for file in own)
    raise header.error(
        f"has several files beside it that may hold its data: {names}; it describes {bytes_of(header)} bytes.",
        hint="Give the data file instead of the header, or name the header after it, as in scene.img.hdr.",
    )


def refuse_companion(header: "EnviHeader", file: Path) -> None:
    """Refuse what is no raw data: a picture or a text that recorders put beside a header, a TIFF file that ENVI opened.

    Raises:
        CubeError: The file begins as one of another kind, and has not the size that the header describes.
    """
    # A header that says where values begin in such a file was written for it; other things may stand behind them.
    if header.offset and not _is_of_another_format(header) and file.stat().st_size > bytes_of(header):
        return
    # What gzip packed may be the data.
    if file.stat().st_size != bytes_of(header) and (kind := other_kind(file)) not in {None, PACKED_BY_GZIP}:
        refuse_stand_in(file)
        itself = suffix_by_content(file) is not None
        raise header.error(
            f"lies beside '{file}', which is {kind} and not its data.",
            hint=f"Give that file itself: '{file}'." if itself else f"Give the header: '{header.path}'.",
        )


def bytes_of(header: "EnviHeader") -> int:
    """Return the size of the data file that a header describes."""
    return header.offset + prod(header.shape) * header.dtype.itemsize


def _is_of_another_format(header: "EnviHeader") -> bool:
    kind = header.text("file type")
    return bool(kind) and not kind.lower().startswith("envi")


def _candidates(header: "EnviHeader", base: Path) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()  # where case does not count, two names are one file
    suffixes = dict.fromkeys([f".{header.interleave}", *DATA_SUFFIXES])
    # Upper case too: SCENE.BIL may lie beside scene.hdr.
    for suffix in ("", *suffixes, *map(str.upper, suffixes)):
        file = base.with_name(base.name + suffix)
        if file.is_file() and (place := (file.stat().st_dev, file.stat().st_ino)) not in seen:
            seen.add(place)
            yield file


def _by_size(header: "EnviHeader", base: Path) -> Iterator[Path]:
    """Yield files beside a header that have its name, another suffix, and just the size; none of another kind."""
    yield from (file for file in _of_the_size(header, base) if other_kind(file) is None)


def _of_other_kinds(header: "EnviHeader", base: Path) -> Iterator[tuple[Path, str]]:
    yield from ((file, kind) for file in _of_the_size(header, base) if (kind := other_kind(file)) is not None)


def _of_the_size(header: "EnviHeader", base: Path) -> Iterator[Path]:
    for file in sorted(base.parent.iterdir()):
        named = file.name.lower().startswith(f"{base.name.lower()}.") or file.name.lower() == base.name.lower()
        if named and file.suffix.lower() != ENVI and file.is_file() and file.stat().st_size == bytes_of(header):
            yield file


def _has_another_header(file: Path, header: Path) -> bool:
    others = [file.with_name(file.name + suffix) for suffix in HEADER_SUFFIXES]
    return any(other.is_file() and not other.samefile(header) for other in others)
