"""A checkout in the plugin cache: its completion marker, and whether it is still what was fetched."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core._atomic_writes import write_json
from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core._untrusted_files import read_json
from cuvis_ai_core.errors import CacheMismatchError
from cuvis_ai_core.plugins.cache.store import MARKER
from cuvis_ai_core.plugins.disk import altered_files

UNSETTLED: Final = "told_by_bundle_alone"
"""Key of a marker where nobody but a bundle has said so far that this tag is this commit."""


def identity(name: str, url: str, tag: str) -> dict[str, str]:
    """Return the keys of a marker that say what a checkout is of.

    Args:
        name: Name of the plugin in its manifest.
        url: Address of the repository; credentials in it are not kept.
        tag: Name of the tag.
    """
    return {"name": name, "repo": without_credentials(url), "tag": tag}


def complete(checkout: Path, commit: str, wanted: Mapping[str, str], *, settled: bool = True) -> dict[str, Any]:
    """Look at all files of a new checkout, write its marker, and return that.

    Args:
        checkout: The checkout, in a temporary folder.
        commit: The commit that its tag names.
        wanted: What it is of (see `identity`).
        settled: Whether somebody else than who brought the checkout says so.

    Raises:
        OSError: It cannot be written.
    """
    files = altered_files.checkout_files(checkout)
    marker: dict[str, Any] = {
        **wanted,
        "commit": commit,
        "content": altered_files.checkout_digest(checkout, files),
        "watched": altered_files.watch(checkout, files),
    }
    if not settled:
        marker[UNSETTLED] = True
    # In `.git`, so that the tree has nothing in it that its commit has not.
    write_json(checkout / ".git" / MARKER, marker)
    return marker


def read_marker(place: Path) -> dict[str, Any] | None:
    """Return the completion marker of a checkout; None where there is no whole one."""
    marker = read_json(place / ".git" / MARKER)
    whole = (
        marker is not None
        and all(isinstance(marker.get(key), str) for key in ("name", "repo", "tag", "commit", "content"))
        and isinstance(marker.get("watched"), dict)
    )
    return marker if whole else None


def check_checkout(place: Path, marker: Mapping[str, Any], *, write: bool) -> None:
    """Look whether a checkout is at its commit and has the files that were fetched; all are read where one may differ.

    Args:
        place: The checkout.
        marker: Its completion marker.
        write: Whether the marker may be written anew, where its files have other times.

    Raises:
        CacheMismatchError: It is another commit, or its files were altered.
    """
    _check_head(place, marker)
    _check_files(place, marker, write=write)


def refuse_altered(name: str, folder: Path, commit: str) -> None:
    """Read all files of a checkout, and raise if they are not what was fetched.

    Raises:
        CacheMismatchError: Files of the checkout were changed, added or removed.
    """
    unknown = {"name": name, "repo": "", "tag": "", "commit": commit, "content": ""}
    marker = read_marker(folder) or unknown
    _check_head(folder, marker)
    _check_content(folder, marker)


def _check_head(place: Path, marker: Mapping[str, Any]) -> None:
    try:
        # Read, not asked of git: a process costs some milliseconds, and its configuration could be somebody's.
        head = (place / ".git" / "HEAD").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        head = "nothing"
    if head != marker["commit"]:
        raise mismatch(
            place, marker, f"{place} is at {head}, but tag {marker['tag']} was fetched at commit {marker['commit']}"
        )


def _check_files(place: Path, marker: Mapping[str, Any], *, write: bool) -> None:
    """Look at some files; where one seems to have changed, read all, for a copy of a cache has other times."""
    if altered_files.looks_unchanged(place, marker["watched"]):
        return
    _check_content(place, marker)
    if not write:
        return
    with suppress(OSError):  # so that the next look is cheap again
        files = altered_files.checkout_files(place)
        write_json(place / ".git" / MARKER, {**marker, "watched": altered_files.watch(place, files)})


def _check_content(place: Path, marker: Mapping[str, Any]) -> None:
    if marker["content"] != altered_files.checkout_digest(place, altered_files.checkout_files(place)):
        raise mismatch(place, marker, f"files in {place} were changed, added or removed")


def mismatch(place: Path, marker: Mapping[str, Any], what: str) -> CacheMismatchError:
    """Return the error for a checkout that is not what was fetched."""
    name = str(marker["name"])
    return CacheMismatchError(
        f"Tag mismatch in cache for plugin '{name}': {what}.",
        hint=f'Somebody changed the checkout. Fetch it anew: NodeRegistry.clear_plugin_cache("{name}").',
        plugin=name,
        location=marker["repo"],
        path=place,
    )
