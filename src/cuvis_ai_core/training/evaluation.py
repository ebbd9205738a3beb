"""How good a pipeline is on a part of the data."""

from collections.abc import Iterable, Mapping
from typing import Any

from cuvis_ai_core.training.modes import evaluating
from cuvis_ai_core.training.steps import Measuring, as_number


def evaluate(measuring: Measuring, batches: Iterable[Mapping[Any, Any]], stage: str) -> dict[str, float]:
    """Run a pipeline on all batches and return the means of its losses and metrics.

    Args:
        measuring: The pipeline with its loss and metric nodes.
        batches: The data; one batch is in memory at a time.
        stage: `val` or `test`.

    Returns:
        `loss`, the sum of all losses, and each loss and metric by `<node>/<name>`; means over cubes.

    Raises:
        CubeError: A cube cannot be read.
        AnnotationError: A mask cannot be read, or does not fit its cube.
        PortError: The data do not fit the pipeline.
        NodeRunError: A node failed.
    """
    from cuvis_ai_schemas.enums import ExecutionStage
    from cuvis_ai_schemas.execution import Context

    means = Means()
    with evaluating(measuring.pipeline):
        for number, batch in enumerate(batches):
            measured = measuring.measure(batch, Context(stage=ExecutionStage(stage), batch_idx=number))
            loss = {} if measured.loss is None else {"loss": as_number(measured.loss)}
            means.add({**loss, **measured.values}, cubes_in(batch))
    return means.values()


class Means:
    """Means of named values over batches, each weighted by its cubes."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._weights: dict[str, int] = {}

    def add(self, values: Mapping[str, float], weight: int) -> None:
        """Take in the values of a batch."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value * weight
            self._weights[name] = self._weights.get(name, 0) + weight

    def values(self) -> dict[str, float]:
        """Return the means."""
        return {name: total / self._weights[name] for name, total in self._sums.items()}


def cubes_in(batch: Mapping[Any, Any]) -> int:
    """Return how many cubes a batch has; 1 where it holds something else."""
    return int(batch["cube"].shape[0]) if hasattr(batch.get("cube"), "shape") else 1
