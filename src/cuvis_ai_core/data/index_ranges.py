"""Numbers and ranges as lists of them are written: `4`, `0-10`, `0-10:2`."""

from collections.abc import Iterable


def expand_range_selectors(items: Iterable[int | str]) -> list[int]:
    """Return the numbers that a list names: each a number, or a range `first-last` or `first-last:step` with its last.

    Raises:
        ValueError: Something is neither.
    """
    return [number for item in items for number in _range(item)]


def _range(token: int | str) -> Iterable[int]:
    if isinstance(token, int):
        return (token,)
    text, _, step = str(token).strip().partition(":")
    first, dash, last = text.partition("-")
    try:
        numbers = range(int(first), int(last if dash else first) + 1, int(step) if step else 1)
    except ValueError:
        # Refused below, as is a range without numbers: `5-3`.
        numbers = range(0)
    if not numbers:
        raise ValueError(f"'{token}' is no number and no range; write 4, 0-10 or 0-10:2")
    return numbers
