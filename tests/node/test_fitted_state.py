"""Whether a node has learned, whoever had it learn or gave it a state."""

import copy
from typing import Any

import pytest

from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.node.fitted_state import Learner


class Learning(ArrayNode):
    """Learns a sum; its state is kept by methods of its own."""

    def __init__(self, **base: Any) -> None:
        super().__init__(**base)
        self.total = 0

    def forward(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def statistical_initialization(self, input_stream: Any) -> Any:
        """Learn."""
        self.total = sum(input_stream)
        return "answer"

    def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        """Take a state."""
        if "broken" in state_dict:
            raise ValueError("broken")
        self.total = state_dict.get("total", 0)
        if "says" in state_dict:
            self._statistically_initialized = state_dict["says"]
        return args, kwargs


class Still(ArrayNode):
    """Learns nothing."""

    def forward(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


def test_who_learned_has_learned() -> None:
    """Not before, and not who fails; the method's answer is what it was."""
    node = Learning()
    assert (node.requires_initial_fit, node.statistically_initialized, node.is_to_be_fitted) == (True, False, True)
    assert Learner(node, fresh=True).lacks() == ("statistics",)
    with pytest.raises(TypeError):
        node.statistical_initialization(["a"])
    assert not node.statistically_initialized
    assert node.statistical_initialization([1, 2]) == "answer"
    assert (node.statistically_initialized, node.is_to_be_fitted, node.total) == (True, False, 3)
    assert Learner(node, fresh=True).lacks() == ()


@pytest.mark.parametrize(
    ("state", "learned"),
    [({"total": 2}, True), ({}, False), ({"total": 2, "says": False}, False), ({"says": True}, True)],
)
def test_who_was_given_a_state_has_learned(state: dict[str, Any], learned: bool) -> None:  # noqa: FBT001
    """Unless it was an empty one, or the node itself says otherwise."""
    node = Learning()
    assert node.load_state_dict(state, 1, strict=True) == ((1,), {"strict": True})
    assert (node.statistically_initialized, node.is_to_be_fitted) == (learned, not learned)


@pytest.mark.parametrize("before", [True, False])
def test_a_state_that_is_refused_changes_nothing(*, before: bool) -> None:
    """What the node had learned it still has."""
    node = Learning()
    node._statistically_initialized = before
    with pytest.raises(ValueError, match="broken"):
        node.load_state_dict({"broken": 1})
    assert node.statistically_initialized is before


def test_a_node_that_runs_as_it_was_built_is_fitted_all_the_same() -> None:
    """Until somebody says afterwards that it has learned."""
    node = Learning()
    node.statistically_initialized = None
    assert (node.statistically_initialized, node.is_to_be_fitted) == (True, True)
    node.statistically_initialized = True
    assert (node.statistically_initialized, node.is_to_be_fitted) == (True, False)
    node.statistically_initialized = False
    assert (node.statistically_initialized, node.is_to_be_fitted) == (False, True)
    itself: Any = Learning()
    itself._statistically_initialized = True
    assert (itself.statistically_initialized, itself.is_to_be_fitted) == (True, True)


def test_a_node_may_say_itself_whether_it_learns() -> None:
    """By an attribute, which goes before its methods; by a property of its own, which is believed."""
    node: Any = Learning()
    assert not Still().requires_initial_fit
    assert not Still().is_to_be_fitted
    assert Learner(Still(), fresh=True).lacks() == ()
    node._requires_initial_fit_override = False
    assert (node.requires_initial_fit, node.is_to_be_fitted) == (False, False)
    still: Any = Still()
    still._requires_initial_fit_override = True
    assert (still.requires_initial_fit, still.is_to_be_fitted) == (True, True)
    own = type("Own", (Learning,), {"statistically_initialized": property(lambda node: node.total > 0)})()
    assert own.is_to_be_fitted
    own.total = 1
    assert not own.is_to_be_fitted


def test_weights_are_to_be_trained_until_one_changes() -> None:
    """Those that need a gradient, of modules in training, of a node that was just built."""
    torch = pytest.importorskip("torch")
    from cuvis_ai_core.node import Node

    class Weighted(Node):
        def __init__(self, **base: Any) -> None:
            super().__init__(**base)
            self.first, self.second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)

        forward = Still.forward

    def lacks(node: Any, *, fresh: bool = True) -> Any:
        return Learner(node, fresh=fresh).lacks()

    assert lacks(Weighted()) == ("weights",)
    assert lacks(Weighted(), fresh=False) == ()
    assert lacks(Weighted().eval()) == ()
    assert lacks(Weighted().requires_grad_(requires_grad=False)) == ()
    half = Weighted()
    half.first.eval()
    assert lacks(half) == ("weights",)
    copied = Weighted()
    learner = Learner(copied, fresh=True)
    for lacking in (("weights",), ()):
        assert learner.of_copy(copy.deepcopy(copied)).lacks() == lacking
        torch.nn.init.zeros_(copied.first.weight)
    changes: tuple[Any, ...] = (
        lambda node: torch.nn.init.zeros_(node.second.weight),
        lambda node: setattr(node, "second", torch.nn.Linear(2, 2)),
        lambda node: node.load_state_dict(Weighted().state_dict()),
    )
    for change in changes:
        node = Weighted()
        learner = Learner(node, fresh=True)
        change(node)
        assert learner.lacks() == ()
