"""Nodes that are to learn and have not do not run; what torch remembers in inference."""

from typing import Any, ClassVar

import numpy as np
import pytest
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.errors import PipelineError
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.pipeline import Pipeline
from cuvis_ai_core.training import StatisticalTrainer

torch = pytest.importorskip("torch")

from cuvis_ai_core.node import Node  # noqa: E402

CUBE = PortSpec("float32", (-1, -1, -1, -1))


class Centre(ArrayNode):
    """Subtracts a learned mean."""

    INPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": CUBE}
    STATE: ClassVar[tuple[str, ...]] = ("mean",)

    mean: Any = None

    def statistical_initialization(self, input_stream: Any) -> None:
        """Learn the mean of all values."""
        self.mean = np.mean([batch["cube"] for batch in input_stream])

    def forward(self, cube: Any) -> dict[str, Any]:
        """Return the difference."""
        return {"cube": cube - (0 if self.mean is None else self.mean)}


class Layer(Node):
    """A linear layer that its constructor may leave random, or as one whose weights were loaded."""

    INPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": CUBE}

    def __init__(self, weights: str = "random", **base: Any) -> None:
        super().__init__(weights=weights, **base)
        self.layer = torch.nn.Linear(3, 3)
        if weights == "frozen":
            self.layer.requires_grad_(requires_grad=False)
        if weights == "evaluating":
            self.layer.eval()

    def forward(self, cube: Any, **_: Any) -> dict[str, Any]:
        """Apply it, and remember what was seen."""
        self.seen = cube * 1
        return {"cube": self.layer(cube)}


class Registry:
    """Knows the two classes."""

    hooks = None

    def get(self, name: str) -> type:
        """Return the class of that name."""
        return {"Centre": Centre, "Layer": Layer}[name]


CUBES = np.ones((1, 2, 2, 3), np.float32)


def _pipeline(class_name: str, *, allow_untrained: bool = False, **params: Any) -> Pipeline:
    nodes = [{"name": "n", "class_name": class_name, "params": params}]
    registry: Any = Registry()
    return Pipeline.from_dict({"nodes": nodes}, node_registry=registry, allow_untrained=allow_untrained)


def test_a_node_without_its_statistics_does_not_run() -> None:
    """In no stage; the error names it and what to do, and once it has learned it runs."""
    pipeline = _pipeline("Centre")
    for stage in ("inference", "train", "val"):
        with pytest.raises(
            PipelineError, match=r"(?s)Node 'n' has not learned from data yet.*--allow-untrained"
        ) as caught:
            pipeline.forward({"cube": CUBES}, stage=stage)
        assert caught.value.node == "n"
    StatisticalTrainer(pipeline).fit([{"cube": CUBES}])
    assert pipeline.forward({"cube": CUBES})["n", "cube"].max() == 0


def test_statistics_may_be_learned_by_hand() -> None:
    """A node whose method was called has learned, in a pipeline or before it joins one."""
    node = Centre(name="n")
    node.statistical_initialization([{"cube": CUBES}])
    assert node.statistically_initialized
    other = Centre(name="m")
    pipeline = Pipeline("p").connect((node.outputs.cube, other.inputs.cube))
    with pytest.raises(PipelineError, match="Node 'm' has not learned"):
        pipeline.forward({"cube": CUBES})
    assert pipeline.forward({"cube": CUBES}, upto_node="m")["n", "cube"].max() == 0


def test_random_weights_do_not_run() -> None:
    """Where they are used, in inference; in training they are to be random."""
    pipeline = _pipeline("Layer")
    pipeline.forward({"cube": CUBES}, stage="train")
    with pytest.raises(PipelineError, match="Node 'n' is not trained: its weights are the random ones"):
        pipeline.forward({"cube": CUBES})


