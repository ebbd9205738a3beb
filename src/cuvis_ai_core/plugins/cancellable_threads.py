"""Several things at once for one caller, who hears of them in a thread of its own and can end them all."""

import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from cuvis_ai_core._subprocess import Programs

if TYPE_CHECKING:
    from concurrent.futures import Future

Task = Callable[[], object]

WORKERS: Final = 8
"""How many plugins are fetched or built at once: enough for a slow network, bounded for the host that serves them."""


class Meanwhile:
    """What is done while the next program runs, or else after it; an error of it is none of that program's."""

    def __init__(self) -> None:
        self._steps: Sequence[Task] = ()
        self._error: Exception | None = None

    def expect(self, *steps: Task) -> None:
        """Have something done while the next program runs, in this order."""
        self._steps = steps

    def __call__(self) -> None:
        """Do what is expected, unless it is done."""
        steps, self._steps = self._steps, ()
        try:
            for step in steps:
                step()
        except Exception as error:  # noqa: BLE001 - raised in the end
            self._error = error

    def finish(self) -> None:
        """Do it now if nothing gave the occasion before, and raise what it raised."""
        self()
        if self._error is not None:
            raise self._error


class Crew:
    """Threads that work for the thread that made this.

    An interruption of that thread (Ctrl-C) ends the programs that the others started, and then them.
    """

    def __init__(self) -> None:
        self._owner = threading.get_ident()
        self._words: SimpleQueue[Task | None] = SimpleQueue()

    def say(self, words: Task) -> None:
        """Have something said by the thread of the caller: observers of plugins need not be thread-safe."""
        if threading.get_ident() == self._owner:
            words()
        else:
            self._words.put(words)

    def run(self, tasks: Sequence[Task]) -> None:
        """Do all tasks, several at once, and return when all are done; a single one is done by the caller itself.

        Tasks deal with their errors: one that raises ends the others.
        """
        if len(tasks) == 1:
            tasks[0]()
        elif tasks:
            from concurrent.futures import ThreadPoolExecutor

            with Programs.together() as programs, ThreadPoolExecutor(min(len(tasks), WORKERS)) as pool:
                # A thread starts without the context variables of its caller.
                futures = [pool.submit(copy_context().run, task) for task in tasks]
                try:
                    self._finish(futures)
                except BaseException:
                    for future in futures:
                        future.cancel()
                    programs.end()
                    raise

    def _finish(self, futures: "list[Future[object]]") -> None:
        if threading.get_ident() == self._owner:
            for future in futures:
                future.add_done_callback(lambda _: self._words.put(None))
            waiting = len(futures)
            while waiting:
                words = self._words.get()
                if words is None:
                    waiting -= 1
                else:
                    words()
        for future in futures:
            future.result()
