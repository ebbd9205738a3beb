import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from cuvis_ai_schemas.enums import ExecutionStage
from cuvis_ai_schemas.execution import Context

from cuvis_ai_core.errors import NodeNotFoundError, NodeRunError, PipelineError, PortError
from cuvis_ai_core.pipeline import Pipeline
from cuvis_ai_core.registry import NodeRegistry

PipelineOf = Callable[..., Pipeline]
MakeClass = Callable[..., type]
IMAGE = {"dtype": "float32", "shape": (-1, -1, -1, 3)}


def test_every_output_of_every_node_is_answered(pipeline_of: PipelineOf, cube: Any) -> None:
    """Under (node, port), in the order in which the nodes ran."""
    pipeline = pipeline_of({"b": ("Scale", {"factor": 3}), "a": "Scale"}, "a.cube -> b.cube")
    answer = pipeline.forward(batch={"cube": cube})
    assert list(answer) == [("a", "cube"), ("b", "cube")]
    np.testing.assert_array_equal(answer["b", "cube"], cube * 6)


def test_runs_do_not_influence_each_other(pipeline_of: PipelineOf, cube: Any) -> None:
    """The plan is kept, the values are not."""
    pipeline = pipeline_of({"a": "Scale"})
    first = pipeline.forward({"cube": cube})
    second = pipeline.forward({"cube": cube + 1})
    np.testing.assert_array_equal(first["a", "cube"], cube * 2)
    np.testing.assert_array_equal(second["a", "cube"], cube * 2 + 2)


def test_one_value_feeds_every_open_input_of_its_name(pipeline_of: PipelineOf, cube: Any) -> None:
    """As a cube does in a pipeline with two heads."""
    answer = pipeline_of({"a": "Scale", "b": ("Scale", {"factor": 3})}).forward({"cube": cube})
    np.testing.assert_array_equal(answer["a", "cube"] + answer["b", "cube"], cube * 5)


def test_the_most_exact_key_wins(pipeline_of: PipelineOf, cube: Any) -> None:
    """(node, port), then `node.port`, then `port`."""
    pipeline = pipeline_of({"a": "Scale", "b": "Scale", "c": "Scale"})
    answer = pipeline.forward({("a", "cube"): cube + 1, "a.cube": cube + 2, "b.cube": cube + 3, "cube": cube})
    for name, added in {"a": 1, "b": 3, "c": 0}.items():
        np.testing.assert_array_equal(answer[name, "cube"], (cube + added) * 2)


@pytest.mark.parametrize("key", ["cube", "b.cube", ("b", "cube")])
def test_an_edge_wins_over_what_is_handed_in(pipeline_of: PipelineOf, cube: Any, key: Any) -> None:
    """Under whatever key."""
    pipeline = pipeline_of({"a": "Scale", "b": "Scale"}, "a.cube -> b.cube")
    answer = pipeline.forward({"a.cube": cube, key: cube + 100} if key != "cube" else {"cube": cube})
    np.testing.assert_array_equal(answer["b", "cube"], cube * 4)


def test_plain_names_that_nobody_takes_are_left_alone(pipeline_of: PipelineOf, cube: Any) -> None:
    """A runner hands in wavelengths whether or not a node asks for them."""
    answer = pipeline_of({"a": "Scale"}).forward({"cube": cube, "wavelengths": np.arange(3.0)})
    assert list(answer) == [("a", "cube")]


@pytest.mark.parametrize("key", ["a.cub", ("a", "cub")])
def test_an_exact_key_without_its_input_is_an_error(pipeline_of: PipelineOf, cube: Any, key: Any) -> None:
    """It can only be a mistake; the nearest input is named."""
    with pytest.raises(PortError, match=r"'a\.cub', but the pipeline has no such input. Did you mean 'a\.cube'"):
        pipeline_of({"a": "Scale"}).forward({"cube": cube, key: cube})


@pytest.mark.parametrize("kept", ["a.cub", ("a", "cub"), "b.cube", "cube", 3])
def test_an_output_to_keep_that_is_not_there_is_an_error(pipeline_of: PipelineOf, cube: Any, kept: Any) -> None:
    """In whatever form it is named; the outputs that there are follow."""
    with pytest.raises(PortError, match=r"(?s)The pipeline has no output '.*Outputs: a\.cube"):
        pipeline_of({"a": "Scale"}).forward({"cube": cube}, keep_ports=[kept])


