"""Which annotated picture belongs to which cube: by its name, as people and labelling tools write it."""

import re
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping
from pathlib import Path
from typing import Final, Generic, TypeAlias, TypeVar
from urllib.parse import unquote

from cuvis_ai_core._nearest import did_you_mean, nearest
from cuvis_ai_core.errors import AnnotationError

Place: TypeAlias = tuple[Path, int]
"""The file of a cube, and its number in that file."""

Key = TypeVar("Key", bound=Hashable)

_LABEL_STUDIO: Final = re.compile(r"^[0-9a-f]{8}-(?=.)")
_ROBOFLOW: Final = re.compile(r"_(?:png|jpe?g|tiff?|bmp|webp)\.rf\.[0-9A-Za-z]{16,}$")


class PictureNames(Generic[Key]):
    """The names of annotated pictures, to find that of a cube.

    A picture belongs to the cube whose file has its name without the ending: `tray.png` to `tray.npy`, `tray.hdr` or
    `tray.img.hdr`, `tray_2.png` to cube 2 of a file that holds several. Where cubes in several folders have one name,
    the folders in the name of the picture decide. Only where no name is the same, what labelling tools put around names
    is left away (`1a2b3c4d-tray.png` of Label Studio, `tray_png.rf.<code>.jpg` of Roboflow), and then capitals count
    as small letters.

    Args:
        names: The name of each picture, with the folders that were written before it.
    """

    def __init__(self, names: Mapping[Key, str]) -> None:
        self._parts = {key: _parts(name) for key, name in names.items()}
        self._tiers: list[dict[str, list[Key]]] = []
        for spellings in (_plain, _undecorated, _folded):
            tier: dict[str, list[Key]] = defaultdict(list)
            for key, parts in self._parts.items():
                for spelling in spellings(parts[-1]):
                    tier[spelling].append(key)
            self._tiers.append(dict(tier))

    def find(self, place: Place) -> list[Key]:
        """Return the pictures whose name is that of a cube: one, none, or those between which nothing decides."""
        wanted = _names_of_cube(place)
        for tier, fold in zip(self._tiers, (False, False, True), strict=True):
            spellings = {each.casefold() for each in wanted} if fold else wanted
            found = list(dict.fromkeys(key for each in spellings for key in tier.get(each, ())))
            if found:
                return self._in_nearest_folder(found, place[0])
        return []

    def near(self, place: Place) -> str:
        """Return a sentence about pictures with a similar name, empty where there is none."""
        known = [parts[-1] for parts in self._parts.values()]
        return did_you_mean(place[0].stem, known)

    def _in_nearest_folder(self, found: list[Key], file: Path) -> list[Key]:
        """Return those that share the most folders with a cube."""
        # From the file upwards: the next folder tells more than the first one of the disk.
        folders = file.absolute().parts[-2::-1]
        shared = {key: _shared(self._parts[key][-2::-1], folders) for key in found}
        return [key for key in found if shared[key] == max(shared.values())]


def refuse_shared(path: Path, pictures: Iterable[tuple[Place, object, str]]) -> None:
    """Refuse a picture that would serve several cubes.

    Args:
        path: Where the annotations lie.
        pictures: For each cube its picture, and what to call it.

    Raises:
        AnnotationError: Two cubes have the same.
    """
    first: dict[object, Place] = {}
    for place, picture, name in pictures:
        other = first.setdefault(picture, place)
        if other != place:
            raise AnnotationError(
                f"The annotations in '{path}': {name} would serve several cubes: {_named(other)} and {_named(place)}.",
                hint="Give each cube a picture of its own name; where names repeat, with the folder before it.",
                path=path,
            )


def refuse_unmatched(path: Path, pictures: Mapping[Key, str], matched: Collection[Key], cubes: Iterable[Place]) -> None:
    """Refuse annotated pictures that belong to no cube.

    Args:
        path: Where the annotations lie.
        pictures: Names of the pictures that have annotations.
        matched: Those that belong to a cube.
        cubes: All cubes.

    Raises:
        AnnotationError: One belongs to none.
    """
    lost = [name for key, name in pictures.items() if key not in matched]
    if not lost:
        return
    stems = sorted({file.stem for file, _ in cubes})
    near = nearest(Path(lost[0]).stem, stems)
    more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    raise AnnotationError(
        f"The annotations in '{path}': the annotated image '{lost[0]}'{more} matches no cube.",
        hint=(f"Did you mean '{near}'? " if near else "")
        + "An image is named after the file of its cube; take those without a cube out, or name their cubes too.",
        path=path,
    )


def _parts(name: str) -> tuple[str, ...]:
    """Return the folders and the file in a name, which may be a path of any system or an address."""
    # Label Studio's storage on disk: `/data/local-files/?d=folder/tray.png`.
    local = name.rpartition("?d=")[2] if "?d=" in name else name
    # An address has %20 for a blank.
    parts = [part for part in re.split(r"[/\\]", unquote(local)) if part not in {"", "."}]
    return tuple(parts) or ("",)


def _plain(name: str) -> set[str]:
    return {name, _without_ending(name)}


def _undecorated(name: str) -> set[str]:
    bare = _LABEL_STUDIO.sub("", name)
    return {*_plain(bare), _ROBOFLOW.sub("", _without_ending(bare))}


def _folded(name: str) -> set[str]:
    return {each.casefold() for each in _plain(name) | _undecorated(name)}


def _without_ending(name: str) -> str:
    return Path(name).stem if name else ""


def _names_of_cube(place: Place) -> set[str]:
    file, index = place
    stems = {file.name, file.stem}
    if file.suffix.lower() == ".hdr":  # scene.img.hdr lies beside scene.img
        stems.add(Path(file.stem).stem)
    stems |= {stem.replace(" ", "_") for stem in stems}  # as labelling tools upload them
    return {f"{stem}_{index}" for stem in stems} | (stems if index == 0 else set())


def _shared(some: Iterable[str], others: Iterable[str]) -> int:
    count = 0
    for one, other in zip(some, others, strict=False):
        if one != other:
            break
        count += 1
    return count


def _named(place: Place) -> str:
    return f"cube {place[1]} of '{place[0]}'"
