"""From a path to a cube: which reader takes it."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Final, TypeAlias

from cuvis_ai_core._error_location import place_of, words_of
from cuvis_ai_core._nearest import nearest
from cuvis_ai_core._untrusted_files import special
from cuvis_ai_core.data.cube import OUT_OF_ORDER, Cube
from cuvis_ai_core.data.cube_files import as_url, split_array
from cuvis_ai_core.data.formats.envi.file_pairs import DATA_SUFFIXES, ENVI, find_header
from cuvis_ai_core.data.magic import is_store, refuse_stand_in, suffix_by_content
from cuvis_ai_core.errors import CubeError, MissingExtraError

_log = logging.getLogger(__name__)

Reader: TypeAlias = Callable[..., Cube | Sequence[Cube]]
"""Takes a path and returns the cube in the file, or a sequence that reads each of its cubes when asked."""

_ZARR: Final = ".zarr"
_PACKED: Final = (".gz", ".bz2", ".xz", ".zip")

Readers: TypeAlias = Mapping[str, Reader]
"""Suffix in lower case, with its dot, to reader."""


def read_cube(
    path: str | PathLike[str],
    readers: Readers,
    *,
    index: int | None = None,
    processing_mode: str | None = None,
) -> Cube:
    """Read one cube with the reader of its suffix, in upper or lower case; what the reader remarks is logged.

    Args:
        path: The file; `~` is the home folder. For an ENVI image the header or the data file, for Zarr the folder.
            Behind `::` may follow the name of one of several arrays in the file: `scene.npz::radiance`. An address
            (`https://`, `s3://`, what `fsspec` knows) is copied into a cache first; that needs the extra `remote`.
        readers: Suffix in lower case, with its dot, to reader. The longest suffix that fits wins
            (`.ome.tif` over `.tif`); where none fits, what the file begins with.
        index: Place of the cube in a file of several, from 0; needed where there are several.
        processing_mode: As in `open_cubes`.

    Raises:
        CubeError: No such file, no reader for it, the reader failed, or there is no cube of that number.
    """
    cubes = open_cubes(path, readers, processing_mode=processing_mode)
    if index is None and len(cubes) > 1:
        raise CubeError(
            f"The file '{path}' holds {len(cubes)} cubes.",
            hint=f"Say which one is meant, by its number from 0 to {len(cubes) - 1} (--measurement, index=)",
            path=Path(path),
        )
    number = index or 0
    if not 0 <= number < len(cubes):
        has = f"cubes 0 to {len(cubes) - 1}" if len(cubes) > 1 else "one cube, number 0" if cubes else "no cube"
        raise CubeError(f"The file '{path}' has {has}; number {number} is not there.", path=Path(path))
    cube = cubes[number]
    log_remarks(_log, path, cube.remarks)
    return cube


def log_remarks(logger: logging.Logger, where: object, remarks: Iterable[str]) -> None:
    """Warn of what was remarked on a cube; that its bands are in another order, which they may be, is no warning."""
    for remark in remarks:
        logger.log(logging.INFO if remark.startswith(OUT_OF_ORDER) else logging.WARNING, "%s: %s", where, remark)


def open_cubes(path: str | PathLike[str], readers: Readers, *, processing_mode: str | None = None) -> Sequence[Cube]:
    """Return the cubes of a file: of one that holds several each is read when it is asked for.

    Args:
        path: As in `read_cube`.
        readers: As in `read_cube`.
        processing_mode: What to make of recorded counts, for readers that can process (`.cu3s`).

    Raises:
        CubeError: No such file, no reader for it, or the reader failed.
    """
    file, array = split_array(Path(path))
    if url := as_url(file):
        from cuvis_ai_core.data.remote_cubes import fetched

        file = fetched(url)
    suffix = _ZARR if is_store(file) and _ZARR in readers else _suffix(file, readers)
    if suffix != _ZARR or not is_store(file):
        _check_file(file, readers)
    if suffix is None and ENVI in readers and find_header(file):
        suffix = ENVI
    if suffix is None and (known := suffix_by_content(file)) in readers:
        suffix = known
    if suffix is None:
        raise CubeError(
            f"No reader for the cube '{file}'. Known suffixes: {_known(readers)}.",
            hint=_hint(file) or "Convert the file, or load a plugin that reads it.",
            path=file,
        )
    options = {"array": array, "processing_mode": processing_mode}
    return _read(file, suffix, readers[suffix], {key: value for key, value in options.items() if value is not None})


def _suffix(file: Path, readers: Readers) -> str | None:
    name = file.name.lower()
    return max((suffix for suffix in readers if name.endswith(suffix)), key=len, default=None)


def _known(readers: Readers) -> str:
    return ", ".join(sorted(readers)) or "none"


def _check_file(file: Path, readers: Readers) -> None:
    try:
        # pathlib raises where a folder above it may not be looked into.
        is_file, is_folder = file.is_file(), file.is_dir()
    except OSError as error:
        raise CubeError(f"The cube '{file}' cannot be reached: {error.strerror}.", path=file) from error
    if is_folder:
        raise CubeError(
            f"The cube '{file}' is a folder; a cube is a file.",
            hint=f"Name one file in it; known suffixes: {_known(readers)}.",
            path=file,
        )
    if kind := special(file):
        hint = "Write what it brings into a file."
        raise CubeError(f"The cube '{file}' cannot be read: {kind}.", hint=hint, path=file)
    if not is_file and file.is_symlink():
        raise CubeError(
            f"The cube '{file}' is a link to '{file.readlink()}', where there is nothing.",
            hint="Bring back what it leads to, or remove the link.",
            path=file,
        )
    if not is_file:
        raise CubeError(f"There is no cube '{file}'.", hint=_missing_hint(file), path=file)


def _missing_hint(file: Path) -> str:
    if not file.parent.is_dir():
        return f"There is no folder '{file.parent}' either. Check the path."
    similar = nearest(file.name, [entry.name for entry in file.parent.iterdir()])
    return f"Did you mean '{file.with_name(similar)}'?" if similar else "Check the path."


def _hint(file: Path) -> str | None:
    if file.suffix.lower() in _PACKED:
        return (
            "It is packed: unpack it first (gzip -dk, bzip2 -dk, xz -dk)."
            if file.suffix.lower() != ".zip"
            else f"It is an archive: name a file in it, as 'zip://scene.hdr::{file.absolute()}', or unpack it."
        )
    if file.suffix.lower() in DATA_SUFFIXES:
        return "If this is the data file of an ENVI image, its header is missing: the file that ends in .hdr."
    return None


def _read(file: Path, suffix: str, reader: Reader, options: Mapping[str, str]) -> Sequence[Cube]:
    try:
        answer = reader(file, **options)
    # These say more than what is made of all others below.
    except MissingExtraError:
        raise
    except CubeError:
        refuse_stand_in(file)
        raise
    except Exception as error:
        refuse_stand_in(file)
        for option, value in options.items():
            # A plugin's reader may take a path alone: Python's error names the keyword.
            if isinstance(error, TypeError) and option in str(error):
                raise _no_option(file, suffix, option, value) from error
        place = place_of(error, reader)
        raise CubeError(
            f"The cube '{file}' cannot be read: {words_of(error)}" + (f" ({place})" if place else ""),
            path=file,
            place=place,
        ) from error
    if isinstance(answer, Cube):
        return [answer]
    if isinstance(answer, Sequence):
        return answer
    raise CubeError(
        f"The reader of '{suffix}' returned {type(answer).__name__} for '{file}'; a reader returns a Cube, or a "
        "sequence of them.",
        hint="Report it to the authors of the plugin that contributes this reader.",
        path=file,
    )


def _no_option(file: Path, suffix: str, option: str, value: str) -> CubeError:
    if option == "array":
        return CubeError(
            f"The cube '{file}' has no array '{value}': files of type '{suffix}' hold one without a name.",
            hint=f"Leave '::{value}' away.",
            path=file,
        )
    return CubeError(
        f"The cube '{file}' cannot be processed to '{value}': files of type '{suffix}' hold values as they are.",
        hint="Leave the processing mode away.",
        path=file,
    )
