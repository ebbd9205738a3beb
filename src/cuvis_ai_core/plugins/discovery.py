"""The pip-installed plugins of the host environment, found without importing any of them.

pluggy's own entry-point loader has no guard per plugin and imports everything; here is our own.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_core.errors import DiscoveryError
from cuvis_ai_core.plugins.dependencies.distribution import normalised
from cuvis_ai_core.plugins.owned_names import import_for_everybody

if TYPE_CHECKING:
    from importlib_metadata import Distribution

logger = logging.getLogger(__name__)

ENTRY_POINT_GROUP: Final = "cuvis_ai.nodes"
STRICT_VARIABLE: Final = "CUVIS_STRICT_PLUGINS"
BLOCK_VARIABLE: Final = "CUVIS_BLOCK_PLUGINS"
DISCOVERY_VARIABLE: Final = "CUVIS_PLUGIN_DISCOVERY"


@dataclass(frozen=True, slots=True)
class DiscoveredPlugin:
    """An entry point of group `cuvis_ai.nodes` in the host environment.

    Attributes:
        name: Name of the entry point; of a node class, the class name.
        distribution: The distribution that declares it.
        version: Version of that distribution.
        value: What it points to: `package.module:Class`, or a module or object with hook implementations.
    """

    name: str
    distribution: str
    version: str
    value: str

    @property
    def node_path(self) -> str | None:
        """The full path of the node class, known without an import; None for hook implementations."""
        return node_path(self.name, self.value)

    @property
    def normalised_distribution(self) -> str:
        """The distribution's name as requirements compare it (PEP 503)."""
        return normalised(self.distribution)

    def load(self) -> object:
        """Import what the entry point names.

        Raises:
            DiscoveryError: Whatever went wrong, with the plugin's name, distribution and version.
        """
        try:
            return load_entry_point(self.value, import_for_everybody)
        except (Exception, SystemExit) as error:
            raise self.broken(error) from error

    def broken(self, error: BaseException) -> DiscoveryError:
        """Return the error that says what is wrong with this plugin, and how to go on without it."""
        return DiscoveryError(
            f"Discovered plugin '{self.name}' ({self.distribution} {self.version}) cannot be used: "
            f"{type(error).__name__}: {getattr(error, 'message', error)}",
            hint=f"Repair it, uninstall it (pip uninstall {self.distribution}), "
            f"or block it ({BLOCK_VARIABLE}={self.name}).",
            plugin=self.name,
            distribution=self.distribution,
            version=self.version,
        )


def node_path(name: str, value: str) -> str | None:
    """Return the path of a node class that an entry point names by its class name, else None."""
    module, _, attribute = value.partition(":")
    attribute = attribute.partition("[")[0].strip()
    path = f"{module.strip()}.{attribute}"
    # An object with hook implementations may have the entry point's name too; a class has a capital letter.
    named = name[:1].isupper() and attribute.rpartition(".")[2] == name
    return path if named and is_path(path) else None


def is_path(name: str) -> bool:
    """Tell whether a text is a dotted path: identifiers, and at least one dot."""
    return "." in name and all(part.isidentifier() for part in name.split("."))


def load_entry_point(value: str, importer: Callable[[str], Any]) -> object:
    """Import the module or object that an entry point's value names."""
    module, _, attributes = value.partition("[")[0].partition(":")
    loaded: object = importer(module.strip())
    for attribute in filter(None, attributes.strip().split(".")):
        loaded = getattr(loaded, attribute)
    return loaded


def discover(block: frozenset[str]) -> dict[str, DiscoveredPlugin]:
    """Return the pip-installed plugins, sorted, without importing any of them.

    The key is the name of the entry point. Where several distributions use one name, it is the first one's; the
    others have `name (distribution)`.

    Args:
        block: Names of entry points or distributions to leave out, beside those in `CUVIS_BLOCK_PLUGINS`
            (separated by commas). `CUVIS_PLUGIN_DISCOVERY=0` leaves out all.
    """
    if os.environ.get(DISCOVERY_VARIABLE, "1").strip().lower() in {"0", "false", "no", "off"}:
        return {}
    blocked = block | {name.strip() for name in os.environ.get(BLOCK_VARIABLE, "").split(",")}
    distributions = {normalised(name) for name in blocked}
    found: dict[str, DiscoveredPlugin] = {}
    for plugin in _installed():
        if plugin.name not in blocked and plugin.normalised_distribution not in distributions:
            key = f"{plugin.name} ({plugin.distribution})" if plugin.name in found else plugin.name
            found[key] = plugin
    return found


def strict() -> bool:
    """Tell whether a broken discovered plugin is an error: `CUVIS_STRICT_PLUGINS=1`."""
    return os.environ.get(STRICT_VARIABLE, "").strip().lower() in {"1", "true", "yes", "on"}


_scans: dict[tuple[Any, ...], tuple[DiscoveredPlugin, ...]] = {}


def _installed() -> tuple[DiscoveredPlugin, ...]:
    """Read the metadata of the host's distributions, again only after something was installed or removed."""
    state = tuple((folder, _changed(folder)) for folder in sys.path)
    if state not in _scans:
        _scans.clear()
        _scans[state] = tuple(sorted(_scan(), key=attrgetter("name", "normalised_distribution", "value")))
    return _scans[state]


def _changed(folder: str) -> int:
    try:
        return Path(folder or ".").stat().st_mtime_ns
    except OSError:
        return 0


def _scan() -> Iterator[DiscoveredPlugin]:
    # The host's path finder alone: what live plugins brought along is no plugin of this environment.
    from importlib_metadata import DistributionFinder, MetadataPathFinder

    seen: set[str] = set()
    everywhere = DistributionFinder.Context()  # type: ignore[no-untyped-call]
    for distribution in MetadataPathFinder.find_distributions(everywhere):
        try:
            plugins = _plugins_of(distribution)
            names = {plugin.normalised_distribution for plugin in plugins}
        except Exception as error:  # noqa: BLE001 - whatever lies about in a site folder must not stop the others
            logger.warning(
                "Unreadable metadata: %s (%s: %s)", getattr(distribution, "_path", "?"), type(error).__name__, error
            )
            continue
        yield from plugins if names.isdisjoint(seen) else ()
        seen |= names


def _plugins_of(distribution: "Distribution") -> list[DiscoveredPlugin]:
    if ENTRY_POINT_GROUP not in (distribution.read_text("entry_points.txt") or ""):
        return []
    return [
        DiscoveredPlugin(point.name, distribution.metadata["Name"], distribution.version, point.value)
        for point in distribution.entry_points.select(group=ENTRY_POINT_GROUP)
    ]
