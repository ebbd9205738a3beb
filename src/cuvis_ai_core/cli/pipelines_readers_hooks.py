"""`cuvis-ai pipelines`, `readers` and `hooks`: what plugins contribute beside nodes, and which of them does."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cuvis_ai_core.cli.shared.lazy_groups import NamedGroup
from cuvis_ai_core.cli.shared.options import json_option, offline_option, plugins_option, shared_options

if TYPE_CHECKING:
    from cuvis_ai_core.registry import NodeRegistry


@click.group(cls=NamedGroup)
@shared_options
def pipelines() -> None:
    """See which pipelines plugins bring along."""


@pipelines.command("list")
@plugins_option
@offline_option
@json_option
@shared_options
def list_pipelines(plugins_path: Path | None, as_json: bool) -> None:
    """List the pipelines that are found by their names: those of pip-installed plugins, and of a manifest's.

    The plugins of a manifest are loaded for this.
    """
    from cuvis_ai_core.cli.shared.list_output import print_list
    from cuvis_ai_core.plugins.configs_folder import pipelines_in

    with _loaded(plugins_path) as registry:
        rows = [
            (file.stem, owner, str(file))
            for folder, owner in registry.config_owners().items()
            for file in pipelines_in(folder)
        ]
    print_list(
        "pipelines",
        ("name", "plugin", "file"),
        rows,
        as_json=as_json,
        empty="No plugin brings a pipeline along. A path names one of your own: --pipeline-path FILE",
    )


@click.group(cls=NamedGroup)
@shared_options
def readers() -> None:
    """See which formats of cubes are read."""


@readers.command("list")
@plugins_option
@offline_option
@json_option
@shared_options
def list_readers(plugins_path: Path | None, as_json: bool) -> None:
    """List the suffixes of files that are read, each with its reader, and who brings it; of several the first counts.

    The plugins of a manifest are loaded for this.
    """
    from cuvis_ai_core.cli.shared.list_output import print_list

    with _loaded(plugins_path) as registry:
        rows = [(suffix, _owner(plugin), path) for suffix, plugin, path in sorted(registry.cube_reader_names())]
    print_list("readers", ("suffix", "plugin", "reader"), rows, as_json=as_json)


@click.group(cls=NamedGroup)
@shared_options
def hooks() -> None:
    """See which hooks there are."""


@hooks.command("list")
@plugins_option
@offline_option
@json_option
@shared_options
def list_hooks(plugins_path: Path | None, as_json: bool) -> None:
    """List the hooks, what each is for, and which plugins implement it; those of a manifest are loaded for this."""
    from cuvis_ai_core.cli.shared.list_output import print_list

    with _loaded(plugins_path) as registry:
        rows = list(_hook_rows(registry))
    print_list("hooks", ("hook", "plugins", "what it is for"), rows, as_json=as_json)


def _hook_rows(registry: "NodeRegistry") -> Iterator[tuple[str, str, str]]:
    from cuvis_ai_hookspecs import specs

    registry.config_owners()  # has the pip-installed plugins registered
    for name, spec in sorted(vars(specs).items()):
        if name.startswith("cuvis_ai_"):
            heard = {_owner(each.plugin_name) for each in getattr(registry.hooks.hook, name).get_hookimpls()}
            yield name, ", ".join(sorted(heard)) or "-", " ".join((spec.__doc__ or "").split())


def _owner(plugin: str) -> str:
    return "built in" if plugin.startswith("builtin") else plugin


@contextmanager
def _loaded(manifest: Path | None) -> "Iterator[NodeRegistry]":
    """Have a registry with the plugins of a manifest, if one is given."""
    from cuvis_ai_core.cli.shared.plugin_loading import load_plugins
    from cuvis_ai_core.registry import NodeRegistry

    with NodeRegistry() as registry:
        if manifest is not None:
            load_plugins(registry, manifest)
        yield registry
