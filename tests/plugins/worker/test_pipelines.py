"""Pipelines with nodes in a process of their own: built, saved, loaded, run, and not trained through."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core import NodeRegistry, Pipeline
from cuvis_ai_core.errors import PipelineError, TrainingError, TrainRunError, WorkerError
from cuvis_ai_core.training import StatisticalTrainer
from cuvis_ai_core.training.batch_step import Measuring
from cuvis_ai_core.training.evaluation import evaluate

CUBE = np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3)
CONFIG: dict[str, Any] = {
    "nodes": [
        {"name": "first", "class_name": "Scale", "params": {"factor": 3.0, "offset": 1.0}},
        {"name": "normal", "class_name": "MinMaxNormalizer"},
        {"name": "second", "class_name": "Scale"},
    ],
    "edges": [
        {"source": "first.cube", "target": "normal.cube"},
        {"source": "normal.cube", "target": "second.cube"},
    ],
}


@pytest.fixture
def registry(lasting_registry: NodeRegistry) -> NodeRegistry:
    """Return a registry with the plugin, whose worker nothing here ends."""
    return lasting_registry


@pytest.fixture
def pipeline(registry: NodeRegistry) -> Iterator[Pipeline]:
    """Return a pipeline with two such nodes and one that is built in."""
    with Pipeline.from_dict(CONFIG, node_registry=registry, allow_untrained=True) as pipeline:
        yield pipeline


def test_values_go_from_node_to_node(pipeline: Pipeline) -> None:
    """Through the worker, the host, and the worker again."""
    outputs = pipeline.forward({"cube": CUBE})
    np.testing.assert_array_equal(outputs["first", "cube"], 3 * CUBE)
    assert outputs["second", "cube"].max() == 2.0
    assert outputs["second", "mean"] is None


def test_a_pipeline_is_saved_and_loaded_with_what_its_nodes_learned(
    pipeline: Pipeline, load: Callable[[], NodeRegistry], tmp_path: Path
) -> None:
    """It is initialised by the trainer, and comes back in another registry, in another worker."""
    assert StatisticalTrainer(pipeline).fit([{"cube": CUBE}, {"cube": CUBE + 1}]) == ("first", "second")
    pipeline.save(tmp_path / "p.yaml")
    again = Pipeline.load(tmp_path / "p.yaml", node_registry=load())
    assert again.to_dict() == pipeline.to_dict()
    assert again.nodes["first"].statistically_initialized
    before, after = pipeline.forward({"cube": CUBE}), again.forward({"cube": CUBE})
    assert before["first", "mean"] == after["first", "mean"] == 6.0
    np.testing.assert_array_equal(before["second", "cube"], after["second", "cube"])


def test_a_node_in_a_process_without_its_statistics_does_not_run(registry: NodeRegistry) -> None:
    """As any other: until it has learned, through the trainer or by hand."""
    with Pipeline.from_dict({"nodes": CONFIG["nodes"][:1]}, node_registry=registry) as pipeline:
        with pytest.raises(PipelineError, match="Node 'first' has not learned from data yet"):
            pipeline.forward({"cube": CUBE})
        pipeline.nodes["first"].statistical_initialization([{"cube": CUBE}])
        assert pipeline.forward({"cube": CUBE})["first", "mean"] == 5.5


def test_what_a_node_in_a_process_was_built_with_is_written(registry: NodeRegistry, tmp_path: Path) -> None:
    """Its constructor is recorded where it is called, here, by position or by name."""
    scale: Any = registry.get("Scale")
    first, second = scale(3.0, name="first", shape=(4, 5), offset=2.0), scale(name="s")
    Pipeline("p").connect((first.outputs.cube, second.inputs.cube)).save(tmp_path / "p.yaml")
    with Pipeline.load(tmp_path / "p.yaml", node_registry=registry) as again:
        assert again.nodes["first"].hparams == {"factor": 3.0, "shape": [4, 5], "offset": 2.0}
        assert again.to_dict()["nodes"][1]["params"] == {"factor": 2.0, "shape": [1, 2]}


def test_weights_that_do_not_fit_leave_all_as_it_was(pipeline: Pipeline) -> None:
    """The error names node and key."""
    pipeline.load_state_dict({"first": {"mean": 1.0}})
    with pytest.raises(PipelineError, match=r"do not fit node 'second' .*median"):
        pipeline.load_state_dict({"first": {"mean": 2.0}, "second": {"median": 3.0}})
    assert pipeline.state_dict() == {"first": {"mean": 1.0}}


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"factr": 1}, "has no parameter 'factr'; did you mean 'factor'?"),
        ({"name": "x"}, "takes its name from the key 'name'"),
    ],
)
def test_parameters_are_checked_as_those_of_other_nodes(
    registry: NodeRegistry, params: dict[str, Any], said: str
) -> None:
    """Names that the class takes out of its keywords are known; others are a slip of the pen."""
    config = {"nodes": [{"name": "s", "class_name": "Scale", "params": params}]}
    with pytest.raises(PipelineError) as caught:
        Pipeline.from_dict(config, node_registry=registry)
    assert said in str(caught.value)


def test_ports_are_checked_as_those_of_other_nodes(registry: NodeRegistry) -> None:
    """When the pipeline is built: sizes that the node's attributes name are known."""
    nodes = [{"name": "s", "class_name": "Scale"}, {"name": "e", "class_name": "Misbehaving"}]
    edges = [{"source": "s.cube", "target": "e.what"}]
    with pytest.raises(PipelineError, match=r"\[\*, \*, \*, 3\]"):
        Pipeline.from_dict({"nodes": nodes, "edges": edges}, node_registry=registry)


