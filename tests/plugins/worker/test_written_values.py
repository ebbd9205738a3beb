"""What values become between host and worker, and what is made of it again: written and read in this process."""

import json
from collections.abc import Callable, Iterator
from enum import IntEnum
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from cuvis_ai_schemas.execution import Metric

from cuvis_ai_core.errors import WorkerError
from cuvis_ai_core.plugins.worker.shared_memory import SMALLEST, SegmentPool
from cuvis_ai_core.plugins.worker.value_encoding import Reader, Writer, schema_class


class Level(IntEnum):
    """An enum of a plugin's own."""

    HIGH = 3


@pytest.fixture
def pool() -> Iterator[SegmentPool]:
    """Return memory for large arrays."""
    made = SegmentPool("h")
    yield made
    made.close()


@pytest.fixture
def cross(pool: SegmentPool) -> Callable[[object], Any]:
    """Return what writes a value, sends it as text, and reads it."""

    def crossed(value: object) -> Any:
        writer = Writer(pool.make)
        text = json.dumps(writer.write(value))
        data = bytearray(b"".join(writer.data))
        return Reader(data, lambda name, size: memoryview(pool.get(name).memory)[:size]).read(json.loads(text))

    return crossed


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (value, value)
        for value in (
            True,
            1,
            -(2**4096) + 1,
            1.5,
            "a",
            None,
            [],
            (),
            [1, [2]],
            (1, (2,)),
            {1, 2},
            frozenset({1}),
            b"x",
        )
    ]
    + [
        ({1: "a", "1": "b", (2, 3): None, None: [1]}, {1: "a", "1": "b", (2, 3): None, None: [1]}),
        (bytearray(b"x"), b"x"),
        (b"", b""),
        (1 + 2j, 1 + 2j),
        (PurePosixPath("a/b"), Path("a/b")),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (Level.HIGH, 3),
        (type("Text", (str,), {})("a"), "a"),
        (type("Number", (int,), {})(2), 2),
        (type("Real", (float,), {})(2.5), 2.5),
        (type("Several", (list,), {})([1, (2,)]), [1, (2,)]),
    ],
    ids=repr,
)
def test_plain_values_become_themselves(cross: Callable[[object], Any], value: object, read: object) -> None:
    """In the very class, or the plain one that a class of a plugin's own is derived from."""
    found = cross([value])[0]
    assert (found, type(found)) == (read, type(read))


def test_arrays_keep_dtype_shape_and_content(cross: Callable[[object], Any]) -> None:
    """Also empty and structured ones and scalars; small ones behind each other, where a processor wants them."""
    fields = np.array([(1, 2.5)], dtype=[("a", "<i2"), ("b", ">f8")])
    swapped = np.dtype({"names": ["b", "a"], "formats": ["<f8", "<i2"], "offsets": [2, 0]})
    arrays = [
        np.arange(6, dtype=">i4").reshape(2, 3)[:, ::-1],
        np.zeros((0, 3), np.float16),
        np.array(2.5, np.float32),
        fields,
        np.zeros(2, swapped),
        np.array(["ab", "c"]),
        np.ones(3, bool),
        np.asfortranarray(np.ones((2, 2))),
    ]
    found = cross([b"odd", *arrays])[1:]
    for array, read in zip(arrays, found, strict=True):
        assert read.shape == array.shape
        assert read.dtype == array.dtype or read.dtype.names == array.dtype.names
        np.testing.assert_array_equal(read, array)
        assert not read.size or read.ctypes.data % 64 == found[0].ctypes.data % 64
    scalar = cross(np.float32(0.1))
    assert (scalar, type(scalar)) == (np.float32(0.1), np.float32)


