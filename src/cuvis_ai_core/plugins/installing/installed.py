"""What of a manifest is installed already: no process, no connection and no lock is needed to see that."""

from pathlib import Path
from typing import NamedTuple

from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core.errors import CuvisError
from cuvis_ai_core.plugins.cache.sources import Source, content_of, local_source, usable_source
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.cache.target import Target
from cuvis_ai_core.plugins.cache.target_marker import target_for
from cuvis_ai_core.plugins.installing.request import InstallRequest
from cuvis_ai_core.plugins.manager import PluginState, code_is_there
from cuvis_ai_core.plugins.manifest import GitPlugin, LocalPlugin


class Installed(NamedTuple):
    """A plugin that is fetched and installed.

    Attributes:
        source: Its code.
        target: Its target directory.
    """

    source: Source
    target: Target


def find_installed(request: InstallRequest) -> dict[str, Installed]:
    """Return those plugins that are ready; none where something is missing or wrong, which `prepare` deals with."""
    places: dict[str, Path] = {}
    sources: dict[str, Source] = {}
    try:
        for name, declared in request.plugins.items():
            source = source_on_disk(name, declared, request.store)
            if source is None:
                return {}
            request.versions.check(name, source)
            places[name] = place_of(name, declared, source, request.store)
            sources[name] = source
        keys = request.versions.keys(places)
        targets = {name: usable_target(place, keys[name], request.store) for name, place in places.items()}
    except CuvisError:
        return {}
    found = {name: Installed(sources[name], target) for name, target in targets.items() if target is not None}
    if len(found) == len(sources):
        for name, source in sources.items():
            announce_source(request, name, source)
    return found


def announce_source(request: InstallRequest, name: str, source: Source) -> None:
    """Tell observers that the code of a plugin is there."""
    declared = request.plugins[name]
    if isinstance(declared, LocalPlugin):
        request.announce(name, *code_is_there(str(source.folder), None, None))
    else:
        request.announce(name, *code_is_there(without_credentials(declared.repo), declared.tag, source.commit))


def first_step(declared: GitPlugin | LocalPlugin) -> PluginState:
    """Return what is done first about a plugin: its repository is asked, or its path is looked up."""
    return PluginState.RESOLVING if isinstance(declared, LocalPlugin) else PluginState.DOWNLOADING


def usable_target(place: Path, key: str, store: Store) -> Target | None:
    """Return the target directory that a plan chose, counted as in use from now on.

    Args:
        place: The folder below which the target directories of the plugin's content lie.
        key: What the choice depends on.
        store: The plugin cache.

    Raises:
        CacheMismatchError: It is there, but was altered.
    """
    found = target_for(place, key)
    return found if found is not None and store.use(found.folder) else None


def place_of(name: str, declared: GitPlugin | LocalPlugin, source: Source, store: Store) -> Path:
    """Return the folder below which the target directories of a plugin's content lie.

    Raises:
        SourceError: The subdirectory is not there, or leads out of the checkout.
    """
    return store.targets(name, content_of(declared, source))


def source_on_disk(name: str, declared: GitPlugin | LocalPlugin, store: Store) -> Source | None:
    """Return the code of a plugin, counted as in use from now on; None where it has to be fetched.

    Raises:
        SourceError: The path is not there, or the checkout was altered.
    """
    if isinstance(declared, LocalPlugin):
        return local_source(declared.path)
    return usable_source(name, declared, store)
