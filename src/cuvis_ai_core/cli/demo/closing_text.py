"""What the demonstration says at its end: what was loaded from where, and how to go on."""

import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cuvis_ai_core.cli.demo.workspace import VERSIONS, Workspace
from cuvis_ai_core.cli.shared.tables import Cell, print_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cuvis_ai_core.plugins.plugin_info import PluginInfo


def print_loaded(plugins: "Iterable[PluginInfo]", workspace: Workspace) -> None:
    """Print a table of what was loaded from where; paths are relative to the folder of the demonstration."""
    unique = {(info.name, info.target): info for info in plugins}
    print_table(
        ("plugin", "tag, commit", "source, target directory, node"),
        [_row(unique[key], workspace) for key in sorted(unique, key=lambda key: (key[0], unique[key].version))],
        title="Loaded plugins (target directories lie in plugin-cache)",
    )


def _row(info: "PluginInfo", workspace: Workspace) -> tuple[Cell, Cell, Cell]:
    source = info.source if info.kind == "git" else _below(workspace.root, Path(info.source))
    nodes = ", ".join(path.rpartition(".")[2] for path in info.nodes)
    origin = (info.tag, (info.commit or "")[:8]) if info.tag else "local path"
    return info.name, origin, (source, _below(workspace.cache, info.target), nodes, "")


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
        f"    {_program()} \\\n      {options}\n"
        f"edit a node in {local} and run it again: the edit is seen."
    )


def _program() -> str:
    """Return how the reader calls `restore-pipeline`: by its path, where the environment is not activated."""
    beside = Path(sys.executable).with_name("restore-pipeline")
    return "restore-pipeline" if shutil.which("restore-pipeline") or not beside.exists() else _quoted(beside)


def _quoted(path: Path) -> str:
    return shlex.quote(str(_shortest(path)))


def _shortest(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _below(root: Path, path: Path) -> str:
    return str(path.relative_to(root) if path.is_relative_to(root) else path)
