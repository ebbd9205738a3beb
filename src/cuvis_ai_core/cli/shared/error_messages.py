"""From an exception to what a person at a command line gets: one text on stderr, and an exit status."""

import errno
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Final, TextIO

import click

from cuvis_ai_core._printable_text import shown
from cuvis_ai_core._redact import redact
from cuvis_ai_core.cli.shared.log_lines import DEBUG, SEE_MORE, plain_problems
from cuvis_ai_core.cli.shared.output import tell
from cuvis_ai_core.errors import (
    AnnotationError,
    BundleError,
    CubeError,
    CuvisError,
    LockError,
    ManifestError,
    MissingExtraError,
    NodeError,
    NodeRunError,
    OutputError,
    PipelineError,
    PolicyError,
    TrainRunError,
)

FAILED: Final = 1
WRONG_INPUT: Final = 2
NOT_ASKED: Final = 3
INTERRUPTED: Final = 130

_WRONG_INPUT: Final = (
    AnnotationError,
    BundleError,
    CubeError,
    LockError,
    ManifestError,
    MissingExtraError,
    NodeError,
    OutputError,
    PipelineError,
    PolicyError,
    TrainRunError,
)
_CURES: Final = {
    errno.EACCES: "change its rights, or those of the folders above it",
    errno.EPERM: "change its rights, or those of the folders above it",
    errno.EROFS: "give a place that may be written",
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.EFBIG: "allow larger files (ulimit -f)",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.ENAMETOOLONG: "give a shorter name",
}
"""What to do about an error of the operating system."""

_WRONG_PLACES: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG})

_MOST_LINES: Final = 40
_MOST_SIGNS: Final = 4000
_LONGEST_LINE: Final = 1000
"""Of the text of an error that is shown."""

_CLICK: Final = (click.ClickException, click.exceptions.Exit, click.Abort)


class Guarded(click.Command):
    """An outermost command: whatever goes wrong in it ends in one text and an exit status."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: object
    ) -> click.Context:
        """Read the arguments; from here on no text can fail to be printed."""
        for stream in (sys.stdout, sys.stderr):
            _make_lenient(stream)
        with _shown_errors():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        more = ""
        with plain_problems(), _shown_errors():
            try:
                return super().invoke(ctx)
            except (*_CLICK, BrokenPipeError):
                raise  # click ends quietly where the reader of a pipe went away
            except KeyboardInterrupt as error:
                tell("\n".join(["\nInterrupted.", *getattr(error, "__notes__", ())]))
                status = INTERRUPTED
            except (Exception, SystemExit) as error:  # noqa: BLE001 - the last place that can say anything
                if ctx.meta.get(DEBUG):
                    tell("".join(traceback.format_exception(error)))
                elif getattr(error, "place", None) and _is_foreign(error.__cause__):
                    more = f"\n{SEE_MORE}"
                text = _text(error)
                told = text if ctx.meta.get(DEBUG) else shortened(text)
                tell(f"Error: {told}{more if told == text else ''}")
                status = exit_status(error)
        raise click.exceptions.Exit(status)


@contextmanager
def _shown_errors() -> Iterator[None]:
    """Have the errors that click prints steer no terminal."""
    try:
        yield
    except click.ClickException as error:
        error.message = shown(redact(f"{error.message}{_variable(error)}"))  # type: ignore[misc]  # nobody else says what click prints
        raise
    except BrokenPipeError:
        raise
    except OSError as error:  # of --help and --version
        raise click.ClickException(f"Standard output cannot be written: {error.strerror or error}.") from error


def _variable(error: click.ClickException) -> str:
    """Return where a wrong value comes from, if it is an environment variable that nobody typed."""
    ctx, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    if ctx is None or parameter is None or parameter.name is None or not isinstance(parameter.envvar, str):
        return ""
    more = f" Change the environment variable {parameter.envvar}."
    # Nobody sees on the command line what a variable said.
    given = ctx.get_parameter_source(parameter.name) is click.core.ParameterSource.ENVIRONMENT
    return more if given and not error.message.endswith(more) else ""  # a group and its command both come by


def exit_status(error: BaseException) -> int:
    """Return 2 where what was given is wrong, and nothing of many could begin, 1 where the work failed."""
    if isinstance(error, CuvisError) and error.begun is not None:
        return FAILED if error.begun else WRONG_INPUT
    if isinstance(error, OSError) and not isinstance(error, CuvisError):
        return WRONG_INPUT if error.filename is not None and error.errno in _WRONG_PLACES else FAILED
    return WRONG_INPUT if isinstance(error, _WRONG_INPUT) and not isinstance(error, NodeRunError) else FAILED


def _text(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}; {_CURES.get(error.errno or 0, 'check the path')}"
    if isinstance(error, CuvisError | OSError):
        return str(error)
    return (
        f"unexpected {type(error).__name__}: {error}\n"
        "This is a bug in cuvis-ai-core or in a plugin. Run again with --debug to see where."
    )


def shortened(text: str) -> str:
    """Return the beginning and the end of a long text: what others say in an error may be thousands of lines."""
    lines = [line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]} …" for line in text.splitlines()]
    left = max(len(lines) - _MOST_LINES, 0)
    while len("\n".join(_around(lines, left))) > _MOST_SIGNS and left < len(lines) - 2:
        left += 1
    kept = "\n".join(_around(lines, left))
    return kept if kept == "\n".join(text.splitlines()) else f"{kept}\nRun again with --debug for the whole text."


def _around(lines: list[str], left: int) -> list[str]:
    """Return lines without some in the middle; the hint, which ends an error, stays."""
    if not left:
        return lines
    kept = len(lines) - left
    first = kept - kept // 4
    return [*lines[:first], f"[... {left} lines ...]", *lines[first + left :]]


def _is_foreign(cause: BaseException | None) -> bool:
    """Tell whether an error was caused by an exception that is none of ours: there is a traceback to be seen."""
    # What a worker raised comes without its exception: it brings the traceback as a text.
    return cause is not None and (
        not isinstance(cause, CuvisError) or _is_foreign(cause.__cause__) or hasattr(cause, "trace")
    )


def _make_lenient(stream: TextIO) -> None:
    """Have a stream write escapes for signs that its encoding lacks."""
    # Python sets `surrogateescape` for standard output in the C locale (PEP 538, PEP 540): odd bytes would be handed
    # on. Standard error has `backslashreplace` by itself; streams of tests and notebooks are none of these.
    if isinstance(stream, TextIOWrapper) and stream.errors in {"strict", "surrogateescape"}:
        stream.reconfigure(errors="backslashreplace")
