"""Node classes of packages that are installed in this environment, and are no plugins by themselves."""

import inspect
import logging
import pkgutil
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from cuvis_ai_hookspecs import hookimpl

from cuvis_ai_core._redact import redact
from cuvis_ai_core.errors import InvalidNodeError, ManifestError
from cuvis_ai_core.node.base import is_node_class
from cuvis_ai_core.plugins.isolation.private_names import class_path
from cuvis_ai_core.plugins.manifest.published_catalogue import class_paths
from cuvis_ai_core.plugins.plugin_info import PluginInfo

logger = logging.getLogger(__name__)


def node_classes(package_name: str, base_class_path: str) -> list[type]:
    """Return the node classes that the modules of a package define, in the order of their names.

    Args:
        package_name: The package.
        base_class_path: Only classes that derive from this one count.

    Raises:
        InvalidNodeError: There is no such package, or no such base class.
    """
    base = _base(base_class_path)
    package = _imported(package_name)
    return [
        found
        for module in (package, *_modules(package))
        for found in vars(module).values()
        if isinstance(found, type)
        # Else what a module imports would be its own.
        and found.__module__ == module.__name__
        and issubclass(found, base)
        and is_node_class(found)
        and not inspect.isabstract(found)
    ]


def say_replaced(node_class: type, known: type | str) -> None:
    """Log that a class takes the short name of another."""
    other = known if isinstance(known, str) else class_path(known)
    logger.warning("the node name '%s' is now %s; before it was %s", node_class.__name__, class_path(node_class), other)


def say_kept(name: str, kept: Any, other: Any) -> None:
    """Log that something else is said of a plugin than what its classes were made by."""
    if kept != other:
        logger.warning("the plugin '%s' is there already, and what another manifest says of it is left out", name)


class Installed:
    """A plugin whose code is in this environment: hooks that name the classes of its manifest.

    Args:
        name: Name of the plugin.
        manifest: What its manifest says: a mapping, or a model of the schemas.

    Raises:
        ManifestError: It names no classes.
    """

    def __init__(self, name: str, manifest: Any) -> None:
        content: Mapping[str, Any] = manifest.model_dump() if hasattr(manifest, "model_dump") else manifest
        self._name, self._content = name, content
        self._paths = class_paths(content)
        if self._paths is None:
            raise ManifestError(
                f"Plugin '{name}': it names no classes.", hint="Give it 'capabilities' or 'provides'.", plugin=name
            )

    @property
    def info(self) -> PluginInfo:
        """What is known of it: its manifest says where it is from, its distribution which version it is."""
        distribution = str(self._content.get("package_name") or self._name)
        source = str(self._content.get("repo") or self._content.get("path") or "")
        top = find_spec((self._paths or ("",))[0].partition(".")[0] or "cuvis_ai_core")
        place = Path(top.origin or "").parent if top is not None else Path()
        try:
            known = version(distribution)
        except PackageNotFoundError:
            known = ""
        tag = self._content.get("tag")
        return PluginInfo(
            self._name, "installed", redact(source), tag, None, distribution, known, place, tuple(self._paths or ())
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Installed) and other._paths == self._paths

    def __hash__(self) -> int:
        return hash(tuple(self._paths or ()))

    @hookimpl
    def cuvis_ai_nodes(self) -> list[str]:
        """Return the full paths of its node classes."""
        return list(self._paths or ())


def _base(path: str) -> type:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, ValueError, AttributeError) as error:
        raise InvalidNodeError(f"There is no base class '{path}': {error}.", node=path) from error
    if not isinstance(found, type):
        raise InvalidNodeError(f"'{path}' is no class, and cannot be the base of nodes.", node=path)
    return found


def _imported(name: str) -> ModuleType:
    try:
        return import_module(name)
    except Exception as error:
        raise InvalidNodeError(
            f"The package '{name}' cannot be imported: {type(error).__name__}: {error}",
            hint="Install it in this environment; or load it as a plugin: registry.load_plugin(...)",
            node=name,
        ) from error


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    # Without `onerror`, a package that raises anything but an ImportError ends the walk.
    for found in pkgutil.walk_packages(getattr(package, "__path__", ()), f"{package.__name__}.", _log):
        try:
            yield import_module(found.name)
        except Exception as error:  # noqa: BLE001 - of whatever the package does
            _log(found.name, error)


def _log(name: str, error: object = "it cannot be imported") -> None:
    logger.warning("the module '%s' is left out: %s: %s", name, type(error).__name__, error)
