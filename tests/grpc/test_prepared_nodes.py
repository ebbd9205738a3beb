"""Nodes prepare for inference when a client has given a session its pipeline, or other weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import grpc
import numpy as np
import pytest
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.grpc.helpers import proto_to_numpy
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.pipeline.pipeline import Pipeline
from cuvis_ai_core.registry import NodeRegistry
from tests.grpc.test_inference import batch, load


class Engine(ArrayNode):
    """Makes something of its gain before the first inference, and answers what it made, each time."""

    INPUT_SPECS: ClassVar[Any] = {"cube": PortSpec("number", (-1, -1, -1, -1))}
    OUTPUT_SPECS: ClassVar[Any] = {"made": PortSpec("float64", (-1,))}
    STATE = ("gain",)

    def __init__(self, gain: float = 1.0, name: str | None = None, execution_stages: Any = None) -> None:
        super().__init__(name, execution_stages, gain=gain)
        self.gain = np.asarray(gain)
        self.made: list[float] = []

    def prepare_inference(self) -> None:
        """Note what the gain is then, or fail."""
        if self.gain < 0:
            raise ValueError("a negative gain")
        self.made.append(float(self.gain))

    def forward(self, cube: Any, **_: Any) -> dict[str, Any]:
        """Return what was made."""
        return {"made": np.asarray(self.made)}


@pytest.fixture
def saved(shared_root: Path) -> Callable[[float], str]:
    """Return a function that writes a pipeline whose node has learned a gain, and returns the file of its weights."""
    NodeRegistry.register(Engine)

    def write(gain: float) -> str:
        pipeline = Pipeline("engines").add(Engine(name="engine"))
        pipeline.nodes["engine"].gain = np.asarray(gain)
        pipeline.save(shared_root / f"engine{gain}.yaml")
        (weights,) = (each for each in shared_root.glob(f"engine{gain}.*") if each.suffix != ".yaml")
        return str(weights)

    return write


def pipeline_of(gain: float) -> dict[str, Any]:
    """Return a pipeline as a client sends it."""
    return {"nodes": [{"name": "engine", "class_name": "Engine", "params": {"gain": gain}}]}


def made(stub: Any, session: str) -> list[float]:
    """Return what the node of a session has made."""
    answer = stub.Inference(session_id=session, inputs=batch(stub))
    return list(proto_to_numpy(answer.outputs["engine.made"]))


@pytest.mark.usefixtures("saved")
def test_a_pipeline_that_a_client_sends_is_prepared_once(stub: Any, session: str) -> None:
    """Before the first inference, and not for each."""
    load(stub, session, pipeline_of(2.0))
    assert made(stub, session) == made(stub, session) == [2.0]


@pytest.mark.parametrize("strict", [True, False])
def test_other_weights_are_prepared_again(
    stub: Any, session: str, saved: Callable[[float], str], *, strict: bool
) -> None:
    """With what they are then, also where only those that fit are taken."""
    load(stub, session, pipeline_of(2.0))
    stub.LoadPipelineWeights(session_id=session, weights_path=saved(5.0), strict=strict)
    assert made(stub, session) == [2.0, 5.0]


@pytest.mark.usefixtures("saved")
def test_a_node_that_cannot_prepare_leaves_the_pipeline_before_in_place(stub: Any, session: str) -> None:
    """The answer names the node."""
    load(stub, session, pipeline_of(2.0))
    with pytest.raises(grpc.RpcError, match=r"'engine' \(Engine\) could not prepare"):
        load(stub, session, pipeline_of(-1.0))
    assert made(stub, session) == [2.0]