def test_missing_inputs_are_named_all_at_once(pipeline_of: PipelineOf, cube: Any) -> None:
    """The message has every missing port, what was handed in, and what to write."""
    pipeline = pipeline_of({"a": "Scale", "b": "Scale", "c": "Scale"}, "a.cube -> b.cube")
    assert list(pipeline.required_inputs()) == [("a", "cube"), ("c", "cube")]
    with pytest.raises(PortError) as error:
        pipeline.forward({"cuba": cube})
    text = str(error.value)
    assert "a.cube: float32 [*, *, *, *]" in text
    assert "c.cube: float32 [*, *, *, *]" in text
    assert error.value.missing == (("a", "cube"), ("c", "cube"))
    assert "b.cube" not in text
    assert "Handed in: cuba." in text
    assert "batch={'cube': ...}" in text


def test_a_batch_that_is_no_mapping_is_an_error(pipeline_of: PipelineOf, cube: Any) -> None:
    """Handing in the bare cube is a common slip."""
    with pytest.raises(PipelineError, match="The batch is of type ndarray"):
        pipeline_of({"a": "Scale"}).forward(cube)


def test_what_is_handed_in_is_checked_before_any_node_runs(
    pipeline_of: PipelineOf, make_class: MakeClass, cube: Any
) -> None:
    """The message has port, node, what came and what is taken."""
    ran: list[str] = []

    def first(_: object) -> dict[str, Any]:
        ran.append("first")
        return {}

    make_class("First", first)
    pipeline = pipeline_of({"first": "First", "a": "Scale"})
    expected = r"Input 'cube' of node 'a': got complex64 \[1, 2, 2, 3\], the port takes float32"
    with pytest.raises(PortError, match=expected) as error:
        pipeline.forward({"cube": cube.astype(np.complex64)})
    assert (error.value.node, error.value.port, ran) == ("a", "cube", [])


def test_an_output_that_breaks_its_declaration_is_an_error(
    pipeline_of: PipelineOf, make_class: MakeClass, cube: Any
) -> None:
    """The node at fault is named, not the one that takes the value."""
    make_class("Wrong", lambda self, cube: {"image": cube[..., :2]}, {"cube": IMAGE}, {"image": IMAGE})
    with pytest.raises(PortError, match=r"Output 'image' of node 'w': got float32 \[1, 2, 2, 2\], the port") as caught:
        pipeline_of({"w": "Wrong"}).forward({"cube": cube})
    assert str(caught.value.place).startswith(f"{__file__}, line ")


def test_what_the_source_leaves_open_is_checked_at_the_target(
    pipeline_of: PipelineOf, make_class: MakeClass, cube: Any
) -> None:
    """An edge from a port for anything to a port for cubes."""
    make_class(
        "Anything", lambda self, x: {"x": x}, {"x": {"dtype": "any", "shape": ()}}, {"x": {"dtype": "any", "shape": ()}}
    )
    pipeline = pipeline_of({"a": "Anything", "b": "Scale"}, "a.x -> b.cube")
    np.testing.assert_array_equal(pipeline.forward({"x": cube})["b", "cube"], cube * 2)
    with pytest.raises(PortError, match="Input 'cube' of node 'b': got an object of type str"):
        pipeline.forward({"x": "text"})


def test_optional_inputs_may_be_left_out_or_handed_in(
    pipeline_of: PipelineOf, make_class: MakeClass, cube: Any
) -> None:
    """Left out, the default of `forward` stands."""
    inputs = {"cube": IMAGE, "gain": {"dtype": "float", "shape": (), "optional": True}}
    make_class("Gain", lambda self, cube, gain=1.0: {"image": cube * np.float32(gain)}, inputs, {"image": IMAGE})
    pipeline = pipeline_of({"g": "Gain"})
    assert list(pipeline.required_inputs()) == [("g", "cube")]
    np.testing.assert_array_equal(pipeline.forward({"cube": cube})["g", "image"], cube)
    np.testing.assert_array_equal(pipeline.forward({"cube": cube, "gain": 2.0})["g", "image"], cube * 2)


def test_a_variadic_input_takes_its_edges_in_order(pipeline_of: PipelineOf, make_class: MakeClass) -> None:
    """The order of the file, as a list."""
    number = {"dtype": "int", "shape": ()}
    make_class("One", lambda self: {"x": 1}, {}, {"x": number})
    make_class("Two", lambda self: {"x": 2}, {}, {"x": number})
    make_class("Join", lambda self, xs: {"all": xs}, {"xs": [number]}, {"all": {"dtype": list, "shape": ()}})
    pipeline = pipeline_of({"one": "One", "two": "Two", "join": "Join"}, "two.x -> join.xs", "one.x -> join.xs")
    assert pipeline.forward({})["join", "all"] == [2, 1]


