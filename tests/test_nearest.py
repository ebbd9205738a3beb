"""Which names are asked back for a wrong one."""

import pytest

from cuvis_ai_core._nearest import advice, did_you_mean, nearest
from cuvis_ai_core._printable_text import duration

KNOWN = ["accuracy", "Accuracies", "cube", "scores"]


@pytest.mark.parametrize(
    ("name", "near"),
    [("acuracy", "accuracy"), ("CUBE", "cube"), ("accuracies", "Accuracies"), ("zzz", None), ("", None)],
)
def test_the_nearest_name(name: str, near: str | None) -> None:
    """The one that is most like it, before others one that differs in case alone; none where none is like it."""
    assert nearest(name, KNOWN) == near
    assert did_you_mean(name, KNOWN) == (f" Did you mean '{near}'?" if near else "")
    assert advice(name, KNOWN, "look there") == (f"did you mean '{near}'?" if near else "look there")


def test_as_many_names_as_are_wanted() -> None:
    """Each once, however often it is known, and as like as is wanted."""
    assert did_you_mean("accuracys", [*KNOWN, *KNOWN], most=2) == " Did you mean 'accuracy' or 'Accuracies'?"
    assert did_you_mean("SCORES", ["scores", "score", "scores"], most=3) == " Did you mean 'scores'?"
    assert (nearest("score", KNOWN, cutoff=0.95), nearest("score", KNOWN, cutoff=0.9)) == (None, "scores")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (89, "89 s"),
        (90, "2 min"),
        (149, "2 min"),
        (3540, "59 min"),
        (3600, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_times_for_people(seconds: float, text: str) -> None:
    """In the units that people use."""
    assert duration(seconds) == text
