"""What a bundle may hold, and under which names: whatever else is in one is refused.

bundle.json                 first: format, platform, and the tag object of each plugin from Git
plugins.yaml plugins.lock   the manifest and its lock file, whatever they were called
plugins/…                   local plugins that lie below the manifest
packs/<plugin>.pack         the Git objects of a checkout: its commit, its tag, and the commits of its submodules
large/<sha256>              large files (LFS), for which the repository has only pointers
wheels/….whl                dependencies, and what builds need; the sources of those that are built

There are no links in it.
"""

import re
import sys
from pathlib import PurePosixPath
from typing import Final

from cuvis_ai_core.errors import BundleError

FORMAT: Final = 2

HEADER: Final = "bundle.json"
MANIFEST: Final = "plugins.yaml"
LOCK: Final = "plugins.lock"

_WHEEL: Final = re.compile(r"\w[\w.+!-]*\.(whl|tar\.gz|zip)", re.ASCII)
# What Windows forbids, and control signs, with which a name could steer a terminal.
_FORBIDDEN: Final = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"|?*\\]')
# Windows: 'nul.txt' is the device as well.
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def refused(what: str) -> BundleError:
    """Return the error for a bundle that cannot be what `cuvis-ai plugins bundle` wrote."""
    return BundleError(
        f"The bundle {what}. Nothing was unpacked.",
        hint="Make it anew where it was made: cuvis-ai plugins bundle MANIFEST -o FILE",
    )


def is_below_manifest(path: str) -> bool:
    """Tell whether a local plugin, by its path seen from the manifest, is carried: in a visible folder below it."""
    return all(not part.startswith(".") and is_plain(part) for part in path.split("/"))


def is_plain(part: str) -> bool:
    """Tell whether one part of a path is a name on every system, and nothing else."""
    allowed = part not in {"", ".", ".."} and not _FORBIDDEN.search(part) and not _RESERVED.fullmatch(part)
    # Windows drops these from the end of a name, so that two names are one.
    return allowed and part[-1] not in " ."


class Names:
    """The names in a bundle, checked one by one."""

    def __init__(self) -> None:
        # Elsewhere than on Linux, case seldom counts in names.
        self._fold = str if sys.platform == "linux" else str.casefold
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def add(self, name: str) -> None:
        """Accept a name.

        Raises:
            BundleError: It has no place in a bundle, leads out of it, or was there already.
        """
        _check(name)
        folded = self._fold(name)
        parents = {parent.as_posix() for parent in PurePosixPath(folded).parents}
        if folded in self._files:
            raise refused(f"has the file {name!r} twice")
        if folded in self._folders or not self._files.isdisjoint(parents):
            raise refused(f"has a file {name!r} where it has a folder, or in a file")
        self._files.add(folded)
        self._folders |= parents


def _check(name: str) -> None:
    parts = name.split("/")
    if not all(map(is_plain, parts)):
        raise refused(f"has a file with a name that is not allowed: {name!r}")
    match parts:
        case [single] if single in {MANIFEST, LOCK}:
            return
        case ["wheels", wheel] if _WHEEL.fullmatch(wheel):
            return
        case ["packs", pack] if pack.endswith(".pack") and pack.removesuffix(".pack").isidentifier():
            return
        case ["large", digest] if re.fullmatch(r"[0-9a-f]{64}", digest):
            return
        # A folder `.git` would be a repository, whose configuration names programs that git runs.
        case ["plugins", _, _, *_] if ".git" not in map(str.casefold, parts):
            return
    raise refused(f"has a file that has no place in it: {name!r}")