def test_a_pipeline_closes_and_resets_its_nodes(pipeline: Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    """Also after the worker has ended; there is nothing left to clean up then."""
    pipeline.reset()
    pipeline.nodes["first"].cancel()
    pipeline.close()
    assert caplog.records == []


def test_a_node_in_a_process_writes_into_what_is_its_own(registry: NodeRegistry) -> None:
    """It has copies: the caller and other nodes read what they had, of any size."""
    nodes = [
        {"name": "first", "class_name": "Scale"},
        {"name": "zero", "class_name": "Zero"},
        {"name": "second", "class_name": "MinMaxNormalizer"},
    ]
    edges = [{"source": "first.cube", "target": f"{node}.cube"} for node in ("zero", "second")]
    with Pipeline.from_dict({"nodes": nodes, "edges": edges}, node_registry=registry, allow_untrained=True) as pipeline:
        for cube in (CUBE.copy(), np.ones((1, 100, 100, 3), np.float32) * CUBE[0, 0, 0]):
            before = cube.copy()
            outputs = pipeline.forward({"cube": cube})
            assert outputs["zero", "cube"].max() == 0
            np.testing.assert_array_equal(cube, before)
            assert outputs["first", "cube"].max() > 0
            assert outputs["second", "cube"].max() == 1


@pytest.fixture
def torch_nodes(shared_cache: Path, project: Path) -> Iterator[NodeRegistry]:
    """Return a registry with a plugin of a torch node in a process of its own."""
    NodeRegistry.set_cache_dir(shared_cache)
    with NodeRegistry(discover=False) as registry:
        folder = project.with_name("process_torch")
        registry.load_plugin(
            "process_torch", {"path": str(folder), "provides": ["process_torch.Weigh"], "isolation": "process"}
        )
        yield registry


@pytest.mark.slow
def test_a_torch_node_works_in_a_process_of_its_own(torch_nodes: NodeRegistry) -> None:
    """Tensors stay tensors, of any dtype; arrays become tensors where the node takes them; state and freezing work."""
    torch = pytest.importorskip("torch")
    node: Any = torch_nodes.get("Weigh")(bands=3)
    cube = torch.ones(1, 2, 2, 3)
    answer = node.forward(cube=cube)
    assert (answer["cube"].dtype, answer["half"].dtype) == (torch.float32, torch.bfloat16)
    torch.testing.assert_close(node(cube=np.ones((1, 2, 2, 3), ">f4"))["cube"], answer["cube"])

    state = node.state_dict()
    assert set(state) == {"linear.weight", "linear.bias", "offset"}
    other: Any = torch_nodes.get("Weigh")(bands=3)
    other.load_state_dict({**state, "offset": torch.full((3,), 2.0)})
    torch.testing.assert_close(other.forward(cube=cube)["cube"], answer["cube"] + 2)

    assert (node.lacks, other.lacks) == (("weights",), ())
    assert (node.frozen, node.has_trainable_parameters) == (False, True)
    node.freeze()
    assert (node.frozen, node.has_trainable_parameters) == (True, False)
    node.cancel()
    torch.testing.assert_close(node.forward(cube=cube)["cube"], answer["cube"])
    assert node.frozen


@pytest.mark.slow
def test_training_through_a_process_is_refused_before_it_begins(torch_nodes: NodeRegistry) -> None:
    """Of the node itself, and of one before it; frozen, it takes part. A gradient that is asked for is an error."""
    torch = pytest.importorskip("torch")
    trainer = pytest.importorskip("cuvis_ai_core.training").GradientTrainer
    from cuvis_ai_core.node import Node
    from cuvis_ai_core.training.config import TrainingConfig

    class Loss(Node):
        INPUT_SPECS = {"cube": {"dtype": torch.float32, "shape": (-1, -1, -1, -1)}}  # noqa: RUF012
        OUTPUT_SPECS = {"loss": {"dtype": torch.float32, "shape": ()}}  # noqa: RUF012

        def forward(self, cube: Any) -> dict[str, Any]:
            return {"loss": (cube**2).mean()}

    class Gain(Node):
        INPUT_SPECS = Loss.INPUT_SPECS
        OUTPUT_SPECS = Loss.INPUT_SPECS

        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.gain = torch.nn.Parameter(torch.ones(3))

        def forward(self, cube: Any) -> dict[str, Any]:
            return {"cube": cube * self.gain}

    NodeRegistry.register(Loss)
    NodeRegistry.register(Gain)
    names = {"gain": "Gain", "weigh": "Weigh", "loss": "Loss"}
    nodes = [{"name": name, "class_name": each} for name, each in names.items()]
    nodes[1]["params"] = {"bands": 3}  # type: ignore[assignment]
    edges = [{"source": "gain.cube", "target": "weigh.cube"}, {"source": "weigh.cube", "target": "loss.cube"}]
    pipeline = Pipeline.from_dict({"nodes": nodes, "edges": edges}, node_registry=torch_nodes)
    config = TrainingConfig.model_validate({"max_epochs": 1})
    with pytest.raises(TrainRunError, match=r"Node 'weigh' would be trained(.|\n)*freeze_nodes: \[weigh\]"):
        trainer(pipeline, config, loss_nodes=["loss"])
    with pytest.raises(TrainRunError, match="Node 'gain' would be trained through node 'weigh'"):
        trainer(pipeline, config, loss_nodes=["loss"], freeze_nodes=["weigh"])

    loss = pipeline.forward({"gain.cube": torch.ones(1, 2, 2, 3)}, stage="train")["loss", "loss"]
    assert loss > 0
    with pytest.raises(TrainingError, match="training through node 'weigh' is not possible"):
        loss.backward()


@pytest.mark.parametrize(("name", "pixels"), [("PerPixel", 10), ("Gathering", 30)])
def test_tiles_cross(registry: NodeRegistry, name: str, pixels: int) -> None:
    """A node in a process gets tiles if each pixel counts for itself, and whole images if it gathers statistics."""
    cube = np.zeros((1, 6, 5, 2), np.float32)
    config = {"nodes": [{"name": "n", "class_name": name}]}
    with Pipeline.from_dict(config, node_registry=registry) as pipeline:
        found = pipeline.forward_tiled({"cube": cube}, memory=64 * 10 * 2)["n", "cube"]
    np.testing.assert_array_equal(found, np.full_like(cube, pixels))


def test_what_a_node_in_a_process_counts_is_reported_at_the_end(registry: NodeRegistry, config: dict[str, Any]) -> None:
    """As of one in this process: no mean of batches, and each pass begins anew."""
    batches = [{"mask": np.asarray([each])} for each in ([1, 1], [0, 0, 0, 0])]

    def found(source: NodeRegistry) -> list[dict[str, float]]:
        nodes = [{"name": "count", "class_name": "Counting"}]
        measuring = Measuring(Pipeline.from_dict({"nodes": nodes}, node_registry=source), metric_nodes=["count"])
        return [evaluate(measuring, batches, "val") for _ in range(2)]

    with NodeRegistry(discover=False) as here:
        here.load_plugin("process_nodes", {**config, "isolation": "scoped"})
        assert found(registry) == found(here) == [{"count/share": 1 / 3, "count/highest": 0.5}] * 2


def test_what_was_counted_in_a_process_that_ended_is_no_metric(load: Callable[[], NodeRegistry]) -> None:
    """Neither that of the other batches alone, nor an error of the node's own; what begins anew is whole again."""
    config = {"nodes": [{"name": "count", "class_name": "Counting"}]}
    batches = [{"mask": np.asarray([each])} for each in ([1, 1], [0, 0, 0, 0])]

    def ended_before(number: int) -> Iterator[dict[str, Any]]:
        for at, batch in enumerate([*batches, None]):
            if at == number:
                built.nodes["count"].cancel()
            if batch is not None:
                yield batch

    with Pipeline.from_dict(config, node_registry=load()) as built:
        measuring = Measuring(built, metric_nodes=["count"])
        for number in (1, 2):
            with pytest.raises(WorkerError, match=r"what it counted for 'share' is lost(.|\n)*Run the evaluation"):
                evaluate(measuring, ended_before(number), "val")
        assert evaluate(measuring, batches, "val")["count/share"] == 1 / 3
        assert next(iter(built.nodes["count"].pooled_metrics().values())).compute() == 1 / 3
