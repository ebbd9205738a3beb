"""What a command's user sees of logs and warnings: problems as plain lines, and with `--verbose` the story of a run."""

import logging
import os
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final, TextIO

import click

from cuvis_ai_core.cli.shared.output import tell

DEBUG: Final = "cuvis_ai_core.cli.debug"
QUIET: Final = "cuvis_ai_core.cli.quiet"
VERBOSE: Final = "cuvis_ai_core.cli.verbose"
"""Keys of `ctx.meta` under which the options are remembered that all commands have."""

LOG_VARIABLE: Final = "CUVIS_LOG"

SEE_MORE: Final = "Run again with --debug to see the whole traceback."

_OURS: Final = "cuvis_ai_core"
_PRINTED_ELSEWHERE: Final = "cuvis_ai_core.plugins.worker.connection"
"""Logger of the lines that worker processes print."""


def warn(text: str) -> None:
    """Print a warning in one line on stderr."""
    tell(f"Warning: {' '.join(text.split())}")


@contextmanager
def plain_problems() -> Iterator[None]:
    """Show warnings, and logged problems of this package, as plain lines, each once."""
    logger, handler = logging.getLogger(_OURS), _Lines()
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings():
            # Not `logging.captureWarnings`: its lines have file, line and source of the warning, which are ours.
            warnings.showwarning = handler.show_warning
            yield
    finally:
        logger.removeHandler(handler)


@contextmanager
def told(ctx: click.Context) -> Iterator[None]:
    """Have those records logged that the user asks for, and what plugins print in processes of their own.

    Raises:
        click.UsageError: `CUVIS_LOG` is no level.
    """
    before = {name: logging.getLogger(name).level for name in (_OURS, _PRINTED_ELSEWHERE)}
    level = _asked_for(ctx)
    if level is not None:
        logging.getLogger(_OURS).setLevel(level)
    # What a plugin prints in this process is seen without `--verbose` as well.
    logging.getLogger(_PRINTED_ELSEWHERE).setLevel(logging.INFO)
    try:
        yield
    finally:
        for name, former in before.items():
            logging.getLogger(name).setLevel(former)


def _asked_for(ctx: click.Context) -> int | None:
    name = os.environ.get(LOG_VARIABLE, "").strip().upper()
    levels = logging.getLevelNamesMapping()
    if name and name not in levels:
        raise click.UsageError(f"The environment variable {LOG_VARIABLE} is '{name}'; levels are DEBUG, INFO, WARNING.")
    if ctx.meta.get(VERBOSE):
        return min(levels.get(name, logging.INFO), logging.INFO)
    return levels.get(name)


class _Lines(logging.Handler):
    """Prints log records on stderr: problems as warnings."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        # Of warnings and errors there is no time and no level: a person reads them.
        text = record.getMessage()
        if record.name == _PRINTED_ELSEWHERE and record.levelno < logging.WARNING:
            tell(text)
        elif record.levelno < logging.WARNING:
            tell(f"{datetime.now().astimezone():%H:%M:%S} {record.levelname} {text}")
        else:
            self._warn(text, record.exc_info[1] if record.exc_info else None)

    def show_warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        """Print a warning."""
        self._warn(str(message), None)

    def _warn(self, text: str, error: BaseException | None) -> None:
        if text in self._said:
            return
        self._said.add(text)
        ctx = click.get_current_context(silent=True)
        if error is not None and ctx is not None and ctx.meta.get(DEBUG):
            tell("".join(traceback.format_exception(error)))
        elif error is not None:
            text += f" {SEE_MORE}"
        warn(text)
