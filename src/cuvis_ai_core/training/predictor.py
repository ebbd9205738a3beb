"""Using a trained pipeline on many cubes."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from cuvis_ai_core.errors import TrainRunError
from cuvis_ai_core.node.base import stage_name
from cuvis_ai_core.training.evaluation_mode import evaluating

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline

Outputs = dict[tuple[str, str], Any]
Ports: TypeAlias = Collection[str | tuple[str, str]]


class Predictor:
    """Runs a pipeline on batch after batch, without gradients.

    Args:
        pipeline: The pipeline; its torch nodes are in evaluation mode while it runs.
        datamodule: A data module of Lightning, as published software hands it over: batches come from it where none are
            given.
    """

    def __init__(self, pipeline: "Pipeline", datamodule: Any = None) -> None:
        self.pipeline = pipeline
        self.datamodule = datamodule

    @overload
    def predict(
        self,
        batches: Iterable[Mapping[Any, Any]],
        keep_ports: Ports | None = None,
        *,
        max_batches: int | None = None,
        stage: Any = "inference",
    ) -> Iterator[Outputs]: ...
    @overload
    def predict(
        self,
        *,
        keep_ports: Ports | None = None,
        max_batches: int | None = None,
        collect_outputs: bool = False,
        stage: Any = "inference",
        collect_ports: Ports | None = None,
    ) -> list[Outputs] | None: ...
    def predict(
        self,
        batches: Iterable[Mapping[Any, Any]] | None = None,
        keep_ports: Ports | None = None,
        *,
        max_batches: int | None = None,
        collect_outputs: bool = False,
        stage: Any = "inference",
        collect_ports: Ports | None = None,
    ) -> Iterator[Outputs] | list[Outputs] | None:
        """Run the pipeline on batches.

        Given batches, it yields their outputs, as `outputs_of` does. Without, it runs on those of the data module, as
        published software expects: at once, and it returns a list of outputs where they are to be collected.

        Args:
            batches: The data, such as `cuvis_ai_core.data.Batches`.
            keep_ports: The outputs that are wanted; by default all.
            max_batches: How many batches at most.
            collect_outputs: Whether the outputs on the data module are kept.
            stage: The execution stage.
            collect_ports: The published name of `keep_ports`; naming some collects them.

        Raises:
            TrainRunError: There are no batches, and no data module.
            PipelineError: There is no such output.
            PortError: A batch does not fit the pipeline.
            NodeRunError: A node failed.
        """
        ports = keep_ports if collect_ports is None else collect_ports
        if batches is not None:
            return self.outputs_of(islice(batches, max_batches), ports, stage_name(stage))
        results = self.outputs_of(islice(self._of_module(), max_batches), ports, stage_name(stage))
        if collect_outputs or collect_ports is not None:
            return list(results)
        for _ in results:
            pass
        return None

    def _of_module(self) -> Iterable[Mapping[Any, Any]]:
        if self.datamodule is None:
            raise TrainRunError(
                "There are no batches, and no data module to take them from.",
                hint="Give them: predictor.predict(batches); or Predictor(pipeline, datamodule).",
                key="data",
            )
        self.datamodule.prepare_data()
        self.datamodule.setup("predict")
        batches: Iterable[Mapping[Any, Any]] = self.datamodule.predict_dataloader()
        return batches

    def outputs_of(
        self, batches: Iterable[Mapping[Any, Any]], keep_ports: Ports | None = None, stage: str = "inference"
    ) -> Iterator[Outputs]:
        """Yield the outputs for each batch, by (node, port); neither batches nor outputs are kept.

        Args:
            batches: The data, such as `cuvis_ai_core.data.Batches`.
            keep_ports: The outputs that are wanted; by default all.
            stage: The execution stage.

        Raises:
            PipelineError: There is no such output.
            PortError: A batch does not fit the pipeline.
            NodeRunError: A node failed.
        """
        for batch in batches:
            # Not around the loop: whoever takes batches may stop in its middle, and go on to train.
            with evaluating(self.pipeline):
                outputs = self.pipeline.forward(batch, stage, keep_ports=keep_ports)
            yield outputs
            # Else they stay until those of the next batch are there.
            del outputs
