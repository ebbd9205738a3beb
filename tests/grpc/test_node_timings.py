"""How long nodes took: counted while it is wanted, by node and stage, and handed from process to process."""

import pytest

from cuvis_ai_core.grpc.server.node_timings import Timings


def _run(timings: Timings, node: str, *milliseconds: float, stage: str = "inference") -> None:
    for each in milliseconds:
        timings.cuvis_ai_node_finished(stage, node, each / 1e3)


def test_what_is_told_of_times() -> None:
    """All in milliseconds, over all that were taken."""
    timings = Timings()
    _run(timings, "a", 100)  # nobody asked for it yet
    timings.enabled = True
    _run(timings, "a", 2, 1, 6)
    _run(timings, "a", 4, stage="train")
    of_inference = {"count": 3, "mean_ms": 3, "median_ms": 2, "std_ms": (14 / 3) ** 0.5, "min_ms": 1, "max_ms": 6}
    assert timings.summary()["a", "inference"] == pytest.approx({**of_inference, "total_ms": 9, "last_ms": 6})
    assert timings.summary()["a", "train"]["count"] == 1
    timings.enabled = False
    _run(timings, "a", 100)
    assert timings.summary()["a", "inference"]["count"] == 3


def test_the_first_runs_of_each_node_may_be_left_out() -> None:
    """Of each stage; also after the times were forgotten."""
    timings = Timings()
    timings.enabled, timings.skip = True, 2
    for _ in range(2):
        _run(timings, "a", 9, 9, 1, 2)
        _run(timings, "b", 9, 9)
        _run(timings, "a", 9, 9, 3, stage="train")
        assert {key: each["total_ms"] for key, each in timings.summary().items()} == pytest.approx(
            {("a", "inference"): 3, ("a", "train"): 3}
        )
        timings.clear()
        assert timings.summary() == {}


def test_times_of_another_process_are_added() -> None:
    """To those that were taken here."""
    here, there = Timings(), Timings()
    for timings, times in ((here, (1, 2)), (there, (6, 4))):
        timings.enabled = True
        _run(timings, "a", *times)
    _run(there, "b", 3)
    here.absorb(there.exported())
    found = here.summary()
    assert (found["a", "inference"]["count"], found["a", "inference"]["max_ms"]) == (4, 6)
    assert found["a", "inference"]["last_ms"] == pytest.approx(4)
    assert found["b", "inference"]["total_ms"] == pytest.approx(3)
