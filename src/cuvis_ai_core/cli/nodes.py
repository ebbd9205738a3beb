"""`cuvis-ai nodes`: the palette, and one node in detail."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cuvis_ai_core.cli.lazy import NamedGroup
from cuvis_ai_core.cli.options import allow_build_option, offline_option, plugins_option, shared_options
from cuvis_ai_core.cli.output import say

if TYPE_CHECKING:
    from cuvis_ai_core.registry import NodeRegistry


@click.group(cls=NamedGroup)
@shared_options
def nodes() -> None:
    """See which nodes there are, and their ports."""


@nodes.command("list")
@plugins_option
@shared_options
def list_nodes(plugins_path: Path | None) -> None:
    """List all nodes that are known without loading a plugin."""
    from cuvis_ai_core.cli.tables import print_table
    from cuvis_ai_core.registry import NodeRegistry

    with NodeRegistry() as registry:
        rows = [(entry.name, entry.plugin or "built in", entry.path) for entry in registry.nodes()]
        hooks = sorted(name for name, plugin in registry.discovered_plugins.items() if plugin.node_path is None)
    if plugins_path is not None:
        rows += _declared_rows(plugins_path)
    print_table(("name", "plugin", "path"), rows)
    if plugins_path is not None:
        say("Declared plugins may bring more nodes by their hooks; `cuvis-ai nodes show NAME` finds these too.")
    if hooks:
        say(f"Not listed, because only their code knows: the nodes of {', '.join(hooks)}.")


@nodes.command("show")
@click.argument("name")
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
    from cuvis_ai_core.plugins.manifest.schema import read_manifest

    for name, plugin in read_manifest(manifest).plugins.items():
        for path in plugin.provides:
            yield path.rpartition(".")[2], name, path


def _load_needed(registry: "NodeRegistry", manifest: Path, node: str) -> None:
    """Load the plugins that declare a node; all of them where none does and it is not built in."""
    from cuvis_ai_core.cli.progress import load_plugins

    owners = [plugin for short, plugin, path in _declared_rows(manifest) if node in {short, path}]
    known = any(entry.plugin is None and node in {entry.name, entry.path} for entry in registry.nodes())
    if owners or not known:
        load_plugins(registry, manifest, *owners)
