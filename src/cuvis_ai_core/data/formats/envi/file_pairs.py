"""How the two files of an ENVI image are named."""

import os
from pathlib import Path
from typing import Final

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


def beside_header(header: Path) -> list[str]:
    """Return the files beside a header that are called as its data file is; the first one usually is it."""
    # Texts: of ten thousand cubes each is asked for some twenty names.
    base = os.path.splitext(header)[0]
    return [path for end in _DATA_ENDS if os.path.isfile(path := base + end)]
