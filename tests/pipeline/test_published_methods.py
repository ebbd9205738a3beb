"""What published software calls on pipelines and nodes."""

import copy
import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from cuvis_ai_schemas.enums import ExecutionStage, NodeCategory, NodeTag
from cuvis_ai_schemas.pipeline import PipelineConfig, PortSpec

from cuvis_ai_core import NodeRegistry, Pipeline
from cuvis_ai_core.errors import NodeRunError, PipelineError, PortError
from cuvis_ai_core.node import Node
from cuvis_ai_core.pipeline.factory import PipelineBuilder
from cuvis_ai_core.pipeline.pipeline import CuvisPipeline
from cuvis_ai_core.pipeline.visualizer import PipelineVisualizer, visualize_pipeline

IMAGE = PortSpec(torch.float32, (-1, -1, -1, -1), "an image")


class Gain(Node):
    """Multiplies."""

    INPUT_SPECS: ClassVar[Any] = {"image": IMAGE}
    OUTPUT_SPECS: ClassVar[Any] = {"image": IMAGE}
    TRAINABLE_BUFFERS = ("gain",)
    _category = NodeCategory.TRANSFORM
    _tags = frozenset({NodeTag.TORCH})

    def __init__(self, gain: float = 2.0, **base: Any) -> None:
        super().__init__(gain=gain, **base)
        self.register_buffer("gain", torch.tensor(gain))

    def forward(self, image: Any, **_: Any) -> dict[str, Any]:
        """Return the product."""
        return {"image": image * self.gain}


class Total(Node):
    """Adds up."""

    INPUT_SPECS: ClassVar[Any] = {"values": IMAGE}
    OUTPUT_SPECS: ClassVar[Any] = {"total": PortSpec(torch.float32, ())}

    def forward(self, values: Any, **_: Any) -> dict[str, Any]:
        """Return the sum."""
        return {"total": values.sum()}


@pytest.fixture
def pipeline() -> Pipeline:
    """Return two nodes, connected by two ports instead of a pair."""
    made: Pipeline = CuvisPipeline("belt", True)
    gain, total = Gain(name="gain"), Total(name="total")
    return made.connect(gain.outputs.image, total.values)


def test_nodes_are_walked_over_and_asked_for_by_name(pipeline: Pipeline) -> None:
    """As published programs and ours do; the graph's are a list when they are called."""
    nodes = pipeline.nodes
    assert [each.name for each in nodes] == list(nodes.keys()) == ["gain", "total"]
    assert [(name, each.name) for name, each in nodes.items()] == [("gain", "gain"), ("total", "total")]
    assert list(nodes.values()) == list(nodes) == [nodes["gain"], nodes.get("total")]
    assert ("gain" in nodes, nodes["gain"] in nodes, "lost" in nodes, Gain() in nodes) == (True, True, False, False)
    assert (len(nodes), nodes.get("lost"), repr(nodes)) == (2, None, "NodeView(['gain', 'total'])")
    assert pipeline.nodes() == [pipeline.nodes["gain"], pipeline.nodes["total"]]
    assert list(pipeline._graph.nodes()) == pipeline.nodes()
    assert pipeline.forward({"image": torch.ones(1, 2, 2, 1)})["total", "total"] == 8


def test_a_pair_of_ports_is_connected_once(pipeline: Pipeline) -> None:
    """And two that do not fit are refused as ever."""
    with pytest.raises(PortError, match="takes one edge and has one already"):
        pipeline.connect(Gain(name="other").outputs.image, pipeline.nodes["total"].inputs.values)
    with pytest.raises(PipelineError, match="runs from an input to an output"):
        pipeline.connect(pipeline.nodes["total"].inputs.values, Gain(name="more").outputs.image)


def test_ports_are_the_same_objects_each_time() -> None:
    """Also by the published names; a copy of a node has its own."""
    node = Gain()
    assert node.inputs.image is node.inputs.image is node._input_ports["image"]
    assert node._output_ports["image"] is node.outputs.image
    for other in (copy.copy(node), copy.deepcopy(node), pickle.loads(pickle.dumps(node))):
        assert other.inputs.image.node is other
    with pytest.raises(AttributeError, match="exists in both inputs and outputs"):
        _ = node.image


