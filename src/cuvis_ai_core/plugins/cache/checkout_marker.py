"""The completion marker of a checkout: what it is of, and how its files were when it was whole."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core._atomic_writes import write_json
from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core._untrusted_files import read_json
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
