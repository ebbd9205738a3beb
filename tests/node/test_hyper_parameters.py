"""What of a node's construction a file can hold, and what was changed since."""

import datetime as dt
from enum import Enum
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.node.hyper_parameters import (
    Unwritable,
    changed_since_built,
    has_own_stages,
    holds_unwritable,
    hyper_parameters,
    plain,
)


class Colour(Enum):
    """A choice."""

    RED = "red"
    PAIR = (1, 2)


class Text(str):
    """A text of a class of its own."""

    __slots__ = ()


class Taking(ArrayNode):
    """Takes all kinds of arguments, and hands on a name that it was not given."""

    def __init__(self, first: Any, second: Any = 2, *, third: Any = None, **more: Any) -> None:
        super().__init__(second=second, extra="own", **more)

    def forward(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


class Nameless(Taking):
    """Takes arguments that have no names."""

    def __init__(self, *several: Any, kept: Any = 1, **base: Any) -> None:
        super().__init__(0, kept=kept, **base)


class Placed(Taking):
    """Takes one by its place alone."""

    def __init__(self, place: Any = None, /, kept: Any = 1) -> None:
        super().__init__(0, kept=kept)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ((1, [2, (3,)]), [1, [2, [3]]]),
        ({"a": (1,), 2: None, 0.5: b"x", True: "t"}, {"a": [1], 2: None, 0.5: b"x", True: "t"}),
        ({1, 2}, {1, 2}),
        (frozenset({"a"}), {"a"}),
        (Colour.RED, "red"),
        (Colour.PAIR, [1, 2]),
        (Text("a"), "a"),
        (np.float32(0.5), 0.5),
        (np.bool_(1), True),
        (np.array(3), 3),
        (dt.date(2020, 1, 2), dt.date(2020, 1, 2)),
        (PurePosixPath("a/b"), "a/b"),
    ],
)
def test_a_value_is_written_in_the_types_of_a_file(value: object, written: object) -> None:
    """Also within others; and they are these types themselves."""
    found = plain([value])
    assert found == [written]
    assert type(found[0]) is type(written)
    assert holds_unwritable(found) is None


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.zeros(1), "ndarray"),
        ({"a": [1, {"b": object()}]}, "object"),
        ({(1, 2): 3}, "dict"),
        ({1, (2, object())}, "set"),
        (Unwritable("tensor"), "tensor"),
    ],
)
def test_what_no_file_can_hold_is_known_by_its_type(value: object, kind: str) -> None:
    """Wherever in a value it is."""
    assert holds_unwritable(plain(value)) == kind


@pytest.mark.parametrize(
    ("arguments", "keywords", "found"),
    [
        ((1,), {}, {"first": 1, "second": 2, "third": None}),
        ((1, 3), {"third": (4,), "other": 5}, {"first": 1, "second": 3, "third": [4], "other": 5}),
        ((1,), {"name": "n", "execution_stages": ["train"]}, {"first": 1, "second": 2, "third": None}),
    ],
)
def test_a_node_is_built_again_by_what_it_was_given(
    arguments: tuple[Any, ...], keywords: dict[str, Any], found: dict[str, Any]
) -> None:
    """With defaults, without name and stages, and without what its author handed on besides."""
    assert hyper_parameters(Taking(*arguments, **keywords)) == found


def test_what_its_author_kept_stands_in_for_what_no_file_can_hold() -> None:
    """Where that is kept; a default that cannot be written is the class's own affair."""
    node = Taking(np.zeros(2), np.ones(1))
    found = hyper_parameters(node)
    assert (found["first"].kind, found["second"].kind) == ("ndarray", "ndarray")
    node.hparams["second"] = [1.0]
    assert hyper_parameters(node)["second"] == [1.0]

    class Defaulted(Taking):
        def __init__(self, table: Any = np.zeros(3), **base: Any) -> None:  # noqa: B008
            super().__init__(0, **base)

    assert hyper_parameters(Defaulted()) == {}
    assert set(hyper_parameters(Defaulted(np.zeros(1)))) == {"table"}


@pytest.mark.parametrize("node", [Nameless(1), Placed(1)])
def test_without_names_for_what_it_was_given_its_author_knows(node: ArrayNode) -> None:
    """No file could hand them over."""
    assert hyper_parameters(node) == {"second": 2, "extra": "own", "kept": 1}


@pytest.mark.parametrize("given", [None, ([1, 2, 3], {}), ([], {"second": 1})])
def test_of_a_node_that_was_built_in_another_way_its_author_knows(given: object) -> None:
    """As by a copy."""
    node = Taking(1)
    vars(node)["_given"] = given
    assert hyper_parameters(node) == {"second": 2, "extra": "own"}


@pytest.mark.parametrize("node", [Nameless(kept=4), Placed(kept=4)])
def test_where_none_was_given_names_are_enough(node: ArrayNode) -> None:
    """As of a class that takes more than it needs."""
    assert hyper_parameters(node) == {"kept": 4}


def test_what_was_changed_since_is_what_is_written() -> None:
    """As a calibrated threshold; not what the class does not take by name, nor what cannot be written."""
    node = Taking(1, 0.5)
    assert changed_since_built(node) == {}
    node.hparams["second"] = np.float64(0.75)
    node.hparams["extra"] = "other"
    node.hparams["first"] = 9
    assert changed_since_built(node) == {"second": 0.75}
    assert hyper_parameters(node) == {"first": 1, "second": 0.75, "third": None}
    node.hparams["second"] = np.zeros(2)
    assert changed_since_built(node) == {}
    assert hyper_parameters(node)["second"] == 0.5
    node.hparams = None  # type: ignore[assignment]
    assert changed_since_built(node) == {}


def test_stages_that_came_from_outside_are_a_nodes_own() -> None:
    """By its constructor or afterwards; of a copy nobody knows."""
    assert not has_own_stages(Taking(1))
    assert not has_own_stages(Taking(1, execution_stages=None))
    assert has_own_stages(Taking(1, execution_stages=["train"]))
    later = Taking(1)
    later.execution_stages = {"train"}
    assert has_own_stages(later)
    unknown = Taking(1)
    vars(unknown)["_given"] = ([], {"first": 1, "second": 2, "name": "n"})
    assert not has_own_stages(unknown)
    unbuilt: tuple[object, ...] = (None, ([1, 2, 3, 4], {}))
    for given in unbuilt:
        vars(unknown)["_given"] = given
        assert has_own_stages(unknown)
