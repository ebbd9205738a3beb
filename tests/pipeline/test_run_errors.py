"""What an error of a run says: whole sentences for people, and fields for programs."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.errors import NodeRunError, PipelineError, PortError
from cuvis_ai_core.pipeline import Pipeline
from cuvis_ai_core.pipeline.execution.run_request import stage_of_run, unread_outputs

PipelineOf = Callable[..., Pipeline]
MakeClass = Callable[..., type]

CUBE = PortSpec(np.float32, (-1, -1, -1, -1))
HALF = PortSpec(np.float16, (-1, -1, -1, -1))


def fields(error: Any) -> tuple[object, ...]:
    """Return what an error says for programs."""
    return tuple(getattr(error, name, None) for name in ("node", "port", "stage"))


@pytest.mark.parametrize(
    ("given", "listed"), [([], "nothing"), (["z", "y", "x"], "x, y, z"), ([("a", "first")], "a.first")]
)
def test_the_first_input_that_is_missing_is_that_of_the_error(
    pipeline_of: PipelineOf, make_class: MakeClass, given: list[Any], listed: str
) -> None:
    """What was handed in is listed in order."""
    make_class("Two", lambda self, first, second: {}, {"first": CUBE, "second": CUBE})
    with pytest.raises(PortError) as caught:
        pipeline_of({"a": "Two", "b": "Two"}).forward(dict.fromkeys(given, np.ones((1, 1, 1, 1), np.float32)))
    first = "second" if ("a", "first") in given else "first"
    assert fields(caught.value)[:2] == ("a", first)
    assert f"\nHanded in: {listed}." in caught.value.message


@pytest.mark.parametrize(("key", "port"), [("a.cub", "cub"), (("a", "cub"), "cub"), ("a.b.c", "b.c")])
def test_an_input_that_is_not_there_is_told_by_node_and_port(
    pipeline_of: PipelineOf, make_class: MakeClass, cube: Any, key: Any, port: str
) -> None:
    """And where no node has any, that is said."""
    with pytest.raises(PortError) as caught:
        pipeline_of({"a": "Scale"}).forward({"cube": cube, key: cube})
    assert (*fields(caught.value)[:2], caught.value.hint) == ("a", port, "Inputs: a.cube.")
    make_class("Source", lambda self: {})
    with pytest.raises(PortError) as caught:
        pipeline_of({"a": "Source"}).forward({key: cube})
    assert caught.value.hint == "Inputs: none."


@pytest.mark.parametrize(("answer", "runs"), [(True, True), (1, True), ("yes", True), (0, False), (None, False)])
def test_what_a_class_of_its_own_says_of_stages_is_taken_as_python_takes_it(
    pipeline_of: PipelineOf, make_class: MakeClass, cube: Any, answer: object, *, runs: bool
) -> None:
    """It need not be a truth value: NumPy's are none either."""
    made = make_class("Chooses", lambda self, cube: {"cube": cube}, {"cube": CUBE}, {"cube": CUBE})
    made.should_execute = lambda self, stage: answer  # type: ignore[attr-defined]
    assert bool(pipeline_of({"a": "Chooses"}).forward({"cube": cube})) is runs


@pytest.mark.parametrize(
    ("graph", "readers", "said"),
    [
        ({"w": "Writes"}, ["whoever handed in 'cube'"], " Whoever handed in 'cube' has the same values."),
        (
            {"w": "Writes", "s": "Scale"},
            ["whoever handed in 'cube'", "node 's'"],
            " Whoever handed in 'cube' and node 's' have the same values.",
        ),
        (
            {"w": "Writes", "s": "Scale", "t": "Scale"},
            ["whoever handed in 'cube'", "node 's'", "node 't'"],
            " Whoever handed in 'cube', node 's' and node 't' have the same values.",
        ),
    ],
)
def test_who_has_what_a_node_writes_into_is_said_in_a_sentence(
    pipeline_of: PipelineOf, make_class: MakeClass, cube: Any, graph: dict[str, str], readers: list[str], said: str
) -> None:
    """Each once, those first from whom it comes, in words and for programs."""

    def forward(self: object, cube: Any) -> dict[str, Any]:
        cube[0] = 0
        return {"cube": cube}

    make_class("Writes", forward, {"cube": CUBE}, {"cube": CUBE})
    with pytest.raises(NodeRunError) as caught:
        pipeline_of(graph).forward({"cube": cube}, stage="val")
    error: Any = caught.value
    assert fields(error) == ("w", "cube", "val")
    assert list(error.readers) == readers
    assert error.message.startswith("Node 'w' writes into its input 'cube' (")
    assert error.message.endswith(f").{said}")
    assert error.place in error.message
    assert "test_run_errors.py" in error.place


