"""Slips of the pen in a node class, each answered with the line to write."""

import functools
import json
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.errors import InvalidNodeError
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.node.class_checks import check_class, construct, no_node_class

SPEC = PortSpec(np.float32, (-1,))
HALF = PortSpec(np.float32, (-1,), optional=True)


class Sound(ArrayNode):
    """Has what it needs, whichever way `forward` takes it."""

    INPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": SPEC, "mask": HALF}

    def forward(self, cube: Any, context: Any, more: int = 1) -> dict[str, Any]:
        """Return nothing."""
        return {}


def named(**own: Any) -> type:
    """Return a class `Slip` with some attributes."""
    return type("Slip", (Sound,), own)


def anything(self: Any, **_: Any) -> dict[str, Any]:
    """Take any."""
    return {}


def too_much(self: Any, cube: Any, wavelengths: Any) -> None:
    """Take one that is no port."""


def misspelt(self: Any, cuve: Any) -> None:
    """Take one that is nearly a port."""


def nothing(self: Any) -> None:
    """Take none."""


async def deferred(self: Any, cube: Any) -> None:
    """Promise."""


async def streamed(self: Any, cube: Any) -> AsyncIterator[None]:
    """Promise several."""
    yield None


def yielding(self: Any, cube: Any) -> Iterator[None]:
    """Return several."""
    yield None


wrapped = functools.wraps(deferred)(lambda *_: None)


@pytest.mark.parametrize(
    "node_class",
    [
        Sound,
        named(forward=anything),
        named(forward=lambda *cube, mask=None, **_: {}),
        named(forward=functools.partialmethod(anything)),
        named(INPUT_SPECS={}, forward=nothing),
        named(settings={"a": 1}, input_spec=3),
        named(runs_elsewhere=object(), forward=None, INPUT_SPECS={"cube": 1}),
    ],
)
def test_a_class_that_can_work_is_taken(node_class: type) -> None:
    """What is optional need not be taken; one in another process is looked at there."""
    check_class(node_class)


@pytest.mark.parametrize(
    ("own", "problem", "line"),
    [
        (
            {"INPUT_SPECS": {}, "INPUT_SPEC": {"a": SPEC, "b": SPEC}, "forward": anything},
            "declares 'INPUT_SPEC', which nobody reads: ports are declared in INPUT_SPECS",
            "    INPUT_SPECS = {'a': ..., 'b': ...}",
        ),
        (
            {"output_specs": {"a": SPEC}},
            "declares 'output_specs', which nobody reads: ports are declared in OUTPUT_SPECS",
            "    OUTPUT_SPECS = {'a': ...}",
        ),
        (
            {"forward": ArrayNode.forward},
            "has no method 'forward'",
            "    def forward(self, cube, mask):",
        ),
        (
            {"forward": too_much},
            "has no input port 'wavelengths', which its 'forward' takes; its ports are cube and mask",
            "    INPUT_SPECS = {'cube': ..., 'mask': ..., 'wavelengths': PortSpec(np.float32, (-1, -1, -1, -1))}",
        ),
        (
            {"forward": too_much, "INPUT_SPECS": {"cube": SPEC}},
            "has no input port 'wavelengths', which its 'forward' takes; its ports are cube",
            "    INPUT_SPECS = {'cube': ..., 'wavelengths': PortSpec(np.float32, (-1, -1, -1, -1))}",
        ),
        (
            {"forward": misspelt, "INPUT_SPECS": {}},
            "has no input port 'cuve', which its 'forward' takes; its ports are none",
            "    INPUT_SPECS = {'cuve': PortSpec(np.float32, (-1, -1, -1, -1))}",
        ),
        (
            {"forward": misspelt},
            "has no input port 'cuve', which its 'forward' takes; its ports are cube and mask",
            "    def forward(self, cube, mask):",
        ),
        (
            {"forward": nothing},
            "has an input port 'cube', which its 'forward' does not take",
            "    def forward(self, cube, mask):",
        ),
        *(
            (
                {"forward": each},
                "has a 'forward' that is 'async'; a call returns the outputs",
                "    def forward(self, cube, mask):",
            )
            for each in (deferred, streamed, wrapped)
        ),
        (
            {"forward": yielding},
            "has a 'forward' that yields; it returns all its outputs at once",
            "        return {...}",
        ),
    ],
)
def test_a_slip_is_named_with_the_line_to_write(own: dict[str, Any], problem: str, line: str) -> None:
    """And with the place where it is."""
    with pytest.raises(InvalidNodeError) as caught:
        check_class(named(**own))
    error = caught.value
    assert error.message.startswith(f"Node class Slip {problem}")
    assert str(error.hint).endswith(f":\n{line}")
    assert error.node == "Slip"
    if own.get("forward") in {misspelt, nothing, deferred, yielding}:
        assert f"({error.place})" in error.message
        assert "test_class_checks.py" in str(error.place)


