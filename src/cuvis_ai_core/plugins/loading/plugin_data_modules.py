"""The data modules of the declared plugins of a registry, which trainruns name; none is imported to be found."""

from typing import Any, NamedTuple

from cuvis_ai_core.errors import PluginConflictError
from cuvis_ai_core.plugins.loading.registered_plugins import Members
from cuvis_ai_core.plugins.loading.scoped_plugin import LoadedPlugin


class DataModule(NamedTuple):
    """A data module of a loaded plugin.

    Attributes:
        plugin: Name of the plugin.
        path: Full path of its class.
        owner: The plugin.
    """

    plugin: str
    path: str
    owner: LoadedPlugin

    def load(self) -> Any:
        """Import it.

        Raises:
            ImportError: There is no such module, or it needs one that is not there.
            AttributeError: It has no such class.
            WorkerError: The plugin is in a process of its own.
        """
        module, _, attribute = self.path.rpartition(".")
        return getattr(self.owner.import_module(module), attribute)


def data_module(members: Members, name: str) -> DataModule | None:
    """Return what a plugin's manifest has under a name, or what lies at a full path in its code; None where none has.

    Raises:
        PluginConflictError: Several plugins have it.
    """
    top = name.partition(".")[0]
    found = [
        DataModule(plugin, path, each)
        # A list: other threads load and unload meanwhile.
        for plugin, each in list(members.declared.items())
        if (path := each.declared.data_modules.get(name) or (name if top != name and each.owns(top) else None))
    ]
    # Two entries of one plugin are one: the class is the same.
    if len({(each.path, each.owner.info.source, each.owner.info.commit) for each in found}) > 1:
        raise PluginConflictError(
            f"Several plugins have a data module '{name}': "
            f"{', '.join(f'{each.path} of {each.plugin!r}' for each in found)}.",
            hint="Name it by its full path, or load one of the plugins.",
        )
    return found[0] if found else None
