"""A program that runs beside this process until it is ended, as the worker process of a plugin does."""

import contextlib
import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from cuvis_ai_core._pipe_reader import PipeReader
from cuvis_ai_core._process_group import GRACE, WATCHED, end_group, end_running
from cuvis_ai_core._redact import redact

_RECENT: Final = 2**16
"""Bytes of the output of a long-running program that are kept."""

logger = logging.getLogger(__name__)


class Service:
    """A program that runs until somebody ends it, or this process ends; its output is kept as far as it is recent.

    Args:
        command: The program, by its path, and its arguments.
        env: Its environment variables.
        handles: File descriptors that it inherits, under the same numbers.
        heard: Told of each line that it writes, in a thread of its own.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        handles: Sequence[int],
        heard: Callable[[str], None] | None = None,
    ) -> None:
        logger.debug("starting %s", redact(" ".join(command)))
        # The other end stays open until the program has ended, or this process has.
        watched, self._lifeline = os.pipe()
        try:
            self._process = subprocess.Popen(
                [*WATCHED, *command],
                env=env,
                stdin=watched,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=handles,
                start_new_session=True,
            )
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(watched)
        assert self._process.stdout is not None
        self._output = PipeReader(self._process.stdout, most=_RECENT, heard=heard)
        self._ended = threading.Event()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def watch(self, ended: Callable[[], None]) -> None:
        """Have something called when the program has ended; what it started is ended then too."""

        def wait() -> None:
            self._process.wait()
            end_group(self._process)
            os.close(self._lifeline)
            self._ended.set()
            ended()

        threading.Thread(target=wait, name=f"watching process {self.pid}", daemon=True).start()

    def forsake(self) -> None:
        """Leave the program to the process of which this one was forked off: it is to end with that one."""
        self._ended.set()
        self._process.returncode = 0  # not ours to wait for
        os.close(self._lifeline)

    def interrupt(self, number: int) -> None:
        """Send the program a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            if not self._ended.is_set():
                os.kill(self._process.pid, number)

    def end(self) -> None:
        """End the program and all that it started, and wait until it is gone."""
        if not self._ended.is_set():
            end_running(self._process)
        self._ended.wait(GRACE)

    def wait(self, seconds: float) -> int | None:
        """Return the exit status, negative for a signal, once the program has ended; None if it has not in time."""
        self._ended.wait(seconds)
        return self._process.returncode

    def output(self) -> str:
        """Return the end of what the program wrote, once no more is to come."""
        return redact(self._output.read(time.monotonic() + GRACE))