@pytest.mark.parametrize("how", ["loaded", "trained", "replaced"])
def test_weights_that_changed_run(how: str) -> None:
    """Weights that were loaded, trained or set by hand are no random ones."""
    pipeline = _pipeline("Layer")
    layer = pipeline.nodes["n"].layer
    if how == "loaded":
        pipeline.load_state_dict(_pipeline("Layer").state_dict())
    elif how == "trained":
        pipeline.forward({"cube": CUBES}, stage="train")["n", "cube"].sum().backward()
        torch.optim.SGD(layer.parameters(), lr=0.1).step()
    else:
        layer.weight = torch.nn.Parameter(torch.eye(3))
    assert pipeline.forward({"cube": CUBES}).keys() == {("n", "cube")}


@pytest.mark.parametrize("weights", ["frozen", "evaluating"])
def test_weights_that_the_constructor_loads_run(weights: str) -> None:
    """A class that comes with trained weights freezes them, or evaluates them."""
    assert _pipeline("Layer", weights=weights).forward({"cube": CUBES}).keys() == {("n", "cube")}


def test_untrained_nodes_run_for_those_who_mean_it() -> None:
    """With a keyword where the pipeline is made."""
    for name in ("Centre", "Layer"):
        assert _pipeline(name, allow_untrained=True).forward({"cube": CUBES}).keys() == {("n", "cube")}


def test_inference_tracks_no_gradient() -> None:
    """Unless asked; in the other stages torch does as the caller has it."""
    pipeline = _pipeline("Layer", allow_untrained=True)
    assert pipeline.forward({"cube": CUBES})["n", "cube"].is_inference()
    for asked in ({"gradients": True}, {"stage": "train"}, {"stage": "val"}):
        assert pipeline.forward({"cube": CUBES}, **asked)["n", "cube"].requires_grad
    with torch.no_grad():
        assert not pipeline.forward({"cube": CUBES}, stage="train")["n", "cube"].requires_grad


def test_what_inference_made_enters_training() -> None:
    """As an input of another run, as state that a node made meanwhile, and as weights made at the first run."""
    pipeline = _pipeline("Layer", allow_untrained=True)
    node = pipeline.nodes["n"]
    features = pipeline.forward({"cube": CUBES})["n", "cube"]
    pipeline.forward({"cube": features}, stage="train")["n", "cube"].sum().backward()
    assert node.layer.weight.grad is not None
    with torch.inference_mode():
        node.layer = torch.nn.Linear(3, 3)
        node.seen = torch.ones(3)
    node.unfreeze()
    (node.layer(torch.ones(3)) * node.seen).sum().backward()
    assert node.layer.weight.grad is not None


class OwnState(Centre):
    """Loads its state by a method of its own, which says of an empty sum that nothing was learned."""

    def load_state_dict(self, state_dict: Any) -> None:
        """Take over the mean."""
        self.mean = state_dict["mean"]
        if np.isnan(self.mean):
            self.statistically_initialized = False


class OwnLayer(Layer):
    """Loads its weights by a method of its own."""

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Take over the weights of the layer."""
        with torch.no_grad():
            for name, value in self.layer.named_parameters():
                value.set_(state_dict[f"layer.{name}"])


@pytest.mark.parametrize(("mean", "learned"), [(1.0, True), (np.nan, False)])
def test_a_node_with_a_load_state_dict_of_its_own_has_learned_what_was_loaded(mean: float, learned: bool) -> None:  # noqa: FBT001
    """Unless the method itself says that it has not."""
    node = OwnState()
    node.load_state_dict({"mean": np.float64(mean)})
    assert node.statistically_initialized is learned


def test_a_node_whose_load_state_dict_fails_is_as_it_was() -> None:
    """It has learned after it as little as before."""
    node = OwnState()
    with pytest.raises(KeyError):
        node.load_state_dict({})
    assert node.statistically_initialized is False


def test_a_layer_with_a_load_state_dict_of_its_own_has_learned() -> None:
    """Also where the weights are as they were."""
    node = OwnLayer()
    node.load_state_dict(Layer().state_dict())
    assert node.statistically_initialized is True
