"""The cubes of a job: which there are, where the results of each go, which part is this run's."""

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core.data.cube_files import as_url, find_cube_files, split_array
from cuvis_ai_core.data.formats.envi.file_pairs import ENVI, beside_header, find_header
from cuvis_ai_core.data.magic import is_store
from cuvis_ai_core.errors import CubeError, OutputError
from cuvis_ai_core.results.folder import safe_name
from cuvis_ai_core.results.run_record import RECORD

_PATTERN: Final = re.compile(r"[*?\[]")
_OURS: Final = {"cubes.csv", "outputs.npz", "report.html", RECORD}
"""Files that lie beside folders of results."""

_SHORT: Final = 80
"""Signs of a long name that its folder has."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One cube of a job.

    Attributes:
        cube: Its path, or address.
        name: The folder of its results, seen from that of the job, with `/`.
    """

    cube: str
    name: str

    def state(self) -> list[int]:
        """Return by what a changed cube is noticed: its size, and a number made of the times of its files.

        An image with a header is two files, and a Zarr store many. At an address nothing is asked.

        Raises:
            OSError: It is not there.
        """
        if as_url(self.cube) is not None:
            return [0, 0]
        states = [os.stat(file) for file in _files_of(split_array(Path(self.cube))[0])]
        times = ",".join(f"{each.st_size} {each.st_mtime_ns}" for each in states)
        return [sum(each.st_size for each in states), int(_digest(times)[:12], 16)]


def _files_of(cube: Path) -> list[str]:
    if cube.is_dir():
        return sorted(os.path.join(folder, name) for folder, _, names in os.walk(cube) for name in names)
    header = cube if cube.suffix.lower() == ENVI else find_header(cube)
    return [str(cube)] if header is None else sorted({str(cube), str(header), *beside_header(header)})


def is_pattern(path: Path | str) -> bool:
    """Tell whether a path is a pattern for several: `cubes/*.hdr`."""
    return bool(_PATTERN.search(str(path))) and not Path(path).exists()


def find_units(places: str | Path | Iterable[str | Path], suffixes: Sequence[str]) -> list[Unit]:
    """Return the cubes in files, folders and patterns, ordered by name.

    The results of `cubes/a/scene.hdr`, found by `cubes/**/*.hdr`, go to `a/scene`; those of files that are named one by
    one go by what follows the folder that they have in common.

    Args:
        places: Files, folders, patterns, addresses.
        suffixes: Those that readers know.

    Raises:
        CubeError: Nothing is there.
        OutputError: Two cubes would have their results in one folder.
    """
    units: dict[str, Unit] = {}
    clashes: list[tuple[Unit, Unit]] = []
    several = [places] if isinstance(places, str | Path) else list(places)
    for place, root in _with_roots(several):
        for file in _files(place, suffixes, several):
            cube = str(place) if as_url(place) is not None else str(file.absolute())
            unit = Unit(cube, _name(file, root))
            other = units.setdefault(unit.name.casefold(), unit)
            if other.cube != unit.cube:
                clashes.append((other, unit))
    if clashes:
        raise _clash(clashes)
    if not units:
        raise CubeError("No cubes are named.", hint="Name files, folders or patterns: --cube-path 'cubes/*.hdr'")
    return sorted(units.values(), key=lambda unit: unit.name)


def _files(place: str | Path, suffixes: Sequence[str], several: Sequence[object]) -> list[Path]:
    """Return the cubes at a place; one of several that is not there fails by itself, when it is its turn."""
    path = Path(place)
    if as_url(place) is not None:
        return [path]
    path = path.expanduser()
    gone = len(several) > 1 and not _PATTERN.search(str(path)) and not os.path.lexists(split_array(path)[0])
    return [path] if gone else find_cube_files([path], suffixes)


