from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
import pytest
from cuvis_ai_schemas.enums import ExecutionStage

from cuvis_ai_core.errors import InvalidNodeError
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.node.base import is_node_class


class Double(ArrayNode):
    """Twice the input."""

    def __init__(self, gain: float = 2.0, **base: Any) -> None:
        self.set_before = "kept"
        super().__init__(gain=gain, **base)

    def forward(self, value: Any) -> dict[str, Any]:
        """Return the product."""
        return {"value": self.hparams["gain"] * value}


def test_a_node_has_the_name_of_its_class_unless_given_one() -> None:
    """The class's name is the default."""
    assert Double().name == "Double"
    assert Double(name="twice").name == "twice"


def test_the_name_of_a_node_cannot_be_changed() -> None:
    """A name is given once."""
    with pytest.raises(AttributeError):
        Double().name = "other"  # type: ignore[misc]


def test_hyper_parameters_are_kept_and_shown() -> None:
    """What a file needs to build the node again lies in `hparams`."""
    node = Double(gain=3.0)
    assert node.hparams == {"gain": 3.0}
    assert repr(node) == "Double(gain=3.0)"


def test_attributes_set_before_the_base_constructor_survive() -> None:
    """Published nodes do their own work first."""
    assert Double().set_before == "kept"


@pytest.mark.parametrize("stages", [None, [], ["always"]])
def test_without_stages_a_node_always_runs(stages: Iterable[str] | None) -> None:
    """Nothing given means always."""
    assert all(Double(execution_stages=stages).should_execute(stage) for stage in ("train", "inference"))


@pytest.mark.parametrize("stages", ["train", ["train"], {ExecutionStage.TRAIN}, ExecutionStage.TRAIN])
def test_a_node_with_stages_runs_in_these_only(stages: Iterable[str]) -> None:
    """One stage may stand alone; members of the schemas' enum are stages too."""
    node = Double(execution_stages=stages)
    assert node.execution_stages == {"train"}
    assert node.should_execute(ExecutionStage.TRAIN)
    assert not node.should_execute("inference")


def test_an_unknown_stage_is_an_error_that_lists_the_stages() -> None:
    """The message has the wrong stage and the right ones."""
    with pytest.raises(InvalidNodeError, match=r"Node 'd': unknown execution stage 'trian'.*inference"):
        Double(name="d", execution_stages=["trian"])


def test_a_node_can_be_called_like_a_function() -> None:
    """`node(...)` is `node.forward(...)`."""
    assert Double()(value=np.float32(2)) == {"value": 4}


def test_a_node_without_forward_cannot_be_made() -> None:
    """Python's own error names what is missing."""
    with pytest.raises(TypeError, match="forward"):
        type("Unfinished", (ArrayNode,), {})()


class Ducktyped:
    """Has what a node has, without our base classes."""

    INPUT_SPECS: ClassVar[dict[str, Any]] = {}
    OUTPUT_SPECS: ClassVar[dict[str, Any]] = {}

    def forward(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize("candidate", [Double, Ducktyped])
def test_a_class_with_ports_and_forward_is_a_node_class(candidate: object) -> None:
    """The base class is no condition."""
    assert is_node_class(candidate)


@pytest.mark.parametrize(
    "candidate",
    [
        Double(),
        int,
        None,
        "Double",
        type("NoForward", (), {"INPUT_SPECS": {}, "OUTPUT_SPECS": {}}),
        type("NoOutputs", (), {"INPUT_SPECS": {}, "forward": print}),
        type("ListOfPorts", (), {"INPUT_SPECS": [], "OUTPUT_SPECS": {}, "forward": print}),
    ],
)
def test_anything_else_is_no_node_class(candidate: object) -> None:
    """An object, a builtin, or a class that lacks one of the three is none."""
    assert not is_node_class(candidate)
