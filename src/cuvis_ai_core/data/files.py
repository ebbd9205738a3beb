"""From a path, a folder or a pattern to the files that hold cubes."""

import glob
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from pathlib import Path

from cuvis_ai_core.errors import CubeError


def find_cube_files(places: str | Path | Iterable[str | Path], suffixes: Collection[str]) -> list[Path]:
    """Return the files that hold cubes, without doubles.

    Args:
        places: One or more of: a file; a folder, whose files with a known suffix are taken, not those of folders in
            it; a pattern as in `scenes/**/*.hdr`. `~` is the home folder.
        suffixes: Suffixes that have a reader, in lower case, with their dot.

    Returns:
        The files in the order of the places; those of a folder or a pattern in the order of their names.

    Raises:
        CubeError: A place is not there, or has no file with a known suffix.
    """
    several = [places] if isinstance(places, str | Path) else list(places)
    found = [file for place in several for file in _files(Path(place).expanduser(), suffixes)]
    if not found:
        raise CubeError("No place of cubes is given.", hint="Name a file, a folder, or a pattern such as scenes/*.npz.")
    return list(dict.fromkeys(found))


def _files(place: Path, suffixes: Collection[str]) -> list[Path]:
    try:
        if place.is_file():
            return [place]
        candidates = list(place.iterdir()) if place.is_dir() else [Path(name) for name in _matches(place)]
    except OSError as error:
        raise CubeError(f"The cubes at '{place}' cannot be reached: {error.strerror}.", path=place) from error
    files = [file for file in candidates if file.name.lower().endswith(tuple(suffixes)) and file.is_file()]
    if not files:
        raise _nothing(place, candidates, suffixes)
    return sorted(files)


def _matches(place: Path) -> list[str]:
    return glob.glob(str(place), recursive=True) if glob.has_magic(str(place)) else []  # noqa: PTH207 - absolute ones too


def _nothing(place: Path, candidates: Collection[Path], suffixes: Collection[str]) -> CubeError:
    known = f"Known suffixes: {', '.join(sorted(suffixes)) or 'none'}."
    if place.is_dir():
        return CubeError(f"The folder '{place}' has no file of a type that can be read.", hint=known, path=place)
    if glob.has_magic(str(place)):
        what = f"only files of other types, such as '{next(iter(candidates))}'" if candidates else "nothing"
        return CubeError(f"The pattern '{place}' matches {what}.", hint=known, path=place)
    beside = [entry.name for entry in place.parent.iterdir()] if place.parent.is_dir() else []
    near = get_close_matches(place.name, beside, n=1)
    hint = f"Did you mean '{place.with_name(near[0])}'?" if near else "Check the path."
    return CubeError(f"There is no file or folder '{place}'.", hint=hint, path=place)
