"""Parameters that plugins give to their nodes, where a pipeline does not."""

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, cast

from cuvis_ai_core.errors import AmbiguousNodeError, PipelineError
from cuvis_ai_core.pipeline.config import PipelineConfig
from cuvis_ai_core.pipeline.construct import NodeSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from cuvis_ai_core.plugins.configurations import Defaults


class NodeDefaults:
    """What the plugins of a registry give to nodes.

    Args:
        registry: Where node classes come from.
    """

    def __init__(self, registry: NodeSource) -> None:
        find = getattr(registry, "node_defaults", lambda _: None)  # what only gives classes has none
        self._look_up = cache(cast("Callable[[str], Defaults | None]", find))

    def complete(self, config: PipelineConfig) -> PipelineConfig:
        """Return a pipeline in which each node has the parameters that it was given, under those that it has.

        Raises:
            PipelineError: The file of a plugin is broken.
        """
        nodes = []
        for entry in config.nodes:
            given = self._of(entry.class_name)
            nodes.append(entry.model_copy(update={"params": {**given.params, **entry.params}}) if given else entry)
        return config.model_copy(update={"nodes": nodes})

    def explain(self, error: PipelineError, config: PipelineConfig) -> None:
        """Add to the error of a node which of its parameters come from where.

        Args:
            error: What went wrong when it was constructed.
            config: The pipeline as it was written.
        """
        for entry in config.nodes:
            given = self._of(entry.class_name) if entry.name == error.node else None
            if given is not None and (keys := [key for key in given.params if key not in entry.params]):
                lines = "".join(f"\n{given.file}, line {given.lines[key]}: '{key}'" for key in keys)
                error.message += f"\nIts plugin gives it:{lines}"

    def _of(self, class_name: str) -> "Defaults | None":
        with suppress(AmbiguousNodeError):  # whoever builds the node says so
            return self._look_up(class_name)
        return None
