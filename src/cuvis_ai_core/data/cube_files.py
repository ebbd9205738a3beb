"""From a path, a folder or a pattern to the files that hold cubes."""

import glob
import os
import re
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Final
from urllib.request import url2pathname

from cuvis_ai_core._nearest import nearest
from cuvis_ai_core.data.formats.envi.file_pairs import ENVI, find_header
from cuvis_ai_core.data.magic import is_store
from cuvis_ai_core.errors import CubeError

# One slash too: a path that went through pathlib has lost the other.
_ADDRESS: Final = re.compile(r"([a-z][a-z0-9+.-]+):/{1,2}(?=[^/])")
"""The scheme of an address has two letters or more: one is a drive."""

_CACHES: Final = re.compile(r"^(?:(?:simplecache|filecache|blockcache|cached)::)+(?=[a-z][a-z0-9+.-]+:/)")
"""By which fsspec is asked to keep a copy, as is done anyway."""

_LOCAL: Final = ("file", "local")
_FILE: Final = re.compile(rf"({'|'.join(_LOCAL)}):/{{1,3}}([^/].*)", re.DOTALL)


def find_cube_files(places: str | Path | Iterable[str | Path], suffixes: Collection[str]) -> list[Path]:
    """Return the files that hold cubes, without doubles.

    Args:
        places: One or more of: a file, also the data file of an ENVI header; a folder, whose files with a known suffix
            are taken, not those of folders in it and not hidden ones (`.DS_Store`, `._scene.hdr`); a pattern as in
            `scenes/**/*.hdr`; an address. `~` is the home folder. The name of an array may follow a file:
            `scene.npz::radiance`.
        suffixes: Suffixes that have a reader, in lower case, with their dot.

    Returns:
        The files in the order of the places; those of a folder or a pattern in the order of their names.

    Raises:
        CubeError: A place is not there, or has no file with a known suffix.
    """
    several = [places] if isinstance(places, str | Path) else list(places)
    found = [file for place in several for file in _files(as_path(place), suffixes)]
    if not found:
        raise CubeError("No place of cubes is given.", hint="Name a file, a folder, or a pattern such as scenes/*.npz.")
    # A header and its data file, or two patterns, may name one cube.
    return list(dict.fromkeys(found))


def as_url(path: Path | str) -> str | None:
    """Return an address (`https://`, `s3://`) that is given as a path, which knows no double slash; None for a path.

    In an archive at an address a file is one as fsspec writes it: `zip://scene.hdr::https://host/scenes.zip`.
    """
    parts = [(_ADDRESS.match(part), part) for part in _CACHES.sub("", str(path)).split("::")]
    found, first = parts[0]
    if found is None or found[1] in _LOCAL:
        return None
    slashes = dict.fromkeys(_LOCAL, ":///")  # there is no host
    rest = [
        f"{match[1]}{slashes.get(match[1], '://')}{part[match.end() :]}" if match else part for match, part in parts[1:]
    ]
    return "::".join([f"{found[1]}://{first[found.end() :]}", *rest])


def as_path(path: Path | str) -> Path:
    """Return a path, also one that is given as `file:///...`; `~` is the home folder."""
    given = Path(_CACHES.sub("", str(path)))
    return Path(url2pathname(f"/{found[2]}")) if (found := _FILE.fullmatch(str(given))) else given.expanduser()


def split_array(path: Path) -> tuple[Path, str | None]:
    """Return a file and the name of the array in it that is asked for: `scene.npz::radiance`."""
    path = as_path(path)
    file, colons, array = str(path).rpartition("::")
    in_archive = _ADDRESS.match(array) or Path(array).is_absolute()
    return (Path(file), array) if colons and file and array and not (in_archive and as_url(file)) else (path, None)


