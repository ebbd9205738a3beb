"""Ports as things to hold: which there are, whose they are, and what is said of those that are not there."""

import copy
import pickle
from typing import Any, ClassVar

import numpy as np
import pytest
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.node.port_handles import input_handles, input_ports, output_handles, output_ports, port_handle

SPEC = PortSpec(np.float32, (-1,))


class Ported(ArrayNode):
    """Has a port on both sides."""

    INPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": SPEC, "offset": SPEC}
    OUTPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": SPEC, "scores": SPEC}

    def forward(self, cube: Any, offset: Any) -> dict[str, Any]:
        """Return nothing."""
        return {}


def test_a_port_is_the_same_whenever_it_is_asked_for() -> None:
    """Of one node; a copy has its own, and one with other declarations other ones."""
    node = Ported(name="n")
    for ports in (input_ports, output_ports):
        assert ports(node) is ports(node)
        assert [(each.node, each.name, each.spec) for each in ports(node).values()] == [
            (node, name, SPEC) for name in ports(node)
        ]
    assert (list(input_ports(node)), list(output_ports(node))) == (["cube", "offset"], ["cube", "scores"])
    first = node.inputs.cube
    for other in (copy.copy(node), copy.deepcopy(node), pickle.loads(pickle.dumps(node))):
        assert other.inputs.cube.node is other
        assert other.inputs.cube is not first
    assert node.inputs.cube is first
    node.INPUT_SPECS = {"only": SPEC}  # type: ignore[misc]
    assert list(input_ports(node)) == ["only"]


def test_the_ports_of_a_side_are_seen_by_name() -> None:
    """In the order in which they are declared."""
    node = Ported(name="n")
    sides = input_handles(node), output_handles(node)
    assert [list(each) for each in sides] == [["cube", "offset"], ["cube", "scores"]]
    assert [len(each) for each in sides] == [2, 2]
    assert [dir(each) for each in sides] == [["cube", "offset"], ["cube", "scores"]]
    assert [("offset" in each, "other" in each) for each in sides] == [(True, False), (False, False)]
    assert (port_handle(node, "offset"), port_handle(node, "scores")) == (sides[0].offset, sides[1].scores)


@pytest.mark.parametrize(
    ("side", "name", "message"),
    [
        ("inputs", "ofset", "The input side of node 'n' has no port 'ofset'. Did you mean 'offset'?"),
        ("inputs", "zzz", "The input side of node 'n' has no port 'zzz'. There are cube, offset."),
        ("outputs", "zzz", "The output side of node 'n' has no port 'zzz'. There are cube, scores."),
        ("outputs", "__len", "__len"),
    ],
)
def test_a_port_that_is_not_there_is_missed_in_words(side: str, name: str, message: str) -> None:
    """With one that is near, or with all."""
    with pytest.raises(AttributeError) as caught:
        getattr(getattr(Ported(name="n"), side), name)
    assert str(caught.value) == message


def test_a_side_without_ports_says_so() -> None:
    """It has none."""
    node = type("Closed", (Ported,), {"INPUT_SPECS": {}})(name="n")
    with pytest.raises(AttributeError, match=r"has no port 'cube'\. There are none\."):
        _ = node.inputs.cube


def test_what_is_neither_attribute_nor_one_port_is_told() -> None:
    """What is on both sides has to be named with its side; a constructor that forgets its base is the cause of all."""
    node = Ported(name="n")
    with pytest.raises(AttributeError, match=r"^Port 'cube' of Ported exists in both"):
        port_handle(node, "cube")
    with pytest.raises(AttributeError, match=r"^'Ported' has no attribute or port 'other'$") as caught:
        port_handle(node, "other")
    assert (caught.value.name, caught.value.obj) == ("other", node)
    with pytest.raises(AttributeError, match=r"port 'other': its __init__ has not called super\(\)\.__init__\(\)$"):
        port_handle(Ported.__new__(Ported), "other")
