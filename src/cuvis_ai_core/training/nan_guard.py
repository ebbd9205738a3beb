"""NaN in training: which cube, node and epoch it comes from, and what becomes of it."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cuvis_ai_core.errors import CuvisError, TrainingError
from cuvis_ai_core.training.batch_step import Measured, Measuring, as_number
from cuvis_ai_core.training.evaluation_mode import evaluating, modules_of

if TYPE_CHECKING:
    from cuvis_ai_schemas.execution import Context

logger = logging.getLogger(__name__)

_OF_CUBES = ("cube", "mask", "mesu_index")
"""What a batch holds for each of its cubes."""


_NEXT_STEP = (
    "Lower training.optimizer.lr, set training.gradient_clip_val, or look for NaN in the data; "
    "training.on_nan: skip leaves such batches out."
)

_WITHOUT_LABELS = (
    "Its mask is 0 everywhere. Where 0 is no class, say data.ignore_label: 0, or have the loss node say in an output "
    "'weight' how many pixels have a label: a batch without any then adds nothing."
)


class Guard:
    """Measures batches, and takes no loss for an answer that is not a number.

    A batch whose loss is not finite is an error. But where cubes in it hold values that are not finite themselves,
    these cubes are left out, and that is said once for each.

    Args:
        measuring: The pipeline with its loss and metric nodes.
        policy: `error`: such cubes are an error too; `skip`: such a batch is left out, whatever the reason.
        place: What a cube of a number is called.
        in_epochs: Whether the data are gone through more than once.
    """

    def __init__(
        self,
        measuring: Measuring,
        policy: Literal["error", "skip"] | None = None,
        place: Callable[[int], str] = "cube {}".format,
        *,
        in_epochs: bool = False,
    ) -> None:
        self.measuring = measuring
        self._in_epochs = in_epochs
        self._policy = policy
        self._place = place
        self._said: set[str] = set()

    def measure(self, batch: Mapping[Any, Any], context: "Context") -> Measured | None:
        """Run the pipeline on a batch, or return None where it is left out.

        Raises:
            TrainingError: A loss is not finite.
            PortError: The batch does not fit the pipeline.
            NodeRunError: A node failed.
        """
        holes = _cubes_with_holes(batch)
        # A batch normalisation has taken NaN into its running mean by the time that the loss shows it.
        with self._statistics_as_before(self._policy == "skip" or bool(holes)) as put_back:
            measured = self.measuring.measure(batch, context)
            # A loss over no pixel at all is NaN by its own formula, and counts for nothing.
            wrong = [node for node in measured.losses if measured.weights[node] and not _is_number(measured, node)]
            if not wrong:
                return measured
            put_back()
        problem = f"The loss of node '{wrong[0]}' is {as_number(measured.losses[wrong[0]])}"
        self.leave_out(problem, batch, context, search=True)
        return self._without(batch, holes, context) if holes else None

    def leave_out(self, problem: str, batch: Mapping[Any, Any], context: "Context", *, search: bool = False) -> None:
        """Say that a batch is left out, or that there is to be no such batch.

        Args:
            problem: What is not a number.
            batch: The batch.
            context: Stage, epoch and number of the batch.
            search: Whether to look for the node in which it begins.

        Raises:
            TrainingError: The policy is that.
        """
        holes = _cubes_with_holes(batch)
        epoch = f"epoch {context.epoch + 1}, " if self._in_epochs else ""
        where = f"{problem} in {epoch}batch {context.batch_idx + 1} of '{context.stage.value}'"
        numbers = batch.get("mesu_index", ())  # batches of data modules may not have them
        meant = np.asarray(numbers)[holes] if holes and len(numbers) else numbers
        cubes = ", ".join(self._place(int(number)) for number in meant)
        if self._policy != "skip" and (self._policy == "error" or not holes):
            raise TrainingError(
                f"{where}{f': {cubes}' if cubes else ''}.{self._begins(batch, context, holes) if search else ''}",
                hint=_WITHOUT_LABELS if not holes and _is_without_labels(batch) else _NEXT_STEP,
            )
        # Once for each cube: in a hundred epochs it would be said a hundred times.
        if cubes not in self._said or not cubes:
            self._said.add(cubes)
            what = "left out, since it holds values that are no numbers" if holes else "left out"
            logger.warning("%s: %s: %s", where, cubes or "the batch", what)

    def _without(self, batch: Mapping[Any, Any], holes: list[int], context: "Context") -> Measured | None:
        kept = np.setdiff1d(np.arange(len(batch["cube"])), holes)
        if not len(kept):
            return None
        return self.measure({key: value[kept] if key in _OF_CUBES else value for key, value in batch.items()}, context)

    def _begins(self, batch: Mapping[Any, Any], context: "Context", holes: list[int]) -> str:
        """Say with which node it begins; the pipeline runs once more for that."""
        if holes:
            return " The cube holds values that are no numbers."
        try:
            with evaluating(self.measuring.pipeline):
                # Once more, with all outputs kept: a usual run lets go of them as it goes.
                outputs = self.measuring.pipeline.forward(batch, context=context)
        except CuvisError:
            return ""
        found = next((address for address, value in outputs.items() if not is_finite(value)), None)
        return f" It begins with output '{found[1]}' of node '{found[0]}'." if found else ""

    @contextmanager
    def _statistics_as_before(self, wanted: bool) -> Iterator[Callable[[], None]]:  # noqa: FBT001
        """Have buffers, such as the running means of a normalisation, as they were before a batch that is left out."""
        buffers = (
            [buffer for node in modules_of(self.measuring.pipeline) for buffer in node.buffers()] if wanted else []
        )
        before = [buffer.clone() for buffer in buffers]

        def put_back() -> None:
            for buffer, old in zip(buffers, before, strict=True):
                # In place: optimizers and views hold the tensor itself.
                buffer.copy_(old)

        yield put_back


def is_finite(value: Any) -> bool:
    """Tell whether an array holds numbers alone; anything else than an array of floating-point numbers does."""
    if hasattr(value, "is_floating_point"):
        return not (value.is_floating_point() or value.is_complex()) or bool(value.isfinite().all())
    array = getattr(value, "dtype", None)
    return getattr(array, "kind", "") not in {"f", "c"} or bool(np.isfinite(value).all())


def _is_number(measured: Measured, node: str) -> bool:
    return math.isfinite(as_number(measured.losses[node]))


def _is_without_labels(batch: Mapping[Any, Any]) -> bool:
    mask = batch.get("mask")
    return mask is not None and not bool((mask != 0).any())


def _cubes_with_holes(batch: Mapping[Any, Any]) -> list[int]:
    """Return which cubes of a batch hold values that are not finite."""
    cubes = batch.get("cube")
    if cubes is None or is_finite(cubes):
        return []
    return [number for number, cube in enumerate(cubes) if not is_finite(cube)]