def test_stages_can_be_assigned() -> None:
    """As texts or members of the enum; an unknown one is refused."""
    node = Gain()
    node.execution_stages = {ExecutionStage.TRAIN}
    assert (node.should_execute("train"), node.should_execute("inference")) == (True, False)
    with pytest.raises(TypeError, match="unknown execution stage 'night'"):
        node.execution_stages = {"night"}
    assert node.execution_stages == {"train"}


@pytest.mark.parametrize("names", ["gain", ["gain"], ("gain", 1), None])
def test_trainable_buffers_are_a_tuple_of_strings(names: Any) -> None:
    """Something else is refused when the class is made."""
    with pytest.raises(TypeError, match="must be a tuple of strings"):
        type("Wrong", (Gain,), {"TRAINABLE_BUFFERS": names})


def test_a_trainable_buffer_that_is_not_registered_cannot_be_frozen() -> None:
    """Nor unfrozen; nothing else changes."""
    node = type("Absent", (Gain,), {"TRAINABLE_BUFFERS": ("gain", "bias")})()
    for act in (node.freeze, node.unfreeze):
        with pytest.raises(AttributeError, match="has no buffer 'bias'"):
            act()
    assert "gain" in dict(node.named_buffers())


def test_a_node_decides_whether_it_needs_a_first_fit() -> None:
    """By `_requires_initial_fit_override`, either way."""

    class Fitting(Gain):
        def statistical_initialization(self, input_stream: Any) -> None:
            self.gain = torch.stack([each["image"].max() for each in input_stream]).max()

    node = Fitting()
    assert node.requires_initial_fit
    node._requires_initial_fit_override = False
    assert not node.requires_initial_fit
    other = Gain()
    other._requires_initial_fit_override = True
    assert other.requires_initial_fit
    node.fit([{"image": torch.full((1, 1, 1, 1), 3.0)}])
    assert (float(node.gain), node.statistically_initialized) == (3.0, True)


def test_category_tags_and_icon_of_a_class() -> None:
    """Asked of the class; one that says nothing has the defaults."""
    assert (Gain.get_category(), Gain.get_tags(), Gain.get_icon_name()) == (
        NodeCategory.TRANSFORM,
        frozenset({NodeTag.TORCH}),
        "transform",
    )
    assert (Total.get_category(), Total.get_tags()) == (NodeCategory.UNSPECIFIED, frozenset())
    assert Gain().validate_serialization_support() == (True, "OK")
    assert [stage.value for stage in Gain(execution_stages={"val"}).execution_stages] == ["val"]
    assert ExecutionStage.VAL in Gain(execution_stages={"val"}).execution_stages


def test_parameters_devices_and_freezing(pipeline: Pipeline) -> None:
    """By the published names."""
    assert pipeline.torch_layers == pipeline.nodes()
    assert list(pipeline.named_parameters()) == []
    pipeline.unfreeze_nodes_by_name(["gain"])
    ((name, parameter),) = pipeline.named_parameters()
    assert (name, parameter.requires_grad) == ("gain.gain", True)
    assert list(pipeline.parameters()) == [parameter]
    pipeline.freeze_nodes_by_name(["gain"])
    assert list(pipeline.parameters()) == []
    with pytest.raises(PipelineError, match=r"no node 'gian'\. Did you mean 'gain'"):
        pipeline.unfreeze_nodes_by_name(["gian"])
    assert pipeline.cpu() is pipeline
    pipeline.verify()
    pipeline.cleanup()


def test_specs_of_a_pipeline(pipeline: Pipeline) -> None:
    """Of open inputs by port, of outputs by node and port."""
    spec = {"name": "image", "dtype": "float32", "shape": [-1] * 4, "required": True, "description": "an image"}
    assert pipeline.get_input_specs() == {"image": spec}
    assert sorted(pipeline.get_output_specs()) == ["gain.image", "total.total"]


