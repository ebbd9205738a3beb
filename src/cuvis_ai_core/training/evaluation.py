"""How good a pipeline is on a part of the data."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cuvis_ai_core.errors import TrainingStoppedError
from cuvis_ai_core.training.batch_step import Measuring
from cuvis_ai_core.training.evaluation_mode import evaluating
from cuvis_ai_core.training.metric_pooling import Pool
from cuvis_ai_core.training.nan_guard import Guard

TrainingCancelled = TrainingStoppedError
"""The published name."""


@dataclass(frozen=True, slots=True)
class EvaluationSummary:
    """What `StatisticalTrainer.validate` and `test` return.

    Attributes:
        metrics: Each metric by `<node>/<name>`, over all pixels together; NaN for what is not defined.
        frames: How many images there were.
    """

    metrics: dict[str, float]
    frames: int = 0


def evaluate(measuring: Measuring, batches: Iterable[Mapping[Any, Any]], stage: str) -> dict[str, float]:
    """Run a pipeline on all batches and return its losses and metrics over all pixels together.

    Args:
        measuring: The pipeline with its loss and metric nodes.
        batches: The data; one batch is in memory at a time.
        stage: `val` or `test`.

    Returns:
        `loss`, the sum of all losses, and each loss and metric by `<node>/<name>`; NaN for what is not defined.

    Raises:
        CubeError: A cube cannot be read.
        AnnotationError: A mask cannot be read, or does not fit its cube.
        PortError: The data do not fit the pipeline.
        NodeRunError: A node failed.
        TrainingError: A loss is not finite.
    """
    return pooled(measuring, batches, stage).values()


def pooled(
    measuring: Measuring,
    batches: Iterable[Mapping[Any, Any]],
    stage: str,
    on_nan: Literal["error", "skip"] | None = None,
) -> Pool:
    """Run a pipeline on all batches and return what they come to, as `evaluate` does, with matrices.

    Args:
        measuring: As in `evaluate`.
        batches: As in `evaluate`.
        stage: As in `evaluate`.
        on_nan: What becomes of batches whose loss is not finite, as in `Guard`.
    """
    from cuvis_ai_schemas.enums import ExecutionStage
    from cuvis_ai_schemas.execution import Context

    measuring.begin()
    pool = Pool(several=len(measuring.loss_nodes) > 1)
    guard = Guard(measuring, on_nan, place_in(batches))
    with evaluating(measuring.pipeline):
        for number, batch in enumerate(batches):
            measured = guard.measure(batch, Context(stage=ExecutionStage(stage), batch_idx=number))
            if measured is not None:
                pool.add(measured)
        pool.take_counts()
    return pool


def place_in(batches: object) -> Callable[[int], str]:
    """Return what a cube of a number is called: with its file, where the batches know it."""
    cubes: Any = getattr(batches, "cubes", None)
    # Data modules of plugins know no files.
    if not hasattr(cubes, "place"):
        return "cube {}".format
    return lambda number: f"cube {number} ('{cubes.place(number)[0]}')"
