"""One load into a registry: of what the record of the last one says, or else of what is declared."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from cuvis_ai_core._lazy_imports import import_modules
from cuvis_ai_core.errors import PluginConflictError, PluginLoadError
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.loading.registered_plugins import Members

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from cuvis_ai_core.plugins.cache.prefetch import EarlyFetch
    from cuvis_ai_core.plugins.installing.install_request import Versions
    from cuvis_ai_core.plugins.loading.load_record import Recall
    from cuvis_ai_core.plugins.loading.scoped_plugin import Ready
    from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin

    ParsedPlugins: TypeAlias = tuple[Mapping[str, GitPlugin | LocalPlugin], Versions | None]


_FOR_FETCHED: Final = (
    "cuvis_ai_core.plugins.loading.load_record",
    "cuvis_ai_core.plugins.manifest.manifest_schema",
    "cuvis_ai_core.plugins.installing.installer",
)


def import_what_is_needed() -> None:
    """Import what is needed for a plugin that has to be fetched, until its code is there."""
    import_modules(*_FOR_FETCHED)


def load_together(
    members: Members,
    recalled: "Callable[[], Recall]",
    store: Store,
    parsed: "Callable[[], ParsedPlugins]",
    early: "Callable[[], AbstractContextManager[EarlyFetch | None]]",
    *,
    offline: bool,
) -> tuple[list[str], dict[str, Exception]]:
    """Load plugins together, and return their names, and why those failed that did, in their order.

    Args:
        members: Who takes part in the registry.
        recalled: Returns what the last load found, which counts if nothing changed.
        store: The plugin cache.
        parsed: Returns what is asked for otherwise.
        early: Begins to fetch what is not there.
        offline: Whether no connection may be opened.
    """
    before = set(members.declared)
    try:
        store.refuse_foreign()
        with early() as fetched:
            recall = recalled()
            ready = recall.ready()
            # A plugin that is loaded may be another one than the record's: the longer way says so.
            if ready and before.isdisjoint(each.info.name for each in ready):
                names, failed = [each.info.name for each in ready], _load_ready(members, ready, store)
            else:
                # Before anything is read: an edit during the load must not be taken for what was loaded.
                recall.begin()
                plugins, versions = parsed()
                names, known = list(plugins), set(members.declared)
                failed = _load_declared(members, plugins, versions, store, fetched, offline=offline)
                # Only of a load that did it all: what was there before may have come otherwise.
                if not failed and known.isdisjoint(names):
                    recall.keep([members.declared[name].ready for name in names])
    finally:
        store.release()  # What is loaded has its uses from then on.
    for name in names:
        members.failed.pop(name, None)
        if name in before and members.declared[name].edited():
            _say_edited(name)
    members.failed |= failed
    return names, failed


def _load_ready(members: Members, plugins: "list[Ready]", store: Store) -> dict[str, Exception]:
    """Load plugins that are as the last load found them."""
    from cuvis_ai_core.plugins.loading.scoped_plugin import load_here

    failed: dict[str, Exception] = {}
    targets = {each.info.name: each.target for each in plugins}
    for each in plugins:
        members.announce(each.info.name, *each.info.found)
    for each in plugins:
        announce = partial(members.announce, each.info.name)
        try:
            load_here(each, store, announce, members.admit, targets)
        except PluginLoadError as error:
            failed[each.info.name] = error
    return failed


def _load_declared(
    members: Members,
    plugins: "Mapping[str, GitPlugin | LocalPlugin]",
    versions: "Versions | None",
    store: Store,
    early: "EarlyFetch | None",
    *,
    offline: bool,
) -> dict[str, Exception]:
    """Look at everything that is declared, and load what is not loaded."""
    from cuvis_ai_core.plugins.installing.install_request import InstallRequest
    from cuvis_ai_core.plugins.installing.resolution import ResolvedTogether
    from cuvis_ai_core.plugins.loading.loader import load, refused_unlocked
    from cuvis_ai_core.plugins.offline import is_offline

    failed: dict[str, Exception] = dict(_conflicts(members, plugins))
    if versions is None or not versions.locked:
        failed |= refused_unlocked(plugins, members.announce)
    together = {name: declared for name, declared in plugins.items() if name not in failed}
    wanted = [name for name in together if name not in members.declared]
    if wanted:
        # Not told by the registry: whoever drops it lets go of its plugins at once.
        announce, offline = members.announce, offline or is_offline()
        request = InstallRequest(together, versions or ResolvedTogether(), store, announce, offline, early=early)
        failed |= load(request, wanted, members.admit)
    return {name: failed[name] for name in plugins if name in failed}


def _conflicts(
    members: Members, plugins: "Mapping[str, GitPlugin | LocalPlugin]"
) -> Iterator[tuple[str, PluginConflictError]]:
    for name, declared in plugins.items():
        known = members.declared.get(name)
        if known is not None and known.declared != declared:
            yield (
                name,
                PluginConflictError(
                    f"Plugin '{name}' is loaded already, with another configuration.",
                    hint=f'Unload it first: registry.unload_plugin("{name}")',
                    plugin=name,
                ),
            )


def _say_edited(name: str) -> None:
    import logging

    logging.getLogger("cuvis_ai_core.registry").warning(
        "Plugin '%s': its files were edited since it was loaded; what runs is the code as it was. "
        "Load the edit: registry.unload_plugin(%r), and load it again.",
        name,
        name,
    )
