"""Values that nodes keep beside arrays, as a file of weights holds them: made of what loads without running code.

Numbers, texts, lists, tuples, mappings and tensors stay as they are. What the standard library and NumPy have beside
these becomes a mapping that names its type, and comes back as what it was. Classes of anybody else are refused: to
read them back would be to run code that a file names.
"""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import pathlib
import uuid
import zoneinfo
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from cuvis_ai_core.errors import PipelineError

_TYPE: Final = "__cuvis_type__"
_VALUE: Final = "value"
_PLAIN: Final = (bool, int, float, str, type(None))
_OF_TORCH: Final = frozenset({"Size", "dtype", "device", "layout", "memory_format"})

Part: TypeAlias = Callable[[Any], Any]
"""Makes a value of a part of it."""


def _timed(value: dt.datetime | dt.time) -> str | list[Any]:
    """Return a time as a text; with the name of its place, whose offset is another one in summer."""
    if not isinstance(value.tzinfo, zoneinfo.ZoneInfo):
        if value.tzinfo is not None and type(value.tzinfo) is not dt.timezone:
            raise PipelineError(
                f"holds a time in a zone of type {type(value.tzinfo).__name__}, which is not read back.",
                hint="Give times zones of the standard library: zoneinfo.ZoneInfo or datetime.UTC.",
            )
        return value.isoformat()
    return [value.replace(tzinfo=None).isoformat(), _zone_key(value.tzinfo), value.fold]


def _zone_key(zone: zoneinfo.ZoneInfo) -> str:
    if zone.key is None:
        raise PipelineError(
            "holds a time zone without a name, which is not read back.",
            hint="Make it by its name: zoneinfo.ZoneInfo('Europe/Berlin').",
        )
    return zone.key


def _at_place(kind: Any, told: str | list[Any]) -> Any:
    if isinstance(told, str):
        return kind.fromisoformat(told)
    text, zone, fold = told
    return kind.fromisoformat(text).replace(tzinfo=zoneinfo.ZoneInfo(zone), fold=fold)


_KINDS: Final[dict[str, tuple[type, Part, Part]]] = {
    "set": (set, list, set),
    "frozenset": (frozenset, list, frozenset),
    # Latin-1 has a sign for each byte.
    "bytes": (bytes, lambda value: value.decode("latin-1"), lambda text: text.encode("latin-1")),
    "bytearray": (bytearray, lambda value: value.decode("latin-1"), lambda text: bytearray(text, "latin-1")),
    "complex": (complex, lambda value: [value.real, value.imag], lambda parts: complex(*parts)),
    "range": (range, lambda value: [value.start, value.stop, value.step], lambda parts: range(*parts)),
    "slice": (slice, lambda value: [value.start, value.stop, value.step], lambda parts: slice(*parts)),
    "deque": (collections.deque, lambda value: [list(value), value.maxlen], lambda parts: collections.deque(*parts)),
    "decimal": (decimal.Decimal, str, decimal.Decimal),
    "fraction": (fractions.Fraction, str, lambda text: fractions.Fraction(*map(int, text.split("/")))),
    "uuid": (uuid.UUID, str, uuid.UUID),
    "datetime": (dt.datetime, _timed, lambda told: _at_place(dt.datetime, told)),
    "date": (dt.date, lambda value: value.isoformat(), dt.date.fromisoformat),
    "time": (dt.time, _timed, lambda told: _at_place(dt.time, told)),
    "zoneinfo": (zoneinfo.ZoneInfo, _zone_key, zoneinfo.ZoneInfo),
    "timedelta": (
        dt.timedelta,
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda parts: dt.timedelta(*parts),
    ),
    "timezone": (
        dt.timezone,
        lambda value: value.utcoffset(None).total_seconds(),
        lambda seconds: dt.timezone(dt.timedelta(seconds=seconds)),
    ),
    # Of `Path()` the class is the system's: PosixPath or WindowsPath.
    "path": (type(pathlib.Path()), str, pathlib.Path),
    "posixpath": (pathlib.PurePosixPath, str, pathlib.PurePosixPath),
    "windowspath": (pathlib.PureWindowsPath, str, pathlib.PureWindowsPath),
    "pairs": (dict, lambda value: [list(pair) for pair in value.items()], dict),
    "ordereddict": (
        collections.OrderedDict,
        lambda value: [list(pair) for pair in value.items()],
        collections.OrderedDict,
    ),
    "counter": (
        collections.Counter,
        lambda value: [list(pair) for pair in value.items()],
        lambda pairs: collections.Counter(dict(pairs)),
    ),
}
_BY_TYPE: Final = {kind: (name, take) for name, (kind, take, _) in _KINDS.items()}
_FACTORIES: Final = {each.__name__: each for each in (list, dict, set, int, float, str, bool, tuple)}


