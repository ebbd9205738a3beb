"""Asking back when a name is wrong."""

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the known name that is most like a wrong one, or None where none is like it.

    Args:
        name: The wrong name.
        known: Names that would have been right.
        cutoff: How alike they must be, from 0 to 1 for equal ones.
    """
    return next(iter(_near(name, known, 1, cutoff)), None)


def did_you_mean(name: str, known: Iterable[str], *, most: int = 1) -> str:
    """Return a question about the nearest names, with a blank before it, or nothing."""
    near = _near(name, known, most)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def advice(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return a question about the nearest name, as the end of a sentence, or what is said otherwise."""
    near = nearest(name, known)
    return f"did you mean '{near}'?" if near else otherwise


def _near(name: str, known: Iterable[str], most: int, cutoff: float = 0.6) -> list[str]:
    from difflib import get_close_matches  # only errors need it

    names = list(dict.fromkeys(known))
    same = [each for each in names if each.casefold() == name.casefold()]  # a wrong case is no other name
    return [*same, *(each for each in get_close_matches(name, names, most, cutoff) if each not in same)][:most]
