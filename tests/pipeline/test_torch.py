"""Pipelines with torch nodes, alone and beside nodes for NumPy."""

import gc
import weakref
from collections.abc import Callable
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pytest
from cuvis_ai_schemas.enums import ExecutionStage
from cuvis_ai_schemas.execution import Context
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.errors import NodeRunError, PipelineError, PortError
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.pipeline import Pipeline

torch = pytest.importorskip("torch")

from cuvis_ai_core.node import Node  # noqa: E402

PipelineOf = Callable[..., Pipeline]
MakeClass = Callable[..., type]
TENSOR = PortSpec(torch.float32, (-1, -1, -1, -1))
ARRAY = PortSpec(np.ndarray, (-1, -1, -1, -1))
ANY = PortSpec("float32", (-1, -1, -1, -1))


class Add(Node):
    """One more, for tensors only."""

    INPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": TENSOR}
    OUTPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": TENSOR}
    seen: Any = None

    def forward(self, cube: Any, **others: Any) -> dict[str, Any]:
        """Return the sum."""
        self.seen = (cube, others)
        return {"cube": cube.add(1)}


class OnNumpy(ArrayNode):
    """The same, for NumPy arrays only."""

    INPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": ARRAY}
    OUTPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": ARRAY}
    seen: Any = None

    def forward(self, cube: Any) -> dict[str, Any]:
        """Return the sum."""
        self.seen = cube
        return {"cube": np.add(cube, 1)}


class Weight(Node):
    """The cube times a parameter; wavelengths as NumPy hands them."""

    INPUT_SPECS: ClassVar[dict[str, Any]] = {
        "cube": ANY,
        "wavelengths": PortSpec(np.int32, (-1,), optional=True),
        "label": PortSpec(str, (), optional=True),
    }
    OUTPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": ANY}

    def __init__(self, **base: Any) -> None:
        super().__init__(**base)
        self.weight = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, cube: Any, wavelengths: Any = None, label: Any = None, context: Any = None) -> dict[str, Any]:
        """Return the product."""
        self.seen = (wavelengths, label, context)
        return {"cube": cube * self.weight}


@pytest.fixture
def registry(registry: Any) -> Any:
    """A registry that knows the classes of this file, too."""
    registry.classes |= {"Add": Add, "OnNumpy": OnNumpy, "Weight": Weight}
    return registry


def test_arrays_cross_between_libraries_without_a_copy(pipeline_of: PipelineOf, cube: Any) -> None:
    """NumPy to torch where a torch node takes them, torch to NumPy where a node declares `numpy.ndarray`."""
    pipeline = pipeline_of({"a": "Add", "n": "OnNumpy", "b": "Add"}, "a.cube -> n.cube", "n.cube -> b.cube")
    answer = pipeline.forward({"cube": cube})
    nodes = pipeline.nodes
    assert isinstance(nodes["a"].seen[0], torch.Tensor)
    assert nodes["a"].seen[0].data_ptr() == cube.ctypes.data
    assert isinstance(nodes["n"].seen, np.ndarray)
    assert nodes["n"].seen.ctypes.data == answer["a", "cube"].data_ptr()
    assert nodes["b"].seen[0].data_ptr() == answer["n", "cube"].ctypes.data
    np.testing.assert_array_equal(answer["b", "cube"].numpy(), cube + 3)


@pytest.mark.parametrize("kind", ["read-only", "reversed", "foreign"])
def test_arrays_that_torch_cannot_share_are_copied(pipeline_of: PipelineOf, cube: Any, kind: str) -> None:
    """As of a file that is mapped into memory; nobody writes to the original."""
    given = {"read-only": cube.copy(), "reversed": cube[:, ::-1], "foreign": cube.astype(">f4")}[kind]
    given.flags.writeable = kind != "read-only"
    answer = pipeline_of({"a": "Add"}).forward({"cube": given})
    np.testing.assert_array_equal(answer["a", "cube"].numpy(), given + 1)


def test_an_array_node_gets_what_comes(pipeline_of: PipelineOf, cube: Any) -> None:
    """It computes with either library, whatever dtype of NumPy it declares."""
    answer = pipeline_of({"a": "Add", "s": "Scale"}, "a.cube -> s.cube").forward({"cube": cube})
    assert isinstance(answer["s", "cube"], torch.Tensor)
    np.testing.assert_array_equal(answer["s", "cube"].numpy(), (cube + 1) * 2)


def test_gradients_pass_through_a_pipeline(pipeline_of: PipelineOf, cube: Any) -> None:
    """From the last node back to the first one's parameter, through an `ArrayNode`."""
    nodes = {"w": "Weight", "s": "Scale", "v": "Weight"}
    pipeline = pipeline_of(nodes, "w.cube -> s.cube", "s.cube -> v.cube")
    pipeline.forward({"cube": torch.from_numpy(cube)}, stage="train")["v", "cube"].sum().backward()
    assert pipeline.nodes["w"].weight.grad.item() == cube.sum() * 4


