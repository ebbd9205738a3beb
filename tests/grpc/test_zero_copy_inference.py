"""Messages of inference read by hand: as protobuf reads them, and no more of a stranger's than is good."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.messages.schema_generations import messages
from cuvis_ai_core.grpc.messages.zero_copy_inference import RawTensor, read_inference, write_inference


def field(number: int, content: bytes) -> bytes:
    """Return a field of bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(number: int) -> bytes:
    """Return a number as protobuf writes it."""
    found = b""
    while number > 127:
        found += bytes([number & 127 | 128])
        number >>= 7
    return found + bytes([number])


def cube_of(tensor: bytes) -> RawTensor:
    """Return what is read of a request whose cube is a tensor of these bytes."""
    return read_inference(field(2, field(2, tensor))).tensors["cube"]


def refused(data: bytes) -> str | None:
    """Return the code with which bytes are refused."""
    with pytest.raises(ServiceError) as caught:
        read_inference(data)
    return caught.value.code


SIZES = st.integers(-(2**63), 2**63 - 1)


@given(
    shape=st.lists(SIZES, max_size=8),
    raw=st.binary(max_size=300),
    dtype=st.integers(0, 8),
    names=st.lists(st.text(max_size=5), max_size=3),
    prompt=st.none() | st.text(max_size=5),
)
def test_what_protobuf_writes_is_read_as_it_was(
    shape: list[int], raw: bytes, dtype: int, names: list[str], prompt: str | None
) -> None:
    """Whatever sizes, bytes and names there are."""
    tensor = messages().Tensor(shape=shape, dtype=dtype, raw_data=raw)
    named = ("wavelengths", "cube", "mask", "mesu_index", "rgb_image", "frame_id")
    inputs = messages().InputBatch(
        **dict.fromkeys(named, tensor), extra_inputs=dict.fromkeys(names, tensor), text_prompt=prompt
    )
    data = messages().InferenceRequest(session_id="s", inputs=inputs, output_specs=names).SerializeToString()
    found = read_inference(data)
    assert (found.session_id, found.output_specs, found.text_prompt) == ("s", names, prompt or None)
    assert found.tensors.keys() == {*named, *names}
    for each in found.tensors.values():
        assert (each.shape, each.dtype, bytes(each.raw), each.shm) == (shape, dtype, raw, None)


def test_marks_are_messages_of_their_own() -> None:
    """As protobuf has them."""
    inputs = messages().InputBatch()
    inputs.bboxes.boxes.add()
    inputs.points.points.add()
    found = read_inference(field(2, inputs.SerializeToString()))
    assert (found.bboxes, found.points) == (inputs.bboxes, inputs.points)


@pytest.mark.parametrize("number", [4, 5])
def test_marks_have_so_many_bytes(number: int) -> None:
    """And no more: each takes many times its bytes."""
    unknown = field(15, bytes(2**22 - 5))
    assert len(unknown) == 2**22
    read_inference(field(2, field(number, unknown)))
    assert refused(field(2, field(number, unknown + b"\x78\x00"))) == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize(("axes", "is_taken"), [(64, True), (65, False)])
def test_an_array_has_so_many_axes(axes: int, *, is_taken: bool) -> None:
    """Packed, one by one, or in parts."""
    single = b"".join(b"\x08" + varint(number) for number in range(axes))
    packed = field(1, bytes(range(axes)))
    parts = field(1, bytes(range(axes - 1))) + b"\x08" + varint(axes - 1)
    for tensor in (single, packed, parts):
        if is_taken:
            assert cube_of(tensor).shape == list(range(axes))
        else:
            assert refused(field(2, field(2, tensor))) == "INVALID_ARGUMENT"


def test_a_tensor_is_in_the_message_or_in_shared_memory() -> None:
    """The last that comes counts."""
    block = field(4, messages().ShmRef(name="b", byte_offset=3, byte_size=5).SerializeToString())
    raw = field(3, b"xy")
    assert (cube_of(raw + block).shm, bytes(cube_of(raw + block).raw)) == (("b", 3, 5), b"")
    assert (cube_of(block + raw).shm, bytes(cube_of(block + raw).raw)) == (None, b"xy")


@pytest.mark.parametrize("count", [9_999, 10_000])
def test_a_message_has_so_many_fields(count: int) -> None:
    """What is not known is passed over, but counted."""
    data = b"\x78\x00" * (count - 1) + field(1, b"s")
    if count == 9_999:
        assert read_inference(data).session_id == "s"
    else:
        assert refused(data) == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "unknown", [b"\x78\x01", b"\x79" + bytes(8), b"\x7d" + bytes(4), field(15, b"x" * 127), field(15, b"x" * 128)]
)
def test_fields_that_are_not_known_are_passed_over(unknown: bytes) -> None:
    """Of every kind; cut short they are an error."""
    assert read_inference(unknown + field(1, b"s") + unknown).session_id == "s"
    assert refused(field(1, b"s") + unknown[:-1]) == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "data",
    [
        b"\x7b",  # a group
        b"\x7e\x00",  # no kind at all
        b"\x02\x00",  # the field 0
        b"\x08\x01",  # a number in place of a text
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        field(1, b"\xff"),
        field(2, field(4, b"\xff")),
        field(2, field(2, b"\x18\x01")),
        field(2, b"\x10\x01"),
        field(2, field(7, b"\x08\x01")),
    ],
)
def test_what_is_no_request_is_refused(data: bytes) -> None:
    """Whichever byte is wrong."""
    assert refused(data) == "INVALID_ARGUMENT"


def test_numbers_have_ten_bytes_and_bits_beyond_are_dropped() -> None:
    """As protobuf reads them."""
    tensor = b"\x10" + b"\xff" * 9 + b"\x7f" + b"\x08" + b"\xff" * 9 + b"\x01" + b"\x08" + b"\x80" * 8 + b"\x7f"
    found, theirs = cube_of(tensor), messages().Tensor.FromString(tensor)
    assert found.shape == list(theirs.shape)
    assert found.dtype == 2**64 - 1


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 4093, 4096, 5000])
def test_an_answer_is_what_protobuf_reads(size: int) -> None:
    """Whatever its length; arrays with gaps, messages and numbers beside."""
    array = np.arange(2 * size, dtype=np.float32)
    reference = messages().Tensor(shape=[1], dtype=1, shm_ref=messages().ShmRef(name="b", byte_size=4))
    outputs: dict[str, Any] = {"n" * 127: array[:size], "m" * 128: array[::2], "ref": reference}
    found = messages().InferenceResponse.FromString(write_inference(outputs, {"a": 0.5}))
    assert found.outputs.keys() == outputs.keys()
    for name in ("n" * 127, "m" * 128):
        tensor = found.outputs[name]
        assert (list(tensor.shape), tensor.dtype, tensor.raw_data) == ([size], 1, outputs[name].tobytes())
    assert found.outputs["ref"] == reference
    assert dict(found.metrics) == {"a": 0.5}
