"""A training of a session: in a thread of its own, told of step by step, and really stopped when that is wanted."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_hookspecs import hookimpl

from cuvis_ai_core.errors import CuvisError, ServiceError
from cuvis_ai_core.grpc.codes import words_for
from cuvis_ai_core.grpc.stopping import Run, Stopped
from cuvis_ai_core.grpc.wire import enum_value, messages

if TYPE_CHECKING:
    from cuvis_ai_core.grpc.sessions import Session

logger = logging.getLogger(__name__)

RUNNING, COMPLETE, ERROR, CANCELLED = 1, 2, 3, 4
_TRAIN: Final = 1
_TEST: Final = 3
_BETWEEN_TOLD: Final = 0.5
"""Seconds between two messages about batches."""

_MOST_WAITING: Final = 1000
"""Messages that wait for a client that reads slowly."""

_LONGEST_STOP: Final = 60.0
"""Seconds that a node may take to come to its end after its training was stopped."""

Work = Callable[["Telling"], None]


class Telling:
    """What a training says of itself: the last word for GetTrainStatus, all of them for the client of Train.

    Args:
        run: What stops it.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.latest: Any = messages().TrainResponse(status=RUNNING, message="begins")
        self.words: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.batches = 0
        self.done = 0
        self.epoch = 0
        self.told = 0.0

    def say(self, message: str = "", *, status: int = RUNNING, hook: str = "", **fields: Any) -> None:
        """Say where the training is.

        Args:
            message: In words.
            status: A TrainStatus.
            hook: The event, as TrainHook names it without `TRAIN_HOOK_`.
            fields: Further fields of the event, and `losses` and `metrics`.
        """
        m = messages()
        said = m.TrainResponse(
            status=status,
            message=message,
            context=m.Context(stage=_TRAIN, epoch=self.epoch, batch_idx=self.done, global_step=self._step()),
            losses=fields.pop("losses", None),
            metrics=fields.pop("metrics", None),
        )
        if hook:
            said.event.CopyFrom(
                m.TrainEvent(hook=enum_value("TrainHook", f"TRAIN_HOOK_{hook}"), split=_TRAIN, **fields)
            )
        self.latest = said
        self.words.put(said)
        if self.words.qsize() > _MOST_WAITING:
            with suppress(queue.Empty):
                self.words.get_nowait()  # of a client that reads slowly the oldest words are left out

    def batch_done(self, hook: str, **fields: Any) -> None:
        """Say now and then how many batches are done."""
        self.done += 1
        if time.monotonic() - self.told >= _BETWEEN_TOLD:
            self.told = time.monotonic()
            progress = messages().FrameProgress(done=self.done, total=self.batches)
            self.say(hook=hook, progress=progress, **fields)

    def _step(self) -> int:
        return int(min(self.epoch * self.batches + self.done, 2**31 - 1))


class Training:
    """The trainings of a session, one after the other."""

    def __init__(self) -> None:
        self.telling: Telling | None = None
        self._lock = threading.Lock()
        self._running = False

    @hookimpl
    def cuvis_ai_pipeline_finished(self, stage: str) -> None:
        """Count the batches of a gradient training."""
        if self._running and self.telling is not None and stage == "train" and self.telling.batches:
            self.telling.batch_done("TRAIN_PROGRESS")

    @property
    def is_running(self) -> bool:
        """Whether one is under way."""
        return self._running

    def stop(self) -> bool:
        """Have the training that is under way stop; return whether there is one."""
        with self._lock:
            if not self._running or self.telling is None:
                return False
            self.telling.run.ask()
            return True

    def run(self, session: "Session", run: Run, work: Work, is_alive: Callable[[], bool]) -> Iterator[Any]:
        """Train, and yield what is said of it.

        Args:
            session: The session.
            run: What stops it.
            work: The training.
            is_alive: Tells whether the client is still there; without it the training stops.

        Raises:
            Exception: As the training.
        """
        telling = self.telling = Telling(run)
        failed: list[BaseException] = []
        thread = threading.Thread(target=self._work, args=(telling, work, failed), name="training", daemon=True)
        self._running = True
        thread.start()
        try:
            while (said := _next(telling, thread)) is not None:
                if said and is_alive():
                    yield said
                elif not is_alive():
                    run.ask()
        finally:
            run.ask()
            thread.join(_LONGEST_STOP)
            run.end()
            if thread.is_alive():
                logger.error("a training of session %s does not end: a node of it does not", session.id)
                session.closing = True  # nothing else may run beside it
        if failed:
            raise failed[0]

    def _work(self, telling: Telling, work: Work, failed: list[BaseException]) -> None:
        try:
            work(telling)
        except Stopped:
            telling.say("stopped", status=CANCELLED)
        except BaseException as error:  # noqa: BLE001 - handed on to the thread of the call
            telling.say(words_for(error, "its call"), status=ERROR)
            failed.append(error)
        else:
            telling.say("done", status=COMPLETE, hook="POST_FIT_END")
        finally:
            self._running = False
            telling.words.put(None)


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
        self._telling.done = 0
        self._telling.say(f"initialising {node}", hook="STATISTICAL_NODE_START", node=node)
        for batch in self._batches:
            self._telling.run.look()
            yield batch
            self._telling.batch_done("STATISTICAL_PROGRESS", node=node)
        self._telling.say(hook="STATISTICAL_NODE_END", node=node)