def test_large_arrays_lie_in_memory_that_both_see(pool: SegmentPool) -> None:
    """From the smallest size on; each in a piece of its own."""
    writer = Writer(pool.make)
    small, large = np.ones(SMALLEST - 1, np.uint8), np.full(SMALLEST, 7, np.uint8)
    found = writer.write([small, large, large])
    assert [each.get("in") for each in found] == [None, "h1", "h2"]
    assert [each["size"] for each in found] == [SMALLEST - 1, SMALLEST, SMALLEST]
    assert writer.segments == ["h1", "h2"]
    assert bytes(pool.get("h2").memory[:SMALLEST]) == large.tobytes()
    assert [len(each) for each in writer.data] == [SMALLEST - 1]
    assert writer.write([b"1234", b"5"])[1] == {"!": "bytes", "at": SMALLEST + 64, "size": 1}


def test_measures_are_data_of_the_schemas(cross: Callable[[object], Any]) -> None:
    """A newer side may know more fields; classes of others are none."""
    measure = Metric(name="a", value=0.5, stage="val", epoch=1, batch_idx=2)
    assert cross({"found": [measure]}) == {"found": [measure]}
    writer = Writer(lambda _: pytest.fail("nothing is large"))
    text = writer.write(measure)
    assert (text["!"], text["class"]) == ("record", "Metric")
    text["of"]["of"] += ["unknown", 1]
    assert Reader(bytearray(), lambda *_: None).read(text) == measure
    for name in ("dataclass", "Any", "No such", "__name__"):
        with pytest.raises(TypeError):
            schema_class(name)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (2**4096, "a number of more than 4096 bits"),
        (object(), "an object of class builtins.object"),
        (np.array([None]), "an array of dtype object"),
        (np.ma.masked_array([1], [True]), "a masked array"),
        ([1, {"a": open}], "an object of class builtins.builtin_function_or_method"),
    ],
)
def test_what_cannot_cross_is_named(cross: Callable[[object], Any], value: object, said: str) -> None:
    """However deep it lies."""
    with pytest.raises(WorkerError) as caught:
        cross(value)
    assert caught.value.message.startswith(f"{said} cannot cross")


@pytest.mark.parametrize(
    "data",
    [
        {"!": "unknown", "of": []},
        {"of": []},
        {"!": "dict", "of": [1]},
        {"!": "array", "dtype": "<i4", "shape": [2], "at": 0, "size": 4},
        {"!": "array", "dtype": "[('a'", "shape": [1], "at": 0, "size": 4},
        {"!": "array", "dtype": "no", "shape": [1], "at": 0, "size": 4},
        {"!": "tuple"},
        {"!": "complex", "of": ["x", "y"]},
        {"!": "record", "class": "ExecutionStage", "of": {"!": "dict", "of": []}},
        {"!": "enum", "class": "Metric", "of": 1},
        {"!": "enum", "class": "os", "of": 1},
    ],
)
def test_what_is_no_value_is_refused(data: object) -> None:
    """As data that are wrong, whatever is wrong with them."""
    with pytest.raises(ValueError, match=r"\w"):
        Reader(bytearray(8), lambda *_: None).read([data])


def test_tensors_stay_tensors(cross: Callable[[object], Any]) -> None:
    """With their dtype and shape, also where they are empty, of one value or in odd strides."""
    torch = pytest.importorskip("torch")
    tensors = [
        torch.arange(6).reshape(2, 3).T,
        torch.empty((0, 2), dtype=torch.float16),
        torch.tensor(2.5, dtype=torch.bfloat16),
        torch.ones(SMALLEST, requires_grad=True),
    ]
    for tensor, read in zip(tensors, cross(tensors), strict=True):
        assert (read.dtype, read.shape, read.requires_grad) == (tensor.dtype, tensor.shape, False)
        assert torch.equal(read, tensor.detach())
    for odd in (torch.ones(2).to_sparse(), torch.ones(2, device="meta")):
        with pytest.raises(WorkerError, match="quantized or without data cannot cross"):
            cross(odd)
    with pytest.raises(ValueError, match="is no value"):
        Reader(bytearray(4), lambda *_: None).read({"!": "tensor", "dtype": "load", "shape": [1], "at": 0, "size": 4})
