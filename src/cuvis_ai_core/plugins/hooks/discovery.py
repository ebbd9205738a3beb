"""The pip-installed plugins of the host environment, found without importing any of them.

pluggy's own entry-point loader has no guard per plugin and imports everything; here is our own.
"""

import logging
import os
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cuvis_ai_core.errors import DiscoveryError
from cuvis_ai_core.plugins.dependencies.distribution import normalised
from cuvis_ai_core.plugins.policy.file_location import none_is_there
from cuvis_ai_core.plugins.sys_modules_owners import import_for_everybody

if TYPE_CHECKING:
    from importlib.metadata import Distribution

    from cuvis_ai_core.plugins.dependencies.search_path import SearchPath

logger = logging.getLogger(__name__)

ENTRY_POINT_GROUP: Final = "cuvis_ai.nodes"
STRICT_VARIABLE: Final = "CUVIS_STRICT_PLUGINS"
BLOCK_VARIABLE: Final = "CUVIS_BLOCK_PLUGINS"
DISCOVERY_VARIABLE: Final = "CUVIS_PLUGIN_DISCOVERY"


class DiscoveredPlugin(NamedTuple):
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
        # A script that ends with `sys.exit()` at import would end whoever lists nodes.
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
    # By names alone, so that nothing need be imported to list nodes.
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


def refuse_module(path: str) -> None:
    """Raise if a module is of a pip-installed plugin that the policy does not allow.

    Raises:
        NotAllowedError: It is.
    """
    if none_is_there():
        return
    from cuvis_ai_core.plugins.cache.policy_checks import refused_distributions

    top = path.partition(".")[0]
    owners = {
        each.name: each.distribution
        for each in _installed()
        if each.value.partition(":")[0].split(".")[0].strip() == top
    }
    for error in refused_distributions(owners).values():
        raise error


def strict() -> bool:
    """Tell whether a broken discovered plugin is an error: `CUVIS_STRICT_PLUGINS=1`."""
    return os.environ.get(STRICT_VARIABLE, "").strip().lower() in {"1", "true", "yes", "on"}


_scans: "list[tuple[SearchPath, tuple[DiscoveredPlugin, ...]]]" = []
"""The last search path that was read, and what was found there."""


def _installed() -> tuple[DiscoveredPlugin, ...]:
    """Read the metadata of the host's distributions, again only after something was installed or removed."""
    from cuvis_ai_core.plugins.dependencies.search_path import search_path

    path = search_path()
    for known, found in _scans:
        # By identity: the listing is made anew only where a folder has changed.
        if known is path:
            return found
    found = tuple(sorted(_scan(path), key=attrgetter("name", "normalised_distribution", "value")))
    _scans[:] = [(path, found)]
    return found


def _scan(path: "SearchPath") -> Iterator[DiscoveredPlugin]:
    # The host's search path alone: what live plugins brought along is no plugin of this environment.
    for distribution in _with_our_entry_points(path):
        try:
            plugins = [
                DiscoveredPlugin(point.name, distribution.metadata["Name"], distribution.version, point.value)
                for point in distribution.entry_points.select(group=ENTRY_POINT_GROUP)
            ]
        except Exception as error:  # noqa: BLE001 - whatever lies about in a site folder must not stop the others
            place = getattr(distribution, "_path", "?")
            logger.warning("Unreadable metadata: %s (%s: %s)", place, type(error).__name__, error)
        else:
            yield from plugins


def _with_our_entry_points(path: "SearchPath") -> Iterator["Distribution"]:
    for name, folder in path.metadata.items():
        try:
            # Looked for as bytes, before anything is parsed: most distributions have nothing of ours.
            with open(f"{folder}/entry_points.txt", "rb") as file:
                ours = ENTRY_POINT_GROUP.encode() in file.read()
        except OSError:  # most have none
            continue
        distribution = path.distribution(name) if ours else None
        if distribution is not None:
            yield distribution
