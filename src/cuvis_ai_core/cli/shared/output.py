"""Where a command's words go: results to standard output; all else, a plugin's prints included, to standard error.

All of them pass through here: what comes from a file steers no terminal, and shows no password.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Final, TextIO

import click

from cuvis_ai_core._printable_text import shown, shown_in_line
from cuvis_ai_core._redact import redact
from cuvis_ai_core.errors import CuvisError

_RESULTS: Final = "cuvis_ai_core.cli.results"
"""Key of `ctx.meta` under which the stream for results is kept, while standard output is lent to standard error."""

_STDERR: Final = 2


def say(text: str = "") -> None:
    """Print a line of a result."""
    _print(shown(redact(text)))


def say_line(text: str) -> None:
    """Print one line of a result: an end of line in what a file says is written out, so that it adds no line to it."""
    _print(shown_in_line(redact(text)))


def say_drawn(text: str) -> None:
    """Print what has colours of our own, made of texts that were shown before."""
    _print(text)


def _print(text: str) -> None:
    try:
        click.echo(text, file=results())
    except BrokenPipeError:
        raise  # whoever read it has read enough
    except OSError as error:
        raise CuvisError(
            f"Standard output cannot be written: {error.strerror or error}.", hint="Look at where it is led to."
        ) from error


def tell(text: str) -> None:
    """Print something that is no result; where it cannot be written, it is lost, and the work goes on."""
    try:
        click.echo(shown(redact(text)), err=True)
    except BrokenPipeError:
        raise  # whoever read it has read enough
    except OSError:  # a log on a full disk
        _give_up_stderr()


def _give_up_stderr() -> None:
    before = sys.stderr
    # What its buffer still has would make an error of the end of the process.
    sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - it is open till the end
    if sys.stdout is before:
        sys.stdout = sys.stderr


def results() -> TextIO:
    """Return the stream for results."""
    ctx = click.get_current_context(silent=True)
    lent: TextIO | None = None if ctx is None else ctx.meta.get(_RESULTS)
    return lent or sys.stdout


@contextmanager
def only_results_on_stdout(ctx: click.Context) -> Iterator[None]:
    """Have what anybody but `say` prints go to standard error, also what C libraries and child processes print."""
    stdout: TextIO | None = sys.stdout
    with _own_handle(stdout) as stream:
        ctx.meta[_RESULTS] = stream
        # For Python's own prints: the stream writes to the handle late, when it is a result's again.
        sys.stdout = sys.stderr
        try:
            yield
        finally:
            sys.stdout = stdout
            del ctx.meta[_RESULTS]


@contextmanager
def _own_handle(stdout: TextIO | None) -> Iterator[TextIO]:
    """Have a stream to where a stream leads now, which itself leads to standard error meanwhile."""
    if stdout is None:  # closed: nobody wants results
        with Path(os.devnull).open("w", encoding="utf-8") as nothing:
            yield nothing
        return
    if not isinstance(stdout, TextIOWrapper):  # a notebook's: its handle leads to where the kernel was started
        yield stdout
        return
    try:
        handle = stdout.fileno()
        # What is in its buffer would go where the handle leads next.
        stdout.flush()
        kept = os.dup(handle)
    except (OSError, ValueError):  # no stream of the system: a test's
        yield stdout
        return
    stream = open(kept, "w", encoding=stdout.encoding, errors=stdout.errors, closefd=False)  # noqa: SIM115
    try:
        os.dup2(_STDERR, handle)
        yield stream
        stream.flush()
    finally:
        os.dup2(kept, handle)
        try:
            stream.close()
        except OSError:  # whoever read it went away
            pass
        finally:
            os.close(kept)
