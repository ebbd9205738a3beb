"""Tables on stdout: coloured and folded on a terminal, whole lines elsewhere."""

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from cuvis_ai_core._printable_text import shown_in_line
from cuvis_ai_core._redact import redact
from cuvis_ai_core.cli.shared.output import results, say, say_drawn

Cell: TypeAlias = str | Sequence[str]

_ENDLESS: Final = 100_000
"""Columns of a pipe or a file: programs that read lines want them whole."""

ADD_A_PLUGIN: Final = (
    "Add one below 'plugins:': a name with 'repo', 'tag' and 'provides', or with 'path' and 'provides'."
)


def print_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    title: str | None = None,
    empty: str = "Nothing to show.",
) -> None:
    """Print a table with a line of headings.

    Args:
        headings: The headings.
        rows: The rows, each with a cell for each heading: a text, or several lines.
        title: A line above.
        empty: What is printed where there are no rows: what to do, so that there are some.
    """
    shown = list(rows)
    if not shown:
        say(empty)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD, title=title and shown_in_line(redact(title)), title_justify="left", padding=(0, 1, 0, 0)
    )
    for heading in headings:
        # By itself rich cuts a long path off and writes an ellipsis.
        table.add_column(heading, overflow="fold")
    for row in shown:
        table.add_row(*map(_written, row))
    stream = results()
    width = None if stream.isatty() else _ENDLESS
    # Names and shapes are shown as they are: `[1, 3]` is no mark-up.
    console = Console(file=stream, width=width, markup=False, emoji=False, highlight=False)
    with console.capture() as captured:
        console.print(table)
    # rich fills every line with blanks, up to 100,000 of them in a pipe.
    lines = [line.rstrip() for line in captured.get().splitlines()]
    say_drawn("\n".join(lines).strip("\n"))


def _written(cell: Cell) -> str:
    """Return the text of a cell; a line break within a text is none of ours, and is shown as a sign."""
    lines = [cell] if isinstance(cell, str) else cell
    return "\n".join(shown_in_line(redact(line)) for line in lines)
