"""Moving the plugins of a manifest to newer tags, on purpose."""

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from cuvis_ai_core._atomic_writes import write_atomic
from cuvis_ai_core.errors import CuvisError, ManifestError
from cuvis_ai_core.plugins.cache import policy_checks
from cuvis_ai_core.plugins.cache.housekeeping import entries
from cuvis_ai_core.plugins.cache.sources import cached_source
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.cancellable_threads import Crew
from cuvis_ai_core.plugins.dependencies.search_path import interpreter
from cuvis_ai_core.plugins.git.git_command import require_git
from cuvis_ai_core.plugins.git.repository_tags import remote_tags
from cuvis_ai_core.plugins.lock.locker import Locker
from cuvis_ai_core.plugins.lock.lockfile import Declared, Lock, read_lock, write_lock
from cuvis_ai_core.plugins.lock.manifest_editing import with_tags
from cuvis_ai_core.plugins.lock.newest_tag import newest
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, read_manifest


class Change(NamedTuple):
    """What an update changes.

    Attributes:
        plugin: Name of the plugin.
        what: `tag`, `commit`, or the name of a dependency.
        before: What it was; empty where it was not there.
        after: What it becomes; empty where it goes.
    """

    plugin: str
    what: str
    before: str
    after: str


class Update(NamedTuple):
    """What an update found, not yet written.

    Attributes:
        manifest: The manifest.
        text: Its text with the new tags; None where no tag changes.
        lock: Its new lock file.
        changes: What changes, in the order of the manifest.
    """

    manifest: Path
    text: str | None
    lock: Lock
    changes: list[Change]

    def write(self) -> None:
        """Write lock file and manifest, each of them wholly or not at all.

        Raises:
            LockError: The lock file cannot be written; nothing changed.
            ManifestError: The manifest cannot be written; it differs from its lock file now.
        """
        # The lock first: a manifest ahead of its lock file is an error at the next load, which says what to do.
        write_lock(self.lock)
        if self.text is None:
            return
        try:
            write_atomic(self.manifest.resolve(), self.text)
        except OSError as error:
            raise ManifestError(
                f"{self.manifest} cannot be written: {error.strerror or error}; its lock file has the new tags.",
                hint="Make it writable and update again, or lock it as it is: cuvis-ai plugins lock",
                path=self.manifest,
            ) from error


def find_update(manifest: Path, names: Collection[str], locker: Locker, store: Store, *, dry_run: bool) -> Update:
    """Look for newer tags, and lock the manifest as it would be with them.

    Args:
        manifest: The manifest.
        names: Plugins to move; none means all.
        locker: Makes the lock file.
        store: The plugin cache.
        dry_run: Whether to install nothing.

    Raises:
        ManifestError: There is no plugin of such a name, or a tag cannot be changed where it stands.
        SourceError: A repository does not answer.
        PreparationError: The plugins cannot be locked with their new tags.
    """
    plugins = read_manifest(manifest)
    moving = plugins.named(names) if names else plugins.plugins
    known = _tags(moving)
    tags = {name: tag for name, (tag, _) in known.items() if tag != _tag(moving[name])}
    text = with_tags(manifest, tags) if tags else None
    moved = {
        name: declared.model_copy(update={"tag": tags[name]}) if name in tags else declared
        for name, declared in plugins.plugins.items()
    }
    if not dry_run:
        _forget_moved_tags(known, moved, store)
    old = read_lock(manifest)
    found = locker.lock(manifest, moved, moving=moving, dry_run=dry_run)
    changes = [Change(name, "tag", _tag(moving[name]), tag) for name, tag in tags.items()]
    changes += _changes(old, found.lock)
    order = list(plugins.plugins)
    return Update(manifest, text, found.lock, sorted(changes, key=lambda change: order.index(change.plugin)))


def _tags(plugins: Mapping[str, Declared]) -> dict[str, tuple[str, str | None]]:
    """Ask all repositories at once, and return for each plugin the newest tag and its commit."""
    wanted = {name: declared for name, declared in plugins.items() if isinstance(declared, GitPlugin)}
    found: dict[str, tuple[str, str | None]] = {}
    errors: dict[str, CuvisError] = {}

    def ask(name: str, declared: GitPlugin) -> None:
        try:
            policy_checks.judged(name, declared, own_process=True)
            commits = remote_tags(declared.repo)
        except CuvisError as error:
            errors[name] = error
        else:
            tag = newest(commits, declared.tag)
            found[name] = tag, commits.get(tag)

    if wanted:
        require_git()
    # At once: each waits for its host, and all of them before anything is changed.
    Crew().run([partial(ask, name, declared) for name, declared in wanted.items()])
    # In the manifest's order, not in that of the answers: the error is the same each time.
    for name in wanted:
        if name in errors:
            raise errors[name]
    return found


def _tag(declared: Declared) -> str:
    return declared.tag if isinstance(declared, GitPlugin) else ""


def _forget_moved_tags(
    known: Mapping[str, tuple[str, str | None]], plugins: Mapping[str, Declared], store: Store
) -> None:
    """Remove checkouts of tags that name another commit now, so that they are fetched anew."""
    for name, (_, commit) in known.items():
        declared = plugins[name]
        cached = cached_source(name, declared, store) if isinstance(declared, GitPlugin) else None
        if cached is not None and commit is not None and cached.commit != commit:
            for entry in entries(store, name):
                if entry.path == cached.folder:
                    entry.remove()


def _changes(old: Lock | None, new: Lock) -> Iterator[Change]:
    for name, entry in new.plugins.items():
        before = old.plugins.get(name, {}) if old else {}
        if before.get("commit") != entry.get("commit"):
            yield Change(name, "commit", before.get("commit", "")[:12], entry.get("commit", "")[:12])
        had, has = _versions(old, name), _versions(new, name)
        for package in sorted(had.keys() | has.keys()):
            if had.get(package) != has.get(package):
                yield Change(name, package, had.get(package, ""), has.get(package, ""))


def _versions(lock: Lock | None, plugin: str) -> dict[str, str]:
    environment = lock.environments.get(interpreter()) if lock else None
    pins = environment.dependencies.get(plugin, ()) if environment else ()
    separated = (pin.partition(" @ " if " @ " in pin else "==") for pin in pins)
    return {name: version for name, _, version in separated}