def test_saving_and_loading(pipeline: Pipeline, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Weights with it or without, metadata laid over; weights that do not fit are left out where that is asked for."""
    pipeline.nodes["gain"].gain.fill_(5)
    file, weights = pipeline.save_to_file(tmp_path / "belt.yaml", metadata={"author": "us"})
    assert weights == tmp_path / "belt.pt"
    loaded = CuvisPipeline.load_pipeline(file, device="cpu", config_overrides={"metadata": {"description": "new"}})
    assert (loaded.metadata["author"], loaded.metadata["description"]) == ("us", "new")
    assert float(loaded.nodes["gain"].gain) == 5
    assert PipelineBuilder().build_from_config(file).nodes["gain"].gain == 2
    assert PipelineBuilder(default_pipeline_dir=tmp_path).build_from_config("belt").name == "belt"
    torch.save({"state_dict": {"gain": {"gain": torch.tensor(7.0)}, "gone": {"x": torch.ones(1)}}}, weights)
    with pytest.raises(PipelineError, match="no node 'gone'"):
        CuvisPipeline.load_pipeline(file)
    assert float(CuvisPipeline.load_pipeline(file, strict_weight_loading=False).nodes["gain"].gain) == 7
    assert "no node 'gone'" in caplog.text
    assert pipeline._restore_weights_from_checkpoint(weights, strict_weight_loading=False) == []
    torch.save({"state_dict": {"gone": {"x": torch.ones(1)}}}, weights)
    assert pipeline._restore_weights_from_checkpoint(weights, strict_weight_loading=False) == ["gain"]
    pipeline.save_to_file(file, save_weights=False)
    assert not weights.exists()


def test_the_published_spelling_is_what_serialize_gives(pipeline: Pipeline) -> None:
    """A model of the schemas, which is read again; metadata that it does not know are in files alone."""
    pipeline = Pipeline.from_dict({**pipeline.to_dict(), "metadata": {"name": "belt", "author": "us", "mine": [1]}})
    content = pipeline.serialize()
    assert isinstance(content, PipelineConfig)
    assert content.nodes[0].hparams == {"gain": 2.0}
    assert [each.model_dump() for each in content.connections] == [
        {"source": "gain.outputs.image", "target": "total.inputs.values"}
    ]
    assert content.metadata is not None
    assert (content.metadata.name, content.metadata.author) == ("belt", "us")
    assert PipelineBuilder().build_from_config(content).serialize().nodes == content.nodes


def test_what_save_to_file_writes_is_read_by_the_schemas(pipeline: Pipeline, tmp_path: Path) -> None:
    """As published programs read it, which refuse our own spelling; and by us."""
    file, _ = pipeline.save_to_file(tmp_path / "belt.yaml", metadata={"author": "us"})
    read = PipelineConfig.load_from_file(file)
    assert [each.hparams for each in read.nodes if each.name == "gain"] == [{"gain": 2.0}]
    assert (read.connections[0].source, read.connections[0].target) == ("gain.outputs.image", "total.inputs.values")
    assert read.metadata is not None
    assert read.metadata.author == "us"
    assert Pipeline.load(file).to_dict()["nodes"] == pipeline.to_dict()["nodes"]


def test_weights_of_a_checkpoint_of_lightning(pipeline: Pipeline, tmp_path: Path) -> None:
    """Whatever stands before the name of a node; other objects than weights are refused."""
    torch.save({"state_dict": {"layers.gain.gain": torch.tensor(9.0)}}, tmp_path / "a.ckpt")
    pipeline.load_weights(tmp_path / "a.ckpt")
    assert float(pipeline.nodes["gain"].gain) == 9
    torch.save({"state_dict": {"layers.gain.gain": Path("x")}}, tmp_path / "b.ckpt")
    with pytest.raises(PipelineError, match=r"holds pathlib.* which may run code"):
        pipeline.load_weights(tmp_path / "b.ckpt")


def test_what_a_file_of_a_training_says_beside_weights(tmp_path: Path) -> None:
    """Metadata in any case, the states of optimizer and scheduler where they are there; other objects are refused."""
    torch.save({"epoch": 3}, tmp_path / "a.ckpt")
    assert CuvisPipeline.load_trainer_state(tmp_path / "a.ckpt") == {"metadata": {}}
    said = {"metadata": {"by": "us"}, "optimizer_state": {"lr": 0.1}, "scheduler_state": {"step": 2}}
    torch.save({"state_dict": {}, **said}, tmp_path / "b.ckpt")
    assert CuvisPipeline.load_trainer_state(tmp_path / "b.ckpt", device="cpu") == said
    torch.save({"metadata": Path("x")}, tmp_path / "c.ckpt")
    with pytest.raises(PipelineError, match="which may run code"):
        CuvisPipeline.load_trainer_state(tmp_path / "c.ckpt")


def test_drawings(pipeline: Pipeline, tmp_path: Path) -> None:
    """As texts and as files."""
    assert str(pipeline.visualize("mermaid")).startswith("flowchart TB")
    assert "digraph" in str(visualize_pipeline(pipeline, "graphviz"))
    written = pipeline.visualize("render_mermaid", tmp_path / "belt.md", direction="LR")
    assert Path(written).read_text().startswith("```mermaid\nflowchart")
    assert "bgcolor=transparent" in PipelineVisualizer(pipeline).to_graphviz({"bgcolor": "transparent"})
    with pytest.raises(ValueError, match="There is no drawing 'ascii'"):
        pipeline.visualize("ascii")
    with pytest.raises(ValueError, match="give its output_path"):
        pipeline.visualize("render_mermaid")


@pytest.mark.parametrize(
    ("place", "options", "file", "kind"),
    [
        ("deep/er/belt", {}, "deep/er/belt.png", "png"),
        ("belt", {"format": "svg"}, "belt.svg", "svg"),
        ("belt.pdf", {}, "belt.pdf", "pdf"),
        ("belt.dot", {"format": "png", "graph_attributes": {"dpi": "9"}}, "belt.dot", "png"),
    ],
)
def test_pictures(
    pipeline: Pipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    options: dict[str, Any],
    file: str,
    kind: str,
) -> None:
    """In the format that is asked for, or that the name of the file says."""

    def picture(_: Pipeline, *given: object) -> str:
        return repr(given)

    monkeypatch.setattr("cuvis_ai_core.pipeline.visualizer.picture", picture)
    written = PipelineVisualizer(pipeline).render_graphviz(tmp_path / place, **options)
    assert written == tmp_path / file
    assert (tmp_path / file).read_text() == repr((kind, options.get("graph_attributes")))


def test_profiling(pipeline: Pipeline) -> None:
    """Times of each node and stage, from when it is switched on until it is switched off."""
    batch = {"image": np.ones((1, 2, 2, 1), np.float32)}
    assert pipeline.get_profiling_summary() == []
    pipeline.set_profiling(enabled=True)
    for _ in range(3):
        pipeline.forward(batch)
    pipeline.forward(batch, "val")
    stats = {(each.node_name, each.stage): each for each in pipeline.get_profiling_summary()}
    assert {key: each.count for key, each in stats.items()} == {
        **{(node, "inference"): 3 for node in ("gain", "total")},
        **{(node, "val"): 1 for node in ("gain", "total")},
    }
    one = stats["gain", "inference"]
    assert one.min_ms <= one.median_ms <= one.max_ms <= one.total_ms
    assert [each.stage for each in pipeline.get_profiling_summary(ExecutionStage.VAL)] == ["val", "val"]
    assert "median [ms]" in pipeline.format_profiling_summary()
    pipeline.set_profiling(False)
    pipeline.forward(batch, "val")
    assert len(pipeline.get_profiling_summary("val")) == 2
    pipeline.set_profiling(True, reset=True)
    assert pipeline.get_profiling_summary() == []


def test_times_of_what_is_done_around_runs(pipeline: Pipeline) -> None:
    """Reading, moving, and the whole turn of the loop, without the first batch of a pass."""
    batches = [{"image": torch.ones(1, 2, 2, 1)} for _ in range(4)]

    def counts(stage: Any = None) -> dict[str, int]:
        return {each.node_name: each.count for each in pipeline.get_data_profiling_summary(stage)}

    def run(**move: Any) -> None:
        for batch in pipeline.iter_profiled_batches(iter(batches), stage=ExecutionStage.VAL, **move):
            pipeline.forward(batch, "val")

    pipeline.reset_profiling()
    run()
    assert (counts(), pipeline.profiling_enabled) == ({}, False)
    pipeline.set_profiling(True)
    run()
    assert counts("val") == {"data_load": 3, "batch_loop": 3}
    assert {each.node_name for each in pipeline.get_profiling_summary()} == {"gain", "total"}
    run(move=pipeline.move_batch_to_device)
    assert counts() == {"data_load": 6, "batch_loop": 6, "to_device": 3}
    assert counts("train") == {}
    for row in pipeline.get_data_profiling_summary():
        assert 0 <= row.min_ms <= row.max_ms <= row.total_ms
    table = pipeline.format_profiling_summary(total_frames=4)
    assert "batch_loop" in table
    assert "4 images, " in table
    with pytest.raises(PipelineError, match="There is no stage 'vla'"):
        pipeline.iter_profiled_batches(batches, stage="vla")
    pipeline.reset_profiling()
    assert (counts(), pipeline.get_profiling_summary(), pipeline.profiling_enabled) == ({}, [], True)


def test_a_loop_that_is_left_early_has_no_whole_turn(pipeline: Pipeline) -> None:
    """What was read is told all the same."""
    pipeline.set_profiling(True)
    loop: Any = pipeline.iter_profiled_batches([{"image": torch.ones(1)}] * 4, stage="val")
    next(loop)
    next(loop)
    loop.close()
    assert [(each.node_name, each.count) for each in pipeline.get_data_profiling_summary()] == [("data_load", 1)]


def test_the_first_times_can_be_left_out(pipeline: Pipeline) -> None:
    """Those of each node, and of what is done around runs."""
    pipeline.set_profiling(True, skip_first_n=2, synchronize_cuda=True, port_retention=True)
    for batch in pipeline.iter_profiled_batches([{"image": torch.ones(1, 2, 2, 1)}] * 4, stage="val"):
        pipeline.forward(batch, "val")
    assert {each.count for each in pipeline.get_profiling_summary()} == {2}
    assert {each.count for each in pipeline.get_data_profiling_summary()} == {1}
    with pytest.raises(PipelineError, match="skip_first_n is -1"):
        pipeline.set_profiling(True, skip_first_n=-1)


def test_a_batch_is_moved(pipeline: Pipeline) -> None:
    """Its tensors, in a copy; all else stays what it was."""
    names, batch = ["x"], {"image": torch.ones(1), "names": ["x"], "none": None}
    moved = pipeline.move_batch_to_device(batch)
    assert moved is not batch
    assert (moved["image"].device.type, moved["names"], moved["none"]) == ("cpu", names, None)


def test_the_structure_can_be_frozen(pipeline: Pipeline) -> None:
    """Then nothing joins in until it is unfrozen, or the pipeline is closed; it runs all the same."""
    pipeline.freeze_structure("the trainer")
    assert pipeline.structure_frozen_by == "the trainer"
    another = Total(name="another")
    with pytest.raises(PipelineError, match="stays as it is for the trainer: nothing can be connected"):
        pipeline.add(another)
    with pytest.raises(PipelineError, match="stays as it is"):
        pipeline.connect(pipeline.nodes["gain"].outputs.image, another.inputs.values)
    assert list(pipeline.nodes.keys()) == ["gain", "total"]
    assert float(pipeline.forward({"image": torch.ones(1, 1, 1, 1)})["total", "total"]) == 2
    pipeline.unfreeze_structure()
    pipeline.add(another)
    pipeline.freeze_structure("us")
    pipeline.close()
    assert pipeline.structure_frozen_by is None


def test_consumed_ports_can_be_released(pipeline: Pipeline) -> None:
    """Only outputs that no node reads are answered, and those that are named, by a port of every node too."""
    batch = {"image": torch.ones(1, 1, 1, 1)}
    assert list(pipeline.forward(batch, free_consumed_ports=True)) == [("total", "total")]
    assert list(pipeline.forward(batch, upto_node="total", free_consumed_ports=True)) == [("gain", "image")]
    for kept in (["image"], [("gain", "image")], ["gain.image"]):
        found = pipeline.forward(batch, free_consumed_ports=True, keep_ports=kept)
        assert set(found) == {("total", "total"), ("gain", "image")}


def test_parameters_can_be_chosen(pipeline: Pipeline) -> None:
    """By whether they need a gradient; their names by a separator."""
    pipeline.unfreeze_nodes_by_name(node_names=["gain"])
    assert [name for name, _ in pipeline.named_parameters(sep="/")] == ["gain/gain"]
    assert len(list(pipeline.parameters(require_grad=True))) == 1
    assert list(pipeline.parameters(require_grad=False)) == []


class Engine(Gain):
    """Makes something of its weights before the first inference."""

    def prepare_inference(self) -> None:
        """Note what the weights are then, or fail."""
        if float(self.gain) < 0:
            raise ValueError("a negative gain")
        self.made = [*getattr(self, "made", ()), float(self.gain)]


def test_nodes_prepare_for_inference_with_their_final_weights(tmp_path: Path) -> None:
    """Once a pipeline is loaded, and again when weights are; a node that fails is named, and ends the loading."""
    NodeRegistry.register(Engine)
    made = Pipeline("engines").add(Engine(name="engine", gain=1.0))
    made.nodes["engine"].gain.fill_(5.0)
    made.save(tmp_path / "a.yaml")
    pipeline = Pipeline.load(tmp_path / "a.yaml")
    assert pipeline.nodes["engine"].made == [5.0]
    made.nodes["engine"].gain.fill_(7.0)
    made.save(tmp_path / "b.yaml")
    pipeline.load_weights(tmp_path / "b.pt")
    assert pipeline.nodes["engine"].made == [5.0, 7.0]
    loose = Pipeline.load_pipeline(tmp_path / "a.yaml", tmp_path / "b.pt", strict_weight_loading=False)
    assert loose.nodes["engine"].made[-1] == 7.0
    assert not hasattr(Pipeline.load(tmp_path / "a.yaml", outline=True).nodes["engine"], "made")
    made.nodes["engine"].gain.fill_(-1.0)
    made.save(tmp_path / "c.yaml")
    with pytest.raises(
        NodeRunError, match=r"'engine' \(Engine\) could not prepare .*: ValueError: a negative"
    ) as failed:
        Pipeline.load(tmp_path / "c.yaml")
    assert failed.value.node == "engine"
    assert isinstance(failed.value, RuntimeError)


def test_stages_of_a_class() -> None:
    """Those that it declares, as members of the enum."""

    class Late(Gain):
        EXECUTION_STAGES = ("val", ExecutionStage.TEST)

    assert Gain.get_execution_stages() == {ExecutionStage.ALWAYS}
    assert Late(name="late").get_execution_stages() == {ExecutionStage.VAL, ExecutionStage.TEST}


def test_old_names_say_once_what_the_new_one_is() -> None:
    """And are the same things."""
    from cuvis_ai_core import _deprecated
    from cuvis_ai_core.pipeline import pipeline as module

    _deprecated._SAID.clear()
    with pytest.warns(DeprecationWarning, match="CuvisCanvas is an old spelling.* the new one is Pipeline"):
        assert module.CuvisCanvas is Pipeline
    assert module.CuvisCanvas is Pipeline
    assert CuvisPipeline is Pipeline


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("cuvis_ai_core.pipeline.ports", "InputPort OutputPort PortSpec"),
        ("cuvis_ai_core.utils.types", "Artifact ArtifactType Context ExecutionStage InputStream Metric"),
        (
            "cuvis_ai_core.training.config",
            "TrainerConfig PipelineMetadata ModelCheckpointConfig LearningRateMonitorConfig TrainingConfig",
        ),
    ],
)
def test_published_import_paths(place: str, names: str) -> None:
    """Names are where published software imports them from."""
    from importlib import import_module

    for name in names.split():
        assert getattr(import_module(place), name)


def test_unread_keywords_of_published_files_are_kept(
    registry: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """With a word about them, through saving too; in our spelling, and as slips of the pen, they are errors."""
    registry.classes["Gain"] = Gain

    def load(name: str, key: str, params: dict[str, Any]) -> Pipeline:
        return Pipeline.from_dict({"nodes": [{"name": "g", name: "Gain", key: params}]}, node_registry=registry)

    # The first catalogues have `class` and `params`.
    assert load("class", "params", {"hidden": 128}).nodes["g"].hparams == {"gain": 2.0, "hidden": 128}
    pipeline = load("class_name", "hparams", {"hidden": 128})
    assert pipeline.nodes["g"].hparams == {"gain": 2.0, "hidden": 128}
    assert "is given 'hidden', which it hands on and reads nowhere" in caplog.text
    pipeline.save(tmp_path / "a.yaml")
    assert Pipeline.load(tmp_path / "a.yaml", node_registry=registry).nodes["g"].hparams["hidden"] == 128
    for key, params in (("params", {"hidden": 128}), ("hparams", {"gian": 3})):
        with pytest.raises(PipelineError, match="has no parameter"):
            load("class_name", key, params)
