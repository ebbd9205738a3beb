"""The pip-installed plugins of the host environment, found without importing any of them.

pluggy's own entry-point loader has no guard per plugin and imports everything; here is our own.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core.errors import DiscoveryError

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
        return re.sub(r"[-_.]+", "-", self.distribution).lower()

    def load(self) -> object:
        """Import what the entry point names.

        Raises:
            DiscoveryError: Whatever went wrong, with the plugin's name, distribution and version.
        """
        try:
            return load_entry_point(self.value, import_module)
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
    return f"{module.strip()}.{attribute}" if attribute and attribute.rpartition(".")[2] == name else None


def load_entry_point(value: str, importer: Callable[[str], Any]) -> object:
    """Import the module or object that an entry point's value names."""
    module, _, attributes = value.partition("[")[0].partition(":")
    loaded: object = importer(module.strip())
    for attribute in filter(None, attributes.strip().split(".")):
        loaded = getattr(loaded, attribute)
    return loaded


def discover(block: frozenset[str]) -> dict[str, DiscoveredPlugin]:
    """Return the pip-installed plugins by entry-point name, without importing any of them.

    Args:
        block: Names of entry points or distributions to leave out, beside those in `CUVIS_BLOCK_PLUGINS`
            (separated by commas). `CUVIS_PLUGIN_DISCOVERY=0` leaves out all.
    """
    if os.environ.get(DISCOVERY_VARIABLE, "1").strip().lower() in {"0", "false", "no", "off"}:
        return {}
    blocked = block | {name.strip() for name in os.environ.get(BLOCK_VARIABLE, "").split(",")}
    return {
        plugin.name: plugin
        for plugin in reversed(_installed())
        if plugin.name not in blocked and plugin.distribution not in blocked
    }


def strict() -> bool:
    """Tell whether a broken discovered plugin is an error: `CUVIS_STRICT_PLUGINS=1`."""
    return os.environ.get(STRICT_VARIABLE, "").strip().lower() in {"1", "true", "yes", "on"}


_scans: dict[tuple[Any, ...], tuple[DiscoveredPlugin, ...]] = {}


def _installed() -> tuple[DiscoveredPlugin, ...]:
    """Read the metadata of the host's distributions, again only after something was installed or removed."""
    state = tuple((folder, _changed(folder)) for folder in sys.path)
    if state not in _scans:
        _scans.clear()
        _scans[state] = tuple(_scan())
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
        text = distribution.read_text("entry_points.txt") or ""
        name = distribution.metadata["Name"] if ENTRY_POINT_GROUP in text else None
        if name is None or name in seen:
            continue
        seen.add(name)
        for point in distribution.entry_points.select(group=ENTRY_POINT_GROUP):
            yield DiscoveredPlugin(point.name, name, distribution.version, point.value)
