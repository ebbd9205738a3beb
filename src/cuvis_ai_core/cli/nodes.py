"""`cuvis-ai nodes`: the palette, and one node in detail."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cuvis_ai_core.cli.shared.lazy_groups import NamedGroup
from cuvis_ai_core.cli.shared.options import (
    GivenText,
    allow_build_option,
    json_option,
    offline_option,
    plugins_option,
    shared_options,
)

if TYPE_CHECKING:
    from cuvis_ai_core.registry import NodeRegistry


@click.group(cls=NamedGroup)
@shared_options
def nodes() -> None:
    """See which nodes there are, and their ports."""


@nodes.command("list")
@plugins_option
@click.option("--load", is_flag=True, help="Load the plugins: list also the nodes that only their code knows.")
@json_option
@shared_options
def list_nodes(plugins_path: Path | None, load: bool, as_json: bool) -> None:
    """List all nodes that are known without loading a plugin; with --load, those that plugins name by hooks, too."""
    from cuvis_ai_core.cli.shared.list_output import print_list
    from cuvis_ai_core.registry import NodeRegistry

    notes = []
    with NodeRegistry() as registry:
        if load:
            if plugins_path is not None:
                _load_needed(registry, plugins_path, "")
            len(registry.plugin_registry)  # has the pip-installed plugins imported
        rows = [(entry.name, entry.plugin or "built in", entry.path) for entry in registry.nodes()]
        # Such an entry point names a module: which nodes its hooks name, nobody knows before it is imported.
        hooks = sorted(name for name, plugin in registry.discovered_plugins.items() if plugin.node_path is None)
    if plugins_path is not None and not load:
        rows += _declared_rows(plugins_path)
        notes.append(
            "Declared plugins may bring more nodes by their hooks; `cuvis-ai nodes show NAME` finds these too."
        )
    if hooks and not load:
        notes.append(f"Not listed, because only their code knows: the nodes of {', '.join(hooks)}.")
    print_list("nodes", ("name", "plugin", "path"), rows, as_json=as_json, notes=notes)


@nodes.command("show")
@click.argument("name", type=GivenText())
@plugins_option
@offline_option
@allow_build_option
@shared_options
def show_node(name: str, plugins_path: Path | None) -> None:
    """Show ports and hyper-parameters of a node; NAME is a short name or a full path."""
    from cuvis_ai_core.cli.describe_node import print_node
    from cuvis_ai_core.registry import NodeRegistry

    with NodeRegistry() as registry:
        if plugins_path is not None:
            _load_needed(registry, plugins_path, name)
        print_node(registry, registry.get(name))


def _declared_rows(manifest: Path) -> Iterator[tuple[str, str, str]]:
    from cuvis_ai_core.plugins.manifest.manifest_schema import read_manifest

    for name, plugin in read_manifest(manifest).plugins.items():
        for path in plugin.provides:
            yield path.rpartition(".")[2], name, path


def _load_needed(registry: "NodeRegistry", manifest: Path, node: str) -> None:
    """Load the plugins that declare a node; all of them where none does and it is not built in."""
    from cuvis_ai_core.cli.shared.plugin_loading import load_plugins

    owners = [plugin for short, plugin, path in _declared_rows(manifest) if node in {short, path}]
    known = any(entry.plugin is None and node in {entry.name, entry.path} for entry in registry.nodes())
    if owners or not known:
        load_plugins(registry, manifest, *owners)