def test_a_numpy_port_of_a_torch_node_gets_an_array_and_other_values_stay(pipeline_of: PipelineOf, cube: Any) -> None:
    """Wavelengths are declared with a dtype of NumPy in published nodes; a text is no array."""
    pipeline = pipeline_of({"w": "Weight"})
    for wavelengths in (np.arange(3, dtype=np.int32), torch.arange(3, dtype=torch.int32)):
        pipeline.forward({"cube": cube, "wavelengths": wavelengths, "label": "x"}, stage="val")
        seen, label, context = pipeline.nodes["w"].seen
        assert isinstance(seen, np.ndarray)
        assert (label, context.stage) == ("x", "val")
    pipeline.forward({"cube": cube})
    assert pipeline.nodes["w"].seen[:2] == (None, None)


def test_fan_in_is_converted_value_by_value(pipeline_of: PipelineOf, make_class: MakeClass, cube: Any) -> None:
    """A list of tensors arrives, whichever library each came from."""
    forward = lambda self, cubes, **_: {"cube": torch.stack(cubes).sum(0)}  # noqa: E731
    make_class("Join", forward, {"cubes": [TENSOR]}, {"cube": TENSOR})
    nodes = {"s": "Scale", "a": "Add", "j": "Join"}
    answer = pipeline_of(nodes, "s.cube -> j.cubes", "a.cube -> j.cubes").forward({"cube": cube})
    np.testing.assert_array_equal(answer["j", "cube"].numpy(), cube * 3 + 1)


def test_dtypes_of_both_libraries_meet_on_an_edge(pipeline_of: PipelineOf, make_class: MakeClass) -> None:
    """`torch.float32` fits `numpy.float32`, and `torch.float64` does not."""
    make_class("Double", lambda self: {}, {}, {"cube": PortSpec(torch.float64, (-1, -1, -1, -1))})
    assert pipeline_of(
        {"a": "Add", "s": "Scale"},
        "a.cube -> s.cube",
    ).order == ("a", "s")
    with pytest.raises(PortError, match=r"gives float64 .* takes float32 .*: the dtypes differ"):
        pipeline_of({"d": "Double", "s": "Scale"}, "d.cube -> s.cube")


def test_values_of_torch_are_checked_when_running(pipeline_of: PipelineOf, cube: Any) -> None:
    """Dtype and axes, as those of NumPy."""
    with pytest.raises(PortError, match=r"Input 'cube' of node 'a': got bool \[1, 2, 2, 3\], the port takes float32"):
        pipeline_of({"a": "Add"}).forward({"cube": torch.from_numpy(cube).bool()})


def test_what_cannot_be_converted_is_a_port_error(pipeline_of: PipelineOf, make_class: MakeClass, cube: Any) -> None:
    """NumPy has no bfloat16."""
    make_class(
        "Brief",
        lambda self, cube: {"cube": cube.bfloat16()},
        {"cube": TENSOR},
        {"cube": PortSpec("bfloat16", (-1, -1, -1, -1))},
    )
    pipeline = pipeline_of({"b": "Brief", "n": "OnNumpy"}, "b.cube -> n.cube")
    with pytest.raises(PortError, match=r"Input 'cube' of node 'n': bfloat16 \[1, 2, 2, 3\] cannot become an array"):
        pipeline.forward({"cube": cube})


def test_the_context_that_is_given_reaches_every_torch_node(pipeline_of: PipelineOf, cube: Any) -> None:
    """By name or in `**kwargs`; its stage is that of the run."""
    pipeline = pipeline_of({"a": "Add", "w": "Weight"})
    context = Context(stage=ExecutionStage.TRAIN, epoch=5, batch_idx=1, global_step=7)
    pipeline.forward(batch={"cube": cube}, context=context)
    assert pipeline.nodes["a"].seen[1] == {"context": context}
    assert pipeline.nodes["w"].seen[2] is context
    pipeline.forward(batch={"cube": cube}, stage="train", context=context)
    with pytest.raises(PipelineError, match="The stage is 'val', and that of the context is 'train'"):
        pipeline.forward(batch={"cube": cube}, stage="val", context=context)


def test_hooks_of_torch_modules_are_called(pipeline_of: PipelineOf, cube: Any) -> None:
    """The pipeline calls a torch node as torch's own containers do."""
    pipeline = pipeline_of({"a": "Add"})
    seen: list[Any] = []
    pipeline.nodes["a"].register_forward_hook(lambda module, _, result: seen.append((module.name, list(result))))
    pipeline.forward({"cube": cube})
    assert seen == [("a", ["cube"])]


