"""Submodules: other repositories at the commits that a checkout names, recursively, as plain files in their places.

They become part of the checkout: what is hashed, locked and bundled is the whole, and no second repository is left.
Their Git objects go to those of the checkout, so that a bundle can prove what it carries.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from cuvis_ai_core._folder_removal import remove_tree
from cuvis_ai_core._redact import redact, without_credentials
from cuvis_ai_core.errors import ManifestError, SourceError
from cuvis_ai_core.plugins.git.fetch_commit import NoSuchReferenceError, check_out
from cuvis_ai_core.plugins.git.git_command import git
from cuvis_ai_core.plugins.manifest import field_checks

# Submodules may name each other in a circle, each at a commit of its own.
_MOST: Final = 100
"""Submodules of one plugin, those of submodules included."""

_SETTING: Final = re.compile(r"submodule\.(.*)\.(path|url|update) (.*)")
_LINK: Final = re.compile(r"160000 ([0-9a-f]{40,64}) 0\t(.*)")


_Get: TypeAlias = Callable[[str, str, Path, str], object]


class _Submodule(NamedTuple):
    path: str
    url: str
    commit: str


def add_submodules(url: str, folder: Path, left: list[int] | None = None, get: _Get = check_out) -> None:
    """Have the submodules of a checkout, and theirs, in their places.

    Args:
        url: Address of the repository.
        folder: The checkout.
        get: Makes a folder with a commit of a repository, as `check_out` does.
        left: How many more there may be, in a list that all levels share.

    Raises:
        SourceError: One cannot be had, or must not.
        StoreError: The disk is full.
        TimeLimitError: git took longer than it may.
    """
    left = [_MOST] if left is None else left
    found = list(_submodules(url, folder))
    left[0] -= len(found)
    if left[0] < 0:
        raise _refused(url, found[-1], f"is one too many: at most {_MOST} are fetched")
    for number, each in enumerate(found):
        place = folder / each.path
        # git makes an empty folder for each; a link in its place was CVE-2024-32002's way out.
        if place.is_symlink() or not place.is_dir() or not place.resolve().is_relative_to(folder.resolve()):
            raise _refused(url, each, "leads out of the checkout")
        work = folder.with_name(f"submodule-{left[0]}-{number}")
        try:
            _fetch(url, each, work, left, get)
        except SourceError as error:
            if "ubmodule '" not in error.message:
                error.message = f"Submodule '{each.path}' of {without_credentials(url)}: {error.message}"
            raise
        # Objects are called after their hash: what is there already is the same.
        _keep_objects(work / ".git/objects", folder / ".git/objects")
        remove_tree(work / ".git")
        place.rmdir()
        work.rename(place)


def _keep_objects(objects: Path, kept: Path) -> None:
    """Move Git objects to those of another repository."""
    for file in objects.rglob("*"):
        place = kept / file.relative_to(objects)
        # `info/packs` and `info/alternates` speak of their own repository, not of this one.
        if file.is_file() and file.parent.name != "info" and not place.exists():
            place.parent.mkdir(exist_ok=True)
            os.replace(file, place)


def _fetch(url: str, submodule: _Submodule, work: Path, left: list[int], get: _Get) -> None:
    try:
        field_checks.check_repo(submodule.url)
    except ManifestError as error:
        raise _refused(url, submodule, f"has an address that is not fetched; it {error.message}") from None
    try:
        get(submodule.url, submodule.commit, work, f"fetch commit {submodule.commit} of")
    except NoSuchReferenceError:
        raise _refused(url, submodule, f"is to be at commit {submodule.commit}, which is not there") from None
    add_submodules(submodule.url, work, left, get)


def _submodules(url: str, folder: Path) -> Iterator[_Submodule]:
    """Return what `.gitmodules` says that is to be fetched, and at which commit."""
    file = folder / ".gitmodules"
    # git refuses a .gitmodules that is a link, too.
    if not file.is_file() or file.is_symlink():
        return
    told = git(folder, "config", "--file", ".gitmodules", "--get-regexp", r"^submodule\..*\.(path|url|update)$").stdout
    known: dict[str, dict[str, str]] = {}
    for name, key, value in (match.groups() for line in told.splitlines() if (match := _SETTING.fullmatch(line))):
        known.setdefault(name, {})[key] = value
    paths = {each["path"]: each for each in known.values() if {"path", "url"} <= each.keys()}
    if not paths:
        return
    # Paths are the author's: a '*' or ':' in one would be a pattern to git.
    literal = [f":(literal){path}" for path in paths]
    listed = git(folder, "ls-files", "--stage", "--", *literal, settings=("core.quotePath=false",)).stdout
    for commit, path in (match.groups() for line in listed.splitlines() if (match := _LINK.fullmatch(line))):
        # git itself leaves such a submodule out.
        if path in paths and paths[path].get("update") != "none":
            yield _Submodule(path, _resolved(paths[path]["url"], url), commit)


def _resolved(address: str, url: str) -> str:
    """Return the address of a submodule; a relative one counts from that of its repository."""
    base, separator = url.rstrip("/"), "/"
    if not address.startswith(("./", "../")):
        return address
    while address.startswith(("./", "../")):
        up, address = address.startswith("../"), address.partition("/")[2]
        if up:
            # `git@host:group/repo` has a colon before its first part.
            separator = "/" if "/" in base else ":"
            base = base.rpartition(separator)[0]
    return f"{base}{separator}{address}"


def _refused(url: str, submodule: _Submodule, why: str) -> SourceError:
    address = without_credentials(url)
    return SourceError(
        f"{address}: the submodule '{submodule.path}' ({redact(submodule.url)}) {why}.",
        hint="Ask the author for a tag without it.",
        location=address,
    )