def _with_roots(places: Sequence[str | Path]) -> Iterator[tuple[str | Path, Path]]:
    """Yield places, each with the folder below which the names of its cubes begin.

    Of files that are named one by one it is the folder that they have in common.
    """
    roots = [Path(place).parent if as_url(place) is not None else _root(Path(place).expanduser()) for place in places]
    named = [_is_named(place, root) for place, root in zip(places, roots, strict=True)]
    folders = {str(root.absolute()) for root, is_named in zip(roots, named, strict=True) if is_named}
    try:
        common = Path(os.path.commonpath(folders)) if folders else Path()
    except ValueError:  # on several drives
        common = None
    for place, root, is_named in zip(places, roots, named, strict=True):
        yield place, common if is_named and common is not None else root


def _is_named(place: str | Path, root: Path) -> bool:
    return as_url(place) is None and not is_pattern(place) and root == Path(place).expanduser().parent


def _clash(clashes: Sequence[tuple[Unit, Unit]]) -> OutputError:
    """Return the error that says which cubes would share a folder, and what to do about it."""
    first, second = clashes[0]
    more = f" So it is with {len(clashes) - 1} more." if len(clashes) > 1 else ""
    kind = os.path.splitext(first.cube)[1]  # of an address too
    alike = all(os.path.splitext(each.cube)[0] == os.path.splitext(other.cube)[0] for each, other in clashes)
    arrays = any(split_array(Path(each.cube))[1] for pair in clashes for each in pair)
    return OutputError(
        f"The results of '{first.cube}' and of '{second.cube}' would both go to '{second.name}'.{more}",
        hint=f"Name one kind of file alone, such as '*{kind}'."
        if alike and kind and not arrays
        else "Rename one of them, or give each a run and a folder of its own.",
    )


def without_results(units: Sequence[Unit], output: Path) -> list[Unit]:
    """Leave out what an earlier run wrote into the output folder, where that lies among the cubes.

    Args:
        units: All cubes.
        output: The folder of the results, absolute.
    """
    real = output.resolve()
    folders = {folder: _is_result(Path(folder), real) for folder in {os.path.dirname(unit.cube) for unit in units}}
    return [unit for unit in units if not folders[os.path.dirname(unit.cube)]]


def _is_result(folder: Path, output: Path) -> bool:
    return (folder / RECORD).is_file() and output in folder.resolve().parents


def part_of(units: Sequence[Unit], shard: tuple[int, int]) -> list[Unit]:
    """Return the part of one of several runs that share the cubes; it depends on their names alone.

    Args:
        units: All cubes.
        shard: Number of the run, from 0, and how many there are.
    """
    number, count = shard
    return [unit for unit in units if int(_digest(unit.name)[:8], 16) % count == number]


def unit_id(unit: Unit) -> str:
    """Return a short name of a cube that every disk takes."""
    return _digest(unit.name)[:32]


def batch_record(unit: Unit, fingerprint: str, state: Sequence[int], **more: object) -> dict[str, Any]:
    """Return what the record of a cube's results says about the job."""
    return {"name": unit.name, "fingerprint": fingerprint, "cube_state": list(state), **more}


def _root(place: Path) -> Path:
    if is_pattern(place):
        parts = place.parts
        first = next(number for number, part in enumerate(parts) if _PATTERN.search(part))
        return Path(*parts[:first]) if first else Path()
    return place if place.is_dir() and not is_store(place) else place.parent


def _name(file: Path, root: Path) -> str:
    try:
        inside = file.absolute().relative_to(root.absolute())
    except ValueError:  # found by a link
        inside = Path(file.name)
    stem = inside.name if file.is_dir() else inside.stem
    return "/".join(map(_folder_name, [*inside.parts[:-1], stem]))


def _folder_name(name: str) -> str:
    """Return a name as that of a folder; of one that loses more than its blanks, with what tells it from others.

    It depends on that name alone: a cube that comes later moves no other's results.
    """
    safe = safe_name(name)
    if safe.casefold() in _OURS:
        return f"_{safe}"
    kept = unicodedata.normalize("NFC", name).replace(" ", "_")
    return safe if safe in {kept, f"_{kept}"} else f"{safe_name(safe[:_SHORT])}-{_digest(name)[:8]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
