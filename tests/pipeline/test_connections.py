"""Pipelines of nodes that are at hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.errors import PipelineError, PortError
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.pipeline import Pipeline

CUBE = PortSpec(np.float32, (-1, -1, -1, -1))


class Times(ArrayNode):
    """The cube times a factor."""

    INPUT_SPECS = {"cube": CUBE}  # noqa: RUF012
    OUTPUT_SPECS = {"product": CUBE}  # noqa: RUF012

    def __init__(self, factor: float = 2.0, **base: Any) -> None:
        super().__init__(factor=factor, **base)

    def forward(self, cube: Any) -> dict[str, Any]:
        """Return the product."""
        return {"product": cube * np.float32(self.hparams["factor"])}


class Watch(Times):
    """Times, in stages that its class alone decides on."""

    def __init__(self, **base: Any) -> None:
        super().__init__(execution_stages={"val", "test"}, **base)


def times(**arguments: Any) -> Any:
    """Return a node, whose ports no type checker knows."""
    return Times(**arguments)


def test_nodes_are_connected_port_by_port(cube: Any) -> None:
    """By their sides, or by the name of the port alone; several at once or one after the other."""
    first, second, third = times(name="first"), times(factor=3, name="second"), times(name="third")
    pipeline = Pipeline("mine")
    assert (pipeline.name, len(pipeline.nodes)) == ("mine", 0)
    assert pipeline.connect((first.outputs.product, second.inputs.cube)) is pipeline
    pipeline.forward({"cube": cube})
    pipeline.connect((second.product, third.cube))
    answer = pipeline.forward({"cube": cube})
    np.testing.assert_array_equal(answer["third", "product"], cube * 12)
    assert dict(pipeline.nodes.items()) == {"first": first, "second": second, "third": third}
    assert pipeline.order == ("first", "second", "third")


def test_names_that_are_taken_get_counters(cube: Any) -> None:
    """As in published files."""
    nodes = [times(), times(factor=3), times(factor=4)]
    pipeline = Pipeline().connect((nodes[0].product, nodes[1].cube), (nodes[0].product, nodes[2].cube))
    assert list(pipeline.nodes.keys()) == ["Times", "Times-1", "Times-2"]
    np.testing.assert_array_equal(pipeline.forward({"cube": cube})["Times-2", "product"], cube * 8)


def test_what_was_connected_can_be_saved_and_loaded(tmp_path: Path, cube: Any) -> None:
    """With parameters, and with stages where they are not the usual ones."""
    first, second = times(factor=5, name="first"), times(name="second", execution_stages=["train"])
    pipeline = Pipeline("mine").connect((first.product, second.cube))
    assert pipeline.to_dict() == {
        "metadata": {"name": "mine"},
        "nodes": [
            {"name": "first", "class_name": f"{__name__}.Times", "params": {"factor": 5}},
            {
                "name": "second",
                "class_name": f"{__name__}.Times",
                "params": {"factor": 2.0, "execution_stages": ["train"]},
            },
        ],
        "edges": [{"source": "first.outputs.product", "target": "second.inputs.cube"}],
    }
    pipeline.save(tmp_path / "mine.yaml")
    again = Pipeline.load(tmp_path / "mine.yaml")
    assert again.to_dict() == pipeline.to_dict()
    assert list(again.forward({"cube": cube})) == [("first", "product")]


def test_stages_that_a_class_decides_on_are_not_written(tmp_path: Path) -> None:
    """They would reach its constructor twice; given or assigned ones are written, the usual ones of the base too."""
    own, given, assigned = Watch(name="own"), times(name="given", execution_stages=["always"]), times(name="assigned")
    assigned.execution_stages = {"train"}
    pipeline = Pipeline("mine").connect((own.outputs.product, given.inputs.cube), (given.product, assigned.cube))
    pipeline.save(tmp_path / "mine.yaml")
    written = [node["params"].get("execution_stages") for node in pipeline.to_dict()["nodes"]]
    assert written == [None, ["always"], ["train"]]
    again = Pipeline.load(tmp_path / "mine.yaml")
    assert [node.execution_stages for node in again.nodes()] == [{"val", "test"}, {"always"}, {"train"}]


def test_a_connection_that_is_none_changes_nothing() -> None:
    """The message says what to write."""
    first, second = times(name="first"), times(name="second")
    pipeline = Pipeline().connect((first.product, second.cube))
    before = pipeline.to_dict()
    third, dotted = times(name="third"), times(name="a.b")
    wrong: list[tuple[Any, str]] = [
        ((second.cube, first.product), "runs from an input to an output"),
        ((first, second), "is no pair of an output port and an input port"),
        (first.product, "is no pair of an output port and an input port"),
        ((dotted.product, third.cube), r"Node 'a\.b' cannot join a pipeline: 'a\.b' is no node name"),
        ((second.product, first.cube), "The edges form a cycle"),
    ]
    for connection, problem in wrong:
        with pytest.raises(PipelineError, match=problem):
            pipeline.connect((second.product, third.cube), connection)
        assert pipeline.to_dict() == before
    with pytest.raises(PortError, match=r"input 'second\.cube' takes one edge and has one already"):
        pipeline.connect((third.product, second.cube))
    assert (pipeline.to_dict(), list(pipeline.nodes.keys())) == (before, ["first", "second"])


def test_an_empty_pipeline_runs_and_is_not_saved(tmp_path: Path) -> None:
    """A file has one node at least."""
    assert Pipeline("mine").forward({}) == {}
    with pytest.raises(PipelineError, match="The pipeline has no nodes"):
        Pipeline("mine").save(tmp_path / "mine.yaml")
    assert list(tmp_path.iterdir()) == []
