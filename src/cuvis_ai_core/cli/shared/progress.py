"""What is under way, while it happens: live on a terminal, plain lines elsewhere; all on stderr."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click
from cuvis_ai_hookspecs import hookimpl

from cuvis_ai_core._printable_text import duration, shown_in_line
from cuvis_ai_core.cli.shared.log_lines import QUIET
from cuvis_ai_core.cli.shared.output import tell

if TYPE_CHECKING:
    from rich.console import Console

    from cuvis_ai_core.registry import NodeRegistry

logger = logging.getLogger(__name__)

_LINE_EVERY: Final = 10.0
"""Seconds between two lines about how far something is, where there is no terminal."""

_SECONDS_BETWEEN_EPOCHS: Final = 2.0


@contextmanager
def working(text: str) -> Iterator[Callable[[str], None]]:
    """Show what is under way, and how far it is, as what this gives is told: live, or in a line at times."""
    if not is_live():
        report(text)
        yield _Seldom(report)
        return
    logger.info("%s", text)
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    with console.status(Text(shown_in_line(text)), spinner=spinner(console)) as status:
        yield lambda now: status.update(Text(shown_in_line(now)))


@contextmanager
def status_line() -> Iterator[Callable[[str], None] | None]:
    """Have a line on a terminal that is replaced again and again; None where there is no terminal."""
    if not is_live():
        yield None
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    with console.status(Text(""), spinner=spinner(console)) as status:
        yield lambda text: status.update(Text(shown_in_line(text)))


@contextmanager
def running(registry: "NodeRegistry", text: str) -> "Iterator[TileDisplay]":
    """Show that pipelines of a registry run, on a terminal with the node that is at work; tiles are told besides."""
    if not is_live():
        report(text)
        yield TileDisplay(text, report, every=_LINE_EVERY)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    with console.status(Text(shown_in_line(text)), spinner=spinner(console)) as status:

        def show(shown: str) -> None:
            status.update(Text(shown_in_line(shown)))

        display = NodeDisplay(text, show)
        registry.register_hooks(display)
        try:
            yield TileDisplay(text, show)
        finally:
            display.stop()


class NodeDisplay:
    """Says which node of a pipeline is at work.

    Args:
        text: What is under way.
        show: Shows a line in place of the one before.
    """

    def __init__(self, text: str, show: Callable[[str], None]) -> None:
        self._text = text
        self._show = show
        self._nodes: Sequence[str] = ()
        self._stopped = False

    @hookimpl
    def cuvis_ai_pipeline_started(self, nodes: Sequence[str]) -> None:
        """Remember which nodes will run."""
        self._nodes = nodes

    @hookimpl
    def cuvis_ai_node_started(self, node: str) -> None:
        """Show the node."""
        if not self._stopped:
            number = self._nodes.index(node) + 1 if node in self._nodes else 1
            self._show(f"{self._text}: {number} of {len(self._nodes)}, {node}")

    def stop(self) -> None:
        """Show no more."""
        self._stopped = True


class TileDisplay:
    """Says how many tiles of an image are done, and how long the others will take.

    Args:
        text: What is under way.
        show: Shows a line.
        every: Seconds between two lines.
    """

    def __init__(self, text: str, show: Callable[[str], None], every: float = 0.0) -> None:
        self._text = text
        self._show = show
        self._every = every
        self._begun = self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Say it, if it is time to."""
        now = time.monotonic()
        if now - self._last < self._every or done >= total:
            return
        self._last = now
        left = (now - self._begun) / done * (total - done)
        self._show(f"{self._text}: tile {done} of {total}, {duration(left)} to go")


class _Seldom:
    """Shows a line if the last one, or the beginning, is some time ago."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._last = time.monotonic()

    def __call__(self, text: str) -> None:
        if (now := time.monotonic()) - self._last >= _LINE_EVERY:
            self._last = now
            self._show(text)


class EpochLines:
    """Says in a line what an epoch gave, now and then and of the last one: losses, and the first metric of each node.

    Args:
        epochs: How many there are.
    """

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._printed = -_SECONDS_BETWEEN_EPOCHS

    def __call__(self, row: Mapping[str, float]) -> None:
        """Say it of an epoch, if it is time to."""
        number = int(row["epoch"])
        if number < self._epochs and time.monotonic() - self._printed < _SECONDS_BETWEEN_EPOCHS:
            return
        self._printed = time.monotonic()
        firsts: dict[str, str] = {}
        for name in row:
            if name not in {"epoch", "lr"} and not name.startswith("train/"):
                firsts.setdefault(name.partition("/")[0], name)
        values = ", ".join(f"{name} {row[name]:.4g}" for name in firsts.values())
        report(f"Epoch {number} of {self._epochs}: {values}")


def report(text: str) -> None:
    """Say in a line what is under way, on stderr or in the log."""
    logger.info("%s", text)
    if not is_silent():
        tell(text)


def is_silent() -> bool:
    """Tell whether no progress is to be shown: the user wants none, or has the log say it."""
    ctx = click.get_current_context(silent=True)
    return ctx is not None and bool(ctx.meta.get(QUIET) or logger.isEnabledFor(logging.INFO))


def is_live() -> bool:
    """Tell whether progress is shown on a terminal, where lines are replaced."""
    # As `rich` decides it, which takes its time to import (`Console.is_dumb_terminal`).
    return not is_silent() and sys.stderr.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}


def spinner(console: "Console") -> str:
    """Return the name of rich's spinner that a terminal can show."""
    # The dots are signs of braille, which other encodings lack.
    return "dots" if console.encoding.startswith("utf") else "line"
