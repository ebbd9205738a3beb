"""The process of a training, as the server has it: started, heard, and ended when that is wanted."""

import base64
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from cuvis_ai_core._process_group import end_group, how_it_ended
from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.messages.schema_generations import messages
from cuvis_ai_core.grpc.server.training.trainer_program import STOP, Task
from cuvis_ai_core.plugins.isolation.private_names import LIVE_PLUGINS

logger = logging.getLogger(__name__)

_MOST_WAITING: Final = 1000
"""Messages that wait for a client that reads slowly."""

_LONGEST_STOP: Final = 10.0
"""Seconds that a training that is to stop has for it, before its process is ended."""


class Words:
    """What was said and waits for the client; where it reads slowly, the oldest words are left out."""

    def __init__(self) -> None:
        self._words: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def __len__(self) -> int:
        return self._words.qsize()

    def put(self, said: Any) -> None:
        """Have a message wait."""
        self._words.put(said)
        if self._words.qsize() > _MOST_WAITING:
            with suppress(queue.Empty):
                self._words.get_nowait()

    def get(self) -> Any:
        """Return the message that waits longest, None where there is none for a moment."""
        with suppress(queue.Empty):
            return self._words.get(timeout=0.1)


class TrainingProcess:
    """A process that trains.

    Args:
        task: What it trains.
        session: The number of the session, for the log.
        take: Is given each message.

    Raises:
        ServiceError: It cannot be started.
    """

    def __init__(self, task: Task, session: str, take: Callable[[Any], None]) -> None:
        self._session = session[:8]
        self._take = take
        self._words = Words()
        self._ended: dict[str, Any] = {}
        self._asked_at: float | None = None
        self._began = False
        # The process loads the session's plugins itself: those of the server's own process are none of its business.
        environment = {key: value for key, value in os.environ.items() if key != LIVE_PLUGINS}
        environment["TMPDIR"] = task.folder  # what it leaves goes with it, however it ends
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cuvis_ai_core.grpc.server.training.trainer_program"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the server, which ends it in order
            )
        except OSError as error:
            raise ServiceError(
                f"No process for the training can be started: {error}.", code="RESOURCE_EXHAUSTED"
            ) from error
        self._reader = threading.Thread(target=self._listen, name="training", daemon=True)
        self._reader.start()
        # Read all the time: a pipe that is full stops the process that writes to it.
        threading.Thread(target=self._log, daemon=True).start()
        self._write(task.to_json())

    def next(self) -> Any:
        """Return what is said next, nothing yet (False), or that all is said (None)."""
        if self._asked_at is not None and time.monotonic() - self._asked_at > _LONGEST_STOP:
            end_group(self._process)  # readers of data and plugins are processes of its own
        # Looked at before the words: a last one could come between the two.
        ended = not self._reader.is_alive()
        said = self._words.get()
        return said if said is not None or ended else False

    def stop(self) -> None:
        """Have it stop soon, whatever it does; where it has not begun to train, at once."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()
            self._write(STOP)
            if not self._began:  # it imports and builds, which nothing stops, and there is nothing to keep
                end_group(self._process)

    def end(self) -> dict[str, Any]:
        """Have it stop where it still runs, and return how it ended."""
        self.stop()
        while self.next() is not None:
            pass
        with suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        return self._ended

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as answers:
            for line in answers:
                with suppress(ValueError):
                    told: dict[str, Any] = json.loads(line)
                    self._ended = told.get("ended", self._ended)
                    if "said" in told:
                        self._began = True
                        said = message_of(told["said"])
                        self._take(said)
                        self._words.put(said)
        status = self._process.wait()
        if not self._ended:
            self._ended = self._died(status)

    def _log(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                logger.warning("training of session %s: %s", self._session, line.decode(errors="replace").rstrip())

    def _died(self, status: int) -> dict[str, Any]:
        if self._asked_at is not None and not self._began:
            return {"message": "stopped before it began"}
        if self._asked_at is not None:
            return {"message": "stopped by the end of its process; what was trained since the last epoch is lost"}
        how = how_it_ended(status)
        code = "RESOURCE_EXHAUSTED" if status == -getattr(signal, "SIGKILL", 0) else "INTERNAL"
        return {"error": {"kind": "TrainingError", "code": code, "words": f"The process of the training {how}."}}

    def _write(self, line: bytes) -> None:
        stream: Any = self._process.stdin
        with suppress(OSError, ValueError):  # it died: that is heard from the other side
            stream.write(line)
            stream.flush()


def message_of(text: str) -> Any:
    """Return the TrainResponse that a process told."""
    return messages().TrainResponse.FromString(base64.b64decode(text))
