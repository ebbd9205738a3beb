"""From a Git tag or a local path to a folder with the plugin's code."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from cuvis_ai_core._files import read_json, write_json
from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core.errors import CacheMismatchError, LocalPathError
from cuvis_ai_core.plugins.host import interpreter
from cuvis_ai_core.plugins.manifest import GitPlugin, LocalPlugin
from cuvis_ai_core.plugins.store import Store, short_hash

MARKER: Final = "cuvis-checkout.json"
"""Completion marker of a checkout; it lies in `.git/`."""


class Source(NamedTuple):
    """The code of a plugin on disk.

    Attributes:
        folder: The checkout, or the local path.
        commit: Commit of the tag; None for a local path.
    """

    folder: Path
    commit: str | None = None


def local_source(path: Path) -> Source:
    """Return the source at a local path.

    Raises:
        LocalPathError: Nothing is there, or it is no folder.
    """
    if not path.is_dir():
        what = "is a file, not a folder" if path.exists() else "does not exist"
        raise LocalPathError(
            f"The path {path} {what}.",
            hint="Give the folder of the plugin's project; a relative path counts from the manifest's folder.",
            location=str(path),
        )
    return Source(path)


def git_source(name: str, url: str, tag: str, store: Store, announce: Callable[[str], None]) -> Source:
    """Return the checkout of a tag, from the store or fetched into it.

    Args:
        name: Name of the plugin in its manifest.
        url: Address of the repository; credentials in it are used, never stored.
        tag: Name of the tag.
        store: Where checkouts lie.
        announce: Called with the address before the network is used.

    Raises:
        SourceError: The tag cannot be had, or its checkout in the store was altered.
        ToolNotFoundError: git is not installed.
        TimeLimitError: git took longer than it may.
        StoreError: The store cannot be written.
    """
    wanted = _identity(name, url, tag)
    places = store.checkouts(name, tag, wanted["repo"])
    found = _published(places, wanted)
    if found is not None:
        return found
    with store.lock(places[0].name):
        found = _published(places, wanted)
        if found is None:
            announce(f"{wanted['repo']} {tag}")
            with store.workspace() as folder:
                # What fetching needs is imported when something has to be fetched.
                from cuvis_ai_core.plugins.fetch import fetch

                commit = fetch(url, tag, folder / "checkout")
                write_json(folder / "checkout" / ".git" / MARKER, {**wanted, "commit": commit})
                # The plain place belongs to whoever came first; another repository gets a name of its own.
                taken = _read_marker(places[0]) is not None
                place = places[1] if taken else places[0]
                store.publish(folder / "checkout", place)
            found = Source(place, commit)
    return found


def cached_commit(name: str, declared: GitPlugin, store: Store) -> str | None:
    """Return the commit of a plugin's checkout in the store, or None where it has not been fetched."""
    wanted = _identity(name, declared.repo, declared.tag)
    for place in store.checkouts(name, declared.tag, wanted["repo"]):
        marker = _read_marker(place)
        if marker is not None and wanted.items() <= marker.items():
            return str(marker["commit"])
    return None


def _identity(name: str, url: str, tag: str) -> dict[str, str]:
    return {"name": name, "repo": without_credentials(url), "tag": tag}


def _published(places: tuple[Path, Path], wanted: Mapping[str, str]) -> Source | None:
    for place in places:
        marker = _read_marker(place)
        if marker is not None and wanted.items() <= marker.items():
            _check_head(place, marker)
            return Source(place, marker["commit"])
    return None


def _read_marker(place: Path) -> dict[str, Any] | None:
    marker = read_json(place / ".git" / MARKER)
    return marker if marker is not None and isinstance(marker.get("commit"), str) else None


def _check_head(place: Path, marker: Mapping[str, str]) -> None:
    try:
        head = (place / ".git" / "HEAD").read_text(encoding="utf-8").strip()
    except OSError:
        head = "nothing"
    if head != marker["commit"]:
        raise CacheMismatchError(
            f"Tag mismatch in cache for plugin '{marker['name']}': {place} is at {head}, "
            f"but tag {marker['tag']} was fetched at commit {marker['commit']}.",
            hint=f'Somebody changed the checkout. Fetch it anew: NodeRegistry.clear_plugin_cache("{marker["name"]}").',
            plugin=marker["name"],
            location=marker["repo"],
            path=place,
        )


def project_folder(declared: GitPlugin | LocalPlugin, source: Source) -> Path:
    """Return the folder of the plugin's project in its source."""
    return source.folder / (declared.subdirectory or ".")


def content_of(declared: GitPlugin | LocalPlugin, source: Source) -> str:
    """Return the identity of what is installed: commit, or path with its project file; extras; interpreter."""
    what = source.commit or str(source.folder)
    if source.commit is None:
        project = project_folder(declared, source) / "pyproject.toml"
        what += project.read_text(errors="replace") if project.is_file() else ""
    return short_hash(what, declared.subdirectory or "", *declared.extras, interpreter())
