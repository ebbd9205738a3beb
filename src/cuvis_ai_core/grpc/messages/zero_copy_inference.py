"""Inference messages read and written by hand: protobuf would copy every array twice.

A request is walked once; an array is a view of the bytes that came from the network. An answer is put together in one
piece, each array copied into it once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from numpy.typing import NDArray

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.messages.schema_generations import messages
from cuvis_ai_core.grpc.messages.tensors import NUMBERS, raw_bytes

TENSORS: Final = {1: "wavelengths", 2: "cube", 3: "mask", 8: "mesu_index", 9: "rgb_image", 10: "frame_id"}
"""The fields of an InputBatch that are tensors."""

_BOXES, _POINTS, _PROMPT, _EXTRA = 4, 5, 6, 7
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_MOST_BITS: Final = 64
_MOST_AXES: Final = 64
_MOST_MARKS: Final = 2**22
"""Bytes of boxes, and of points: each takes many times its bytes."""

_MOST_FIELDS: Final = 10_000
"""Of one message: a stranger's could have as many as it has bytes."""


@dataclass(slots=True)
class RawTensor:
    """A tensor as it came.

    Attributes:
        shape: Its sizes.
        dtype: Its `DType`.
        raw: Its bytes, a view of the message.
        shm: Name, offset and size of the shared memory that holds it instead.
    """

    shape: list[int] = field(default_factory=list)
    dtype: int = 0
    raw: Any = b""
    shm: tuple[str, int, int] | None = None


@dataclass(slots=True)
class RawInference:
    """An InferenceRequest, as its generated class has it, but for its tensors."""

    session_id: str = ""
    tensors: dict[str, RawTensor] = field(default_factory=dict)
    bboxes: Any = None
    points: Any = None
    text_prompt: str | None = None
    output_specs: list[str] = field(default_factory=list)


def read_inference(data: bytes) -> RawInference:
    """Read an InferenceRequest.

    Raises:
        ServiceError: The bytes are none.
    """
    from google.protobuf.message import DecodeError

    request = RawInference()
    try:
        for number, value in _fields(memoryview(data)):
            if number == 1:
                request.session_id = _text(value)
            elif number == 2:
                _read_batch(request, value)
            elif number == 3:
                request.output_specs.append(_text(value))
    except (ValueError, TypeError, IndexError, DecodeError) as error:
        raise ServiceError("The message is no InferenceRequest.", code="INVALID_ARGUMENT") from error
    return request


def write_inference(outputs: Mapping[str, Any], metrics: Mapping[str, float]) -> bytes:
    """Return the bytes of an InferenceResponse.

    Args:
        outputs: Name to an array, or to a `Tensor` message that refers to shared memory.
        metrics: Name to a number.
    """
    parts: list[Any] = []
    for name, value in outputs.items():
        tensor = _tensor_parts(value) if hasattr(value, "dtype") and hasattr(value, "ndim") else _message_parts(value)
        key = name.encode()
        head = b"\x0a" + _varint(len(key)) + key + b"\x12" + _varint(sum(map(len, tensor)))
        parts += [b"\x0a", _varint(len(head) + sum(map(len, tensor))), head, *tensor]
    # Two serialized messages, one behind the other, are the message with the fields of both.
    parts.append(messages().InferenceResponse(metrics=metrics).SerializeToString())
    return b"".join(parts)


def _tensor_parts(array: NDArray[Any]) -> list[Any]:
    head = messages().Tensor(shape=array.shape, dtype=NUMBERS[array.dtype.name]).SerializeToString()
    raw = raw_bytes(array)
    return [head, b"\x1a", _varint(len(raw)), raw]


def _message_parts(message: Any) -> list[Any]:
    return [message.SerializeToString()]


def _read_batch(request: RawInference, data: memoryview) -> None:
    for number, value in _fields(data):
        if number in TENSORS:
            request.tensors[TENSORS[number]] = _read_tensor(value)
        elif number == _BOXES:
            request.bboxes = messages().BoundingBoxes.FromString(_marks(value))
        elif number == _POINTS:
            request.points = messages().Points.FromString(_marks(value))
        elif number == _PROMPT:
            request.text_prompt = _text(value)
        elif number == _EXTRA:
            entry = dict(_fields(value))
            request.tensors[_text(entry.get(1, memoryview(b"")))] = _read_tensor(entry.get(2, memoryview(b"")))


def _read_tensor(data: memoryview) -> RawTensor:
    tensor = RawTensor()
    for number, value in _fields(data):
        if number == 1:
            # A reader of protobuf takes repeated numbers both packed and one by one.
            sizes = [value] if isinstance(value, int) else list(islice(_packed(value), _MOST_AXES + 1))
            # A negative int64 is written as its two's complement, in ten bytes.
            tensor.shape += [size - (1 << _MOST_BITS) if size >> (_MOST_BITS - 1) else size for size in sizes]
            if len(tensor.shape) > _MOST_AXES:
                raise ValueError("more sizes than any array has")
        elif number == 2:
            tensor.dtype = int(value)
        elif number == 3:
            # They are one `oneof`: the last one that comes counts, and takes the other away.
            tensor.raw, tensor.shm = _bytes(value), None
        elif number == 4:
            found = messages().ShmRef.FromString(bytes(_bytes(value)))
            tensor.shm, tensor.raw = (found.name, found.byte_offset, found.byte_size), b""
    return tensor


def _fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Yield number and value of each field: an integer, or a view of the bytes.

    Raises:
        ValueError: The bytes are no message.
    """
    if not isinstance(data, memoryview):
        raise TypeError("a message is expected, and a number came")
    place, end = 0, len(data)
    # Protobuf ignores what it does not know: two bytes for each field, half a billion in a large message.
    for _ in range(_MOST_FIELDS):
        if place >= end:
            return
        tag, place = _read_varint(data, place)
        kind = tag & 7
        if kind == _VARINT:
            value, place = _read_varint(data, place)
            yield tag >> 3, value
            continue
        if kind == _BYTES:
            size, place = _read_varint(data, place)
        elif kind in {_EIGHT, _FOUR}:
            size = 8 if kind == _EIGHT else 4
        else:
            raise ValueError("a group, or no kind of field at all")
        if size > end - place or not tag >> 3:
            raise ValueError("a field is longer than its message")
        yield tag >> 3, data[place : place + size]
        place += size
    raise ValueError("too many fields")


def _packed(data: memoryview) -> Iterator[int]:
    place = 0
    while place < len(data):
        value, place = _read_varint(data, place)
        yield value


def _read_varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            # As protobuf reads it: bits beyond 64 are dropped.
            return value & ((1 << _MOST_BITS) - 1), place
        shift += 7
        # Ten bytes at most; without an end one number could be a message long.
        if shift > 63:
            raise ValueError("a number is too long")


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


def _marks(value: Any) -> bytes:
    if len(_bytes(value)) > _MOST_MARKS:
        raise ServiceError(f"Boxes and points have up to {_MOST_MARKS} bytes each.", code="RESOURCE_EXHAUSTED")
    return bytes(value)


def _bytes(value: Any) -> memoryview:
    if not isinstance(value, memoryview):
        raise TypeError("bytes are expected, and a number came")
    return value


def _text(value: Any) -> str:
    return str(_bytes(value), "utf-8")