def test_ports_are_looked_at_on_both_sides() -> None:
    """A declaration that is none is an error of its own."""
    for side in ("INPUT_SPECS", "OUTPUT_SPECS"):
        with pytest.raises(InvalidNodeError, match=rf"Slip\.{side}\['a'\]"):
            check_class(named(forward=anything, **{side: {"a": 1}}))


def test_a_constructor_that_forgets_its_base_is_told_where() -> None:
    """The line is to come first in the one that forgets it, be it inherited."""

    class Forgets(Sound):
        def __init__(self) -> None:
            pass

    for node_class in (Forgets, type("Heir", (Forgets,), {})):
        with pytest.raises(InvalidNodeError, match=f"^Node class {node_class.__name__} has an __init__ that") as caught:
            construct(node_class)
        assert str(caught.value.hint) == (
            "Write as the first line of __init__, which takes name=None and execution_stages=None:\n"
            "        super().__init__(name=name, execution_stages=execution_stages)"
        )
        assert "test_class_checks.py" in str(caught.value.place)
    assert construct(Sound, name="n").name == "n"


NO_CLASS = "Write:\nfrom cuvis_ai_core.node import ArrayNode\n\nclass {}(ArrayNode):  # or Node, for torch"


@pytest.mark.parametrize(
    ("found", "problem", "hint"),
    [
        (None, "there is no class 'a.thing'", "Correct the path: package.module.TheClass."),
        (json, "'a.thing' is a module, no class", "Name the class in it: provides: [a.thing.TheClass]"),
        (3, "'a.thing' is an object of class int, no class", NO_CLASS.format("Thing")),
        (len, "'a.thing' is a function, no class", NO_CLASS.format("Thing")),
        (
            named(OUTPUT_SPECS=[SPEC]),
            "'a.thing' is no node class: its OUTPUT_SPECS is an object of class list, no dict of ports by name",
            "    OUTPUT_SPECS = {'cube': PortSpec(np.float32, (-1, -1, -1, -1))}",
        ),
        (
            named(forward=3),
            "'a.thing' is no node class: its forward is a int, no method",
            "    def forward(self, cube, mask):",
        ),
        (
            int,
            "'a.thing' is no node class: it lacks INPUT_SPECS, OUTPUT_SPECS and forward",
            NO_CLASS.format("thing"),
        ),
        (
            type("Half", (), {"INPUT_SPECS": {}, "forward": nothing}),
            "'a.thing' is no node class: it lacks OUTPUT_SPECS",
            NO_CLASS.format("thing"),
        ),
    ],
)
def test_what_is_no_node_class_is_said_to_be_what_it_is(found: object, problem: str, hint: str) -> None:
    """With what to do."""
    assert no_node_class("a.thing", found) == (problem, hint)


def test_of_a_module_its_own_node_classes_are_named() -> None:
    """Not those that it imports; of a function also where it is."""
    vars(sys.modules[__name__])["Imported"] = ArrayNode
    _, hint = no_node_class("a.b", sys.modules[__name__])
    assert hint == "Name the class in it: provides: [a.b.Sound]"
    problem, _ = no_node_class("a.anything", anything)
    assert problem.startswith("'a.anything' is a function, no class (")
    assert "test_class_checks.py" in problem
