"""What is read of a pipe while somebody writes into it."""

import os
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest

from cuvis_ai_core._pipe_reader import PipeReader
from cuvis_ai_core._subprocess import time_limit


class Pipe:
    """A pipe that is read, and written into by a test."""

    def __init__(self, **options: Any) -> None:
        read, self._end = os.pipe()
        self.reader = PipeReader(os.fdopen(read, "rb", 0), **options)

    def write(self, data: bytes) -> None:
        """Write, however much fits into a pipe."""
        while data:
            data = data[os.write(self._end, data) :]

    def close(self) -> str:
        """End it, and return what was read."""
        if self._end >= 0:  # once: its number may be that of another file then
            os.close(self._end)
            self._end = -1
        return self.reader.read(time.monotonic() + 30)


@pytest.fixture
def pipe() -> Iterator[Callable[..., Pipe]]:
    """Return what makes pipes, which are closed afterwards."""
    made: list[Pipe] = []

    def make(**options: Any) -> Pipe:
        made.append(Pipe(**options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_lines_are_heard_when_they_are_whole(pipe: Callable[..., Pipe]) -> None:
    """However they came through the pipe, without what steers a terminal, or a password in an address."""
    heard: list[str] = []
    through = pipe(heard=heard.append)
    for part in (b"on", b"e\r\ntw", b"o\x1b[1m\n\nhttps://me:secret@host/x\n\xffrest"):
        through.write(part)
    whole = through.close()
    assert heard[:3] == ["one", "two?[1m", ""]
    assert "secret" not in heard[3]
    assert heard[4:] == ["\ufffdrest"]
    assert whole.endswith("\n\ufffdrest")


def test_a_progress_bar_is_heard_while_it_grows(pipe: Callable[..., Pipe]) -> None:
    """It is written over itself, and has no line feed until it ends; now and then is enough, but for its end."""
    heard: SimpleQueue[str] = SimpleQueue()
    through = pipe(heard=heard.put)
    through.write(b"begun\r\n\r10%\r20%\r")
    assert [heard.get(timeout=30) for _ in range(2)] == ["begun", "10%"]
    for part in (b"\r30%", b"\r      \r", b"\r40%"):
        through.write(part)
    assert through.close() == "begun\n40%"
    assert heard.get(timeout=30) == "40%"
    assert heard.empty()


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        (b"0%\r50%\r100%\n\ndone\n", ["100%", "", "done"]),
        (b"0%\r50%\r100%\r      \r\ndone\n", ["100%", "done"]),
        (b"0%\r50%\r100%\r      \rdone\r\n", ["done"]),
        (b"0%\r50%\r100%\r      ", ["100%"]),
        (b" \r \r\n", ["  "]),
    ],
)
def test_of_a_line_that_is_written_over_the_last_state_is_left(
    pipe: Callable[..., Pipe], written: bytes, lines: list[str]
) -> None:
    """What only clears it is none; so it is of lines that are heard, but for the first state of those that grow."""
    heard: list[str] = []
    whole, growing = pipe(heard=heard.append), pipe()
    whole.write(written)
    whole.close()
    assert heard[-len(lines) :] == lines
    growing.write(written)
    assert growing.close().splitlines() == lines


def test_of_a_line_without_end_the_last_part_is_kept(pipe: Callable[..., Pipe]) -> None:
    """Whoever is told of lines keeps no more of one in memory."""
    heard: list[str] = []
    through = pipe(heard=heard.append)
    through.write(b"x" * 2**20 + b"last")
    through.write(b"\n")
    through.close()
    (line,) = heard
    assert 2**16 <= len(line) <= 2 * 2**16
    assert line.endswith("last")


@pytest.mark.parametrize(("size", "told"), [(1000, 0), (1001, 1), (500_000, 1)])
def test_more_than_the_limit_is_told_once_and_nothing_of_it_is_kept(
    pipe: Callable[..., Pipe], size: int, told: int
) -> None:
    """It is read on, so that the program does not wait."""
    calls: list[int] = []
    through = pipe(limit=1000, beyond=lambda: calls.append(1))
    through.write(b"x" * size)
    assert len(through.close()) == (0 if told else size)
    assert (len(calls), through.reader.is_full) == (told, bool(told))


def test_the_last_bytes_are_kept(pipe: Callable[..., Pipe]) -> None:
    """At least as many as are wanted, and never more than twice as many."""
    through = pipe(most=1000)
    for number in range(100):
        through.write(f"{number:03}".encode() * 40)
    found = through.close()
    assert 1000 <= len(found) <= 2000
    assert found.endswith("099" * 40)


def test_a_pipe_that_stays_open_is_not_waited_for(pipe: Callable[..., Pipe]) -> None:
    """What came so far is returned once time is up."""
    heard: list[str] = []
    through = pipe(heard=heard.append)
    through.write(b"begun\n")
    while not heard:
        pass
    assert through.reader.read(time.monotonic()) == "begun\n"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", 300), ("7", 7), ("0.5", 0.5), ("0", 300), ("0.0", 300), ("-1", 300), ("nan", 300), ("5s", 300), (".5", 300)],
)
def test_the_time_that_a_program_may_take(monkeypatch: pytest.MonkeyPatch, text: str, seconds: float) -> None:
    """Seconds above 0; whatever else the variable says counts as nothing."""
    monkeypatch.setenv("CUVIS_INSTALL_TIMEOUT", text)
    assert time_limit() == seconds
