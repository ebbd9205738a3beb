"""Which keywords a class declares, and which nobody read."""

import inspect
from typing import Any

import pytest

from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.node.class_checks import construct
from cuvis_ai_core.node.constructor_keywords import Keyword, is_open, parameters_of, unread_of, watched


class Base(ArrayNode):
    """Takes what it names."""

    def __init__(self, gain: float = 1.0, **kwargs: Any) -> None:
        self.offset = kwargs.pop("offset", 0)
        self.looked = kwargs.get("looked")
        super().__init__(gain=gain, **kwargs)

    def forward(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


class Heir(Base):
    """Names one more, and another default."""

    def __init__(self, width: int, *args: Any, gain: float = 2.0, **kwargs: Any) -> None:
        super().__init__(gain, *args, **kwargs)


class Closed(Heir):
    """Hands nothing on."""

    def __init__(self, width: int = 3) -> None:
        super().__init__(width)


@pytest.mark.parametrize(
    ("node_class", "defaults"),
    [
        (Base, {"name": None, "execution_stages": None, "gain": 1.0}),
        (Heir, {"name": None, "execution_stages": None, "gain": 2.0, "width": inspect.Parameter.empty}),
        (Closed, {"width": 3}),
    ],
)
def test_a_class_takes_what_its_constructors_name(node_class: type, defaults: dict[str, object]) -> None:
    """As far as one hands keywords on; what the nearest says of a name counts."""
    assert {name: each.default for name, each in parameters_of(node_class).items()} == defaults
    assert is_open(inspect.signature(node_class)) is (node_class is not Closed)


def test_keywords_that_nobody_read_are_told() -> None:
    """They are hyper-parameters all the same, by plain names."""
    node = construct(Heir, width=1, offset=2, looked=3, ofset=4, gain=5)
    assert (node.offset, node.looked) == (2, 3)
    assert unread_of(node) == ["ofset"]
    assert node.hparams == {"gain": 5, "looked": 3, "ofset": 4}
    assert {type(key) for key in node.hparams} == {str}
    fine = construct(Heir, 1, offset=2, looked=3)
    assert (unread_of(fine), fine.hparams) == ([], {"gain": 2.0, "looked": 3})
    assert unread_of(object()) == []


def test_only_what_is_not_declared_is_watched() -> None:
    """Of a class in another process nothing: that one watches for itself."""
    found = watched(Heir, {"gain": 1, "ofset": 2})
    assert {key: type(key) for key in found} == {"gain": str, "ofset": Keyword}
    told = type("Told", (Heir,), {"_declared_parameters": {}})
    assert {type(key) for key in watched(told, {"ofset": 1})} == {str}
    assert dict(parameters_of(told)) == {}
    assert watched(Heir, {}) == {}


def test_a_keyword_notes_that_it_was_looked_up() -> None:
    """By its own name alone, and not by another of its kind."""
    keyword = Keyword("gain")
    assert keyword != "offset"
    assert not keyword.read
    assert keyword == Keyword("gain")
    assert not keyword.read
    assert keyword == "gain"
    assert keyword.read
    other = Keyword("gain")
    assert (other != "gain") is False
    assert other.read
    assert {Keyword("gain"): 1}["gain"] == 1
