"""What published software asks of a registry beside loading: catalogues of manifests, and installed packages."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from cuvis_ai_core.plugins.hooks.manager import HookManager
    from cuvis_ai_core.plugins.loading.registered_plugins import Members
    from cuvis_ai_core.plugins.loading.scoped_plugin import LoadedPlugin
    from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin
    from cuvis_ai_core.plugins.package_nodes import Installed


class Said(dict[str, Any]):
    """What a manifest says of a plugin, whose keys published software reads as attributes."""

    def __getattr__(self, key: str) -> Any:
        if key not in self:
            raise AttributeError(f"The manifest of plugin '{self.get('name', '?')}' has no key '{key}'.")
        return _said(self[key])


def _said(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return list(map(_said, value))
    return Said(value) if isinstance(value, dict) else value


class PublishedRegistry:
    """Plugins of a registry in the words of published software."""

    _members: Members

    def __init__(self) -> None:
        self._catalog: dict[str, Any] = {}
        self._installed: dict[str, Installed] = {}

    if TYPE_CHECKING:

        @property
        def hooks(self) -> HookManager:
            """The pluggy manager of this registry."""

        def register_hooks(self, plugin: object, name: str | None = None) -> None:
            """Register an object with hook implementations."""

        def unregister_hooks(self, plugin: object) -> None:
            """Take it out again."""

        def load_plugin(self, name: str, config: Mapping[str, Any] | GitPlugin | LocalPlugin) -> None:
            """Load a declared plugin."""

    @property
    def plugin_registry(self) -> Mapping[str, type]:
        """Node classes of plugins, discovered and declared, by short name; full paths are understood too.

        It shows the plugins of the moment, whenever it was asked for.
        """
        from cuvis_ai_core.plugins.loading.registered_plugins import PluginNodes

        self._members.complete()
        return PluginNodes(self._members)

    # Its names in later and in earlier published versions; `is_plugin` of the schemas asks for the first.
    loaded_plugin_nodes = plugin_class_map = plugin_registry

    @property
    def plugin_configs(self) -> Mapping[str, GitPlugin | LocalPlugin]:
        """The manifest entries of the declared plugins, by name; `provides` are the paths of their classes."""
        loaded: dict[str, LoadedPlugin] = dict(self._members.declared)
        return MappingProxyType({name: each.declared for name, each in loaded.items()})

    def register_plugin(self, manifest_path: str | os.PathLike[str]) -> None:
        """Have the nodes of the one plugin of a manifest: as it is installed in this environment, else by loading it.

        Args:
            manifest_path: A manifest of the newer kind, with the plugin's `name` and `capabilities`.

        Raises:
            ManifestError: It cannot be read, or is no manifest of one plugin.
            PluginLoadError: It had to be loaded, and a step failed.
        """
        from cuvis_ai_core.plugins.manifest_folders import is_installed, manifest_of_one

        name, manifest = manifest_of_one(manifest_path)
        if is_installed(manifest):
            self.register_plugins_installed({name: manifest})
        else:
            self.load_plugin(name, {key: each for key, each in manifest.items() if key != "name"})
            self._catalog[name] = manifest

    def register_plugins_catalog(self, configs: Mapping[str, Any]) -> None:
        """Keep what the manifests of plugins say, in `plugin_catalog`; nothing is installed or imported.

        What is said of a plugin whose classes are there already is left out, which is logged.

        Args:
            configs: Name to what its manifest says: a mapping, or a model of the schemas.
        """
        from cuvis_ai_core.plugins.package_nodes import say_kept

        for name, config in configs.items():
            if name in self._members.declared or self.hooks.get_plugin(name) is not None:
                say_kept(name, self._catalog.setdefault(name, config), config)
            else:
                self._catalog[name] = config

    @property
    def plugin_catalog(self) -> Mapping[str, Any]:
        """What is known of plugins, by name: `register_plugins_installed` takes it; keys are attributes, too."""
        declared = {name: each for name, each in self.plugin_configs.items() if name not in self._catalog}
        return MappingProxyType({name: _said(each) for name, each in self._catalog.items()} | declared)

    def register_plugins_installed(self, resolved_plugins: Mapping[str, Any]) -> list[str]:
        """Have the nodes of plugins that are installed in this environment by the short names of their classes.

        A plugin that is registered with the same classes stays as it is.

        Args:
            resolved_plugins: Name to what its manifest says: a mapping, or a model of the schemas, with `capabilities`
                or `provides`.

        Returns:
            The full paths of the node classes.

        Raises:
            ManifestError: A manifest names no classes.
            HookError: A plugin of that name is registered already.
        """
        from cuvis_ai_core.plugins.package_nodes import Installed

        installed = {name: Installed(name, manifest) for name, manifest in resolved_plugins.items()}
        for name, each in installed.items():
            if self.hooks.get_plugin(name) != each:
                self.register_hooks(each, name)
                self._installed[name] = each
            self._catalog[name] = resolved_plugins[name]
        return [path for each in installed.values() for path in each.cuvis_ai_nodes()]

    def _forget_installed(self, name: str) -> bool:
        """Tell whether a plugin was registered as installed, of which nobody knows from now on."""
        found = self._installed.pop(name, None)
        if found is None:
            return False
        self.unregister_hooks(self.hooks.get_plugin(name) or found)
        self._catalog.pop(name, None)
        return True
