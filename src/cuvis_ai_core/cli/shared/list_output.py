"""What the lists of this program have in common: a table for people, one JSON object for programs."""

import json
from collections.abc import Iterable, Sequence

from cuvis_ai_core.cli.shared.output import say


def print_list(
    kind: str,
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    as_json: bool,
    notes: Iterable[str] = (),
    empty: str = "Nothing to show.",
) -> None:
    """Print a list.

    Args:
        kind: What is listed: `nodes`.
        headings: The headings; in JSON they are the keys of each item, with `_` for blanks.
        rows: The rows, each with a cell for each heading; what is not known is `-`, in JSON null.
        as_json: Whether to print JSON.
        notes: What else there is to know, a sentence each.
        empty: What is said where there are no rows.
    """
    if as_json:
        keys = [heading.replace(" ", "_") for heading in headings]
        items = [{key: None if cell == "-" else cell for key, cell in zip(keys, row, strict=True)} for row in rows]
        say(json.dumps({"kind": kind, "items": items, "notes": list(notes)}, indent=2))
        return
    from cuvis_ai_core.cli.shared.tables import print_table

    print_table(headings, rows, empty=empty)
    for note in notes:
        say(note)
