"""What a host makes of what a worker tells of an exception, and of how it ended."""

from typing import Any

import pytest

from cuvis_ai_core.errors import PortError, RemoteError, WorkerError
from cuvis_ai_core.plugins.worker.remote_errors import remote_error

TOLD = {"kind": "Odd", "like": "ValueError", "ours": None, "words": "too bright", "hint": None, "trace": "a\n  b\n"}
WHERE = "In the worker process of plugin 'p':\n  a\n    b"


@pytest.mark.parametrize(
    ("kind", "like", "base"),
    [
        ("ValueError", "ValueError", ValueError),
        ("Odd", "KeyError", KeyError),
        ("Odd", "Exception", RemoteError),
        ("Odd", "SystemExit", RemoteError),
        ("Odd", "StopIteration", RemoteError),
        ("UnicodeDecodeError", "UnicodeDecodeError", RemoteError),
        ("RuntimeError", "RuntimeError", RuntimeError),
        ("Odd", "print", RemoteError),
        ("Odd", "no such", RemoteError),
        ("no name", "ValueError", ValueError),
    ],
)
def test_an_exception_is_of_the_class_of_that_name(kind: str, like: str, base: type[Exception]) -> None:
    """Or of the nearest that Python has, where one can be made of a text; a StopIteration would be taken for an end."""
    error: Any = remote_error({**TOLD, "kind": kind, "like": like}, "p", "n")
    assert isinstance(error, base)
    assert isinstance(error, RemoteError)
    assert not isinstance(error, StopIteration | SystemExit)
    assert type(error).__name__ == (kind if kind.isidentifier() else "RemoteError")
    assert (error.kind, error.words, error.trace) == (kind, "too bright", "a\n  b\n")
    assert (error.message, error.hint, error.plugin, error.node, error.place) == ("too bright", WHERE, "p", "n", None)


def test_an_exception_without_words_has_its_kind() -> None:
    """And is of one class whenever it is told; the place is told where it is known."""
    first, second = (remote_error({**TOLD, "words": "", "place": "nodes.py, line 3"}, "p", None) for _ in range(2))
    assert type(first) is type(second)
    assert (first.message, first.place) == ("Odd without words", "nodes.py, line 3")


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        ({"kind": "PortError"}, "too bright", WHERE),
        ({"kind": "Mine"}, "Mine: too bright", WHERE),
        ({"kind": "PortError", "hint": "Take another."}, "too bright", f"Take another.\n{WHERE}"),
        ({"kind": "PortError", "hint": "Take another.", "trace": ""}, "too bright", "Take another."),
        ({"kind": "PortError", "trace": ""}, "too bright", None),
    ],
)
def test_our_own_errors_keep_class_and_advice(change: dict[str, str], message: str, hint: str | None) -> None:
    """With the trace where there is one; of a class derived from ours, its name too."""
    error = remote_error({**TOLD, "ours": "PortError", **change}, "p", "n")
    assert type(error) is PortError
    assert (error.message, error.hint) == (message, hint)


@pytest.mark.parametrize("ours", ["WorkerError", "RemoteError", "Final", "annotations", "no such"])
def test_what_is_no_error_of_a_node_is_made_none(ours: str) -> None:
    """What a worker says is data: neither other names of ours are called, nor is its end told by itself."""
    error = remote_error({**TOLD, "ours": ours}, "p", "n")
    assert isinstance(error, RemoteError)
    assert isinstance(error, ValueError)
    assert issubclass(RemoteError, WorkerError)
