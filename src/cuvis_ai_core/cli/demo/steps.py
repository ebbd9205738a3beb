"""The demonstration itself, step by step: from an empty folder to a picture."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from cuvis_ai_core.cli.demo.indian_pines import read_scene, require_extra
from cuvis_ai_core.cli.demo.workspace import GIT_PLUGIN, VERSIONS, Workspace
from cuvis_ai_core.cli.shared.plugin_loading import load_plugins
from cuvis_ai_core.registry import NodeRegistry

if TYPE_CHECKING:
    from cuvis_ai_core.cli.demo.picture import Results
    from cuvis_ai_core.data import Cube
    from cuvis_ai_core.pipeline.pipeline import Pipeline
    from cuvis_ai_core.plugins.plugin_info import PluginInfo

Say = Callable[[str], None]


def run_demo(workspace: Workspace, say: Say) -> "list[PluginInfo]":
    """Load plugins from two Git tags and from local paths, run them on a real cube, and draw a picture.

    Args:
        workspace: Where everything is written.
        say: Told what happens, a line at a time.

    Returns:
        What was loaded, for both versions.

    Raises:
        MissingExtraError: matplotlib or tensorly is not installed.
        PluginsLoadError: A plugin could not be loaded.
        OSError: The output directory cannot be written.
    """
    from cuvis_ai_core.cli.demo.picture import draw_results
    from cuvis_ai_core.pipeline.pipeline import Pipeline

    require_extra()
    cube = read_scene()
    say(f"Writing the scene, pipelines and local plugins to {workspace.root}")
    workspace.write_files(cube)
    registry_class = _registry_class(workspace.cache)
    with ExitStack() as stack:
        # One registry per version: in one, both would provide the same class name.
        registries = {tag: stack.enter_context(registry_class(discover=False)) for tag in VERSIONS}
        with workspace.served() as commits:
            for tag, registry in registries.items():
                say(f"Loading {workspace.manifests[tag].name} ({GIT_PLUGIN} from Git tag {tag})")
                _load(registry, workspace.manifests[tag], commits[tag])
        pipelines = {
            tag: Pipeline.load(workspace.pipelines[tag], node_registry=registry) for tag, registry in registries.items()
        }
        results = {tag: _run(pipelines[tag], registries[tag], cube, say) for tag in VERSIONS}
        if workspace.written.may_write(workspace.picture):
            draw_results(results, pipelines[VERSIONS[0]].nodes["anomaly_picture"].colours, workspace.picture)
            workspace.written.note(workspace.picture)
        return [registry.plugin_info(name) for registry in registries.values() for name in registry.list_plugins()]


def _load(registry: NodeRegistry, manifest: Path, commit: str) -> None:
    """Load a manifest, and replace a checkout that an earlier run left of an older edition of the example."""
    load_plugins(registry, manifest)
    if registry.plugin_info(GIT_PLUGIN).commit != commit:
        registry.unload_plugin(GIT_PLUGIN)
        type(registry).clear_plugin_cache(GIT_PLUGIN)
        registry.load_plugins(manifest)


def _run(pipeline: "Pipeline", registry: NodeRegistry, cube: "Cube", say: Say) -> "Results":
    results = pipeline.forward(cube.batch())
    node_class = type(pipeline.nodes["vegetation"])
    plugin = registry.plugin_of(node_class)
    assert plugin is not None
    mean = results["vegetation", "index"].mean()
    say(f"Ran {pipeline.name}: {node_class.__name__} of {plugin.name} {plugin.tag} has the mean {mean:.3f}")
    return results


def _registry_class(cache: Path) -> type[NodeRegistry]:
    """Return a registry class with its own plugin cache: the user's is no place for a host that vanishes."""

    class DemoRegistry(NodeRegistry):
        """A registry of the demonstration."""

    DemoRegistry.set_cache_dir(cache)
    return DemoRegistry
