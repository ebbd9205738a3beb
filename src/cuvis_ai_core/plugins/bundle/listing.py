"""What a bundle may hold, and under which names: whatever else is in one is refused.

bundle.json                 first: format, platform, and every file below with its size and hash
plugins.yaml plugins.lock   the manifest and its lock file
plugins/…                   local plugins that lie below the manifest
checkouts/<plugin>/…        files of a checkout, and of its .git what git needs to show it
wheels/….whl                dependencies, and what builds need; the sources of those that are built
"""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

from cuvis_ai_core.errors import BundleError

FORMAT: Final = 1

LISTING: Final = "bundle.json"

MAX_LISTING: Final = 64 * 2**20
"""Bytes that the listing may have: enough for some hundred thousand files."""

_GIT: Final = re.compile(
    r"HEAD|index|shallow|packed-refs|refs/(heads|tags)/[^/].*"
    r"|objects/(pack/pack-[0-9a-f]+\.(pack|idx|rev)|[0-9a-f]{2}/[0-9a-f]{38,62}|info/packs)"
)
"""What of a `.git` folder is carried; no configuration and no hooks, which would run programs."""

_WHEEL: Final = re.compile(r"[\w.+!-]+\.(whl|tar\.gz|zip)", re.ASCII)

_FORBIDDEN: Final = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


class ListedFile(NamedTuple):
    """One file in a bundle.

    Attributes:
        size: Its size in bytes.
        hash: Its SHA-256 in hexadecimal digits.
        executable: Whether it may be run.
        link: Where it points, if it is a symbolic link.
    """

    size: int
    hash: str
    executable: bool = False
    link: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return this as plain data."""
        data: dict[str, Any] = {"link": self.link} if self.link is not None else {"size": self.size, "hash": self.hash}
        return data | ({"executable": True} if self.executable else {})

    @classmethod
    def from_json(cls, name: str, data: object) -> "ListedFile":
        """Read one entry of a listing.

        Raises:
            BundleError: It is none.
        """
        match data:
            case {"link": str(link), **rest} if not rest:
                return cls(0, "", link=link)
            case {"size": int(size), "hash": str(digest), **rest} if size >= 0 and set(rest) <= {"executable"}:
                return cls(size, digest, executable=bool(rest.get("executable")))
        raise refused(f"lists {name!r} in a way that is not understood")


def refused(what: str) -> BundleError:
    """Return the error for a bundle that cannot be what `cuvis-ai plugins bundle` wrote."""
    return BundleError(
        f"The bundle {what}. Nothing was unpacked.",
        hint="Make it anew where it was made: cuvis-ai plugins bundle",
    )


def is_below_manifest(path: str) -> bool:
    """Tell whether a local plugin, by its path seen from the manifest, is carried: in a visible folder below it."""
    parts = path.split("/")
    return not any(part.startswith(".") or not part or _FORBIDDEN.search(part) for part in parts)


def is_git_file(name: str) -> bool:
    """Tell whether a file of a `.git` folder, by its name in it, is carried."""
    return _GIT.fullmatch(name) is not None


def check_names(files: Mapping[str, ListedFile], top: frozenset[str], interpreter: str) -> None:
    """Refuse a listing with a name that has no place in a bundle, or that leads out of it.

    Args:
        files: All files by their names.
        top: Names of the files at the top.
        interpreter: For what the bundle is: elsewhere than on Linux, case seldom counts in names.

    Raises:
        BundleError: There is such a name, or two that some file systems take for one.
    """
    fold = str if "linux" in interpreter else str.casefold
    seen: dict[str, str] = {}
    for name, carried in files.items():
        _check_name(name, top)
        if carried.link is not None:
            _check_link(name, carried.link)
        folded = fold(name)
        if folded in seen:
            raise refused(f"has both {seen[folded]!r} and {name!r}, which is one file where case does not count")
        seen[folded] = name
    for name in files:
        for parent in PurePosixPath(name).parents:
            if fold(parent.as_posix()) in seen:
                raise refused(f"has a file {seen[fold(parent.as_posix())]!r} and files below it")


def _check_name(name: str, top: frozenset[str]) -> None:
    parts = name.split("/")
    for part in parts:
        if part in {"", ".", ".."} or _FORBIDDEN.search(part) or _RESERVED.fullmatch(part) or part[-1] in " .":
            raise refused(f"has a file with a name that is not allowed: {name!r}")
    match parts:
        case [single] if single in top:
            return
        case ["wheels", wheel] if _WHEEL.fullmatch(wheel):
            return
        case ["plugins", _, _, *_] if ".git" not in map(str.casefold, parts):
            return
        case ["checkouts", plugin, ".git", *below] if plugin.isidentifier() and _GIT.fullmatch("/".join(below)):
            return
        case ["checkouts", plugin, _, *_] if plugin.isidentifier() and ".git" not in map(str.casefold, parts):
            return
    raise refused(f"has a file that has no place in it: {name!r}")


def _check_link(name: str, link: str) -> None:
    """Refuse a link that leads out of the checkout, or out of the folder of the local plugin, in which it lies."""
    depth = len(PurePosixPath(name).parts) - 3
    if name.split("/")[2:3] == [".git"] or depth < 0 or link.startswith("/") or _FORBIDDEN.search(link) or not link:
        raise refused(f"has a link that is not allowed: {name!r} to {link!r}")
    for part in link.split("/"):
        depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
        if depth < 0:
            raise refused(f"has a link that leads out: {name!r} to {link!r}")
