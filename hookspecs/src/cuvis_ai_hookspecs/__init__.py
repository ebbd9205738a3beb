"""The hooks that plugins of cuvis-ai-core implement."""

from cuvis_ai_hookspecs.markers import hookimpl, hookspec
from cuvis_ai_hookspecs.specs import (
    cuvis_ai_config_dirs,
    cuvis_ai_cube_readers,
    cuvis_ai_node_failed,
    cuvis_ai_node_finished,
    cuvis_ai_node_started,
    cuvis_ai_nodes,
    cuvis_ai_pipeline_failed,
    cuvis_ai_pipeline_finished,
    cuvis_ai_pipeline_started,
    cuvis_ai_plugin_state,
)

__all__ = [
    "cuvis_ai_config_dirs",
    "cuvis_ai_cube_readers",
    "cuvis_ai_node_failed",
    "cuvis_ai_node_finished",
    "cuvis_ai_node_started",
    "cuvis_ai_nodes",
    "cuvis_ai_pipeline_failed",
    "cuvis_ai_pipeline_finished",
    "cuvis_ai_pipeline_started",
    "cuvis_ai_plugin_state",
    "hookimpl",
    "hookspec",
]
