"""Copies of a pipeline go their own way, and no pickle is made of one."""

import copy
import pickle
from typing import Any, ClassVar

import numpy as np
import pytest
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core import NodeRegistry, Pipeline
from cuvis_ai_core.errors import PipelineError, PluginError

CUBE = np.random.default_rng(0).random((1, 3, 4, 2), np.float32)


def _pipeline() -> Pipeline:
    nodes = [{"name": "scale", "class_name": "MinMaxNormalizer"}]
    return Pipeline.from_dict({"metadata": {"by": "us"}, "nodes": nodes}, node_registry=NodeRegistry())


@pytest.mark.parametrize(("make", "is_other"), [(copy.copy, False), (copy.deepcopy, True)])
def test_what_is_connected_to_a_copy_runs_in_it_alone(make: Any, *, is_other: bool) -> None:
    """Also where the first one has run before; a deep copy has nodes of its own."""
    pipeline = _pipeline()
    expected = pipeline.forward({"cube": CUBE})
    other = make(pipeline)
    assert (other.nodes["scale"] is pipeline.nodes["scale"]) is not is_other
    other.add(NodeRegistry.get("MinMaxNormalizer")(name="again"))
    other.metadata = {"by": "them"}
    assert other.forward({"cube": CUBE}).keys() == {("scale", "cube"), ("again", "cube")}
    again = pipeline.forward({"cube": CUBE})
    assert again.keys() == expected.keys()
    assert np.array_equal(np.asarray(again["scale", "cube"]), np.asarray(expected["scale", "cube"]))
    assert pipeline.metadata == {"by": "us"}


def test_a_deep_copy_has_learned_what_the_pipeline_has() -> None:
    """Its weights are its own, and random ones are random in the copy too."""
    torch = pytest.importorskip("torch")
    from cuvis_ai_core.node import Node

    class Layer(Node):
        INPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": PortSpec("float32", (-1, -1, -1, -1))}
        OUTPUT_SPECS = INPUT_SPECS

        def __init__(self, **base: Any) -> None:
            super().__init__(**base)
            self.layer = torch.nn.Linear(2, 2)

        def forward(self, cube: Any, **_: Any) -> dict[str, Any]:
            return {"cube": self.layer(cube)}

    NodeRegistry.register(Layer)
    fresh = Pipeline.from_dict({"nodes": [{"name": "n", "class_name": "Layer"}]}, node_registry=NodeRegistry())
    torch.nn.init.ones_(fresh.nodes["n"].layer.weight)
    trained = copy.deepcopy(fresh)
    expected = fresh.forward({"cube": CUBE})["n", "cube"]
    assert torch.equal(trained.forward({"cube": CUBE})["n", "cube"], expected)
    torch.nn.init.zeros_(trained.nodes["n"].layer.weight)
    assert torch.equal(fresh.forward({"cube": CUBE})["n", "cube"], expected)
    other = Pipeline.from_dict({"nodes": [{"name": "n", "class_name": "Layer"}]}, node_registry=NodeRegistry())
    with pytest.raises(PipelineError, match="Node 'n' is not trained"):
        copy.deepcopy(other).forward({"cube": CUBE})


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
@pytest.mark.parametrize("mode", ["inference_mode", "no_grad"])
@pytest.mark.parametrize("kind", ["script", "shared"])
def test_weights_are_found_in_a_copy_however_it_was_made(kind: str, mode: str) -> None:
    """A module of TorchScript copies itself, one that is shared is its own copy; both may happen in inference mode."""
    torch = pytest.importorskip("torch")
    from cuvis_ai_core.node import Node

    class Shared(torch.nn.Linear):  # type: ignore[misc,name-defined]  # torch may be missing
        def __deepcopy__(self, memo: Any) -> Any:
            return self

    class Odd(Node):
        INPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": PortSpec("float32", (-1, -1, -1, -1))}
        OUTPUT_SPECS = INPUT_SPECS

        def __init__(self, **base: Any) -> None:
            super().__init__(**base)
            self.layer = torch.jit.script(torch.nn.Linear(2, 2)) if kind == "script" else Shared(2, 2)

        def forward(self, cube: Any, **_: Any) -> dict[str, Any]:
            return {"cube": self.layer(cube)}

    NodeRegistry.register(Odd)
    with getattr(torch, mode)():
        pipeline = Pipeline.from_dict({"nodes": [{"name": "n", "class_name": "Odd"}]}, node_registry=NodeRegistry())
        other = copy.deepcopy(pipeline)
        with pytest.raises(PipelineError, match="Node 'n' is not trained"):
            other.forward({"cube": CUBE})
        torch.nn.init.ones_(other.nodes["n"].layer.weight)
        torch.nn.init.zeros_(other.nodes["n"].layer.bias)
        expected = CUBE.sum(axis=-1, keepdims=True).repeat(2, axis=-1)
        assert np.allclose(other.forward({"cube": CUBE})["n", "cube"], expected)


def test_a_pipeline_is_not_pickled() -> None:
    """It says how it gets to another process; so does a registry, of which there is no copy either."""
    with pytest.raises(PipelineError, match=r"cannot be pickled: .*\n.*Pipeline\.load"):
        pickle.dumps(_pipeline())
    for make in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(PluginError, match=r"cannot be copied or pickled: .*\n.*load_plugins"):
            make(NodeRegistry())
