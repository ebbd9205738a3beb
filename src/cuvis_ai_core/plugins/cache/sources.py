"""From a Git tag or a local path to a folder with the plugin's code."""

import logging
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core.errors import (
    LocalPathError,
    SourceError,
)
from cuvis_ai_core.plugins.cache import altered_entries
from cuvis_ai_core.plugins.cache.checkout_entry import (
    UNSETTLED,
    check_checkout,
    complete,
    identity,
    mismatch,
    read_marker,
)
from cuvis_ai_core.plugins.cache.store import Store, leads_out, long_hash, short_hash
from cuvis_ai_core.plugins.dependencies.search_path import interpreter
from cuvis_ai_core.plugins.disk.altered_files import PROJECT_FILES
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.cache.prefetch import EarlyFetch

_VARIABLE: Final = r"\$\w|\$\{|%\w+%"

logger = logging.getLogger(__name__)


class Source(NamedTuple):
    """The code of a plugin on disk.

    Attributes:
        folder: The checkout, or the local path.
        commit: Commit of the tag; None for a local path.
        content: Hash of all files of the checkout; None for a local path.
        unsettled: Address and tag, where nobody but a bundle has said so far that this tag is this commit.
    """

    folder: Path
    commit: str | None = None
    content: str | None = None
    unsettled: tuple[str, str] | None = None


def title_of(name: str, source: Source) -> str:
    """Return what a plugin's modules are called after: its checkout, or its name and a hash of its path."""
    # Two local folders may go by one name, in one manifest today and in another tomorrow.
    return f"{name}@{short_hash(str(source.folder))}" if source.commit is None else source.folder.name


def local_source(path: Path) -> Source:
    """Return the source at a local path.

    Raises:
        LocalPathError: Nothing is there, or it is no folder.
    """
    if not path.is_dir():
        what = "is a file, not a folder" if path.exists() else "does not exist"
        if re.search(_VARIABLE, str(path)):
            what = f"{what}: variables of the environment mean nothing in a path"
        raise LocalPathError(
            f"The path {path} {what}.",
            hint="Give the folder of the plugin's project. A relative path counts from the manifest's folder, "
            "in a call of load_plugin from the working directory.",
            location=str(path),
        )
    return Source(path)


def git_source(
    name: str,
    url: str,
    tag: str,
    store: Store,
    announce: Callable[[str], None],
    meanwhile: Callable[[], object] = lambda: None,
    early: "EarlyFetch | None" = None,
) -> Source:
    """Return the checkout of a tag, from the store or fetched into it.

    Args:
        name: Name of the plugin in its manifest.
        url: Address of the repository; credentials in it are used, never stored.
        tag: Name of the tag.
        store: Where checkouts lie.
        announce: Called with the address before the network is waited for.
        meanwhile: What to do while git waits for the network.
        early: A fetch that began already, of this or of something else.

    Raises:
        SourceError: The tag cannot be had, or its checkout in the store was altered.
        ToolNotFoundError: git is not installed.
        TimeLimitError: git took longer than it may.
        StoreError: The store cannot be written.
    """
    wanted = identity(name, url, tag)
    places = store.checkouts(name, tag, wanted["repo"])
    # Without a lock: a warm load waits for nobody.
    found = _found(places, wanted, store)
    if found is not None:
        return found
    # Begun for another plugin, or for an entry that reads otherwise once it is checked.
    if early is not None and early.asked != (name, url, tag):
        early = None
    with early.holding() if early is not None else store.lock(places[0].name, announce):
        found = _published(places, wanted)
        if found is None:
            announce(f"{wanted['repo']} {tag}")
            found = _fetched(url, places, wanted, store, meanwhile, early)
        store.use(found.folder, locked=True)
    return found


def _fetched(
    url: str,
    places: tuple[Path, Path],
    wanted: Mapping[str, str],
    store: Store,
    meanwhile: Callable[[], object],
    early: "EarlyFetch | None",
) -> Source:
    # What fetching needs is imported when something has to be fetched.
    from cuvis_ai_core.plugins.git.git_command import require_git
    from cuvis_ai_core.plugins.git.repository_tags import fetch

    require_git()
    with store.workspace() as folder:
        checkout = folder / "checkout"
        if early:
            marker = early.take(checkout, meanwhile)
        else:
            marker = complete(checkout, fetch(url, wanted["tag"], checkout, meanwhile), wanted)
        return _publish(checkout, marker, places, store)


def _publish(checkout: Path, marker: Mapping[str, Any], places: tuple[Path, Path], store: Store) -> Source:
    # The plain place belongs to whoever came first; another repository gets a name of its own.
    place = places[1] if read_marker(places[0]) is not None else places[0]
    store.publish(checkout, place)
    return _source(place, marker)