def test_a_variadic_input_takes_a_list_from_outside(pipeline_of: PipelineOf, cube: Any) -> None:
    """Every value in it is checked."""
    pipeline = pipeline_of({"s": "Sum"})
    np.testing.assert_array_equal(pipeline.forward({"cubes": [cube, cube]})["s", "cube"], cube * 2)
    for wrong in (cube, [cube, cube[0]], [None]):
        with pytest.raises(PortError, match="the port takes a list of float32"):
            pipeline.forward({"cubes": wrong})


def test_a_required_variadic_input_without_a_value_is_missing(pipeline_of: PipelineOf, make_class: MakeClass) -> None:
    """An empty list is not made up."""
    make_class("Join", lambda self, xs: {}, {"xs": [IMAGE]})
    with pytest.raises(PortError, match=r"join\.xs"):
        pipeline_of({"join": "Join"}).forward({})


@pytest.mark.parametrize("listed", [False, True])
def test_none_is_taken_by_optional_inputs_alone(
    pipeline_of: PipelineOf, make_class: MakeClass, *, listed: bool
) -> None:
    """Also where a required input of the same type stands beside an optional one."""
    for name, optional in (("Optional", True), ("Required", False)):
        port = {**IMAGE, "optional": optional, "variadic": listed}
        make_class(name, lambda self, image: {"got": image}, {"image": port}, {"got": {"dtype": "any", "shape": ()}})
    assert pipeline_of({"a": "Optional"}).forward({"image": None}) == {("a", "got"): None}
    with pytest.raises(PortError, match=r"Input 'image' of node 'b': got nothing"):
        pipeline_of({"a": "Optional", "b": "Required"}).forward({"image": None})


def test_an_optional_output_may_be_left_out(pipeline_of: PipelineOf, make_class: MakeClass, cube: Any) -> None:
    """It is None in the answer, adds nothing to a list, and is an error where a value is needed."""
    make_class("Maybe", lambda self: {}, {}, {"image": {**IMAGE, "optional": True}})
    assert pipeline_of({"m": "Maybe"}).forward({}) == {("m", "image"): None}
    summed = pipeline_of({"m": "Maybe", "a": "Scale", "s": "Sum"}, "m.image -> s.cubes", "a.cube -> s.cubes")
    np.testing.assert_array_equal(summed.forward({"cube": cube})["s", "cube"], cube * 2)
    needed = pipeline_of({"m": "Maybe", "a": "Scale"}, "m.image -> a.cube")
    with pytest.raises(PortError, match="Input 'cube' of node 'a': got nothing"):
        needed.forward({})


def test_nodes_run_in_their_stages_only(pipeline_of: PipelineOf, cube: Any) -> None:
    """A member of the schemas' enum is a stage, too."""
    pipeline = pipeline_of({"a": "Scale", "loss": ("Scale", {"execution_stages": ["train"]})}, "a.cube -> loss.cube")
    assert list(pipeline.forward({"cube": cube})) == [("a", "cube")]
    for stage in ("train", ExecutionStage.TRAIN):
        assert list(pipeline.forward({"cube": cube}, stage=stage)) == [("a", "cube"), ("loss", "cube")]


def test_an_edge_from_a_node_that_does_not_run_feeds_nothing(pipeline_of: PipelineOf, cube: Any) -> None:
    """Its target takes the value from outside, or the message says why it is open."""
    pipeline = pipeline_of({"a": ("Scale", {"execution_stages": ["train"]}), "b": "Scale"}, "a.cube -> b.cube")
    assert list(pipeline.required_inputs("train")) == [("a", "cube")]
    assert list(pipeline.required_inputs("val")) == [("b", "cube")]
    np.testing.assert_array_equal(pipeline.forward({"cube": cube})["b", "cube"], cube * 2)
    with pytest.raises(PortError, match="node 'a', which feeds it, does not run in this stage"):
        pipeline.forward({})


@pytest.mark.parametrize("stage", ["always", "inferense", ""])
def test_an_unknown_stage_is_an_error(pipeline_of: PipelineOf, stage: str) -> None:
    """`always` is a property of nodes, no stage to run in."""
    with pytest.raises(PipelineError, match=f"There is no stage '{stage}' to run in") as error:
        pipeline_of({"s": "Sum"}).forward({}, stage=stage)
    assert "Stages: inference, test, train, val." in str(error.value)


