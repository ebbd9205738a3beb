from collections.abc import Callable
from typing import Any

import pytest

from cuvis_ai_core.errors import PipelineError, PortError
from cuvis_ai_core.pipeline import Pipeline
from cuvis_ai_core.pipeline.graph import Edge

PipelineOf = Callable[..., Pipeline]
MakeClass = Callable[..., type]


def spec(dtype: Any = "float32", *shape: int | str, **fields: Any) -> dict[str, Any]:
    """Return the declaration of a port."""
    return {"dtype": dtype, "shape": shape, **fields}


def test_edges_and_order_are_known(pipeline_of: PipelineOf) -> None:
    """Whatever the order in the file, sources come first."""
    pipeline = pipeline_of({"b": "Scale", "a": "Scale"}, "a.cube -> b.cube")
    assert pipeline.order == ("a", "b")
    assert list(pipeline.nodes.keys()) == ["b", "a"]
    assert pipeline.edges == (Edge("a", "cube", "b", "cube"),)
    assert str(pipeline.edges[0]) == "a.cube -> b.cube"


def test_ports_are_known_with_their_sizes(pipeline_of: PipelineOf, make_class: MakeClass) -> None:
    """A listing shows numbers where the class names attributes."""
    make_class("Sized", lambda self, x: {}, {"x": spec("float32", -1, "bands")}, bands=61)
    assert str(pipeline_of({"n": "Sized"}).inputs["n"]["x"]) == "float32 [*, 61]"


@pytest.mark.parametrize("edge", ["x.cube -> b.cube", "b.cube -> x.cube"])
def test_an_edge_to_an_unknown_node_is_an_error(pipeline_of: PipelineOf, edge: str) -> None:
    """The message has the edge, the name, and the nodes there are."""
    with pytest.raises(PipelineError, match=r"edges\[0\] .*there is no node 'x'") as error:
        pipeline_of({"a": "Scale", "b": "Scale"}, edge)
    assert "Nodes of this pipeline: a, b." in str(error.value)


def test_the_nearest_node_is_proposed(pipeline_of: PipelineOf) -> None:
    """A slip of the pen is found at once."""
    with pytest.raises(PipelineError, match=r"there is no node 'scaler1'. Did you mean 'scaler'"):
        pipeline_of({"scaler": "Scale", "b": "Scale"}, "scaler1.cube -> b.cube")


def test_an_unknown_output_is_an_error(pipeline_of: PipelineOf) -> None:
    """The message has node, class, port, the nearest port and all ports."""
    with pytest.raises(PortError, match=r"node 'a' \(Scale\) has no output 'cub'. Did you mean 'cube'") as error:
        pipeline_of({"a": "Scale", "b": "Scale"}, "a.cub -> b.cube")
    assert (error.value.node, error.value.port) == ("a", "cub")
    assert "Its outputs: cube." in str(error.value)


def test_an_unknown_input_is_an_error(pipeline_of: PipelineOf) -> None:
    """The same for the other end."""
    with pytest.raises(PortError, match=r"node 'b' \(Scale\) has no input 'image'") as error:
        pipeline_of({"a": "Scale", "b": "Scale"}, "a.cube -> b.image")
    assert "Its inputs: cube." in str(error.value)


def test_a_port_of_the_other_side_is_pointed_out(pipeline_of: PipelineOf) -> None:
    """Mixing up inputs and outputs is common."""
    with pytest.raises(PortError, match=r"no output 'cubes'. .*It has an input of that name"):
        pipeline_of({"a": "Sum", "b": "Scale"}, "a.cubes -> b.cube")


@pytest.mark.parametrize(
    ("source", "target", "problem"),
    [
        (spec("float32", -1), spec("uint8", -1), "the dtypes differ"),
        (spec("float32", -1), spec("str", -1), "the dtypes differ"),
        (spec("float32", -1, -1), spec("float32", -1), "2 axes, not 1"),
        (spec("float32", -1, 3), spec("float32", -1, 4), "axis 1 has 3 elements, not 4"),
        (spec("float32", -1, "bands"), spec("float32", -1, 4), "axis 1 has 61 elements, not 4"),
        (spec("float32", "bands"), spec("float32", "others"), "axis 0 has 61 elements, not 7"),
    ],
)
def test_ports_that_do_not_fit_are_an_error(
    pipeline_of: PipelineOf, make_class: MakeClass, source: Any, target: Any, problem: str
) -> None:
    """Dtype, rank and sizes, symbolic ones by the attributes of the nodes; the message shows both ends."""
    make_class("Source", lambda self: {}, {}, {"x": source}, bands=61)
    make_class("Target", lambda self, y: {}, {"y": target}, {}, others=7)
    with pytest.raises(PortError, match=f"'a.x' gives .*, 'b.y' takes .*: {problem}"):
        pipeline_of({"a": "Source", "b": "Target"}, "a.x -> b.y")


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (spec("float32", -1), spec("floating", -1)),
        (spec("array", -1), spec("uint8", 3)),
        (spec("float32", 3), spec("float32", -1)),
        (spec("float32", "bands"), spec("float32", 61)),
        (spec("any"), spec("float32", -1, -1)),
        (spec("float32", -1, -1), spec("any")),
        (spec("float32", -1), [spec("float32", -1)]),
    ],
)
def test_ports_that_may_fit_can_be_connected(
    pipeline_of: PipelineOf, make_class: MakeClass, source: Any, target: Any
) -> None:
    """What a declaration leaves open is checked when the pipeline runs."""
    make_class("Source", lambda self: {}, {}, {"x": source}, bands=61)
    make_class("Target", lambda self, y: {}, {"y": target}, {})
    assert pipeline_of({"a": "Source", "b": "Target"}, "a.x -> b.y").order == ("a", "b")


def test_an_input_takes_one_edge(pipeline_of: PipelineOf) -> None:
    """The message has the input, the edge that is there and the one too many."""
    with pytest.raises(PortError, match=r"edges\[1\] \(b.* input 'c.cube' takes one edge .*\(a.cube -> c.cube\)"):
        pipeline_of({"a": "Scale", "b": "Scale", "c": "Scale"}, "a.cube -> c.cube", "b.cube -> c.cube")


def test_a_variadic_input_takes_many_edges_but_none_twice(pipeline_of: PipelineOf) -> None:
    """The same edge twice is a mistake even there."""
    nodes = {"a": "Scale", "b": "Scale", "c": "Sum"}
    edges = ("a.cube -> c.cubes", "b.cube -> c.cubes")
    assert len(pipeline_of(nodes, *edges).edges) == 2
    with pytest.raises(PortError, match=r"edges\[2\] .*this edge is there twice"):
        pipeline_of(nodes, *edges, "a.cube -> c.cubes")


@pytest.mark.parametrize(
    ("edges", "cycle"),
    [
        (["a.cube -> a.cube"], "a -> a"),
        (["a.cube -> b.cube", "b.cube -> c.cube", "c.cube -> a.cube"], r"a -> b -> c -> a|b -> c -> a -> b|c -> a"),
    ],
)
def test_a_cycle_is_an_error_that_names_it(pipeline_of: PipelineOf, edges: list[str], cycle: str) -> None:
    """The nodes stand in the order of the edges."""
    with pytest.raises(PipelineError, match=f"The edges form a cycle: ({cycle})") as error:
        pipeline_of({"a": "Scale", "b": "Scale", "c": "Scale"}, *edges)
    assert " -> ".join(error.value.cycle) in error.value.message
    assert error.value.cycle[0] == error.value.cycle[-1]
