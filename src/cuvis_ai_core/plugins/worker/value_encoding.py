"""What crosses between host and worker: plain data, arrays, tensors, and the data classes of the published schemas.

What is written holds no code and names none: a reader makes numbers, texts, containers and arrays of it, and of the
schemas' data classes and enums those that it knows itself.
"""

import ast
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from cuvis_ai_core.errors import WorkerError
from cuvis_ai_core.plugins.worker.shared_memory import SMALLEST, Segment

if TYPE_CHECKING:
    import numpy as np
    import torch

Json: TypeAlias = Any
Room: TypeAlias = Callable[[int], Segment]

_PLAIN: Final = frozenset({bool, int, float, str, type(None)})
# A cache line, and what the widest vector instructions want; NumPy also needs the type's own alignment.
_ALIGNED: Final = 64
_KIND: Final = "!"
_SCHEMAS: Final = ("cuvis_ai_schemas.execution", "cuvis_ai_schemas.enums")
_MOST_DEEP: Final = 100
# Python 3.11 refuses to read integers of more than 4,300 digits; these have 1,234.
_MOST_BITS: Final = 4096


class Writer:
    """Turns values into data; large arrays are copied into segments, once.

    Args:
        room: Gives a segment for some bytes.

    Attributes:
        data: Bytes of the small arrays, in order.
        segments: Names of the segments that were filled.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._size = 0
        self.data: list[bytes | bytearray] = []
        self.segments: list[str] = []

    def write(self, value: object, depth: int = 0) -> Json:
        """Return a value as JSON can hold it.

        Raises:
            WorkerError: It cannot cross.
            OSError: There is no memory for an array.
        """
        kind = type(value)
        if kind in _PLAIN:
            if kind is int and cast("int", value).bit_length() > _MOST_BITS:
                raise _refusal(f"a number of more than {_MOST_BITS} bits")
            return value
        if depth > _MOST_DEEP:
            raise WorkerError(f"A value that holds others more than {_MOST_DEEP} deep cannot cross to another process.")
        if kind is list:
            return [self.write(each, depth + 1) for each in cast("list[object]", value)]
        if isinstance(value, dict):
            # As a list: JSON makes a text of every key, so that 1 and "1" would be one.
            pairs = [self.write(each, depth + 1) for pair in value.items() for each in pair]
            return {_KIND: "dict", "of": pairs}
        return self._array(value) or self._object(value, depth + 1)

    def _array(self, value: Any) -> Json:
        numpy: Any = sys.modules.get("numpy")
        torch: Any = sys.modules.get("torch")
        if torch and isinstance(value, torch.Tensor):
            return self._tensor(value)
        if numpy and isinstance(value, numpy.ndarray):
            return self._numpy(value)
        if numpy and isinstance(value, numpy.generic):
            # A scalar of NumPy stays one: as a float, `float32(0.1)` is another number.
            return {**self._numpy(numpy.asarray(value)), "scalar": True}
        return None

    def _numpy(self, array: "np.ndarray[Any, Any]") -> Json:
        import numpy as np

        # Objects are pointers; so are the texts of NumPy 2's StringDType ('T').
        if array.dtype.hasobject or array.dtype.kind == "T" or isinstance(array, np.ma.MaskedArray):
            what = "a masked array" if isinstance(array, np.ma.MaskedArray) else f"an array of dtype {array.dtype}"
            raise _refusal(what)
        try:
            described: Any = np.lib.format.dtype_to_descr(array.dtype)
        except ValueError:  # fields that overlap, or in another order than in memory
            from numpy.lib.recfunctions import repack_fields

            return self._numpy(repack_fields(array))
        # By its descriptor, as in .npy files: `str(dtype)` of a structured one cannot be read back on every version.
        about = {_KIND: "array", "dtype": described if isinstance(described, str) else repr(described)}

        def fill(buffer: Any) -> None:
            np.copyto(np.frombuffer(buffer, array.dtype, array.size).reshape(array.shape), array)

        return {**about, "shape": array.shape, **self._placed(array.nbytes, fill)}

    def _tensor(self, tensor: "torch.Tensor") -> Json:
        import torch

        # Sparse and quantized ones are more than their bytes.
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type == "meta":
            raise _refusal(f"a tensor that is {tensor.layout}, quantized or without data")

        def fill(buffer: Any) -> None:
            place = torch.frombuffer(buffer, dtype=tensor.dtype, count=tensor.numel())
            # `copy_` brings it from any device and out of any strides in one pass.
            place.reshape(tensor.shape).copy_(tensor.detach())

        size = tensor.numel() * tensor.element_size()
        about = {_KIND: "tensor", "dtype": str(tensor.dtype).removeprefix("torch."), "shape": tuple(tensor.shape)}
        return {**about, **self._placed(size, fill)}

    def _placed(self, size: int, fill: Callable[[Any], None]) -> dict[str, Any]:
        if size >= SMALLEST:
            segment = self._room(size)
            fill(memoryview(segment.memory)[:size])
            self.segments.append(segment.name)
            return {"size": size, "in": segment.name}
        if not size:
            return {"size": 0, "at": 0}
        buffer = bytearray(size)
        fill(buffer)
        return {"size": size, "at": self._inline(buffer)}

    def _inline(self, data: bytes | bytearray) -> int:
        padding = -self._size % _ALIGNED
        place = self._size + padding
        self.data += [bytes(padding), data] if padding else [data]
        self._size = place + len(data)
        return place

    def _object(self, value: object, depth: int) -> Json:
        if is_dataclass(value) and _from_schemas(type(value)):
            content = {each.name: getattr(value, each.name) for each in fields(value)}
            return {_KIND: "record", "class": type(value).__name__, "of": self.write(content, depth)}
        for kind, write in self._OBJECTS.items():
            if isinstance(value, kind):
                return write(self, value, depth)
        raise _refusal(f"an object of {_called(value)}")

    def _several(self, value: Any, depth: int) -> Json:
        kind = next(each.__name__ for each in (tuple, set, frozenset) if isinstance(value, each))
        return {_KIND: kind, "of": [self.write(each, depth) for each in value]}

    def _bytes(self, value: bytes | bytearray, _: int) -> Json:
        return {_KIND: "bytes", "at": self._inline(bytes(value)), "size": len(value)}

    def _enum(self, value: Enum, _: int) -> Json:
        if _from_schemas(type(value)):
            return {_KIND: "enum", "class": type(value).__name__, "of": value.value}
        if isinstance(value, str | int):
            return value.value
        raise _refusal(f"a member of {_called(value)}")

    # In this order: some of these are others too.
    _OBJECTS: Final[Mapping[type | tuple[type, ...], Callable[["Writer", Any, int], Json]]] = {
        (tuple, set, frozenset): _several,
        (bytes, bytearray): _bytes,
        PurePath: lambda _self, value, _: {_KIND: "path", "of": str(value)},
        Enum: _enum,
        list: lambda self, value, depth: [self.write(each, depth) for each in value],
        complex: lambda _self, value, _: {_KIND: "complex", "of": [value.real, value.imag]},
        bool: lambda _self, value, _: bool(value),
        int: lambda _self, value, _: int(value),
        float: lambda _self, value, _: float(value),
        str: lambda _self, value, _: str(value),
        Mapping: lambda self, value, depth: self.write(dict(value), depth),
    }


class Reader:
    """Turns data into values again; large arrays lie in their segments, without a copy.

    Args:
        data: The bytes behind the message.
        lease: Gives a buffer of some bytes of a segment, which counts as in use while there is an array on it.
    """

    def __init__(self, data: bytearray, lease: Callable[[str, int], Any]) -> None:
        self._data = data
        self._lease = lease

    def read(self, data: Json) -> Any:
        """Return the value.

        Raises:
            ValueError: The data are not what `Writer` writes.
            WorkerError: They hold a tensor that needs torch, which is not installed.
        """
        if type(data) is list:
            return [self.read(each) for each in data]
        if type(data) is not dict:
            return data
        try:
            return self._READ[data[_KIND]](self, data)
        except (KeyError, TypeError, IndexError, AttributeError, SyntaxError) as error:
            raise ValueError(f"{str(data)[:200]} is no value") from error

    def _dict(self, data: Json) -> dict[Any, Any]:
        of = [self.read(each) for each in data["of"]]
        return dict(zip(of[::2], of[1::2], strict=True))

    def _array(self, data: Json) -> Any:
        import numpy as np

        described = data["dtype"]
        dtype = np.lib.format.descr_to_dtype(
            # literal_eval runs nothing: a descriptor of fields is a list of tuples.
            ast.literal_eval(described) if described.startswith(("[", "(")) else described
        )
        # Checked by NumPy: a size that does not fit the shape is a ValueError, never memory beyond the buffer.
        array = _array_on(self._buffer(data), dtype, tuple(data["shape"]))
        return array[()] if data.get("scalar") else array

    def _tensor(self, data: Json) -> Any:
        shape, buffer = tuple(data["shape"]), self._buffer(data)
        if not has_torch():
            return _array_on(buffer, _numpy_dtype(data["dtype"]), shape)
        import torch

        dtype = getattr(torch, data["dtype"])
        # The name is the other end's: `torch.load` is an attribute too.
        if not isinstance(dtype, torch.dtype):
            raise TypeError(dtype)
        # torch refuses an empty buffer.
        return torch.frombuffer(buffer, dtype=dtype).reshape(shape) if buffer else torch.empty(shape, dtype=dtype)

    def _buffer(self, data: Json) -> Any:
        if "in" in data:
            return self._lease(data["in"], data["size"])
        return memoryview(self._data)[data["at"] : data["at"] + data["size"]]

    def _record(self, data: Json) -> object:
        found = schema_class(data["class"])
        if not (isinstance(found, type) and is_dataclass(found)):
            raise TypeError(found)
        given = self.read(data["of"])
        # The worker's schemas may be newer, with fields that this one does not know.
        known = {each.name for each in fields(found) if each.init}
        return found(**{key: value for key, value in given.items() if key in known})

    def _enum(self, data: Json) -> object:
        found = schema_class(data["class"])
        if not (isinstance(found, type) and issubclass(found, Enum)):
            raise TypeError(found)
        return found(data["of"])

    _READ: Final[Mapping[str, Callable[["Reader", Json], Any]]] = {
        "dict": _dict,
        "array": _array,
        "tensor": _tensor,
        "record": _record,
        "enum": _enum,
        "tuple": lambda self, data: tuple(self.read(data["of"])),
        "set": lambda self, data: set(self.read(data["of"])),
        "frozenset": lambda self, data: frozenset(self.read(data["of"])),
        "bytes": lambda self, data: bytes(self._buffer(data)),
        "complex": lambda _self, data: complex(*data["of"]),
        "path": lambda _self, data: Path(data["of"]),
    }


def _array_on(buffer: Any, dtype: Any, shape: tuple[int, ...]) -> Any:
    import numpy as np

    return np.frombuffer(buffer, dtype).reshape(shape) if len(buffer) else np.empty(shape, dtype)


def _numpy_dtype(name: str) -> Any:
    import numpy as np

    try:
        return np.dtype(name)
    except TypeError as error:
        raise WorkerError(
            f"A tensor of dtype {name} arrived, which NumPy does not have, and torch is not installed here.",
            hint="pip install 'cuvis-ai-core[torch]'",
        ) from error


@cache
def has_torch() -> bool:
    """Tell whether torch is installed here: tensors stay tensors then, and become arrays of NumPy elsewhere."""
    return "torch" in sys.modules or importlib.util.find_spec("torch") is not None


def schema_class(name: str) -> Any:
    """Return a class of the schemas that both sides have."""
    if not name.isidentifier():
        raise TypeError(name)
    modules = map(importlib.import_module, _SCHEMAS)
    found = next((each for module in modules if isinstance(each := getattr(module, name, None), type)), None)
    if found is None or not _from_schemas(found):
        raise TypeError(name)
    return found


def _from_schemas(kind: type) -> bool:
    return kind.__module__.startswith("cuvis_ai_schemas.")


def _called(value: object) -> str:
    return f"class {type(value).__module__}.{type(value).__qualname__}"


def _refusal(what: str) -> WorkerError:
    return WorkerError(
        f"{what} cannot cross to another process.",
        hint="Numbers, texts, lists, tuples, dicts, sets, bytes, arrays of NumPy, tensors and the data classes of "
        "cuvis_ai_schemas can. A plugin that exchanges other objects needs isolation: scoped.",
    )