def test_a_torch_node_that_fails_is_named(pipeline_of: PipelineOf, make_class: MakeClass, cube: Any) -> None:
    """With its inputs, and the exception of torch as cause; the next run is as if nothing had happened."""
    broken = [True]
    pipeline = pipeline_of({"a": "Add"})
    pipeline.nodes["a"].register_forward_pre_hook(lambda *_: torch.ones(2) @ torch.ones(3) if broken else None)
    with pytest.raises(NodeRunError, match=r"Node 'a' failed .*\nIts inputs: cube float32 \[1, 2, 2, 3\]") as error:
        pipeline.forward({"cube": cube})
    assert isinstance(error.value.__cause__, RuntimeError)
    broken.clear()
    assert pipeline.forward({"cube": cube})["a", "cube"].shape == (1, 2, 2, 3)


@pytest.mark.slow
def test_a_value_is_released_after_its_last_reader(pipeline_of: PipelineOf, make_class: MakeClass, cube: Any) -> None:
    """Where only some outputs are kept: when a node runs, what nobody reads any more is gone."""
    made: list[weakref.ref[Any]] = []
    alive: list[int] = []

    def forward(self: Any, cube: Any) -> dict[str, Any]:
        gc.collect()
        alive.append(sum(each() is not None for each in made))
        result = cube + np.float32(1)
        made.append(weakref.ref(result))
        return {"cube": result}

    make_class("Watch", forward, {"cube": ANY}, {"cube": ANY})
    names = [f"n{number}" for number in range(6)]
    edges = [f"{left}.cube -> {right}.cube" for left, right in pairwise(names)]
    pipeline = pipeline_of(dict.fromkeys(names, "Watch"), *edges)
    for keep in (["n5.cube"], [("n5", "cube")]):
        made.clear()
        alive.clear()
        answer = pipeline.forward({"cube": cube}, keep_ports=keep)
        assert list(answer) == [("n5", "cube")]
        assert alive == [0, 1, 1, 1, 1, 1]
        assert [each() is not None for each in made] == [False] * 5 + [True]
    alive.clear()
    assert len(pipeline.forward({"cube": cube})) == 6
    assert pipeline.forward({"cube": cube}, keep_ports=[]) == {}


def test_kept_ports_are_answered_where_their_node_runs(pipeline_of: PipelineOf, cube: Any) -> None:
    """An output that is not there is an error that names the nearest."""
    pipeline = pipeline_of({"a": "Scale", "b": ("Scale", {"execution_stages": ["train"]})}, "a.cube -> b.cube")
    kept = ["b.cube"]
    assert list(pipeline.forward({"cube": cube}, keep_ports=kept)) == []
    assert list(pipeline.forward({"cube": cube}, stage="train", keep_ports=kept)) == [("b", "cube")]
    with pytest.raises(PortError, match=r"no output 'b\.cub'. Did you mean 'b\.cube'"):
        pipeline.forward({"cube": cube}, keep_ports=["b.cub"])
    with pytest.raises(PortError, match=r"Outputs: a\.cube, b\.cube"):
        pipeline.forward({"cube": cube}, keep_ports=["b"])


def test_upto_a_node_runs_what_feeds_it(pipeline_of: PipelineOf, cube: Any) -> None:
    """Not the node itself, nor any other: what a statistical initialisation asks for."""
    edges = ("a.cube -> b.cube", "b.cube -> c.cube", "a.cube -> d.cube")
    pipeline = pipeline_of({"a": "Scale", "b": "Scale", "c": "Scale", "d": "Scale"}, *edges)
    for node in ("c", pipeline.nodes["c"]):
        assert list(pipeline.forward({"cube": cube}, upto_node=node)) == [("a", "cube"), ("b", "cube")]
    assert pipeline.forward({}, upto_node="a") == {}
    with pytest.raises(PipelineError, match="The pipeline has no node 'e'"):
        pipeline.forward({"cube": cube}, upto_node="e")
    with pytest.raises(PipelineError, match=r"The pipeline has no node <object"):
        pipeline.forward({"cube": cube}, upto_node=object())


def test_closing_and_resetting_reach_the_nodes(
    pipeline_of: PipelineOf, make_class: MakeClass, caplog: pytest.LogCaptureFixture
) -> None:
    """Those that have such methods; one that fails is logged and keeps nothing from the others."""
    seen: list[str] = []

    def fail(self: Any) -> None:
        raise ValueError("stuck")

    make_class("Bad", lambda self: {}, cleanup=fail)
    make_class(
        "Good", lambda self: {}, close=lambda self: seen.append("close"), reset=lambda self: seen.append("reset")
    )
    with pipeline_of({"b": "Bad", "g": "Good"}) as pipeline:
        pipeline.reset()
    assert seen == ["reset", "close"]
    assert "node 'b' failed in cleanup" in caplog.text


