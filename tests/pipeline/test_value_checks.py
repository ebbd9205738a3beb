from typing import Any

import numpy as np
import pytest

from cuvis_ai_core.node.ports import Port
from cuvis_ai_core.pipeline.execution.value_checks import always_fits, describe_value, make_check, misfit
from cuvis_ai_core.pipeline.port_compatibility import ResolvedPort


class TorchDtype:
    """Looks like `torch.float32`."""

    def __repr__(self) -> str:
        return "torch.float32"


class Tensor:
    """Looks like a tensor of torch."""

    dtype = TorchDtype()

    def __init__(self, *shape: int) -> None:
        self.shape = shape


class Detections:
    """A type of a plugin."""


class ManyDetections(Detections):
    """A kind of it."""


def port(dtype: str, *sizes: int, optional: bool = False, variadic: bool = False) -> ResolvedPort:
    """Return a port of node `n`."""
    return ResolvedPort("n", Port("p", dtype, sizes, optional=optional, variadic=variadic), sizes)


def fits(value: object, declared: ResolvedPort) -> bool:
    """Ask twice: the second time the dtype is known."""
    check = make_check(declared)
    if check is None:
        return True
    first = check(value)
    assert check(value) is first
    return first


FLOATS = np.zeros((2, 3), dtype=np.float32)


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        (FLOATS, port("float32", -1, -1)),
        (FLOATS, port("float32", 2, 3)),
        (FLOATS.astype(">f4"), port("float32", 2, 3)),
        (FLOATS, port("floating", -1, 3)),
        (FLOATS, port("array", -1, -1)),
        (FLOATS, port("any", -1, -1)),
        (FLOATS, port("any")),
        (np.array(["a", "bc"]), port("str", -1)),
        (np.array(["a", "bc"]), port("array", -1)),
        (np.array([None]), port("array", -1)),
        (Tensor(2, 3), port("float32", 2, -1)),
        (np.float32(1), port("float32")),
        (1.5, port("float32")),
        (1.5, port("float")),
        (2, port("int")),
        (2, port("integer")),
        (True, port("bool")),
        ("text", port("str")),
        (["a", "b"], port("str", -1)),
        ([["a"], ["b"]], port("str", 2, 1)),
        (["a"], port("list")),
        (["a"], port("list", -1)),
        ({"a": 1}, port("dict")),
        (Detections(), port("Detections")),
        (ManyDetections(), port("Detections")),
        ([1, "a"], port("any", -1)),
        (object(), port("any")),
        (None, port("float32", -1, optional=True)),
        (None, port("any")),
    ],
)
def test_a_value_fits_by_meaning(value: object, declared: ResolvedPort) -> None:
    """Arrays of any library by dtype and sizes, Python numbers without axes, objects by the name of their type."""
    assert fits(value, declared)


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        (FLOATS.astype(np.float64), port("float32", -1, -1)),
        (FLOATS, port("integer", -1, -1)),
        (FLOATS, port("float32", -1)),
        (FLOATS, port("float32", -1, -1, -1)),
        (FLOATS, port("float32", -1, 4)),
        (FLOATS, port("any", -1)),
        (FLOATS, port("str", -1, -1)),
        (np.array(["a"]), port("float32", -1)),
        (np.array([None]), port("float32", -1)),
        (Tensor(2, 3), port("float32", 2, 4)),
        (Tensor(2, 3), port("uint8", -1, -1)),
        ([1.0, 2.0], port("float32", -1)),
        (1.5, port("float32", -1)),
        (1.5, port("int")),
        (1.5, port("array")),
        (True, port("int")),
        (1, port("str")),
        ([1], port("str", -1)),
        (["a"], port("str", 2)),
        ("a", port("any", -1)),
        (Detections(), port("ManyDetections")),
        (Detections(), port("float32")),
        (None, port("float32", -1)),
        (None, port("str")),
    ],
)
def test_any_other_value_does_not_fit(value: object, declared: ResolvedPort) -> None:
    """A list is no array, a flag no integer, and nothing fits only where a port is optional."""
    assert not fits(value, declared)


@pytest.mark.parametrize(
    ("source", "target", "always"),
    [
        (port("float32", -1, 3), port("floating", -1, -1), True),
        (port("float32", -1, 3), port("float32", -1, 3), True),
        (port("float32", -1), port("any"), True),
        (port("floating", -1), port("float32", -1), False),
        (port("float32", -1), port("float32", 3), False),
        (port("any"), port("any", -1), False),
        (port("float32", -1, optional=True), port("float32", -1), False),
        (port("float32", -1, optional=True), port("float32", -1, optional=True), True),
    ],
)
def test_a_promise_of_the_source_makes_a_second_check_needless(
    source: ResolvedPort, target: ResolvedPort, *, always: bool
) -> None:
    """Only where the source promises at least what the target asks for."""
    assert always_fits(source, target) is always


@pytest.mark.parametrize(
    ("value", "words"),
    [(FLOATS, "float32 [2, 3]"), (Tensor(4), "float32 [4]"), ("x", "an object of type str"), (None, "nothing")],
)
def test_a_value_is_described_by_dtype_and_shape(value: Any, words: str) -> None:
    """Never by its contents, which may be a whole cube."""
    assert describe_value(value) == words
    assert misfit(port("uint8", -1), value) == f"got {words}, the port takes uint8 [*]"
