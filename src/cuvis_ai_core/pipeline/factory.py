"""Building pipelines as published software does; `Pipeline.load` and `Pipeline.from_dict` do the work."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvis_ai_core._deprecated import old_spelling
from cuvis_ai_core.pipeline.pipeline import Pipeline

if TYPE_CHECKING:
    from cuvis_ai_core.registry import NodeRegistry


@old_spelling("Pipeline.load, or Pipeline.from_dict")
class PipelineBuilder:
    """Builds pipelines from files and from their content.

    Args:
        node_registry: Where classes come from; by default a new registry.
        default_pipeline_dir: Where a file is looked for that is not there as it is named.
    """

    def __init__(
        self, node_registry: "NodeRegistry | None" = None, default_pipeline_dir: str | Path = "configs/pipeline"
    ) -> None:
        self.node_registry = node_registry
        self.default_pipeline_dir = Path(default_pipeline_dir)

    def build_from_config(self, pipeline_config: str | Path | Mapping[str, Any]) -> Pipeline:
        """Build a pipeline; weights that may lie beside a file are not read.

        Args:
            pipeline_config: A path, the name of a file in the default folder, the content of a file, or a model of the
                schemas.

        Raises:
            PipelineError: There is no such file, or something in it breaks a rule.
            NodeNotFoundError: The registry has no class of a name.
        """
        content = pipeline_config.model_dump() if hasattr(pipeline_config, "model_dump") else pipeline_config
        if isinstance(content, Mapping):
            return Pipeline.from_dict(content, node_registry=self.node_registry)
        return Pipeline.load(self._located(Path(content)), node_registry=self.node_registry, beside=False)

    def _located(self, path: Path) -> Path:
        name = path if path.suffix else path.with_suffix(".yaml")
        within = self.default_pipeline_dir / name
        return within if not path.is_file() and within.is_file() else path
