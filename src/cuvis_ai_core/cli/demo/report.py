"""What the demonstration says at its end: what was loaded from where, and how to go on."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from cuvis_ai_core.cli.demo.workspace import VERSIONS, Workspace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from cuvis_ai_core.plugins.loader import PluginInfo


def loaded_table(plugins: "Iterable[PluginInfo]", workspace: Workspace) -> "Table":
    """Return a table of what was loaded from where; paths are relative to the folder of the demonstration."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 1, 0), header_style="bold")
    for heading in ("PLUGIN", "TAG", "COMMIT"):
        table.add_column(heading, no_wrap=True)
    table.add_column("SOURCE, TARGET DIRECTORY, NODES", overflow="fold")
    unique = {(info.name, info.target): info for info in plugins}
    for info in sorted(unique.values(), key=lambda info: (info.name, info.version)):
        source = info.source if info.kind == "git" else _below(workspace.root, Path(info.source))
        nodes = (path.rpartition(".")[2] for path in info.nodes)
        where = "\n".join((source, _below(workspace.cache, info.target), *nodes))
        table.add_row(info.name, info.tag or "-", (info.commit or "-")[:8], where)
    return table


def next_steps(workspace: Workspace) -> str:
    """Return the commands with which the reader can go on."""
    version = VERSIONS[0]
    command = {
        "--pipeline-path": workspace.pipelines[version],
        "--plugins-path": workspace.manifests[version],
        "--cube-path": workspace.cube,
        "--output-dir": workspace.root / "results",
    }
    options = " \\\n      ".join(f"{option} {_quoted(path)}" for option, path in command.items())
    local = _quoted(workspace.root / "plugins" / "plain_nodes")
    return (
        "Go on: run the pipeline yourself, with the plugin cache of this demonstration,\n"
        f"    export CUVIS_PLUGINS_DIR={_quoted(workspace.cache)}\n"
        f"    restore-pipeline \\\n      {options}\n"
        f"edit a node in {local} and run it again: the edit is seen."
    )


def _quoted(path: Path) -> str:
    return shlex.quote(str(_shortest(path)))


def _shortest(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _below(root: Path, path: Path) -> str:
    return str(path.relative_to(root) if path.is_relative_to(root) else path)
