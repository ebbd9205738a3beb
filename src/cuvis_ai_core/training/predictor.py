"""Using a trained pipeline on many cubes."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cuvis_ai_core.training.modes import evaluating

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline

Outputs = dict[tuple[str, str], Any]


class Predictor:
    """Runs a pipeline on batch after batch, without gradients.

    Args:
        pipeline: The pipeline; its torch nodes are in evaluation mode while it runs.
    """

    def __init__(self, pipeline: "Pipeline") -> None:
        self.pipeline = pipeline

    def predict(
        self, batches: Iterable[Mapping[Any, Any]], keep_ports: Collection[str | tuple[str, str]] | None = None
    ) -> Iterator[Outputs]:
        """Yield the outputs for each batch, by (node, port); neither batches nor outputs are kept.

        Args:
            batches: The data, such as `cuvis_ai_core.data.Batches`.
            keep_ports: The outputs that are wanted; by default all.

        Raises:
            PipelineError: There is no such output.
            PortError: A batch does not fit the pipeline.
            NodeRunError: A node failed.
        """
        for batch in batches:
            with evaluating(self.pipeline):
                outputs = self.pipeline.forward(batch, "inference", keep_ports=keep_ports)
            yield outputs
            del outputs