def test_a_stage_and_a_context_that_say_different_things_are_an_error(pipeline_of: PipelineOf, cube: Any) -> None:
    """And so is what is no context; the context alone has the stage."""
    pipeline, context = pipeline_of({"a": "Scale"}), Context(stage=ExecutionStage.TRAIN)
    assert pipeline.forward({"cube": cube}, stage="train", context=context)
    with pytest.raises(PipelineError, match="The stage is 'val', and that of the context is 'train'"):
        pipeline.forward({"cube": cube}, stage="val", context=context)
    with pytest.raises(PipelineError, match="The context is 'train'; it must be a cuvis_ai_schemas"):
        pipeline.forward({"cube": cube}, context="train")


def test_a_node_class_may_do_without_stages(pipeline_of: PipelineOf, registry: Any, cube: Any) -> None:
    """One that is derived from nothing of ours runs in all of them."""

    class Plain:
        INPUT_SPECS: ClassVar[Any] = {"cube": IMAGE}
        OUTPUT_SPECS: ClassVar[Any] = {"cube": IMAGE}

        def forward(self, cube: Any) -> dict[str, Any]:
            return {"cube": cube + 1}

    registry.classes["Plain"] = Plain
    for stage in ("inference", "train", "val", "test"):
        np.testing.assert_array_equal(pipeline_of({"p": "Plain"}).forward({"cube": cube}, stage)["p", "cube"], cube + 1)


def test_a_node_that_ends_the_program_fails_as_others(pipeline_of: PipelineOf, make_class: MakeClass) -> None:
    """`sys.exit` in a plugin is no reason for a program to end."""
    make_class("Ends", lambda self: sys.exit(3), {}, {})
    with pytest.raises(NodeRunError, match="Node 'e' failed in stage 'inference': SystemExit: 3"):
        pipeline_of({"e": "Ends"}).forward({})


def test_the_context_reaches_the_nodes_that_name_it(pipeline_of: PipelineOf, make_class: MakeClass) -> None:
    """Published nodes write `forward(self, ..., context=None, **_)`; a plain `**inputs` gets inputs only."""
    text = {"dtype": "str", "shape": ()}
    make_class("Named", lambda self, context=None, **_: {"x": context.stage.value}, {}, {"x": text})
    make_class("Inputs", lambda self, **inputs: {"x": ",".join(inputs)}, {"y": text}, {"x": text})
    make_class("Port", lambda self, context: {"x": context}, {"context": text}, {"x": text})
    pipeline = pipeline_of({"n": "Named", "i": "Inputs", "p": "Port"})
    assert pipeline.forward({"y": "", "context": "mine"}, stage="test") == {
        ("n", "x"): "test",
        ("i", "x"): "y",
        ("p", "x"): "mine",
    }


def test_a_failing_node_is_named_and_its_error_kept(pipeline_of: PipelineOf, make_class: MakeClass, cube: Any) -> None:
    """The message has stage, the node's own words and its inputs; the cause is the node's own exception."""
    make_class("Fails", lambda self, cube: {}[cube.ndim], {"cube": IMAGE}, {"image": IMAGE})
    expected = (
        r"Node 'f' failed in stage 'inference': KeyError: 4 \(.*test_pipeline\.py, line \d+\)\n"
        r"Its inputs: cube float32 \[1, 2, 2, 3\]"
    )
    with pytest.raises(RuntimeError, match=expected) as error:
        pipeline_of({"a": "Scale", "f": "Fails"}, "a.cube -> f.cube").forward({"cube": cube})
    assert isinstance(error.value, PipelineError)
    assert isinstance(error.value.__cause__, KeyError)


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        (
            None,
            r"returned nothing; `forward` returns a dict of its output ports.*line \d+\)\nWrite: return \{'x': ...\}",
        ),
        ((1,), "returned an object of type tuple"),
        (
            {},
            r"did not return its output 'x'. \(.*, line \d+\)\nOUTPUT_SPECS declares x; forward returned an empty dict",
        ),
        ({"y": 1}, "did not return its output 'x'"),
        ({"x": 1, "y": 1}, "returned what is no output of it: 'y'"),
    ],
)
def test_other_outputs_than_declared_are_an_error(
    pipeline_of: PipelineOf, make_class: MakeClass, returned: Any, problem: str
) -> None:
    """The message names the node and the port."""
    make_class("Odd", lambda self: returned, {}, {"x": {"dtype": "int", "shape": ()}})
    with pytest.raises(PortError, match=f"Node 'odd' {problem}"):
        pipeline_of({"odd": "Odd"}).forward({})