def training_of(session: "Session") -> Training:
    """Return the trainings of a session."""
    found: Any = session.extras.get("training")
    if found is None:
        found = session.extras["training"] = Training()
        session.node_registry.register_hooks(found)
        session.at_end.append(found.stop)
    assert isinstance(found, Training)
    return found


def train_statistically(pipeline: Any, batches: Any, telling: Telling) -> None:
    """Initialise all nodes that wait for it."""
    from cuvis_ai_core.training.statistical import StatisticalTrainer

    trainer = StatisticalTrainer(pipeline)
    telling.say(hook="FIT_START")
    trainer.fit(Told(batches, telling, trainer.waiting))
    telling.say(hook="FIT_END")


def train_by_gradient(pipeline: Any, config: Any, parts: Any, folder: Path, telling: Telling) -> None:
    """Train parameters, from where an earlier training of the same was stopped.

    Raises:
        ServiceError: The trainrun has no section `training`.
    """
    if config.training is None:
        raise ServiceError("The trainrun has no section 'training'.", code="FAILED_PRECONDITION")
    from cuvis_ai_core.training.epochs import Reading
    from cuvis_ai_core.training.gradient import GradientTrainer

    trainer = GradientTrainer(
        pipeline,
        config.training,
        loss_nodes=config.loss_nodes,
        metric_nodes=config.metric_nodes,
        freeze_nodes=config.freeze_nodes,
        unfreeze_nodes=config.unfreeze_nodes,
        ignore_label=config.data.ignore_label,
    )
    train = parts.batches("train")
    telling.batches = len(train)
    if (folder / "resume.ckpt").is_file():
        telling.say(hook="CHECKPOINT_RESTORED", checkpoint=messages().CheckpointRestored(restored=True))
    telling.say(hook="FIT_START")

    def epoch_ended(row: dict[str, float]) -> None:
        telling.run.look()
        telling.epoch, telling.done = int(row["epoch"]) - 1, 0
        losses = {name: row[name] for name in ("train_loss", "val_loss") if name in row}
        if "val_loss" in losses:
            telling.say(hook="VALIDATION_END", losses={"val_loss": losses["val_loss"]})
        metrics = {name: value for name, value in row.items() if name not in {"epoch", *losses}}
        epochs = messages().EpochProgress(current=int(row["epoch"]), total=config.training.max_epochs)
        telling.say(hook="EPOCH_END", epochs=epochs, losses=losses, metrics=metrics)

    data = config.data
    trainer.fit(
        train,
        parts.batches("val"),
        shuffle=data.shuffle,
        reading=Reading(data.drop_last, data.sampling, data.num_workers),
        folder=folder,
        observer=epoch_ended,
    )
    telling.say(hook="FIT_END")
    telling.say(hook="EVALUATION_START")
    telling.say(hook="EVALUATION_END", evaluation=_tested(trainer, config, parts))
    nothing = messages().CalibrationOutcome(applicable=False, phase_detail="nodes here have no phase of calibration")
    telling.say(hook="CALIBRATION_END", calibration=nothing)


def _tested(trainer: Any, config: Any, parts: Any) -> Any:
    """Return how good the pipeline is on the part `test`, where the trainrun has one."""
    data, kind = config.data, messages().EvaluationOutcome
    named = data.ids("test") or (isinstance(data.masks, dict) and "test" in data.masks)
    outcome = kind(split=_TEST, status=_evaluation("NO_SPLIT"))
    if not named and not data.share("test", len(parts.cubes)):
        return outcome
    try:
        batches = parts.batches("test")
        found = trainer.evaluate(batches, "test")
    except CuvisError as error:  # what was trained stays
        return kind(split=_TEST, status=_evaluation("FAILED"), error=words_for(error, "its call"))
    return kind(split=_TEST, status=_evaluation("EVALUATED"), frames=len(batches), metrics=found)


def _evaluation(status: str) -> int:
    return enum_value("EvaluationStatus", f"EVALUATION_STATUS_{status}")


def _next(telling: Telling, thread: threading.Thread) -> Any:
    """Return what is said next, nothing yet (False), or that all is said (None)."""
    try:
        return telling.words.get(timeout=0.1)
    except queue.Empty:
        return False if thread.is_alive() else None
