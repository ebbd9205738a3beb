"""Lines that git leaves in a file where a merge was not settled."""

import re
from typing import Final

# The lines of ours and theirs alone: a row of '=' may be part of a text.
_MARK: Final = re.compile(r"^(<{7}|>{7})(?=[ \r\n]|\Z)", re.MULTILINE)


def conflict_in(text: str) -> tuple[str, int] | None:
    """Return what is wrong with a text that cannot be read, and the line, if git left a conflict in it."""
    mark = _MARK.search(text)
    if mark is None:
        return None
    said = f"a merge conflict that is not settled: git left '{mark[0]}' there; keep one of both sides"
    return said, text.count("\n", 0, mark.start()) + 1
