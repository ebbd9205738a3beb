"""The trainings of a session: one after the other, told of while they run, and what the session takes over."""

import logging
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.messages.schema_generations import messages
from cuvis_ai_core.grpc.server.node_state_file import State, give_state
from cuvis_ai_core.grpc.server.node_timings import timings_of
from cuvis_ai_core.grpc.server.training.progress_messages import CANCELLED, ERROR, RUNNING
from cuvis_ai_core.grpc.server.training.trainer_program import Task
from cuvis_ai_core.grpc.server.training.training_process import TrainingProcess, message_of

if TYPE_CHECKING:
    from cuvis_ai_core.grpc.server.open_sessions import Session

logger = logging.getLogger(__name__)


class Training:
    """The trainings of a session, one after the other."""

    def __init__(self) -> None:
        self.latest: Any = messages().TrainResponse()
        """What was said last."""
        self._lock = threading.Lock()
        self._process: TrainingProcess | None = None

    @property
    def is_running(self) -> bool:
        """Whether one is under way."""
        return self._process is not None

    def stop(self) -> bool:
        """Have the training that is under way stop; return whether there is one."""
        with self._lock:
            if self._process is None:
                return False
            self._process.stop()
            return True

    def run(self, session: "Session", task: Task, context: Any) -> Iterator[Any]:
        """Train, and yield what is said of it.

        Args:
            session: The session.
            task: What is trained.
            context: gRPC's context of the call: when its client is gone, the training stops.

        Raises:
            ServiceError: As the training failed.
        """
        self.latest = messages().TrainResponse(status=RUNNING, message="begins")
        process = self._process = TrainingProcess(task, session.id, self._take)
        try:
            # False says that the call is over already, and that nobody will be told.
            if not context.add_callback(process.stop):
                process.stop()
            yield self.latest  # the process takes a moment until it says something itself
            while (said := process.next()) is not None:
                if said and context.is_active():
                    yield said
        finally:
            ended = process.end()
            try:
                last = self._take_over(session, ended)
            except Exception as error:
                self.latest = messages().TrainResponse(status=ERROR, message=str(error))
                raise
            finally:
                with self._lock:
                    self._process = None
            self.latest = last
        if "error" in ended:
            raise _error(ended["error"])
        yield last

    def _take(self, said: Any) -> None:
        self.latest = said

    def _take_over(self, session: "Session", ended: dict[str, Any]) -> Any:
        """Give the session's pipeline what was trained, and return what is said last."""
        from cuvis_ai_core.pipeline.pipeline import Pipeline

        pipeline = session.pipeline
        if "state" in ended and pipeline is not None:
            if "pipeline" in ended:  # what a training chose, such as a threshold, its nodes are built with
                pipeline = Pipeline.from_dict(ended["pipeline"], node_registry=session.node_registry)
                session.set_pipeline(pipeline)
            give_state(pipeline, State(**ended["state"]))
            if ended["device"] != pipeline.device:
                pipeline.to(ended["device"])
        timings_of(session).absorb(ended.get("timings", ()))
        if "last" in ended:
            return message_of(ended["last"])
        error = ended.get("error")
        words, status = (error["words"], ERROR) if error else (ended["message"], CANCELLED)
        last = messages().TrainResponse(status=status, message=words)
        last.context.CopyFrom(self.latest.context)
        return last


def training_of(session: "Session") -> Training:
    """Return the trainings of a session."""
    return session.kept("training", Training, lambda made: session.at_end.append(made.stop))


def _error(told: dict[str, Any]) -> ServiceError:
    error = ServiceError(told["words"], code=told["code"], kind=told["kind"])
    if trace := told.get("trace"):
        # A note is shown with the traceback in the log; the message goes to the client.
        error.add_note(f"In the process of the training:\n{trace}")  # for the log, never for the client
    return error
