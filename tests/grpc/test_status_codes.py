"""Which status an error becomes, and what a client is told of it."""

import errno
from typing import Any

import pytest

pytest.importorskip("grpc")

from cuvis_ai_core.errors import NodeRunError, PortError, RemoteError, WorkerTimeoutError
from cuvis_ai_core.grpc.server.status_codes import code_of, plain_words, shown, words_for


class OutOfMemoryError(RuntimeError):
    """As torch calls it."""


def _after(cause: BaseException, error: BaseException | None = None) -> BaseException:
    error = error or NodeRunError("Node 'n' failed.", node="n", stage="inference")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), "RESOURCE_EXHAUSTED"),
        (OutOfMemoryError("CUDA"), "RESOURCE_EXHAUSTED"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "RESOURCE_EXHAUSTED"),
        (_after(MemoryError()), "RESOURCE_EXHAUSTED"),
        (_after(_after(OutOfMemoryError("CUDA"), ValueError("in a layer"))), "RESOURCE_EXHAUSTED"),
        (RuntimeError("no memory of that"), "INTERNAL"),
        (_after(ValueError("a wrong cube")), "INVALID_ARGUMENT"),
        (_after(RemoteError("ValueError: a wrong cube")), "INTERNAL"),
        (_after(PortError("a wrong value", node="n")), "INVALID_ARGUMENT"),
        (_after(WorkerTimeoutError("too long")), "DEADLINE_EXCEEDED"),
        (_after(KeyError("a bug")), "INTERNAL"),
        (OSError(errno.ENOSPC, "No space left on device"), "RESOURCE_EXHAUSTED"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "RESOURCE_EXHAUSTED"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x"), "INVALID_ARGUMENT"),
        (OSError(errno.EINVAL, "Invalid argument"), "INTERNAL"),
        (FileNotFoundError(errno.ENOENT, "No such file", "x"), "NOT_FOUND"),
        (RecursionError(), "INVALID_ARGUMENT"),
        (ValueError("a bug"), "INTERNAL"),
    ],
)
def test_the_status_of_an_error(error: BaseException, code: str) -> None:
    """By what was wrong, also where that lies behind what is raised."""
    assert code_of(error) == code
    assert ("under 7." in words_for(error, "7")) == (code == "INTERNAL")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("a secret"), "The server failed."),
        (FileNotFoundError(errno.ENOENT, "No such file", "x.npy"), "No such file: 'x.npy'"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 300), f"File name too long: '{'x' * 200}…'"),
        (RecursionError("in parse, line 3"), "The message is nested too deeply."),
    ],
)
def test_what_is_said_of_an_error(error: BaseException, words: str) -> None:
    """Nothing of a bug, and of a file no more than fits."""
    assert plain_words(error) == words


@pytest.mark.parametrize(
    ("text", "sent"),
    [("a\x1b[31mb\nc\x00", "a?[31mb\nc?"), ("\u202etxt", "?txt"), ("half \ud800", "half ?")],
)
def test_signs_that_a_terminal_obeys_are_not_sent(text: str, sent: str) -> None:
    """Whatever an error repeats of what a stranger wrote."""
    assert shown(text) == sent


@pytest.mark.parametrize("letter", ["a", "ä", "漢"])
def test_a_text_fits_into_a_header(letter: str) -> None:
    """As it is sent there, %XX for each byte of other letters; no more is cut off than has to be."""
    from urllib.parse import quote

    long: Any = shown(letter * 10_000)
    assert 2000 < len(quote(long)) <= 4000
    assert long.endswith(" …")
    assert shown(letter * 100) == letter * 100
