"""Pipelines whose nodes run in several threads, as those of several processes do, answer what one thread would."""

import gc
import weakref
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from itertools import pairwise
from threading import Event
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from cuvis_ai_schemas.pipeline import PortSpec
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.pipeline import Pipeline
from cuvis_ai_core.pipeline.execution.independent_steps import Lanes
from cuvis_ai_core.pipeline.execution.step_threads import run_in_lanes

NUMBER = PortSpec(dtype=np.int64, shape=(-1,))


class Process:
    """Stands for a worker process; its nodes compute here, in the thread that calls them."""

    def cancel(self) -> None:
        """End nothing."""


class Total(ArrayNode):
    """Add up what comes in, and where it comes from."""

    INPUT_SPECS: ClassVar = {"terms": PortSpec(dtype=np.int64, shape=(-1,), variadic=True)}
    OUTPUT_SPECS: ClassVar = {"total": NUMBER, "unread": NUMBER}

    def __init__(self, weight: int = 1, **kwargs: Any) -> None:
        super().__init__(weight=weight, **kwargs)
        self.weight = weight

    def forward(self, terms: list[Any]) -> dict[str, Any]:
        """Return the sum, weighted."""
        total = np.array([self.weight * (1 + sum(int(each[0]) for each in terms))])
        return {"total": total, "unread": -total}


class There(Total):
    """One in a process."""

    runs_elsewhere: ClassVar = Process()


class Elsewhere(Total):
    """One in another process."""

    runs_elsewhere: ClassVar = Process()


CLASSES = (Total, There, Elsewhere)


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[int, set[int]]]:
    """Return nodes: the number of a class, and the nodes before it that it reads."""
    count = draw(st.integers(2, 12))
    return [
        (draw(st.integers(0, len(CLASSES) - 1)), draw(st.sets(st.integers(0, number - 1))) if number else set())
        for number in range(count)
    ]


def pipeline_of(graph: list[tuple[int, set[int]]], *, one_thread: bool) -> Pipeline:
    """Return a pipeline of a graph."""
    nodes = [
        {
            "name": f"n{number}",
            "class_name": f"{__name__}.{(Total if one_thread else CLASSES[kind]).__name__}",
            "params": {"weight": number + 1},
        }
        for number, (kind, _) in enumerate(graph)
    ]
    edges = [
        {"source": f"n{read}.total", "target": f"n{number}.terms"}
        for number, (_, reads) in enumerate(graph)
        for read in sorted(reads)
    ]
    return Pipeline.from_dict({"nodes": nodes, "edges": edges})


@settings(max_examples=60)
@given(graph=graphs(), kept=st.sets(st.integers(0, 11)))
def test_lanes_answer_what_one_thread_answers(graph: list[tuple[int, set[int]]], kept: set[int]) -> None:
    """Whichever node is where, and whichever outputs are kept."""
    starts: dict[Any, Any] = {f"n{number}.terms": [] for number, (_, reads) in enumerate(graph) if not reads}
    keep = [f"n{number}.total" for number in kept if number < len(graph)]
    lanes, plain = (pipeline_of(graph, one_thread=each) for each in (False, True))
    for keep_ports in (None, keep):
        answers = lanes.forward(starts, keep_ports=keep_ports)
        assert answers == plain.forward(starts, keep_ports=keep_ports)
        assert all(value is not None for value in answers.values())


class First(There):
    """The first of a chain; it remembers what it answered, weakly."""

    made: ClassVar[list[Any]] = []

    def forward(self, terms: list[Any]) -> dict[str, Any]:
        """Return the sum."""
        outputs = super().forward(terms)
        self.made.append(weakref.ref(outputs["total"]))
        return outputs


class Last(Total):
    """The last of a chain; it looks whether the answer of the first is still there."""

    alive: ClassVar[list[bool]] = []

    def forward(self, terms: list[Any]) -> dict[str, Any]:
        """Return the sum."""
        gc.collect()
        self.alive.append(First.made[-1]() is not None)
        return super().forward(terms)


def test_values_go_after_their_last_reader_though_threads_share_them() -> None:
    """What is not asked for is not kept until the end of the run."""
    nodes = [
        {"name": each.__name__, "class_name": f"{__name__}.{each.__name__}"} for each in (First, Elsewhere, There, Last)
    ]
    edges = [
        {"source": f"{before['name']}.total", "target": f"{after['name']}.terms"} for before, after in pairwise(nodes)
    ]
    nodes.append({"name": "beside", "class_name": f"{__name__}.Total"})  # so that there is something to do at once
    pipeline = Pipeline.from_dict({"nodes": nodes, "edges": edges})
    pipeline.forward({"First.terms": [], "beside.terms": []}, keep_ports=["Last.total"])
    assert Last.alive == [False]


class Block(Process):
    """Holds its node until it is ended."""

    def __init__(self) -> None:
        self.ended = Event()

    def cancel(self) -> None:
        """End it."""
        self.ended.set()


def _go(
    own: tuple[int, ...],
    others: tuple[tuple[int, ...], ...],
    run: Callable[[int], None],
    awaited: Mapping[int, tuple[int, ...]] | None = None,
    processes: tuple[Process, ...] = (),
) -> None:
    """Run numbers as steps."""
    count = sum(map(len, (own, *others)))
    waits = tuple((awaited or {}).get(number, ()) for number in range(count))
    lanes = Lanes(own, others, processes, waits, ((),) * count)
    plan: Any = SimpleNamespace(steps=tuple(range(count)), lanes=lanes)
    steps: Any = run
    run_in_lanes(plan, [], steps)


def test_the_first_step_of_the_plan_that_failed_is_told() -> None:
    """Not the first of the clock, so that the same run fails with the same words."""
    later = Event()

    def run(number: int) -> None:
        if number == 1:
            assert later.wait(10)
        if number == 2:
            later.set()
        if number:
            raise ValueError(number)

    with pytest.raises(ValueError, match="1"):
        _go((0,), ((1,), (2,)), run)


def test_after_a_step_that_failed_no_other_is_begun() -> None:
    """Neither one behind it in its process, nor one that waits for it."""
    began, ran = Event(), list[int]()

    def run(number: int) -> None:
        ran.append(number)
        if number == 0:
            began.set()
        if number == 1:
            assert began.wait(10)
            raise ValueError(number)

    with pytest.raises(ValueError, match="1"):
        _go((0, 2), ((1, 3),), run, {2: (1,)})
    assert sorted(ran) == [0, 1]


def test_steps_have_the_context_of_who_runs_them() -> None:
    """In each thread."""
    variable, heard = ContextVar("variable", default=""), list[str]()
    variable.set("said")
    _go((0,), ((1,), (2,)), lambda _: heard.append(variable.get()))
    assert heard == ["said"] * 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_who_ends_the_program_waits_for_no_process(error: type[BaseException]) -> None:
    """Whatever its node does: it is ended, and nothing else is begun."""
    process, began, ran = Block(), Event(), list[int]()

    def run(number: int) -> None:
        ran.append(number)
        if number == 1:
            began.set()
            assert process.ended.wait(10)
        if number == 0:
            assert began.wait(10)
            raise error

    with pytest.raises(error):
        _go((0, 2), ((1, 3),), run, processes=(process,))
    assert process.ended.is_set()
    assert sorted(ran) == [0, 1]
