"""The signatures of all hooks, one sentence each.

Types of the core appear in annotations only: this package needs pluggy and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cuvis_ai_hookspecs.markers import hookspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path
    from typing import Any


@hookspec
def cuvis_ai_nodes() -> Iterable[type | str]:  # type: ignore[empty-body]
    """Return the node classes of this plugin, each as a class or as its import path (`package.module.Class`)."""


@hookspec
def cuvis_ai_config_dirs() -> Iterable[Path]:  # type: ignore[empty-body]
    """Return the directories in which pipeline files of this plugin are found by name."""


@hookspec
def cuvis_ai_cube_readers() -> Mapping[str, Callable[[Path], Any] | str]:  # type: ignore[empty-body]
    """Return suffix (`.hdr`) to reader (or its import path), which turns a path into a `Cube` or a sequence of them."""


@hookspec
def cuvis_ai_plugin_state(plugin: str, state: str, detail: str) -> None:
    """Observe that a declared plugin entered a state of its lifecycle (a `PluginState`), with a detail to show."""
