"""The hooks that plugins of cuvis-ai-core implement."""

from cuvis_ai_hookspecs.markers import hookimpl, hookspec
from cuvis_ai_hookspecs.specs import (
    cuvis_ai_config_dirs,
    cuvis_ai_cube_readers,
    cuvis_ai_nodes,
    cuvis_ai_plugin_state,
)

__all__ = [
    "cuvis_ai_config_dirs",
    "cuvis_ai_cube_readers",
    "cuvis_ai_nodes",
    "cuvis_ai_plugin_state",
    "hookimpl",
    "hookspec",
]