def _files(place: Path, suffixes: Collection[str]) -> list[Path]:
    where, array = split_array(place)
    try:
        if where.is_file() or is_store(where) or as_url(where):
            return [place]
        found = list(where.iterdir()) if where.is_dir() else [Path(name) for name in _matches(where)]
    except OSError as error:
        raise CubeError(f"The cubes at '{where}' cannot be reached: {error.strerror}.", path=where) from error
    candidates = [file for file in found if not _is_junk(file)]
    files = [file for file in candidates if file.name.lower().endswith(tuple(suffixes)) and _is_whole(file)]
    if not files and not where.is_dir() and ENVI in suffixes:
        files = [file for file in candidates if file.is_file() and find_header(file)]
    if not files:
        raise _nothing(where, candidates, suffixes)
    # By name: the numbers of cubes, by which splits name them, must be the same everywhere.
    return sorted(files if array is None else (file.with_name(f"{file.name}::{array}") for file in files))


def _is_whole(file: Path) -> bool:
    # A link that leads nowhere is a cube that is lost: without it the others would take its number.
    return file.is_file() or is_store(file) or (os.path.islink(file) and not os.path.exists(file))


def _is_junk(file: Path) -> bool:
    """Tell whether a file is one that systems lay into every folder: `._scene.hdr`, `.DS_Store`, `Thumbs.db`."""
    return file.name.startswith(".") or file.name.lower() in {"thumbs.db", "desktop.ini"}


def _matches(place: Path) -> list[str]:
    """Return what a pattern matches; a folder counts once, however many links lead to it, also one in itself."""
    if not glob.has_magic(str(place)):
        return []
    # Python's own `**` follows links, also one into its own folder: 40 times, until the system refuses.
    if "**" not in place.parts[:-1]:
        return glob.glob(str(place), recursive=True)  # Path.glob refuses absolute patterns
    at = place.parts.index("**")
    before, after = Path(*place.parts[:at]), Path(*place.parts[at + 1 :])
    roots = _matches(before) if glob.has_magic(str(before)) else [str(before)]
    found = [each for folder in _folders(roots) for each in _matches(Path(glob.escape(folder)) / after)]
    return list(dict.fromkeys(found))


def _folders(roots: Iterable[str]) -> Iterator[str]:
    """Yield folders and those in them, each once; those that are links last, so that a link renames nothing."""
    seen: set[tuple[int, int]] = set()
    real, links = deque(roots), deque[str]()
    while real or links:
        folder = real.popleft() if real else links.popleft()
        try:
            about = os.stat(folder)
            inside = sorted(os.scandir(folder), key=lambda each: each.name)
        except OSError:  # no folder, or none of ours
            continue
        if (about.st_dev, about.st_ino) in seen:
            continue
        seen.add((about.st_dev, about.st_ino))
        yield folder
        for each in inside:
            # As `glob` has it: `**` passes over hidden folders.
            # Asked of a link, the entry itself raises where that leads in a circle.
            if (os.path.isdir(each) if each.is_symlink() else each.is_dir()) and not each.name.startswith("."):
                name = each.name if folder == os.curdir else each.path
                (links if each.is_symlink() else real).append(name)


def _nothing(place: Path, candidates: Collection[Path], suffixes: Collection[str]) -> CubeError:
    known = f"Known suffixes: {', '.join(sorted(suffixes)) or 'none'}."
    if place.is_dir():
        inside = next((file for file in candidates if file.is_dir()), None)
        below = f" Those in '{inside.name}' are found by a pattern: '{place / '**' / '*'}'" if inside else ""
        what = f"The folder '{place}' has no file of a type that can be read."
        return CubeError(what, hint=f"{known}{below}", path=place)
    if glob.has_magic(str(place)):
        what = f"only files of other types, such as '{next(iter(candidates))}'" if candidates else "nothing"
        return CubeError(f"The pattern '{place}' matches {what}.", hint=known, path=place)
    beside = [entry.name for entry in place.parent.iterdir()] if place.parent.is_dir() else []
    near = nearest(place.name, beside)
    hint = f"Did you mean '{place.with_name(near)}'?" if near else "Check the path."
    return CubeError(f"There is no file or folder '{place}'.", hint=hint, path=place)
