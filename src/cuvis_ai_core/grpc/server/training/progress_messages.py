"""What a training says of itself while it runs, in the process that trains."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from cuvis_ai_hookspecs import hookimpl

from cuvis_ai_core.grpc.messages.schema_generations import enum_value, messages
from cuvis_ai_core.grpc.server.run_cancellation import Run

RUNNING, COMPLETE, ERROR, CANCELLED = 1, 2, 3, 4
_TRAIN: Final = 1
SPLITS: Final = {"train": _TRAIN, "val": 2, "test": 3}
_STAGES: Final = {split: stage for stage, split in SPLITS.items()}
_STARTS: Final = {"train": "EPOCH_START", "val": "VALIDATION_START"}
_PROGRESS: Final = {"train": "TRAIN_PROGRESS", "val": "VALIDATION_PROGRESS", "test": "EVALUATION_PROGRESS"}
_BETWEEN_TOLD: Final = 0.5
"""Seconds between two messages about batches."""


class Telling:
    """What a training says of itself.

    Args:
        run: What stops it.
        tell: Takes each message, a TrainResponse.
    """

    def __init__(self, run: Run, tell: Callable[[Any], None]) -> None:
        self.run = run
        self.tell = tell
        self.batches: dict[str, int] = {}
        """How many each stage of a gradient training has."""
        self.epoch = 0
        self.epochs_before: Callable[[], int] = lambda: 0
        """Returns how many epochs have ended, also before an interruption."""
        self._progress, self._starts = _PROGRESS, _STARTS
        self._done = {"train": 0}
        self._over: int | None = None
        self._stage = "train"
        self._told = 0.0

    def say(self, message: str = "", *, status: int = RUNNING, hook: str = "", **fields: Any) -> None:
        """Say where the training is.

        Args:
            message: In words.
            status: A TrainStatus.
            hook: The event, as TrainHook names it without `TRAIN_HOOK_`.
            fields: Further fields of the event, and `losses` and `metrics`.
        """
        m = messages()
        # An event is of the part of the data that it names, also where another one was gone through last.
        split = fields.setdefault("split", _TRAIN) if hook else SPLITS[self._stage]
        said = m.TrainResponse(
            status=status,
            message=message,
            context=self.context(split),
            losses=fields.pop("losses", None),
            metrics=fields.pop("metrics", None),
        )
        if hook:
            said.event.CopyFrom(m.TrainEvent(hook=enum_value("TrainHook", f"TRAIN_HOOK_{hook}"), **fields))
        self.tell(said)

    @hookimpl
    def cuvis_ai_pipeline_finished(self, stage: str) -> None:
        """Count the batches of a gradient training, and say where an epoch, a validation or the test begins."""
        if stage not in self.batches:
            return
        if stage != self._stage or not self._done[stage]:
            self._begin(stage)
        self.batch_done(self._progress[stage], self.batches[stage], split=SPLITS[stage])

    def _begin(self, stage: str) -> None:
        """Say that a stage begins; a validation within an epoch interrupts it only."""
        self._stage = stage
        if stage != "train":
            self._done[stage] = 0
        elif not self._done[stage]:
            self.epoch, self._over = self.epochs_before(), None
        if not self._done[stage] and stage in self._starts:
            self.say(hook=self._starts[stage], split=SPLITS[stage])

    def begin_anew(self, epoch: int = 0) -> None:
        """Count the batches of training from the first one again, as an epoch or a node is done."""
        self.epoch, self._stage, self._done["train"] = epoch, "train", 0
        # Its steps count until the next epoch begins, which may be never.
        self._over = epoch

    def begin_calibrating(self) -> None:
        """Say that the data to validate on are gone through once more, for thresholds."""
        self._progress, self._starts = {**_PROGRESS, "val": "CALIBRATION_PROGRESS"}, {}
        self._done["val"] = 0
        self.say(hook="CALIBRATION_START", split=SPLITS["val"])

    def batch_done(self, hook: str, total: int = 0, **fields: Any) -> None:
        """Say now and then, and of the last one, how many batches are done."""
        self._done[self._stage] += 1
        done = self._done[self._stage]
        # A training of many small batches would spend more time telling than training.
        if time.monotonic() - self._told >= _BETWEEN_TOLD or done == total:
            self._told = time.monotonic()
            self.say(hook=hook, progress=messages().FrameProgress(done=done, total=total), **fields)

    def context(self, split: int) -> Any:
        """Return where the training is in a part of the data, as messages have it."""
        step = (self.epoch + (self.epoch == self._over)) * self.batches.get("train", 0) + self._done["train"]
        return messages().Context(
            # The field is an int32: protobuf raises for what is larger.
            stage=split,
            epoch=self.epoch,
            batch_idx=self._done.get(_STAGES[split], 0),
            global_step=min(step, 2**31 - 1),
        )


class Told:
    """Batches that are told of, and end when the training is to stop.

    Args:
        batches: The batches.
        telling: Who is told.
        nodes: The nodes that go through them, one after the other.
    """

    def __init__(self, batches: Any, telling: Telling, nodes: tuple[str, ...]) -> None:
        self._batches = batches
        self._telling = telling
        self._nodes = iter(nodes)

    def __iter__(self) -> Iterator[Any]:
        node = next(self._nodes, "")
        self._telling.begin_anew()
        self._telling.say(f"initialising {node}", hook="STATISTICAL_NODE_START", node=node)
        for batch in self._batches:
            self._telling.run.look()
            yield batch
            self._telling.batch_done("STATISTICAL_PROGRESS", node=node)
        self._telling.say(hook="STATISTICAL_NODE_END", node=node)