def put_checkout(name: str, declared: GitPlugin, checkout: Path, commit: str, store: Store, *, settled: bool) -> None:
    """Move a checkout that came some other way than from its repository into the store, unless it is there.

    Args:
        name: Name of the plugin in its manifest.
        declared: Its entry there.
        checkout: The checkout, on the file system of the store.
        commit: The commit that its tag names.
        store: The plugin cache.
        settled: Whether somebody else than who brought the checkout says so.

    Raises:
        CacheMismatchError: What is there was altered.
        StoreError: The store cannot be written.
    """
    wanted = identity(name, declared.repo, declared.tag)
    places = store.checkouts(name, declared.tag, wanted["repo"])
    with store.lock(places[0].name):
        # Again, with the lock: who held it before may have fetched just this.
        if _published(places, wanted) is None:
            _publish(checkout, complete(checkout, commit, wanted, settled=settled), places, store)


def usable_source(name: str, declared: GitPlugin, store: Store) -> Source | None:
    """Return a plugin's checkout in the store, counted as in use from now on, or None where it has to be fetched.

    Raises:
        CacheMismatchError: It was altered.
    """
    wanted = identity(name, declared.repo, declared.tag)
    return _found(store.checkouts(name, declared.tag, wanted["repo"]), wanted, store)


def _found(places: tuple[Path, Path], wanted: Mapping[str, str], store: Store) -> Source | None:
    """Return a checkout of this store, counted as in use, or of the one that others filled."""
    found = _published(places, wanted)
    if found is not None and store.use(found.folder):
        return found
    shared = store.shared
    if shared is not None:
        shared.refuse_foreign()
        places = shared.checkouts(wanted["name"], wanted["tag"], wanted["repo"])
        found = _published(places, wanted, shared)
        return found if found is not None and shared.use(found.folder) else None
    return None


def cached_source(name: str, declared: GitPlugin, store: Store) -> Source | None:
    """Return a plugin's checkout in the store as it was recorded, or None where it has not been fetched."""
    wanted = identity(name, declared.repo, declared.tag)
    stores = [each for each in (store, store.shared) if each is not None]
    for place in (place for each in stores for place in each.checkouts(name, declared.tag, wanted["repo"])):
        marker = read_marker(place)
        if marker is not None and wanted.items() <= marker.items():
            return _source(place, marker)
    return None


def _published(places: tuple[Path, Path], wanted: Mapping[str, str], shared: Store | None = None) -> Source | None:
    for place in places:
        marker = read_marker(place)
        if marker is not None and wanted.items() <= marker.items():
            if leads_out(place, place.parent):
                raise mismatch(place, marker, f"{place} is a link that leads out of the plugin cache")
            return altered_entries.unless_removed(place, partial(_checked, place, marker, write=shared is None))
    return None


def _checked(place: Path, marker: Mapping[str, Any], *, write: bool) -> Source:
    check_checkout(place, marker, write=write)
    return _source(place, marker)


def _source(place: Path, marker: Mapping[str, Any]) -> Source:
    unsettled = (marker["repo"], marker["tag"]) if marker.get(UNSETTLED) else None
    return Source(place, marker["commit"], marker["content"], unsettled)


def project_folder(declared: GitPlugin | LocalPlugin, source: Source) -> Path:
    """Return the folder of the plugin's project in its source.

    Raises:
        LocalPathError: The subdirectory is not there, in a local path.
        SourceError: The subdirectory is not there, or leads out of the checkout.
    """
    folder = source.folder / (declared.subdirectory or ".")
    git = isinstance(declared, GitPlugin)
    where = f"{without_credentials(declared.repo)} {declared.tag}" if isinstance(declared, GitPlugin) else source.folder
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
    elif git and not folder.resolve().is_relative_to(source.folder.resolve()):
        what = "is a link that leads out of the checkout"
    else:
        # A link in a folder may lead elsewhere the next moment: what was judged is what is used.
        return folder if git else folder.resolve()
    offered = ", ".join(sorted(projects(source.folder))) or "none"
    raise (SourceError if git else LocalPathError)(
        f"The subdirectory '{declared.subdirectory}' of {where} {what}.",
        hint=f"Correct 'subdirectory' in the manifest; folders with a pyproject.toml there: {offered}.",
        location=str(where),
    )


def projects(folder: Path) -> set[str]:
    """Return the folders below a folder, at most two levels down, that hold a project file."""
    files = (file for pattern in ("*/pyproject.toml", "*/*/pyproject.toml") for file in folder.glob(pattern))
    return {file.parent.relative_to(folder).as_posix() for file in files}


def content_of(declared: GitPlugin | LocalPlugin, source: Source) -> str:
    """Return the identity of what is installed: repository, commit and tag, or path and project files, and options.

    Raises:
        SourceError: The subdirectory is not there, or leads out of the checkout.
    """
    folder = project_folder(declared, source)
    # The interpreter too: bytecode and compiled wheels are of one version and build.
    options = (declared.subdirectory or "", *declared.extras, interpreter())
    if isinstance(declared, GitPlugin):
        # Builds are told the version that the tag states: two tags of one commit are two contents.
        return long_hash(without_credentials(declared.repo), str(source.commit), declared.tag, *options)
    files = (folder / name for name in PROJECT_FILES)
    # By content, not by time: an edit that is taken back leads to the folder that is there.
    text = "".join(file.read_text(errors="replace") for file in files if file.is_file())
    # Contents that differ only in what follows the dot replace each other.
    return f"{long_hash(str(source.folder), *options)}.{short_hash(text)}"
