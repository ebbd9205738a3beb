"""Tables on stdout: coloured and folded on a terminal, whole lines elsewhere."""

import sys
from collections.abc import Iterable, Sequence
from typing import Final

import click

_ENDLESS: Final = 100_000
"""Columns of a pipe or a file: programs that read lines want them whole."""


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None) -> None:
    """Print a table with a line of headings."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else _ENDLESS
    # Names and shapes are shown as they are: `[1, 3]` is no mark-up.
    console = Console(width=width, markup=False, emoji=False, highlight=False)
    with console.capture() as captured:
        console.print(table)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    click.echo("\n".join(lines).strip("\n"))