def test_who_made_what_a_node_writes_into_is_said_once(
    pipeline_of: PipelineOf, make_class: MakeClass, cube: Any
) -> None:
    """Behind whom it comes from in the first place, and before the result that it would have changed."""

    def writes(self: object, cube: Any) -> dict[str, Any]:
        cube[0] = 0
        return {}

    make_class("Passes", lambda self, cube: {"cube": cube}, {"cube": CUBE}, {"cube": CUBE})
    make_class("Writes", writes, {"cube": CUBE})
    with pytest.raises(NodeRunError) as caught:
        pipeline_of({"p": "Passes", "w": "Writes"}, "p.cube -> w.cube").forward({"cube": cube})
    error: Any = caught.value
    assert list(error.readers) == ["whoever handed in 'cube'", "node 'p'", "the result 'p.cube'"]
    assert error.hint.endswith("Write into a copy: cube = cube.copy()")


def test_the_greatest_loss_of_all_values_is_said(
    pipeline_of: PipelineOf, make_class: MakeClass, caplog: pytest.LogCaptureFixture
) -> None:
    """One value of many is enough; one that is too large is an error with node and port."""
    make_class("Half", lambda self, cube: {"cube": cube}, {"cube": HALF}, {"cube": HALF})
    pipeline = pipeline_of({"h": "Half"})
    values = np.ones((1, 100, 100, 1))
    values[0, 50, 50, 0] = 1.0004
    pipeline.forward({"cube": values})
    assert "makes a relative error of up to 4.0e-04" in caplog.text
    values[0, 0, 0, 0] = 1e6
    with pytest.raises(PortError, match="values are too large for float64 as float16") as caught:
        pipeline.forward({"cube": values})
    assert fields(caught.value)[:2] == ("h", "cube")
    assert "declare the port as float64 or np.floating" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("returned", "problem", "port", "hint"),
    [
        ({}, "did not return its output 'one'", "one", "forward returned an empty dict."),
        ({"two": 1}, "did not return its output 'one'", "one", "forward returned two."),
        ({"one": 1, "two": 1, "z": 1, "y": 1}, "returned what is no output of it: 'y'", "y", "returned one, two, z, y"),
        (7, "returned an object of type int; `forward` returns a dict", None, "Write: return {'one': ..., 'two': ...}"),
    ],
)
def test_outputs_that_are_not_those_declared_are_told_by_name(
    pipeline_of: PipelineOf, make_class: MakeClass, returned: Any, problem: str, port: str | None, hint: str
) -> None:
    """The first in the alphabet, with the line where `forward` begins."""
    ports = dict.fromkeys(("one", "two"), PortSpec(int, ()))
    make_class("Returns", lambda self: returned, {}, ports)
    with pytest.raises(PortError) as caught:
        pipeline_of({"n": "Returns"}).forward({})
    error: Any = caught.value
    assert problem in error.message
    assert hint in error.hint
    assert fields(error)[:2] == ("n", port)
    assert "test_run_errors.py" in error.place


def test_a_node_that_fails_says_what_it_was_given(pipeline_of: PipelineOf, make_class: MakeClass, cube: Any) -> None:
    """With stage and place for programs; without inputs, that there were none."""

    def forward(self: object, **given: Any) -> dict[str, Any]:
        raise ValueError("too bright")

    def sees(self: object, cube: Any) -> dict[str, Any]:
        raise ValueError("too bright")

    make_class("Blind", forward)
    make_class("Sees", sees, {"cube": CUBE})
    for name, inputs in {"Blind": "none", "Sees": "cube float32 [1, 2, 2, 3]"}.items():
        with pytest.raises(NodeRunError, match=r"Node 'n' failed in stage 'test': .*too bright") as caught:
            pipeline_of({"n": name}).forward({"cube": cube}, stage="test")
        error: Any = caught.value
        assert error.hint == f"Its inputs: {inputs}."
        assert fields(error)[::2] == ("n", "test")
        assert "test_run_errors.py" in error.place