def test_a_kind_of_dict_is_a_dict(pipeline_of: PipelineOf, make_class: MakeClass) -> None:
    """Named results of other libraries are dicts, too."""
    make_class("Odd", lambda self: type("Results", (dict,), {})(x=1), {}, {"x": {"dtype": "int", "shape": ()}})
    assert pipeline_of({"odd": "Odd"}).forward({}) == {("odd", "x"): 1}


CONFIG = {
    "metadata": {"name": "double", "by": "me"},
    "nodes": [{"name": "a", "class_name": "Scale", "params": {}}],
    "edges": [],
}


def test_the_file_is_kept_and_written_again(registry: Any) -> None:
    """Name, metadata and content; what is written builds the same pipeline."""
    pipeline = Pipeline.from_dict(CONFIG, node_registry=registry)
    assert (pipeline.name, pipeline.metadata["by"], pipeline.to_dict()) == ("double", "me", CONFIG)
    assert repr(Pipeline.from_dict(pipeline.to_dict(), node_registry=registry)) == repr(pipeline)
    assert repr(pipeline) == "<Pipeline 'double': 1 nodes, 0 edges>"


def test_a_file_is_read_by_path_and_by_name(registry: Any, tmp_path: Path, cube: Any) -> None:
    """Without a name in the metadata, the pipeline is named as its file."""
    (tmp_path / "double.yaml").write_text("nodes: [{name: a, class_name: Scale}]")
    registry.directories.append(tmp_path)
    for path_or_name in (tmp_path / "double.yaml", str(tmp_path / "double.yaml"), "double"):
        pipeline = Pipeline.load(path_or_name, node_registry=registry)
        assert pipeline.name == "double"
        np.testing.assert_array_equal(pipeline.forward({"cube": cube})["a", "cube"], cube * 2)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("nodes:\n\t- x", "line 2: a tab indents this line"),
        ("nodes:\n  - {name: a, class_name: Scale}\nedgs: []", "line 3: edgs: is an unknown key; did you mean 'edges'"),
        ("nodes:\n  - name: a\n", r"line 2: nodes\[0\]\.class_name: is missing"),
        ("nodes: [{name: a, class_name: Scale}]\nedges: [{source: a.x, target: a.cube}]", "has no output 'x'"),
        ("nodes: [{name: a, class_name: Scale, params: {factr: 1}}]", "has no parameter 'factr'"),
    ],
)
def test_every_error_of_a_file_names_the_file(registry: Any, tmp_path: Path, text: str, problem: str) -> None:
    """And the line, where there is one."""
    file = tmp_path / "p.yaml"
    file.write_text(text)
    with pytest.raises(PipelineError, match=problem) as error:
        Pipeline.load(file, node_registry=registry)
    assert str(error.value).startswith(f"Pipeline file {file}")
    assert error.value.path == file


def test_without_a_registry_the_built_in_nodes_are_there(cube: Any) -> None:
    """A new registry is made; it knows no class of these tests."""
    built_in = {"nodes": [{"name": "n", "class_name": "MinMaxNormalizer"}]}
    normalized = Pipeline.from_dict(built_in).forward({"cube": cube})["n", "cube"]
    assert (normalized.min(), normalized.max()) == (0, 1)
    with pytest.raises(NodeNotFoundError, match="Node 'a' of the pipeline asks for it"):
        Pipeline.from_dict(CONFIG)


def test_the_example_of_the_messages_is_a_pipeline(tmp_path: Path) -> None:
    """What an error shows as an example works as it stands."""
    with pytest.raises(PipelineError) as error:
        Pipeline.from_dict({})
    file = tmp_path / "example.yaml"
    file.write_text((error.value.hint or "").partition("\n")[2])
    with NodeRegistry() as registry:
        pipeline = Pipeline.load(file, node_registry=registry)
    assert (pipeline.name, pipeline.order) == ("false_colour", ("selector", "scaler"))
    image = np.ones((1, 2, 2, 4), dtype=np.float32)
    wavelengths = np.array([450.0, 550, 650, 800])
    assert pipeline.forward({"cube": image, "wavelengths": wavelengths})["scaler", "cube"].shape == (1, 2, 2, 3)


def test_importing_pipelines_imports_neither_numpy_nor_torch() -> None:
    """Arrays are known by their attributes; the nodes bring the libraries."""
    code = (
        "import sys, cuvis_ai_core.pipeline.pipeline\n"
        "sys.exit(' '.join({'numpy', 'torch', 'git', 'grpc'} & sys.modules.keys()) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
