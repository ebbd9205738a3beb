"""What of a manifest is ready to be imported: no process, no connection and no lock is needed to see that."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cuvis_ai_core.errors import CuvisError
from cuvis_ai_core.plugins import host
from cuvis_ai_core.plugins.manifest import GitPlugin, LocalPlugin
from cuvis_ai_core.plugins.sources import Source, cached_source, content_of, local_source
from cuvis_ai_core.plugins.store import Store, short_hash
from cuvis_ai_core.plugins.target import Target, target_for


class Ready(NamedTuple):
    """A plugin that is fetched and installed.

    Attributes:
        source: Its code.
        target: Its target directory.
    """

    source: Source
    target: Target


def ready_plugins(plugins: Mapping[str, GitPlugin | LocalPlugin], store: Store) -> dict[str, Ready]:
    """Return those plugins that are ready; none where a source is missing or wrong, which `prepare` deals with.

    Args:
        plugins: Manifest entries by the plugins' names; their dependencies are resolved together.
        store: The plugin cache.
    """
    places: dict[str, Path] = {}
    sources: dict[str, Source] = {}
    for name, declared in plugins.items():
        try:
            source = _source_on_disk(name, declared, store)
            if source is None:
                return {}
            places[name] = place_of(name, declared, source, store)
        except CuvisError:
            return {}
        sources[name] = source
    key = resolution_key(list(places.values()))
    targets = {name: target_for(place, key) for name, place in places.items()}
    return {name: Ready(sources[name], target) for name, target in targets.items() if target is not None}


def place_of(name: str, declared: GitPlugin | LocalPlugin, source: Source, store: Store) -> Path:
    """Return the folder below which the target directories of a plugin's content lie.

    Raises:
        SourceError: The subdirectory is not there, or leads out of the checkout.
    """
    return store.targets(name, content_of(declared, source))


def resolution_key(places: Sequence[Path]) -> str:
    """Return what the choice of versions depends on: this environment, and the plugins that are resolved together.

    A target directory remembers for which of these it was chosen, so that it is found again without resolving.
    """
    environment = host.fingerprint()
    # A plugin by itself is the same plugin under every name.
    return environment if len(places) == 1 else f"{environment}:{short_hash(*(place.name for place in places))}"


def _source_on_disk(name: str, declared: GitPlugin | LocalPlugin, store: Store) -> Source | None:
    if isinstance(declared, LocalPlugin):
        return local_source(declared.path)
    return cached_source(name, declared.repo, declared.tag, store)
