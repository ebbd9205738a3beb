"""Plugins of a session: loaded, listed, and the nodes that they bring."""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias

from cuvis_ai_core.errors import CuvisError, PluginsLoadError, ServiceError
from cuvis_ai_core.grpc.messages.manifest_json import ONE, read_manifest
from cuvis_ai_core.grpc.messages.node_infos import node_infos
from cuvis_ai_core.grpc.messages.schema_generations import messages
from cuvis_ai_core.grpc.server.call_context import Call, Handler
from cuvis_ai_core.grpc.server.open_sessions import Session
from cuvis_ai_core.grpc.server.status_codes import words_for
from cuvis_ai_core.plugins.cache.housekeeping import entries
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.manifest import manifest_schema
from cuvis_ai_core.registry import NodeRegistry

Entries: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Name of a plugin to its entry."""

_WITH_LISTS: Final = (0, 5)
"""Before this version of the schemas, ports of a node travel in lists."""


def load_plugins(call: Call) -> Any:
    """Load all plugins of a manifest; those that fail are named, the others stay."""
    sent = read_manifest(call.request.manifest.config_bytes)
    call.session.generation = sent.generation
    loaded, failed = _load(call, sent.plugins)
    return messages().LoadPluginsResponse(loaded_plugins=loaded, failed_plugins=failed)


def load_plugin(call: Call) -> Any:
    """Load the plugin of a manifest."""
    sent = read_manifest(call.request.manifest.config_bytes)
    if len(sent.plugins) != 1:
        raise ServiceError("LoadPlugin takes a manifest of one plugin.", code="INVALID_ARGUMENT")
    call.session.generation = ONE
    loaded, failed = _load(call, sent.plugins)
    return messages().LoadPluginResponse(
        registered_plugin=next(iter(loaded), ""), error=next(iter(failed.values()), "")
    )


def list_loaded_plugins(call: Call) -> Any:
    """List the plugins of the session."""
    registry = call.session.node_registry
    return messages().ListLoadedPluginsResponse(plugins=[_info(call.session, each) for each in registry.list_plugins()])


def get_plugin_info(call: Call) -> Any:
    """Say what was loaded under a name, and from where."""
    return messages().GetPluginInfoResponse(plugin=_info(call.session, call.request.plugin_name))


def list_available_nodes(call: Call) -> Any:
    """List all nodes with their ports, in the form of the client's generation."""
    with_lists = call.generation < _WITH_LISTS
    kind = messages().ListAvailableNodesWithListsResponse if with_lists else messages().ListAvailableNodesResponse
    return kind(nodes=node_infos(call.session.node_registry, with_lists=with_lists))


def clear_plugin_cache(call: Call) -> Any:
    """Remove from the plugin cache what belongs to a plugin, or everything, but for what is in use."""
    # Whoever clears it makes all others fetch again, and learns what they use.
    if not call.service.settings.is_local:
        raise ServiceError("The plugin cache of this server is shared by all its clients.", code="PERMISSION_DENIED")
    plugin = call.request.plugin_name or None
    store = Store(NodeRegistry.get_cache_dir())
    before = len(entries(store, plugin))
    NodeRegistry.clear_plugin_cache(plugin)
    return messages().ClearPluginCacheResponse(cleared_count=before - len(entries(store, plugin)))


def _load(call: Call, plugins: Entries) -> tuple[list[str], dict[str, str]]:
    """Load plugins together, and return the names of those that are loaded, and what was wrong with the others."""
    registry, most = call.session.node_registry, call.service.settings.max_plugins
    if len({*registry.list_plugins(), *plugins}) > most:
        raise ServiceError(f"A session has up to {most} plugins.", code="RESOURCE_EXHAUSTED")
    good, failed = _checked(call, plugins)
    try:
        _load_together(registry, good)
    except PluginsLoadError as error:
        failed |= error.failed
    except CuvisError as error:
        failed |= dict.fromkeys(good, error)
    call.session.plugins |= {name: each for name, each in good.items() if name not in failed}
    return [name for name in good if name not in failed], {name: words_for(each, "") for name, each in failed.items()}


def load_manifest(call: Call, path: Path) -> None:
    """Load the plugins of a manifest that lies on the server.

    Raises:
        ServiceError: One may not be loaded.
        PluginsLoadError: Some failed.
    """
    plugins = manifest_schema.read_manifest(path).plugins
    for name, plugin in plugins.items():
        call.service.check_plugin(name, plugin)
    call.session.node_registry.load_plugins(path)
    call.session.plugins |= plugins


def _checked(call: Call, plugins: Entries) -> tuple[dict[str, Any], dict[str, Exception]]:
    """Return the plugins that may be loaded, and what is wrong with the others."""
    good: dict[str, Any] = {}
    failed: dict[str, Exception] = {}
    for name, entry in plugins.items():
        try:
            good[name] = manifest_schema.parse_plugin(name, entry, base=call.service.settings.working_directory)
            call.service.check_plugin(name, good[name])
        except CuvisError as error:
            # What the policy of the server forbids ends the call; a plugin that is wrong is one of several.
            if isinstance(error, ServiceError):
                raise
            failed[name] = error
    return {name: each for name, each in good.items() if name not in failed}, failed


def _load_together(registry: NodeRegistry, plugins: Mapping[str, Any]) -> None:
    """Load plugins as those of one manifest, whose dependencies are chosen together."""
    if len(plugins) == 1:
        registry.load_plugin(*next(iter(plugins.items())))
    elif plugins:
        # A manifest in a file, as the registry reads it: dependencies are chosen together for one manifest alone.
        with TemporaryDirectory() as folder:
            manifest = Path(folder) / "plugins.yaml"
            entries = {name: each.model_dump(mode="json", exclude_unset=True) for name, each in plugins.items()}
            manifest.write_text(json.dumps({"plugins": entries}), encoding="utf-8")
            registry.load_plugins(manifest)


def _info(session: Session, name: str) -> Any:
    info = session.node_registry.plugin_info(name)
    return messages().PluginInfo(
        name=info.name, type=info.kind, source=info.source, tag=info.tag or "", capabilities=info.nodes
    )


CALLS: Final[Mapping[str, Handler]] = {
    "LoadPlugins": load_plugins,
    "LoadPlugin": load_plugin,
    "ListLoadedPlugins": list_loaded_plugins,
    "GetPluginInfo": get_plugin_info,
    "ListAvailableNodes": list_available_nodes,
    "ClearPluginCache": clear_plugin_cache,
}
