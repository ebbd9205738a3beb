"""What nodes keep beside arrays is saved, and read back as it was, without running code."""

import datetime as dt
import enum
import types
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies

from cuvis_ai_core.errors import PipelineError
from cuvis_ai_core.pipeline.weights.weights_file import read_weights, write_weights

torch = pytest.importorskip("torch")


def _there_and_back(value: Any, folder: Path) -> Any:
    write_weights(folder / "w.pt", {"node": {"_extra_state": value}}, {})
    return read_weights(folder / "w.pt").state["node"]["_extra_state"]


def _same(left: Any, right: Any) -> bool:
    if type(left) is not type(right) or getattr(left, "tzinfo", None) != getattr(right, "tzinfo", None):
        return False
    if isinstance(left, np.ndarray | np.generic):
        return bool(left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes())
    if isinstance(left, torch.Tensor):
        return bool(torch.equal(left, right))
    if isinstance(left, Mapping):
        return _same(list(left.items()), list(right.items()))
    if isinstance(left, list | tuple | deque):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)


VALUES = [
    *(None, True, 3, 2.5, "text", [1, (2, "x")], {"a": {1: [None]}}, np.float64(0.5), np.float32(1.5), np.int8(-3)),
    *(np.bool_(True), np.str_("ab"), np.bytes_(b"ab"), np.complex64(1 + 2j), np.datetime64("2024-02-29"), np.uint16(7)),
    *(np.timedelta64(3, "h"), np.arange(6, dtype=">i2").reshape(2, 3), np.array(["stone", "sand"]), np.zeros((0, 3))),
    *(np.array(5.0), np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]), np.dtype("float32"), np.dtype(">u2")),
    *({1, 2}, frozenset({"a"}), b"\x00\xff", bytearray(b"ab"), 1 + 2j, range(1, 9, 2), slice(None, 3), deque([1], 4)),
    *(Decimal("0.1"), Fraction(1, 3), UUID(int=5), Path("a/b"), PurePosixPath("/x"), PureWindowsPath("C:/x")),
    *(dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC), dt.date(2024, 2, 29), dt.time(1, 2, 3)),
    *(dt.datetime(2024, 7, 1, tzinfo=ZoneInfo("Europe/Berlin")), dt.time(2, tzinfo=ZoneInfo("UTC")), ZoneInfo("UTC")),
    *(dt.timedelta(days=-1, microseconds=3), dt.timezone(dt.timedelta(hours=2)), OrderedDict(b=1, a=2), Counter("aab")),
    *(defaultdict(list, {"a": [1]}), {(1, 2): "x"}, {np.int64(3): 1}, {"__cuvis_type__": "set", "value": 1}),
    *(torch.ones(2), torch.Size([1, 2]), torch.float16, torch.device("cpu"), [{"deep": (np.float32(1), {Path("p")})}]),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_there_and_back(value: Any, tmp_path: Path) -> None:
    """A value of the standard library, NumPy or torch comes back equal and of its type."""
    assert _same(_there_and_back(value, tmp_path), value)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text()
        | st.binary()
        | st.datetimes(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
        max_leaves=12,
    )
    | numpy_strategies.arrays(
        numpy_strategies.scalar_dtypes(), numpy_strategies.array_shapes(min_dims=0, min_side=0, max_side=3)
    )
)
@settings(deadline=None, max_examples=60)
def test_whatever_is_nested_comes_back(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    """Any nesting, and any array of NumPy, comes back."""
    assert _same(_there_and_back(value, tmp_path_factory.mktemp("w")), value)


class Colour(enum.Enum):
    """An enumeration of a plugin."""

    RED = 1


@dataclass
class Limits:
    """A class of a plugin."""

    low: float


class _Table:
    def to_dict(self) -> dict[str, int]:
        return {}


Point = namedtuple("Point", "x")  # noqa: PYI024
_LOOP: list[Any] = []
_LOOP.append(_LOOP)


@pytest.mark.parametrize(
    ("value", "kind", "step"),
    [
        (Colour.RED, "Colour", "value.name"),
        (Limits(1.0), "Limits", "dataclasses.asdict"),
        (_Table(), "_Table", "value.to_dict"),
        (Point(1), "Point", r"tuple\(value\)"),
        (np.array([None]), "ndarray", "Keep numbers"),
        (np.ma.masked_array([1], [True]), "MaskedArray", "Keep numbers"),
        (types.SimpleNamespace(), "SimpleNamespace", "Keep numbers"),
        (len, "builtin_function_or_method", "Keep numbers"),
        (defaultdict(lambda: 3), "defaultdict", "Keep numbers"),
    ],
)
def test_what_would_run_code_is_refused(tmp_path: Path, value: Any, kind: str, step: str) -> None:
    """The error names node, key, type, and what to keep instead."""
    with pytest.raises(PipelineError, match=rf"(?s)node 'node'.*'_extra_state'\['a'\]\[1\] is of type {kind};.*{step}"):
        _there_and_back({"a": [0, value]}, tmp_path)


def test_a_zone_that_has_no_name_is_refused(tmp_path: Path) -> None:
    """Only its offset of that day would come back, and not that of half a year later."""

    class Zone(dt.tzinfo):
        def utcoffset(self, _: Any) -> dt.timedelta:
            return dt.timedelta(hours=1)

        def dst(self, _: Any) -> None:
            return None

        def tzname(self, _: Any) -> str:
            return "here"

    with pytest.raises(PipelineError, match=r"'_extra_state'\['a'\] holds a time in a zone of type Zone, which is not"):
        _there_and_back({"a": dt.datetime(2024, 1, 1, tzinfo=Zone())}, tmp_path)


def test_what_contains_itself_is_refused(tmp_path: Path) -> None:
    """A list that is its own element ends in an error."""
    with pytest.raises(PipelineError, match="contains itself"):
        _there_and_back(_LOOP, tmp_path)


def test_a_kind_of_a_later_version(tmp_path: Path) -> None:
    """A value that this version does not know is said."""
    torch.save({"state_dict": {"n": {"_extra_state": {"__cuvis_type__": "polar"}}}, "metadata": {}}, tmp_path / "w.pt")
    with pytest.raises(PipelineError, match="the kind 'polar', which this version does not know"):
        read_weights(tmp_path / "w.pt")
