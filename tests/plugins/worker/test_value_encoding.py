"""What crosses between host and worker, there and back, is what it was."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from cuvis_ai_schemas.enums import ExecutionStage
from cuvis_ai_schemas.execution import Context, Metric
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import WorkerError
from cuvis_ai_core.plugins.worker.value_encoding import Reader, Writer

Construct = Callable[..., Any]

VALUES = [
    None,
    True,
    -(2**70),
    1.5,
    float("inf"),
    2 + 3j,
    "ä\ud800\0",
    b"\0\xff",
    [1, [2, "three"]],
    (1, (2,)),
    {"wavelengths": [450.5, 551.0], "nested": {"names": ("red", "nir"), 3: {4}}},
    {1, 2},
    frozenset({"a"}),
    Path("some/where"),
    ExecutionStage.VAL,
    Context(stage=ExecutionStage.TRAIN, epoch=2, batch_idx=3, global_step=4),
    np.float32(1.5),
    np.bool_(True),
    np.datetime64("2024-05-01"),
]

ARRAYS = {
    "not contiguous": np.arange(60, dtype=np.float32).reshape(3, 4, 5)[::2, :, ::-1],
    "of another order": np.asfortranarray(np.arange(20, dtype=np.int16).reshape(4, 5)),
    "without elements": np.empty((0, 3), np.float64),
    "without axes": np.array(7, np.uint8),
    "big-endian": np.arange(5, dtype=">f4"),
    "of flags": np.array([True, False, True]),
    "of halves": np.array([1.5, np.nan, np.inf], np.float16),
    "of complex numbers": np.array([1 + 2j]),
    "of texts": np.array(["red", "near infrared"]),
    "of records": np.array([(450.5, "blue"), (551.0, "green")], [("wavelength", "f4"), ("name", "U8")]),
    "of dates": np.array(["2024-05-01"], "datetime64[D]"),
    "read-only": np.broadcast_to(np.float32(2), (3, 4)),
    "large": np.arange(2**18, dtype=np.float32).reshape(512, 512),
    "large and not contiguous": np.arange(2**19, dtype=np.float32).reshape(512, 1024)[:, ::2],
    "large and big-endian": np.arange(2**18, dtype=">i4"),
}


@pytest.fixture
def registry(lasting_registry: NodeRegistry) -> NodeRegistry:
    """Return a registry with the plugin, whose worker nothing here ends."""
    return lasting_registry


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_plain_values_come_back_as_they_were(node: Construct, value: object) -> None:
    """Class and content are the same."""
    back = node("Echo").forward(value=value)["value"]
    assert type(back) is type(value)
    assert back == value


def test_measures_come_back_as_they_were(node: Construct) -> None:
    """The data classes of the schemas cross, arrays within them too."""
    back = node("Echo").forward(value=[Metric(name="f1", value=0.5, stage=ExecutionStage.VAL, epoch=1, batch_idx=0)])
    assert (back["value"][0].name, back["value"][0].value) == ("f1", 0.5)


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS.keys())
def test_arrays_come_back_as_they_were(node: Construct, array: np.ndarray[Any, Any]) -> None:
    """Whatever their layout: dtype with its byte order, shape and content are the same."""
    answer = node("Echo").forward(value={"cube": array, "again": [array]})
    for back in (answer["value"]["cube"], answer["value"]["again"][0]):
        assert (back.dtype, back.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(back, array)


def test_arrays_that_come_back_lie_where_a_processor_wants_them(node: Construct) -> None:
    """Whatever odd number of bytes came before them in the message."""
    values = [np.zeros(3, np.uint8), np.arange(5.0), b"odd", np.ones(1, np.complex128)]
    back = node("Echo").forward(value=values)["value"]
    assert [each.ctypes.data % 16 for each in back if isinstance(each, np.ndarray)] == [0, 0, 0]


def test_arrays_that_come_back_can_be_written(node: Construct) -> None:
    """They belong to the host."""
    for size in (3, 2**18):
        back = node("Echo").forward(value=np.zeros(size))["value"]
        back += 1
        assert back.sum() == size


def test_all_simple_arrays_come_back_as_they_were(registry: NodeRegistry) -> None:
    """Of any simple dtype and shape."""
    echo: Any = registry.get("Echo")()
    dtypes = st.one_of(
        arrays.boolean_dtypes(),
        arrays.integer_dtypes(),
        arrays.unsigned_integer_dtypes(),
        arrays.floating_dtypes(),
        arrays.complex_number_dtypes(),
        arrays.byte_string_dtypes(min_len=1),
        arrays.unicode_string_dtypes(min_len=1),
    )
    shapes = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6)

    @settings(max_examples=150)
    @given(arrays.arrays(dtypes, shapes))
    def comes_back(array: np.ndarray[Any, Any]) -> None:
        back = echo.forward(value=array)["value"]
        assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())

    comes_back()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (object(), "an object of class builtins.object cannot cross"),
        (lambda: None, "function cannot cross"),
        (np.array([object()]), "an array of dtype object cannot cross"),
        (np.ma.masked_array([1, 2], [True, False]), "a masked array cannot cross"),
        (NodeRegistry, "class builtins.type cannot cross"),
    ],
)
def test_what_cannot_cross_says_so(node: Construct, value: object, said: str) -> None:
    """It names the class and what can cross; the worker goes on."""
    echo = node("Echo")
    with pytest.raises(WorkerError, match="arrays of NumPy, tensors") as caught:
        echo.forward(value=[1, {"deep": value}])
    assert said in str(caught.value)
    assert echo.forward(value=1)["value"] == 1


def test_what_cannot_come_back_says_so(node: Construct) -> None:
    """The worker tells the host."""
    with pytest.raises(WorkerError, match=r"an object of class builtins\.object cannot cross"):
        node("Misbehaving").forward(what="unknown")


def test_a_value_that_holds_itself_says_so(node: Construct) -> None:
    """It has no end."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(WorkerError, match="100 deep"):
        node("Echo").forward(value=endless)


@pytest.mark.parametrize("around", [lambda value: [value], lambda value: (value,), lambda value: {"in": value}])
def test_values_cross_as_deep_as_is_said_and_no_deeper(around: Callable[[object], object]) -> None:
    """A value that holds others 100 deep, in whatever they lie."""

    def deep(times: int) -> object:
        value: object = 1
        for _ in range(times):
            value = around(value)
        return value

    writer = Writer(lambda size: pytest.fail(f"no room for {size} bytes is needed"))
    assert Reader(bytearray(), lambda *_: None).read(writer.write(deep(101))) == deep(101)
    with pytest.raises(WorkerError, match="100 deep"):
        writer.write(deep(102))


@pytest.mark.slow
def test_many_large_arrays_cross_at_once(node: Construct) -> None:
    """More than file descriptors cross in one go."""
    given_arrays = [np.full(2**14, number, np.float64) for number in range(450)]
    back = node("Echo").forward(value=given_arrays)["value"]
    assert [each[0] for each in back] == list(range(450))
    assert [each[-1] for each in back] == list(range(450))
