"""A training in a process of its own, so that neither its work nor its end is felt by the calls of others.

`python -m cuvis_ai_core.grpc.server.training.trainer_program` reads in a line what is trained, tells in a line each
what it says of itself, and how it ended; `stop` in a line has it stop. It ends at once with whoever started it, however
that ends.
"""

import base64
import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from cuvis_ai_core._process_group import end_with_parent
from cuvis_ai_core.errors import TrainingError
from cuvis_ai_core.grpc.server.node_state_file import State, give_state, write_state
from cuvis_ai_core.grpc.server.node_timings import timings_of
from cuvis_ai_core.grpc.server.open_sessions import Session
from cuvis_ai_core.grpc.server.run_cancellation import Run, Stopped, stopper_of
from cuvis_ai_core.grpc.server.status_codes import INTERNAL, code_of, plain_words
from cuvis_ai_core.grpc.server.training.progress_messages import (
    CANCELLED,
    COMPLETE,
    ERROR,
    Telling,
)
from cuvis_ai_core.grpc.server.training.trainer_phases import (
    calibrate_alone,
    train_by_gradient,
    train_statistically,
)
from cuvis_ai_core.registry import NodeRegistry
from cuvis_ai_core.results.run_record import node_records
from cuvis_ai_core.training.resume_checkpoint import RESUME

if TYPE_CHECKING:
    from cuvis_ai_core.training.config import TrainRunConfig

logger = logging.getLogger(__name__)

STATISTICAL, GRADIENT, CALIBRATION = 1, 2, 3
"""What a TrainerType says."""

