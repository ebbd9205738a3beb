"""Whether the plugin cache holds what was put there, and the repositories still say the same: all of it, at leisure."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core.errors import CacheMismatchError, CuvisError, NotAllowedError, StoreError
from cuvis_ai_core.plugins.cache import altered_entries
from cuvis_ai_core.plugins.cache.checkout_entry import read_marker, refuse_altered
from cuvis_ai_core.plugins.cache.environment_entry import read_environment
from cuvis_ai_core.plugins.cache.housekeeping import entries
from cuvis_ai_core.plugins.cache.sources import (
    Source,
    cached_source,
    content_of,
    local_source,
)
from cuvis_ai_core.plugins.cache.store import Store, listed
from cuvis_ai_core.plugins.cache.target_entry import complete_target
from cuvis_ai_core.plugins.cache.unsettled_tags import NO_ANSWER
from cuvis_ai_core.plugins.git.git_command import require_git
from cuvis_ai_core.plugins.git.repository_tags import remote_commit
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin
from cuvis_ai_core.plugins.policy import policy

_NOT_ASKED: Final = (*NO_ANSWER, NotAllowedError)


class Finding(NamedTuple):
    """What was looked at, and what is wrong with it.

    Attributes:
        plugin: Name of the plugin.
        what: `tag` (in its repository), `checkout`, `target` or `environment`.
        where: The tag with its repository, or the folder.
        problem: What is wrong; None where nothing is.
    """

    plugin: str
    what: str
    where: str
    problem: CuvisError | None

    @property
    def differs(self) -> bool:
        """Whether it is not as it was; where a repository could not be asked, nobody knows."""
        return self.problem is not None and not isinstance(self.problem, _NOT_ASKED)


def verify_store(store: Store) -> Iterator[Finding]:
    """Verify all checkouts, their tags, and all target directories and environments in a cache.

    Raises:
        StoreError: The cache cannot be read.
    """
    contents = []
    for entry in entries(store):
        marker = read_marker(entry.path) if entry.kind == "checkout" else None
        if marker is not None:
            yield from _git(entry.plugin, marker["repo"], marker["tag"], Source(entry.path, marker["commit"]))
        # Through the folder above: one without a marker, or half of one, is found as well.
        elif entry.kind in ("target", "environment") and entry.path.parent not in contents:
            contents.append(entry.path.parent)
    for place in contents:
        yield from _installed(place)


def verify_plugin(name: str, declared: GitPlugin | LocalPlugin, store: Store) -> Iterator[Finding]:
    """Verify what a cache has of one plugin of a manifest; nothing is found where it has nothing.

    Raises:
        SourceError: The folder of the plugin's project is not there.
    """
    if isinstance(declared, LocalPlugin):
        source: Source | None = local_source(declared.path)
    else:
        source = cached_source(name, declared, store)
        if source is not None:
            yield from _git(name, declared.repo, declared.tag, source)
    if source is not None:
        content = content_of(declared, source)
        yield from _installed(store.targets(name, content))
        yield from _installed(store.environments(name, content))


def _git(name: str, url: str, tag: str, source: Source) -> Iterator[Finding]:
    where = f"{tag} of {without_credentials(url)}"
    commit = str(source.commit)
    yield Finding(name, "tag", where, _problem(lambda: _refuse_moved(name, url, tag, commit)))
    yield Finding(name, "checkout", str(source.folder), _problem(lambda: refuse_altered(name, source.folder, commit)))


def _installed(place: Path) -> Iterator[Finding]:
    """Verify what is installed of one content."""
    name, apart = place.name.partition("@")[0], place.parent.name == ".envs"
    for folder in listed(place):
        found = read_environment(folder) if apart else complete_target(folder)
        problem = (
            _incomplete(name, folder) if found is None else _problem(partial(altered_entries.refuse_altered, found))
        )
        yield Finding(name, "environment" if apart else "target", str(folder), problem)


def _incomplete(name: str, folder: Path) -> CuvisError:
    return CacheMismatchError(
        f"Tag mismatch in cache for plugin '{name}': {folder} lacks its marker or a module; it counts for nothing.",
        hint="The next load of the plugin builds it anew.",
        plugin=name,
        location=str(folder),
        path=folder,
    )


def _refuse_moved(name: str, url: str, tag: str, commit: str) -> None:
    allowed = policy()
    if allowed is not None:  # else its owner would learn of every look
        allowed.judge(url, name)
    require_git()
    now = remote_commit(url, tag)
    if now != commit:
        address = without_credentials(url)
        raise CacheMismatchError(
            f"Tag mismatch in cache for plugin '{name}': tag {tag} of {address} is at commit {now} now, "
            f"but was fetched at commit {commit}.",
            hint="Somebody moved the tag: ask the plugin's author why. To have what it names now, fetch it anew: "
            f'NodeRegistry.clear_plugin_cache("{name}").',
            plugin=name,
            location=address,
        )


def _problem(check: Callable[[], object]) -> CuvisError | None:
    try:
        check()
    except CuvisError as error:
        return error
    except OSError as error:
        return StoreError(f"It cannot be read: {error}", hint="Make the plugin cache readable.")
    return None
