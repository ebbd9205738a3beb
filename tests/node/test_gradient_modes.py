"""What torch remembers for gradients, in whose hands, and what was made while it did not."""

import threading
from contextlib import nullcontext
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from cuvis_ai_core.node import ArrayNode, Node  # noqa: E402
from cuvis_ai_core.node.gradient_modes import (  # noqa: E402
    for_gradients,
    gradient_mode,
    inference_mode,
    keep_for_gradients,
    without_gradients,
)


class Plain(ArrayNode):
    """Has nothing to do with torch."""

    def forward(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


class Module(Node):
    """Keeps tensors of every kind."""

    def __init__(self, **base: Any) -> None:
        super().__init__(**base)
        self.register_buffer("kept", torch.ones(2))
        self.weight = torch.nn.Parameter(torch.ones(2))
        self.frozen_weight = torch.nn.Parameter(torch.ones(2), requires_grad=False)
        self.inner = torch.nn.Linear(2, 2)
        self.loose = torch.ones(2)

    forward = Plain.forward


def test_nothing_is_remembered_where_a_node_is_torchs() -> None:
    """Without one, all is as it was."""
    with without_gradients([Plain()]):
        assert torch.is_grad_enabled()
    with without_gradients([Plain(), Module()]):
        assert not torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
    with inference_mode():
        assert torch.is_inference_mode_enabled()


@pytest.mark.parametrize("context", [nullcontext, torch.no_grad, torch.inference_mode])
def test_another_thread_remembers_as_much_as_this_one(context: Any) -> None:
    """Which it would not by itself."""
    with context():
        here = (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
        mode = gradient_mode()
    seen: list[tuple[bool, bool]] = []

    def look() -> None:
        with mode():
            seen.append((torch.is_grad_enabled(), torch.is_inference_mode_enabled()))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [here]


def test_what_was_made_in_inference_mode_is_copied_where_gradients_are_wanted() -> None:
    """And nothing else is; where none are wanted, all stays."""
    plain = torch.ones(2)
    with torch.inference_mode():
        made = torch.ones(2)
    values = {"plain": plain, "made": made, "several": [plain, made], "text": "a"}
    found = for_gradients(values)
    assert found["plain"] is found["several"][0] is plain
    assert found["text"] == "a"
    assert not found["made"].is_inference()
    assert not found["several"][1].is_inference()
    (found["made"] * plain.clone().requires_grad_()).sum().backward()
    with torch.no_grad():
        assert for_gradients(values) is values
    with torch.inference_mode():
        assert for_gradients(values) is values


def test_what_a_node_made_of_its_state_in_inference_mode_takes_gradients() -> None:
    """Parameters stay parameters, trained or not; what was made before is the same."""
    with torch.inference_mode():
        node, before = Module(), Module()
    kept = before.state_dict(keep_vars=True)
    fresh = Module()
    same = {**dict(fresh.named_parameters()), **dict(fresh.named_buffers())}
    for each in (node, fresh):
        keep_for_gradients(each)
    assert {name: value is same[name] for name, value in fresh.state_dict(keep_vars=True).items()} == dict.fromkeys(
        same, True
    )
    found = {**dict(node.named_parameters()), **dict(node.named_buffers()), "loose": node.loose}
    assert sorted(found) == sorted([*kept, "loose"])
    assert not any(value.is_inference() for value in found.values())
    trained = {name for name, value in node.named_parameters() if value.requires_grad}
    assert trained == {"weight", "inner.weight", "inner.bias"}
    assert all(value.tolist() == [1, 1] for name, value in found.items() if not name.startswith("inner"))
    keep_for_gradients(Plain())
