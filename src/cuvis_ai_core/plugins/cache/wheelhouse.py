"""Wheels that bundles brought: each under its own hash, and served only to whom a lock file names that hash for.

.wheels/<sha256>/<name of the file>
"""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from cuvis_ai_core.plugins.cache.store import Store, listed
from cuvis_ai_core.plugins.dependencies.distribution import normalised
from cuvis_ai_core.plugins.disk.altered_files import sha256_of


class Wheelhouse(NamedTuple):
    """The carried wheels of one plugin.

    Attributes:
        dependencies: Folder with those of its dependencies.
        builds: Folder with those that its build needs, or that of a dependency.
    """

    dependencies: Path
    builds: Path


def put_wheel(store: Store, wheel: Path) -> None:
    """Move a wheel, or a source, into the plugin cache; one with the same content stays."""
    place = store.carried / sha256_of(wheel) / wheel.name
    with store.guard():
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            os.replace(wheel, place)


def wheelhouse(
    store: Store, dependencies: Mapping[str, Sequence[str]], builds: Mapping[str, Sequence[str]], folder: Path
) -> Wheelhouse:
    """Have the carried wheels of some pins, and nothing else, in new folders, read and found to be what they are.

    Args:
        store: The plugin cache.
        dependencies: Hashes by pin.
        builds: Hashes by pin of what builds need.
        folder: Where to make the folders.
    """
    made = Wheelhouse(folder / "dependencies", folder / "builds")
    for place, pins in zip(made, (dependencies, builds), strict=True):
        place.mkdir(parents=True)
        for pin, hashes in pins.items():
            _fill(place, pin, hashes, store)
    return made


def _fill(place: Path, pin: str, hashes: Sequence[str], store: Store) -> None:
    for digest in (each.removeprefix("sha256:") for each in hashes if each.startswith("sha256:")):
        for file in listed(store.carried / digest):
            # Read again: the folder's name says the hash, and anybody may have changed the file since.
            if is_of(pin, file.name) and not file.is_symlink() and sha256_of(file) == digest:
                with suppress(FileExistsError):
                    _link(file, place / file.name)


def _link(file: Path, place: Path) -> None:
    try:
        # A hard link: a wheel of torch is some gigabytes, and installers only read it.
        os.link(file, place)
    except FileExistsError:
        raise
    except OSError:  # another disk, or one without links
        shutil.copyfile(file, place)


def is_of(pin: str, name: str) -> bool:
    """Tell whether a wheel or a source, by the name of its file, is of a pin."""
    wanted, _, version = pin.partition("==")
    wanted = wanted.partition(" @ ")[0]
    stem = re.sub(r"\.(whl|tar\.gz|zip)$", "", name)
    # A wheel's name has no '-' within a part (PEP 427); that of a source may.
    parts = stem.split("-") if name.endswith(".whl") else stem.rsplit("-", 1)
    return len(parts) > 1 and normalised(parts[0]) == wanted and (not version or _same(parts[1], version))


def _same(version: str, other: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        # By value: `1.0` and `1.0.0` are one version, and a local part (`+cu121`) has '_' in file names.
        return Version(version.replace("_", "-")) == Version(other)
    except InvalidVersion:
        return False