def test_outputs_that_are_named_are_kept_beside_those_that_nobody_reads(pipeline_of: PipelineOf) -> None:
    """A port's name means that of every node that has one; a name that is none stays, and is refused later."""
    graph = pipeline_of({"a": "Scale", "b": "Scale"}, "a.cube -> b.cube")._graph
    last, both = ("b", "cube"), {("a", "cube"), ("b", "cube")}
    assert unread_outputs(graph, "inference", None) == {last}
    assert unread_outputs(graph, "inference", None, ["cube"]) == both
    assert unread_outputs(graph, "inference", None, ["a.cube"]) == {last, "a.cube"}
    assert unread_outputs(graph, "inference", "b") == {("a", "cube")}
    assert unread_outputs(graph, "inference", graph.nodes["b"]) == {("a", "cube")}


@pytest.mark.parametrize("node", ["scal", object()])
def test_a_node_that_is_not_there_is_named(pipeline_of: PipelineOf, cube: Any, node: object) -> None:
    """With those that are."""
    with pytest.raises(PipelineError, match="The pipeline has no node") as caught:
        pipeline_of({"scale": "Scale", "b": "Scale"}).forward({"cube": cube}, upto_node=node)
    assert caught.value.hint == "Nodes of this pipeline: scale, b."
    assert getattr(caught.value, "node", None) == (node if isinstance(node, str) else None)


def test_an_output_that_is_not_there_is_told_by_node_and_port(pipeline_of: PipelineOf, make_class: MakeClass) -> None:
    """And where there are none at all, that is said."""
    make_class("Silent", lambda self: {})
    with pytest.raises(PortError) as caught:
        pipeline_of({"n": "Silent"}).forward({}, keep_ports=["n.seen"])
    assert (*fields(caught.value)[:2], caught.value.hint) == ("n", "seen", "Outputs: none.")
    make_class("Surprising", lambda self: {"seen": 1})
    with pytest.raises(PortError) as caught:
        pipeline_of({"n": "Surprising"}).forward({})
    assert "OUTPUT_SPECS declares no outputs; forward returned seen." in str(caught.value.hint)


@pytest.mark.parametrize(
    ("dtype", "value", "told"),
    [
        (np.uint16, np.full((1, 1, 1, 1), 0.5), True),
        (np.uint16, np.full((1, 1, 1), 7), False),
        (np.float32, np.full((1, 1, 1), 0.5), False),
        (bool, np.full((1, 1, 1, 1), 0.5), False),
    ],
)
def test_what_to_do_about_numbers_that_are_not_whole_is_said_where_that_is_wrong(
    pipeline_of: PipelineOf, make_class: MakeClass, dtype: Any, value: Any, *, told: bool
) -> None:
    """Not where it is the shape, or where the input takes no integers."""
    make_class("Takes", lambda self, cube: {}, {"cube": PortSpec(dtype, (-1, -1, -1, -1))})
    with pytest.raises(PortError, match="Input 'cube' of node 'n': got") as caught:
        pipeline_of({"n": "Takes"}).forward({"cube": value})
    assert ("no whole numbers" in str(caught.value.hint)) is told
    assert fields(caught.value)[:2] == ("n", "cube")


def test_no_wavelengths_for_no_image_are_no_row(pipeline_of: PipelineOf, make_class: MakeClass) -> None:
    """They are refused as what they are."""
    make_class("Bands", lambda self, wavelengths: {}, {"wavelengths": PortSpec(np.float64, (-1,))})
    with pytest.raises(PortError, match=r"got float64 \[0, 3\]"):
        pipeline_of({"n": "Bands"}).forward({"wavelengths": np.empty((0, 3))})


def test_a_stage_beside_a_context_of_another_says_what_to_leave_out() -> None:
    """Either says it alone; where both say the same, it is that."""
    context: Any = SimpleNamespace(stage="val")
    assert [stage_of_run(*each) for each in ((None, None), ("test", None), (None, context), ("val", context))] == [
        "inference",
        "test",
        "val",
        "val",
    ]
    with pytest.raises(PipelineError, match="The stage is 'test', and that of the context is 'val'") as caught:
        stage_of_run("test", context)
    assert caught.value.hint == "Leave out the stage: the context has it."
    with pytest.raises(PipelineError, match="The context is 'val'; it must be") as caught:
        stage_of_run(None, "val")
    assert caught.value.hint == "A stage alone is given as stage='train'."
