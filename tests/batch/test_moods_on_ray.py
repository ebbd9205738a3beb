"""What misbehaves on a cluster of Ray fails alone, each in its way."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.batch import Limits, Ray, run_cubes

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def test_what_misbehaves_fails_alone(folder: Path, cubes: Callable[..., None], cluster: Any) -> None:
    """A cube that raises, crashes its actor, hangs, or eats memory; the others are done."""
    bad = ("raises", "aborts", "killed", "nameless", "hangs", "memory", "eats")
    for mood in bad:
        cubes(mood)
    cubes("fine", 5)
    engine = Ray(cluster.address, workers=2, memory=2**31)
    limits = Limits(timeout=60)
    report = run_cubes("moody.yaml", "cubes/*.npy", "out", plugins="plugins.yaml", engine=engine, limits=limits)
    assert (report.done, report.failed, report.left) == (5, 7, 0)
    why = {each.unit.name: each for each in report.failures}
    assert set(why) == {f"{mood}0" for mood in bad}
    assert {name: why[f"{name}0"].tries for name in bad} == {
        **dict.fromkeys(("raises", "hangs", "memory", "eats"), 1),
        **dict.fromkeys(("aborts", "killed", "nameless"), 2),
    }
    assert "MemoryError" in str(why["eats0"].error)
    assert why["eats0"].node == "moody"
    assert "longer than 60 s" in str(why["hangs0"].error)