def encode(value: Any, place: str) -> Any:
    """Return a value as a file of weights can hold it.

    Args:
        value: The value.
        place: What it is called in an error: `_extra_state['limits']`.

    Raises:
        PipelineError: It, or something in it, is of a type that is not read back.
    """
    try:
        return _encode(value, place)
    except RecursionError as error:
        raise PipelineError(
            f"{place} contains itself.", hint="Keep numbers, texts, lists, mappings, arrays."
        ) from error


def decode(value: Any) -> Any:
    """Return what `encode` was given.

    Raises:
        PipelineError: A later version wrote it.
    """
    if type(value) in {list, tuple}:
        return type(value)(map(decode, value))
    if type(value) is not dict:
        return value
    if _TYPE not in value:
        return {key: decode(each) for key, each in value.items()}
    name, inner = value[_TYPE], decode(value.get(_VALUE))
    if name == "defaultdict":
        return collections.defaultdict(_FACTORIES.get(value["factory"]), inner)
    if name in {"ndarray", "number", "numpy.dtype"}:
        return _from_bytes(name, value, inner)
    if name not in _KINDS:
        raise PipelineError(
            f"The weights hold a value of the kind '{name}', which this version does not know.",
            hint="Read them with the version that wrote them.",
        )
    return _KINDS[name][2](inner)


def _encode(value: Any, place: str) -> Any:  # noqa: PLR0911 - a type after the other
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind in {list, tuple}:
        return kind(_encode(each, f"{place}[{number}]") for number, each in enumerate(value))
    if kind is dict and _TYPE not in value and all(type(key) in _PLAIN for key in value):
        return {key: _encode(each, f"{place}[{key!r}]") for key, each in value.items()}
    if kind in _BY_TYPE:
        name, take = _BY_TYPE[kind]
        return {_TYPE: name, _VALUE: _encode(_taken(take, value, place), place)}
    if kind is collections.defaultdict and getattr(value.default_factory, "__name__", None) in {*_FACTORIES, None}:
        factory = getattr(value.default_factory, "__name__", "")
        return {_TYPE: "defaultdict", "factory": factory, _VALUE: _encode(dict(value), place)}
    if hasattr(value, "detach"):
        return value.detach().cpu()
    if kind.__module__ == "torch" and kind.__name__ in _OF_TORCH:
        return value
    encoded = _of_numpy(value)
    if encoded is None:
        raise _refusal(value, place)
    return encoded


def _taken(take: Part, value: Any, place: str) -> Any:
    try:
        return take(value)
    except PipelineError as error:
        error.message = f"{place} {error.message}"
        raise


def _of_numpy(value: Any) -> dict[str, Any] | None:
    """Return a number, an array or a dtype of NumPy as its bytes, or None where it is something else."""
    import numpy as np

    if isinstance(value, np.dtype) and not value.hasobject:
        return {_TYPE: "numpy.dtype", "dtype": _descr(value)}
    is_array = type(value) in {np.ndarray, np.memmap}
    if not (is_array or isinstance(value, np.generic)) or value.dtype.hasobject:
        return None
    import torch

    array = np.asarray(value)
    # torch warns of memory that cannot be written, and `frombuffer` has none other.
    data = torch.from_numpy(np.frombuffer(array.tobytes(), np.uint8).copy())
    name = "ndarray" if is_array else "number"
    return {_TYPE: name, "dtype": _descr(array.dtype), "shape": list(array.shape), _VALUE: data}


def _from_bytes(name: str, value: Mapping[str, Any], data: Any) -> Any:
    import numpy as np

    dtype = np.lib.format.descr_to_dtype(value["dtype"])
    if name == "numpy.dtype":
        return dtype
    array = np.frombuffer(data.numpy().tobytes(), dtype).reshape(value["shape"]).copy()
    # [()] makes a number of NumPy of an array without axes.
    return array if name == "ndarray" else array[()]


def _descr(dtype: Any) -> Any:
    import numpy as np

    return np.lib.format.dtype_to_descr(dtype)


def _refusal(value: Any, place: str) -> PipelineError:
    if isinstance(value, enum.Enum):
        step = "Keep its name (value.name), and look it up when it is read back."
    elif dataclasses.is_dataclass(value):
        step = "Keep its fields (dataclasses.asdict(value)), and make it anew when they are read back."
    elif hasattr(value, "to_dict"):
        step = "Keep value.to_dict(), and make it anew when that is read back."
    elif isinstance(value, tuple):
        step = "Keep tuple(value), and make it anew when that is read back."
    else:
        step = "Keep numbers, texts, lists, mappings, sets, dates, paths, arrays."
    return PipelineError(
        f"{place} is of type {type(value).__name__}; a file of weights holds values that load without running code.",
        hint=step,
    )
