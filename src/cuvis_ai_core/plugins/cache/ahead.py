"""A fetch that begins early: git waits for the network while what checks and installs a plugin is being imported.

Only of an entry that is plain: its keys are few and break no rule, as `manifest.rules` says that the model applies too;
there is no policy, or one that surely allows its repository; nothing of it is in the cache, and nobody else is fetching
it. All others are fetched later.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from pathlib import Path
from threading import Thread
from typing import Final

from cuvis_ai_core._process import Programs
from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core.errors import CuvisError, ManifestError
from cuvis_ai_core.plugins.cache.fetch import fetch
from cuvis_ai_core.plugins.cache.git import require_git
from cuvis_ai_core.plugins.cache.offline import is_offline
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.manifest import rules
from cuvis_ai_core.plugins.policy.finding import none_is_there
from cuvis_ai_core.plugins.policy.plainly import surely_allows

_ISOLATIONS: Final = ("scoped", "process", "auto")


class _ElsewhereError(Exception):
    """Somebody else fetches the same, or has fetched it."""


class EarlyFetch:
    """One tag of a repository on its way into a temporary folder; nothing is left of what nobody took.

    It holds the lock of the checkout, so it is made, used and closed in one thread.

    Args:
        url: Address of the repository.
        tag: Name of the tag.
        places: Where the checkout may come to lie.
        store: The plugin cache.

    Raises:
        _ElsewhereError: It is there already, or somebody else is at it.
        StoreError: The cache cannot be written.
    """

    def __init__(self, url: str, tag: str, places: Sequence[Path], store: Store) -> None:
        self.asked = (url, tag)
        self._lock, self._left = ExitStack(), ExitStack()
        with ExitStack() as undo:
            undo.enter_context(self._lock)
            self._lock.enter_context(store.lock(places[0].name, _give_way))
            if any(place.exists() for place in places):
                raise _ElsewhereError
            self._folder = self._left.enter_context(store.workspace()) / "checkout"
            undo.pop_all()
        self._commit = ""
        self._error: BaseException | None = None
        with Programs.together() as self._programs:
            self._thread = Thread(target=copy_context().run, args=(self._fetch,), daemon=True)
        self._thread.start()

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Hold the lock of the checkout, which ends with this."""
        with self._lock:
            yield

    def take(self, checkout: Path, meanwhile: Callable[[], object]) -> str:
        """Move what was fetched to a folder, and return its commit.

        Args:
            checkout: Where it is to be, on the same file system.
            meanwhile: What to do before the end is waited for.

        Raises:
            SourceError: As `fetch` does, and its other errors.
        """
        meanwhile()
        self._thread.join()
        if self._error is not None:
            raise self._error
        os.replace(self._folder, checkout)  # noqa: PTH105 - as the store does
        return self._commit

    def close(self) -> None:
        """End git if it still runs, and remove what is left."""
        self._programs.end()
        self._thread.join()
        self._left.close()
        self._lock.close()

    def _fetch(self) -> None:
        try:
            require_git()
            self._commit = fetch(*self.asked, self._folder)
        except BaseException as error:  # noqa: BLE001 - whoever takes it gets it
            self._error = error


@contextmanager
def fetching_early(name: str, entry: object, store: Store) -> Iterator[EarlyFetch | None]:
    """Begin to fetch the code of a plugin, if it is plain that it is going to be fetched.

    Args:
        name: Name of the plugin.
        entry: Its entry as it was given, which nobody has checked yet.
        store: The plugin cache.
    """
    begun = _begin(name, entry, store)
    try:
        yield begun
    finally:
        if begun is not None:
            begun.close()


def _begin(name: str, entry: object, store: Store) -> EarlyFetch | None:
    if is_offline() or store.shared is not None:
        return None
    try:
        wanted = _wanted(name, entry)
        if wanted is None:
            return None
        url, tag = wanted
        if not (none_is_there() or surely_allows(url)):
            return None
        return EarlyFetch(url, tag, store.checkouts(name, tag, without_credentials(url)), store)
    except (CuvisError, OSError, _ElsewhereError):  # whoever loads it says so, or finds it
        return None


def _give_way(_: str) -> None:
    raise _ElsewhereError


def _wanted(name: str, entry: object) -> tuple[str, str] | None:
    """Return address and tag of an entry that breaks no rule; None for what only the model can tell."""
    if not isinstance(entry, Mapping) or not {"repo", "tag", "provides"} <= entry.keys():
        return None
    repo, tag, provides = entry["repo"], entry["tag"], entry["provides"]
    usual = {"isolation": _ISOLATIONS}
    if any(entry[key] not in usual.get(key, ()) for key in entry.keys() - {"repo", "tag", "provides"}):
        return None
    if not (provides and isinstance(provides, list | tuple)):
        return None
    if not all(isinstance(text, str) for text in (name, repo, tag, *provides)):
        return None
    try:
        rules.check_name(name)
        rules.check_paths_differ(tuple(map(rules.check_class_path, provides)))
        return rules.check_repo(repo), rules.check_tag(tag)
    except ManifestError:
        return None
