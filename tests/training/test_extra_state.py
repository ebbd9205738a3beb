"""What nodes keep in their extra state is theirs again, or refused before a training."""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from cuvis_ai_core import NodeRegistry, Pipeline
from cuvis_ai_core.errors import PipelineError
from cuvis_ai_core.pipeline.file.writer import check_saving

torch = pytest.importorskip("torch")


def _node(methods: dict[str, Any]) -> Any:
    from cuvis_ai_core.node import Node

    class Keeper(Node):
        """Keeps something beside arrays."""

        INPUT_SPECS: ClassVar[Mapping[str, Any]] = {}
        OUTPUT_SPECS: ClassVar[Mapping[str, Any]] = {}

        def __init__(self, **base: Any) -> None:
            super().__init__(**base)
            self.register_buffer("kept", torch.ones(1))
            self.extra: Any = None

        def forward(self, **_: Any) -> dict[str, Any]:
            return {}

    for name, method in methods.items():
        setattr(Keeper, name, method)
    return Keeper


def _pipeline(registry: NodeRegistry, **methods: Any) -> Pipeline:
    NodeRegistry.register(_node(methods))
    return Pipeline.from_dict({"nodes": [{"name": "keeper", "class_name": "Keeper"}]}, node_registry=registry)


def test_a_node_gets_back_what_it_kept(registry: NodeRegistry, tmp_path: Path) -> None:
    """Through a file and from pipeline to pipeline, a NumPy number stays one."""
    kept = {"threshold": np.float64(0.5), "names": ["a"], "seen": dt.date(2024, 1, 2)}

    def is_kept(state: Any) -> bool:
        return bool(state == kept) and type(state["threshold"]) is np.float64

    pipeline = _pipeline(
        registry,
        get_extra_state=lambda self: kept if self.extra is None else self.extra,
        set_extra_state=lambda self, state: setattr(self, "extra", state),
    )
    check_saving(pipeline)
    pipeline.save(tmp_path / "p.yaml")
    again = Pipeline.load(tmp_path / "p.yaml", node_registry=registry)
    assert is_kept(again.nodes["keeper"].extra)
    again.load_state_dict(pipeline.state_dict())
    assert is_kept(again.nodes["keeper"].extra)


def test_what_cannot_be_saved_is_said_before_a_training(registry: NodeRegistry) -> None:
    """Node and key are named, and so is a state that nothing reads back."""
    pipeline = _pipeline(
        registry, get_extra_state=lambda _self: {"c": object()}, set_extra_state=lambda self, state: None
    )
    with pytest.raises(
        PipelineError, match=r"node 'keeper' could not be saved after a training: '_extra_state'\['c'\]"
    ):
        check_saving(pipeline)


def test_what_is_not_read_back_is_said_before_a_training(registry: NodeRegistry) -> None:
    """A node that gives a state and takes none is an error."""
    pipeline = _pipeline(registry, get_extra_state=lambda _self: {"c": 1})
    with pytest.raises(PipelineError, match=r"'keeper' \(Keeper\) has get_extra_state and no set_extra_state"):
        check_saving(pipeline)


def test_a_state_that_fails_is_said_before_a_training(registry: NodeRegistry) -> None:
    """What `get_extra_state` raises names the node."""
    pipeline = _pipeline(
        registry, get_extra_state=lambda _self: dict[str, int]()["absent"], set_extra_state=lambda self, state: None
    )
    with pytest.raises(PipelineError, match=r"node 'keeper' \(Keeper\) could not be saved .*KeyError: 'absent'"):
        check_saving(pipeline)


def test_what_a_part_of_a_node_keeps_is_its_own(registry: NodeRegistry, tmp_path: Path) -> None:
    """A module in a node has its own extra state, beside arrays of its own, whichever can be read back."""

    class Part(torch.nn.Module):  # type: ignore[name-defined, misc]
        """Keeps a text."""

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("numbers", torch.zeros(2))
            self.text = "new"

        def get_extra_state(self) -> Any:
            return self.text

        def set_extra_state(self, state: Any) -> None:
            self.text = state

    def built(self: Any, **base: Any) -> None:
        plain(self, **base)
        self.part = Part()

    keeper = _node({})
    plain = keeper.__init__
    keeper.__init__ = built
    NodeRegistry.register(keeper)
    pipeline = Pipeline.from_dict({"nodes": [{"name": "keeper", "class_name": "Keeper"}]}, node_registry=registry)
    pipeline.nodes["keeper"].part.text = "learned"
    check_saving(pipeline)
    pipeline.save(tmp_path / "p.yaml")
    again = Pipeline.load(tmp_path / "p.yaml", node_registry=registry)
    assert again.nodes["keeper"].part.text == "learned"
    del Part.set_extra_state
    with pytest.raises(PipelineError, match=r"has get_extra_state and no set_extra_state, in 'part'"):
        check_saving(pipeline)