def test_the_published_name_is_the_same_class() -> None:
    """Old scripts import it from there, and two types from their old places."""
    from cuvis_ai_core.pipeline.pipeline import CuvisPipeline
    from cuvis_ai_core.pipeline.ports import PortSpec as OldPortSpec
    from cuvis_ai_core.utils.types import Context as OldContext

    assert (CuvisPipeline, OldPortSpec, OldContext) == (Pipeline, PortSpec, Context)


def test_torch_nodes_are_in_evaluation_mode(pipeline_of: PipelineOf, make_class: MakeClass, cube: Any) -> None:
    """Nothing is dropped out, and nothing learned, by running a pipeline."""
    pipeline = pipeline_of({"w": "Weight"})
    assert not pipeline.nodes["w"].training
    pipeline.nodes["w"].train()
    pipeline.forward({"cube": cube})
    assert pipeline.nodes["w"].training


def test_an_optional_fan_in_may_be_nothing(pipeline_of: PipelineOf, make_class: MakeClass) -> None:
    """Handed in as None, or as an empty list."""
    port = {"dtype": torch.float32, "shape": (-1,), "optional": True, "variadic": True}
    make_class("Count", lambda self, xs=(): {"n": len(xs or ())}, {"xs": port}, {"n": {"dtype": int, "shape": ()}})
    pipeline = pipeline_of({"c": "Count"})
    batches: list[dict[Any, Any]] = [{}, {"xs": None}, {"xs": []}]
    for batch in batches:
        assert pipeline.forward(batch) == {("c", "n"): 0}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"batch": {1: 2}}, r"The batch has the key 1; keys are 'port', 'node\.port' or \('node', 'port'\)"),
        ({"batch": {("a",): 2}}, r"The batch has the key \('a',\)"),
        ({"batch": [1]}, "The batch is of type list"),
        ({"stage": 5}, "There is no stage '5' to run in"),
        ({"context": "train"}, "The context is 'train'; it must be a cuvis_ai_schemas.execution.Context"),
        ({"keep_ports": "a.cub"}, r"no output 'a\.cub'"),
        ({"keep_ports": [3]}, r"no output '3'\."),
        ({"keep_ports": [("a", 3)]}, r"no output 'a\.3'"),
        ({"upto_node": 3}, "The pipeline has no node 3"),
    ],
)
def test_wrong_arguments_of_a_run_are_one_clear_error(
    pipeline_of: PipelineOf, cube: Any, arguments: dict[str, Any], problem: str
) -> None:
    """Each names what was given and what is taken; no other exception comes through."""
    with pytest.raises(PipelineError, match=problem):
        pipeline_of({"a": "Scale"}).forward(**{"batch": {"cube": cube}, **arguments})


def test_one_kept_port_may_stand_alone(pipeline_of: PipelineOf, cube: Any) -> None:
    """A text is one port, not its letters."""
    assert list(pipeline_of({"a": "Scale"}).forward({"cube": cube}, keep_ports="a.cube")) == [("a", "cube")]


def test_the_library_of_a_port_is_that_of_the_declared_dtype() -> None:
    """Which arrays a node gets: a torch node tensors, an `ArrayNode` what comes, unless the port says otherwise."""
    from cuvis_ai_core.node.array_libraries import library_of_input
    from cuvis_ai_core.node.ports import read_ports

    kinds = {"t": torch.float32, "n": np.float32, "text": "float32", "arrays": np.ndarray, "str": str, "any": object}
    specs = {"INPUT_SPECS": {name: PortSpec(kind, (-1,)) for name, kind in kinds.items()}}

    def found(bases: tuple[type, ...]) -> list[str | None]:
        made: Any = type("Made", bases, {**specs, "OUTPUT_SPECS": {}, "forward": lambda self: {}})
        return [library_of_input(made(), port) for port in read_ports(made, "INPUT_SPECS").values()]

    assert found((Node,)) == ["torch", "numpy", "torch", "numpy", None, None]
    assert found((ArrayNode,)) == ["torch", None, None, "numpy", None, None]
    assert found(()) == ["torch", "numpy", None, "numpy", None, None]


def test_what_is_handed_in_follows_the_pipeline_to_its_device(
    pipeline_of: PipelineOf, registry: Any, cube: Any
) -> None:
    """An array becomes a tensor where the nodes compute, from the first run after a move."""
    registry.classes["Add"] = Add
    pipeline = pipeline_of({"a": "Add"})
    assert pipeline.forward({"cube": cube})["a", "cube"].device.type == "cpu"
    pipeline.to("meta")
    assert pipeline.forward({"cube": cube})["a", "cube"].device.type == "meta"
