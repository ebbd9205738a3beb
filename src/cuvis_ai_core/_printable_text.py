"""Texts of files as a terminal, a log or a page may show them: what steers these is written out."""

import re
from typing import Final

# Controls of a terminal (colours, titles, the clipboard), signs that turn the order of letters round or cannot be seen,
# and ends of lines that only some programs know. A tab and the end of a line do no harm.
_STEERING: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)
_BREAKS: Final = re.compile("[\t\n]")

_POWERS: Final = "kmgt"


def shown(text: str) -> str:
    """Return a text in which an escape is written out, and the like; its lines stay."""
    return _STEERING.sub(_written_out, text)


def shown_in_line(text: str) -> str:
    """Return a text as `shown` does, in one line: nobody adds a row to a table with a name."""
    return _BREAKS.sub(_written_out, shown(text))


def in_cell(value: object) -> object:
    """Return what stands in a cell of a CSV file: a text as `shown_in_line` does, and not such that it is computed.

    A spreadsheet takes what begins so for a formula, which may start a program or send other cells away.
    """
    if not isinstance(value, str):
        return value
    text = shown_in_line(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    if match[0] in "\t\n\r":
        return {"\t": "\\t", "\n": "\\n", "\r": "\\r"}[match[0]]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004


def duration(seconds: float) -> str:
    """Return a time as people say it: `42 s`, `3 min`, `2 h 5 min`."""
    if seconds < 90:  # noqa: PLR2004
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def shown_size(size: int) -> str:
    """Return a number of bytes for people: `1.5 GiB`."""
    for unit, name in ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size} bytes"


def bytes_in(text: str) -> int | None:
    """Return the bytes that somebody means by a size: `500000`, `1.5 GB`, `8GiB`, `2g`; None where it is none."""
    # So many digits: a float of hundreds of them is infinite, of which there is no int.
    found = re.fullmatch(rf"\s*(\d{{1,15}}(?:\.\d{{1,15}})?)\s*([{_POWERS}]?)(i?)b?\s*", text.lower(), re.ASCII)
    if found is None or (found[3] and not found[2]):
        return None
    return int(float(found[1]) * (1024 if found[3] else 1000) ** (1 + _POWERS.index(found[2]) if found[2] else 0))
