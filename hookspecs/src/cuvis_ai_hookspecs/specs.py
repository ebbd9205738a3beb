"""The signatures of all hooks, one sentence each.

Types of the core appear in annotations only: this package needs pluggy and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cuvis_ai_hookspecs.markers import hookspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import Any


# An implementation takes of the arguments what it needs, by name: one more in a signature breaks no plugin (pluggy,
# "opt-in arguments").
@hookspec
def cuvis_ai_nodes() -> Iterable[type | str]:  # type: ignore[empty-body]
    """Return the node classes of this plugin, each as a class or as its import path (`package.module.Class`)."""


@hookspec
def cuvis_ai_config_dirs() -> Iterable[Path]:  # type: ignore[empty-body]
    """Return the directories in which pipeline files of this plugin are found by name."""


@hookspec
# A path in place of an object: a plugin that is only listed need not import its libraries.
def cuvis_ai_cube_readers() -> Mapping[str, Callable[[Path], Any] | str]:  # type: ignore[empty-body]
    """Return suffix (`.hdr`) to reader (or its import path), which turns a path into a `Cube` or a sequence of them."""


@hookspec
def cuvis_ai_plugin_state(plugin: str, state: str, detail: str) -> None:
    """Observe that a declared plugin entered a state of its lifecycle (a `PluginState`), with a detail to show."""


@hookspec
def cuvis_ai_pipeline_started(pipeline: str, stage: str, nodes: Sequence[str]) -> None:
    """Observe that a run of a pipeline began, with the names of the nodes that will run, in their order."""


@hookspec
def cuvis_ai_pipeline_finished(pipeline: str, stage: str, seconds: float) -> None:
    """Observe that a run of a pipeline ended well, and how long it took."""


# Not `Exception`: Ctrl-C ends a run as well.
@hookspec
def cuvis_ai_pipeline_failed(pipeline: str, stage: str, error: BaseException) -> None:
    """Observe that a run of a pipeline was ended by an error, or by an interrupt."""


@hookspec
def cuvis_ai_node_started(pipeline: str, node: str, stage: str) -> None:
    """Observe that a node of a pipeline is about to run."""


@hookspec
def cuvis_ai_node_finished(pipeline: str, node: str, stage: str, seconds: float) -> None:
    """Observe that a node of a pipeline gave its outputs, and how long it took, checks and conversions included."""


@hookspec
def cuvis_ai_node_failed(pipeline: str, node: str, stage: str, error: BaseException) -> None:
    """Observe that a node of a pipeline failed, or got or gave a value that does not fit its port."""
