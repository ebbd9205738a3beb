"""A fetch that begins early: git waits for the network while what checks and installs a plugin is being imported.

Only of an entry that is plain, which breaks no rule (see `manifest.field_checks`); there is no policy, or one that
surely allows its repository; nothing of it is in the cache, and nobody else is fetching it. All others are fetched
later.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from pathlib import Path
from threading import Thread
from typing import Any

from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core._subprocess import Programs
from cuvis_ai_core.errors import CuvisError
from cuvis_ai_core.plugins.cache.checkout_entry import complete, identity
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.git.git_command import require_git
from cuvis_ai_core.plugins.git.repository_tags import fetch
from cuvis_ai_core.plugins.manifest import field_checks
from cuvis_ai_core.plugins.offline import is_offline
from cuvis_ai_core.plugins.policy.file_location import none_is_there
from cuvis_ai_core.plugins.policy.quick_check import surely_allows


class _ElsewhereError(Exception):
    """Somebody else fetches the same, or has fetched it."""


class EarlyFetch:
    """One tag of a repository on its way into a temporary folder; nothing is left of what nobody took.

    It holds the lock of the checkout, so it is made, used and closed in one thread.

    Args:
        name: Name of the plugin.
        url: Address of the repository.
        tag: Name of the tag.
        places: Where the checkout may come to lie.
        store: The plugin cache.

    Raises:
        _ElsewhereError: It is there already, or somebody else is at it.
        StoreError: The cache cannot be written.
    """

    def __init__(self, name: str, url: str, tag: str, places: Sequence[Path], store: Store) -> None:
        self.asked = (name, url, tag)
        self._lock, self._left = ExitStack(), ExitStack()
        with ExitStack() as undo:
            undo.enter_context(self._lock)
            self._lock.enter_context(store.lock(places[0].name, _give_way))
            if any(place.exists() for place in places):
                raise _ElsewhereError
            self._folder = self._left.enter_context(store.workspace()) / "checkout"
            undo.pop_all()
        self._marker: Mapping[str, Any] = {}
        self._error: BaseException | None = None
        # Entered before the thread's context is copied, so that git started there is ended with those of this one.
        with Programs.together() as self._programs:
            self._thread = Thread(target=copy_context().run, args=(self._fetch,), daemon=True)
        self._thread.start()

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Hold the lock of the checkout, which ends with this."""
        with self._lock:
            yield

    def take(self, checkout: Path, meanwhile: Callable[[], object]) -> Mapping[str, Any]:
        """Move what was fetched to a folder, its completion marker included, and return that.

        Args:
            checkout: Where it is to be, on the same file system.
            meanwhile: What to do before the end is waited for, if it has to be.

        Raises:
            SourceError: As `fetch` does, and its other errors.
        """
        if self._thread.is_alive():
            meanwhile()
        self._thread.join()
        if self._error is not None:
            raise self._error
        # A rename within `.tmp`: what was fetched early is not copied into the workspace of who takes it.
        os.replace(self._folder, checkout)
        return self._marker

    def close(self) -> None:
        """End git if it still runs, and remove what is left."""
        self._programs.end()
        self._thread.join()
        self._left.close()
        self._lock.close()

    def _fetch(self) -> None:
        try:
            require_git()
            name, url, tag = self.asked
            commit = fetch(url, tag, self._folder)
            # All of it is read, and waited for until it is on disk, while what installs it is being imported.
            self._marker = complete(self._folder, commit, identity(name, url, tag))
        except BaseException as error:  # noqa: BLE001 - whoever takes it gets it
            self._error = error


@contextmanager
def fetching_early(
    name: str, entry: object, store: Store, meanwhile: Callable[[], object]
) -> Iterator[EarlyFetch | None]:
    """Begin to fetch the code of a plugin, if it is plain that it is going to be fetched.

    Args:
        name: Name of the plugin.
        entry: Its entry as it was given, which nobody has checked yet.
        store: The plugin cache.
        meanwhile: What to do once it has begun.
    """
    begun = _begin(name, entry, store)
    try:
        if begun is not None:
            meanwhile()
        yield begun
    finally:
        if begun is not None:
            begun.close()


def _begin(name: str, entry: object, store: Store) -> EarlyFetch | None:
    # A shared store may have it: only the whole way of loading looks into that.
    if is_offline() or store.shared is not None:
        return None
    try:
        plain = field_checks.plain_entry(name, entry)
        if plain is None:
            return None
        url, tag = plain["repo"], plain["tag"]
        if not (none_is_there() or surely_allows(url)):
            return None
        return EarlyFetch(name, url, tag, store.checkouts(name, tag, without_credentials(url)), store)
    except (CuvisError, OSError, _ElsewhereError):  # whoever loads it says so, or finds it
        return None


def _give_way(_: str) -> None:
    raise _ElsewhereError
