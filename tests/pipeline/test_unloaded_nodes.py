"""Pipelines that are looked at without the plugins of their nodes."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from cuvis_ai_core.errors import InvalidNodeError, NodeNotFoundError, NodeRunError, PipelineError, PortError
from cuvis_ai_core.node.dtypes import UNKNOWN
from cuvis_ai_core.pipeline import Pipeline

NODES: list[dict[str, Any]] = [
    {"name": "select", "class_name": "plants.nodes.Selector", "params": {"count": 3}},
    {"name": "detect", "class_name": "Detector"},
    {"name": "decide", "class_name": "QuantileDecider"},
]
EDGES = [
    {"source": "select.image", "target": "detect.image"},
    {"source": "detect.scores", "target": "decide.scores"},
]


def outline(nodes: list[dict[str, Any]] = NODES, edges: list[dict[str, str]] = EDGES, **more: Any) -> Pipeline:
    """Return the outline of a pipeline."""
    return Pipeline.from_dict({"nodes": nodes, "edges": edges, **more}, outline=True)


def test_nodes_that_are_not_loaded_have_the_ports_of_their_edges() -> None:
    """Of the type of the other end where that is loaded; the loaded node has all of its own."""
    pipeline = outline()
    assert list(pipeline.unloaded) == ["select", "detect"]
    assert pipeline.order == ("select", "detect", "decide")
    assert {name: str(port) for name, port in pipeline.outputs["detect"].items()} == {"scores": "floating [*, *, *, 1]"}
    assert pipeline.inputs["detect"]["image"].port.dtype == UNKNOWN
    assert list(pipeline.outputs["decide"]) == ["mask"]
    assert pipeline.required_inputs() == {}
    assert pipeline.unloaded["select"].class_name == "plants.nodes.Selector"
    assert isinstance(pipeline.unloaded["select"].reason, NodeNotFoundError)


def test_a_pipeline_names_the_plugins_that_its_file_asks_for() -> None:
    """In the order of the file, loaded or not; none where it says nothing."""
    assert outline(plugins=["plants", "adaclip"]).plugins == ("plants", "adaclip")
    assert outline().plugins == Pipeline("empty").plugins == ()


def test_an_output_for_several_kinds_of_inputs_is_of_unknown_type() -> None:
    """An input with several edges takes several; nothing is refused for what only the class knows."""
    nodes = [*NODES, {"name": "scale", "class_name": "MinMaxNormalizer"}]
    edges = [
        *EDGES,
        {"source": "detect.scores", "target": "scale.cube"},
        {"source": "scale.cube", "target": "detect.image"},
    ]
    pipeline = outline(nodes, edges[:-1])
    assert pipeline.outputs["detect"]["scores"].port.dtype == UNKNOWN
    several = outline(NODES, [*EDGES, {"source": "select.other", "target": "detect.image"}])
    assert several.inputs["detect"]["image"].port.variadic
    with pytest.raises(PipelineError, match="The edges form a cycle: "):
        outline(nodes, edges)


@pytest.mark.parametrize(
    ("nodes", "edges", "error", "text"),
    [
        (NODES, [{"source": "selekt.image", "target": "detect.image"}], PipelineError, "there is no node 'selekt'"),
        ([*NODES, NODES[0]], [], PipelineError, "Two nodes are named 'select'"),
        (NODES, [{"source": "detect.scores", "target": "decide.score"}], PortError, "has no input 'score'"),
        (NODES, [EDGES[0], EDGES[0]], PortError, "this edge is there twice"),
        ([{"name": "d", "class_name": "QuantileDecider", "params": {"q": 1}}], [], PipelineError, "no parameter 'q'"),
        ([{"name": "d", "class_name": "QuantileDecider", "params": {"quantile": 2}}], [], PipelineError, "quantile"),
        ([{"name": "d", "class_name": "pathlib.Path"}], [], InvalidNodeError, "pathlib.Path"),
    ],
)
def test_what_is_wrong_with_the_file_is_still_an_error(
    nodes: list[dict[str, Any]], edges: list[dict[str, str]], error: type[Exception], text: str
) -> None:
    """Only that a class is not there is none."""
    with pytest.raises(error, match=text):
        outline(nodes, edges)


def test_a_class_of_an_installed_distribution_is_not_imported_to_be_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is when the pipeline runs; so a broken one does no harm before."""
    (tmp_path / "broken_nodes.py").write_text("import nothing_of_that_name\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    nodes = [{"name": "b", "class_name": "broken_nodes.Node"}]
    assert list(outline(nodes, []).unloaded) == ["b"]
    with pytest.raises(InvalidNodeError, match="nothing_of_that_name"):
        Pipeline.from_dict({"nodes": nodes})


def test_a_class_may_be_called_anything() -> None:
    """Also what Python could not call one."""
    assert list(outline([{"name": "b", "class_name": "lab.a\0b"}], []).unloaded) == ["b"]


def test_an_outline_cannot_run() -> None:
    """The error is the one that a run would have begun with."""
    with pytest.raises((NodeNotFoundError, NodeRunError), match=r"plants\.nodes\.Selector"):
        outline().forward({})


def test_weights_of_nodes_that_are_not_loaded_are_not_read(tmp_path: Path) -> None:
    """A file beside the pipeline, even a broken one, is for those who run it."""
    file = tmp_path / "p.yaml"
    file.write_text(yaml.safe_dump({"nodes": NODES, "edges": EDGES}), encoding="utf-8")
    (tmp_path / "p.pt").write_bytes(b"no weights")
    assert len(Pipeline.load(file, outline=True, overrides=["nodes.select.params.count=4"]).unloaded) == 2
    with pytest.raises(NodeNotFoundError):
        Pipeline.load(file)


def test_an_outline_has_what_the_file_says() -> None:
    """Overrides and interpolations included, so that it can be written again."""
    pipeline = outline(metadata={"count": 3}, nodes=[{**NODES[0], "params": {"count": "${metadata.count}"}}], edges=[])
    assert pipeline.to_dict()["nodes"][0]["params"] == {"count": 3}


@pytest.mark.parametrize("kind", ["md", "svg", "png"])
def test_an_outline_is_drawn(tmp_path: Path, kind: str) -> None:
    """Nodes that are not loaded are marked."""
    if kind != "md" and shutil.which("dot") is None:
        return
    outline().draw(tmp_path / f"p.{kind}")
    if kind != "png":
        assert (tmp_path / f"p.{kind}").read_text(encoding="utf-8").count("not loaded") == 2


def test_published_files_of_the_first_generation_are_read() -> None:
    """Their name stands at the top, and a name of a node may be null among its parameters."""
    entry = {"name": "d", "class": "QuantileDecider", "params": {"quantile": 0.5, "name": None}}
    pipeline = Pipeline.from_dict({"name": "first", "nodes": [entry], "connections": []})
    assert (pipeline.name, pipeline.nodes["d"].name) == ("first", "d")
    assert "name" not in pipeline.to_dict()