STOP: Final = b"stop\n"
_NICE: Final = 5
"""By how much a training lets the calls of others go first."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is trained.

    Attributes:
        trainer: A TrainerType.
        trainrun: Its content, with absolute paths.
        state: What the nodes know before.
        nodes: The nodes of the session, and the code that they come from: that of the process must be the same.
        plugins: The entries of the plugins, by name.
        cache_dir: The plugin cache.
        discover: Whether installed plugins take part.
        results: The folder of the results, where there are some.
        folder: Where the state is left.
        base: The folder that relative paths are seen from.
        skip: Runs of each node whose times are not taken; None takes none.
    """

    trainer: int
    trainrun: Mapping[str, Any]
    state: State
    nodes: list[dict[str, Any]]
    plugins: Mapping[str, Any]
    cache_dir: str
    discover: bool
    results: str | None
    folder: str
    base: str
    skip: int | None = None

    def to_json(self) -> bytes:
        """Return it as a line."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_json(cls, line: str) -> "Task":
        """Return what a line says."""
        data = json.loads(line)
        return cls(**{**data, "state": State(**data["state"])})


class Trainer:
    """Does a task.

    Args:
        task: The task.
        answers: Where is told what happens.
    """

    def __init__(self, task: Task, answers: TextIO) -> None:
        self._task = task
        self._answers = answers
        NodeRegistry.set_cache_dir(task.cache_dir)
        self._session = Session(registry=lambda: NodeRegistry(discover=task.discover))
        self.run: Run = stopper_of(self._session).begin(self._session)
        self._telling = Telling(self.run, lambda said: self._say(said=_text(said)))
        self._built: dict[str, Any] = {}

    def work(self) -> None:
        """Train, and tell how that ended."""
        try:
            self._train()
            ended = self._what_is_left()
        except Stopped:
            self._end("stopped; " + self._kept(), CANCELLED, self._what_is_saved())
        # `sys.exit` of a node, or running out of memory: whatever it is, the server is told.
        except BaseException as failed:  # told to the server
            error = _as_ours(failed)
            self._end(plain_words(error), ERROR, self._what_is_saved() | {"error": _told(error)})
        else:
            self._end("done", COMPLETE, ended, hook="POST_FIT_END")
        self._session.close()

    def _train(self) -> None:
        from cuvis_ai_core.training.config import TrainRunConfig
        from cuvis_ai_core.training.data_splits import parts_of
        from cuvis_ai_core.training.trainrun import TrainRun

        task, session = self._task, self._session
        registry = session.node_registry
        config = TrainRunConfig.model_validate(task.trainrun)
        self._load_plugins()
        pipeline = self._build(config)
        registry.register_hooks(self._telling)
        if task.skip is not None:
            timings = timings_of(session)
            timings.enabled, timings.skip = True, task.skip
        parts = parts_of(TrainRun(config, Path(task.base) / "trainrun.yaml"), registry)
        if task.trainer == STATISTICAL:
            train_statistically(pipeline, config, parts, self._telling)
        elif task.trainer == CALIBRATION:
            calibrate_alone(pipeline, config, parts, self._telling)
        else:
            self._train_by_gradient(pipeline, config, parts)

    def _train_by_gradient(self, pipeline: Any, config: "TrainRunConfig", parts: Any) -> None:
        task = self._task
        assert task.results is not None
        from cuvis_ai_core.cli.restore.interrupted_training import Unfinished

        about = {"trainrun": {**task.trainrun, "output_dir": ""}, "nodes": task.nodes}
        with Unfinished(Path(task.results), about) as unfinished:
            train_by_gradient(pipeline, config, parts, unfinished.folder, self._telling)

    def _load_plugins(self) -> None:
        if not self._task.plugins:
            return
        manifest = Path(self._task.folder) / "plugins.json"
        manifest.write_text(json.dumps({"plugins": self._task.plugins}), encoding="utf-8")
        self._session.node_registry.load_plugins(manifest)

    def _build(self, config: "TrainRunConfig") -> Any:
        from cuvis_ai_core.pipeline.pipeline import Pipeline

        assert isinstance(config.pipeline, dict)
        pipeline = Pipeline.from_dict(config.pipeline, node_registry=self._session.node_registry)
        self._session.set_pipeline(pipeline)
        for ours, theirs in zip(node_records(self._session.node_registry, pipeline), self._task.nodes, strict=True):
            # Through JSON, as theirs came: a tuple is a list then.
            if json.loads(json.dumps(ours)) != theirs:
                raise TrainingError(
                    f"The code of node '{ours['name']}' ({ours['class']}) has changed since the session loaded it: "
                    "what would be trained is another pipeline.",
                    hint="Load the plugins and the pipeline anew, in a new session.",
                )
        give_state(pipeline, self._task.state)
        self._built = pipeline.to_dict()
        return pipeline

    def _what_is_left(self) -> dict[str, Any]:
        """Return what the session takes over."""
        pipeline = self._session.needed_pipeline()
        state = write_state(pipeline, Path(self._task.folder) / "trained")
        timings = timings_of(self._session).exported() if self._task.skip is not None else []
        now = pipeline.to_dict()
        changed = {} if now == self._built else {"pipeline": json.loads(json.dumps(now))}
        return {"state": asdict(state), "device": pipeline.device, "timings": timings, **changed}

    def _what_is_saved(self) -> dict[str, Any]:
        """Return what the session takes over from a training that did not come to its end, if that can be had."""
        # Nodes that were not given what those of the session know would have them forget it.
        if not self._built:
            return {}
        try:
            return self._what_is_left()
        except (Exception, Stopped) as error:  # how the training ended is told
            logger.warning("what was trained so far is not kept: %s", error)
            return {}

    def _kept(self) -> str:
        if self._task.results is None:
            return "what was learned so far stays"
        if (Path(self._task.results) / "unfinished" / RESUME).is_file():
            return "the same trainrun goes on from the last epoch that was saved"
        return "no epoch was saved yet, and the same trainrun begins anew"

    def _end(self, message: str, status: int, ended: Mapping[str, Any], hook: str = "") -> None:
        self._telling.tell = lambda said: self._say(ended={**ended, "last": _text(said)})
        self._telling.say(message, status=status, hook=hook)

    def _say(self, **words: Any) -> None:
        with suppress(BrokenPipeError):
            self._answers.write(json.dumps(words) + "\n")
            self._answers.flush()


def main() -> None:
    """Do the task that whoever started this process gives it."""
    # The number is copied, and 1 becomes standard error: C code that prints writes to the number.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what nodes print is no answer
    end_with_parent()
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    # Windows has no `nice`; a sandbox may forbid it.
    with suppress(AttributeError, OSError):
        os.nice(_NICE)
    trainer = Trainer(Task.from_json(sys.stdin.readline()), answers)
    threading.Thread(target=_listen, args=(trainer.run,), daemon=True).start()
    trainer.work()
    answers.close()


def _listen(run: Run) -> None:
    for line in sys.stdin:
        if line.encode() == STOP:
            run.ask()
    # From a thread: the main one may be in C code that no exception reaches.
    os._exit(0)  # whoever started this process is gone


def _text(said: Any) -> str:
    return base64.b64encode(said.SerializeToString()).decode()


def _as_ours(error: BaseException) -> BaseException:
    """Return what a command refuses, such as a folder with another training's files, as an error of the training."""
    import click

    if not isinstance(error, click.ClickException):
        return error
    text, _, hint = error.message.partition("\n")
    return TrainingError(text, hint=hint or None)


def _told(error: BaseException) -> dict[str, Any]:
    """Return what is told of an error: the traceback is for the server's log."""
    code = code_of(error)
    trace = "".join(traceback.format_exception(error)) if code == INTERNAL else ""
    return {"kind": type(error).__name__, "code": code, "words": plain_words(error), "trace": trace}


if __name__ == "__main__":
    main()
