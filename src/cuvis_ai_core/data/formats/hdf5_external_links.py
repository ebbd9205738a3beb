"""Where the values of an HDF5 dataset come from: HDF5 itself reads whatever file is named, raw ones too, and pipes."""

from collections import deque
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core.data.formats.optional_libraries import library
from cuvis_ai_core.data.formats.refused_companions import beside
from cuvis_ai_core.errors import CubeError

_MOST_LINKS: Final = 16
"""So many links may lead from one to the next, as HDF5 has it."""

_DEEPEST: Final = 8
"""So often a virtual dataset may be made of virtual ones."""

_MOST_PARTS: Final = 1 << 16
"""Of so many parts one may be made, those of its parts among them: they may overlap, and each is read."""


def inside(path: Path, file: Any, name: str) -> Any:
    """Return an item of a file; on the way to it no other file is opened.

    Raises:
        CubeError: It lies behind a link to another file.
        KeyError: It is not there.
    """
    h5py = library("h5py", "hdf5", path)
    item, ways, links = file, deque(name.split("/")), 0
    while ways:
        if (part := ways.popleft()) in {"", "."}:
            continue
        # Step by step: `file[name]` would open what an external link names, before anybody could look.
        link = item.get(part, getlink=True) if isinstance(item, h5py.Group) else None
        if isinstance(link, h5py.ExternalLink):
            raise _elsewhere(path, f"{item.name.rstrip('/')}/{part}", link.filename)
        if isinstance(link, h5py.SoftLink) and (links := links + 1) <= _MOST_LINKS:
            item = file if link.path.startswith("/") else item
            ways.extendleft(reversed(link.path.split("/")))
        elif isinstance(link, h5py.HardLink):
            item = item[part]
        else:
            raise KeyError(f"'{name}' is not there")
    return item


def refuse_elsewhere(path: Path, dataset: Any) -> None:
    """Refuse a dataset whose values lie in another file, but for those beside this file, of which it is a part.

    These are judged as it is itself: a part may be made of parts.

    Raises:
        CubeError: It is such.
    """
    _parts(path, dataset, {}, ())


def refuse_links(path: Path, file: Any) -> None:
    """Refuse a file that has no image of its own, and a link to another one: it would look as if it were empty."""
    h5py = library("h5py", "hdf5", path)
    for name in file:
        link = file.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise CubeError(
                f"The HDF5 file '{path}' keeps '/{name}' in another file, '{link.filename}', which is not read.",
                hint="Name that file. Or copy all into one, for example with h5py (expand_external=True).",
                path=path,
            )


_Key = tuple[Path, str]


def _parts(path: Path, dataset: Any, known: dict[_Key, int], above: tuple[_Key, ...]) -> int:
    """Return of how many parts a dataset is made, those of its parts among them.

    Args:
        path: The file that it lies in.
        dataset: It.
        known: What was judged before, with its number.
        above: What it is a part of.
    """
    key = (path.resolve(), str(dataset.name))
    if key in known:
        return known[key]
    for name, *_ in getattr(dataset, "external", None) or ():
        raise _elsewhere(path, dataset.name, name)
    # HDF5 mounts and links lead here without a word: the dataset knows in which file it is.
    if not Path(dataset.file.filename).samefile(path):
        raise _elsewhere(path, dataset.name, dataset.file.filename)
    total = 0
    if getattr(dataset, "is_virtual", False):
        if key in above or len(above) == _DEEPEST:
            raise _endless(path, dataset.name)
        # Of strangers: parts of parts of parts, sixteen of each, are 16 to the power of their depth.
        for _, file_name, name, _ in dataset.virtual_sources():
            total += 1 + _of_source(path, dataset, file_name, name, known, (*above, key))
            if total > _MOST_PARTS:
                raise _endless(path, dataset.name)
    known[key] = total
    return total


def _of_source(
    path: Path, dataset: Any, file_name: str, name: str, known: dict[_Key, int], above: tuple[_Key, ...]
) -> int:
    """Return of how many parts a part is made: a dataset of the same file, or of one beside it."""
    if file_name == ".":
        return _parts(path, inside(path, dataset.file, name), known, above)
    other = beside(path, file_name)
    # Where there is none beside it, HDF5 takes one of that name in the working directory; a % stands for numbers.
    if other is None or "%" in file_name:
        raise _elsewhere(path, dataset.name, file_name)
    if not other.is_file():
        raise CubeError(
            f"The HDF5 file '{path}' has '{dataset.name}' made of parts, and '{file_name}' is not beside it as a file.",
            hint="Put all parts into its folder.",
            path=path,
        )
    if (found := known.get((other.resolve(), f"/{name.strip('/')}"))) is not None:
        return found
    h5py = library("h5py", "hdf5", path)
    with h5py.File(other, "r") as file:
        return _parts(other, inside(other, file, name), known, above)


def _elsewhere(path: Path, name: str, other: str) -> CubeError:
    return CubeError(
        f"The HDF5 file '{path}' keeps '{name}' in another file, '{other}', which is not read.",
        hint="If you trust it, copy all into one file, for example with h5py or h5repack.",
        path=path,
    )


def _endless(path: Path, name: str) -> CubeError:
    return CubeError(
        f"The HDF5 file '{path}' has '{name}' made of itself, of parts in parts of more than {_DEEPEST} levels, or of "
        f"more than {_MOST_PARTS:,} parts.",
        hint="Copy its values into a dataset of their own.",
        path=path,
    )
