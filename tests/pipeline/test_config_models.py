from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.errors import PipelineError
from cuvis_ai_core.pipeline.file.endpoint_texts import parse_endpoint
from cuvis_ai_core.pipeline.file.reader import EXAMPLE, parse_config, read_config

NODE = {"name": "a", "class_name": "Scale"}
WRITTEN = {
    "metadata": {"name": "p"},
    "nodes": [
        {"name": "a", "class_name": "Scale", "params": {"factor": 2}},
        {"name": "b", "class_name": "Scale", "params": {}},
    ],
    "edges": [{"source": "a.outputs.cube", "target": "b.inputs.cube"}],
}
FIRST_GENERATION = """
frozen_nodes: []
metadata: {name: p}
nodes:
  - {name: a, class: Scale, params: {factor: 2}}
  - {name: b, class: Scale, params: }
connections:
  - {from: a.outputs.cube, to: b.inputs.cube}
"""
SECOND_GENERATION = """
metadata: {name: p}
nodes:
  - {name: a, class_name: Scale, hparams: {factor: 2}}
  - {name: b, class_name: Scale, hparams: {}}
connections:
  - {source: a.outputs.cube, target: b.inputs.cube}
"""
OURS = """
metadata: {name: p}
nodes:
  - {name: a, class_name: Scale, params: {factor: 2}}
  - {name: b, class_name: Scale}
edges:
  - {source: a.cube, target: b.cube}
"""


@pytest.mark.parametrize("text", [FIRST_GENERATION, SECOND_GENERATION, OURS])
def test_every_published_spelling_is_read_and_one_is_written(text: str, tmp_path: Path) -> None:
    """Three generations of files say the same."""
    file = tmp_path / "p.yaml"
    file.write_text(text)
    assert read_config(file).to_dict() == WRITTEN


def test_what_is_written_is_read_again() -> None:
    """The round trip is exact, names of plugins included."""
    with_plugins = {**WRITTEN, "plugins": ["adaclip"]}
    for written in (WRITTEN, with_plugins):
        assert parse_config(written).to_dict() == written


def test_metadata_are_free() -> None:
    """Any key may stand there."""
    metadata = {"name": "p", "tags": ["x"], "mine": {"deep": 1}}
    assert parse_config({"metadata": metadata, "nodes": [NODE]}).metadata == metadata


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (None, "is empty"),
        ([], "is a list"),
        ("nodes", "is a single text"),
        ({}, "nodes: is missing"),
        ({"nodes": None}, "nodes: must be a list"),
        ({"nodes": []}, "nodes: must not be empty"),
        ({"nodes": {"a": NODE}}, "nodes: must be a list"),
        ({"nodes": ["a"]}, r"nodes\[0\]: must be a mapping, not 'a'"),
        ({"nodes": [{"name": "a"}]}, r"nodes\[0\]\.class_name: is missing"),
        ({"nodes": [{"class": "Scale"}]}, r"nodes\[0\]\.name: is missing"),
        ({"nodes": [NODE], "frozen_nodes": ["a"]}, "a trainrun names them, in freeze_nodes"),
        ({"nodes": [{**NODE, "name": ""}]}, r"nodes\[0\]\.name: must not be empty"),
        ({"nodes": [{**NODE, "name": 1}]}, r"nodes\[0\]\.name: must be text, not 1 \(put it in quotes\)"),
        ({"nodes": [{**NODE, "name": "a.b"}]}, r"'a\.b' is no node name: it has no dot"),
        ({"nodes": [{**NODE, "class": "Scale"}]}, "both 'class' and 'class_name'"),
        ({"nodes": [{**NODE, "params": {}, "hparams": {}}]}, "both 'hparams' and 'params'"),
        ({"nodes": [{**NODE, "params": []}]}, r"params: must be a mapping, not \[\]"),
        ({"nodes": [{**NODE, "params": {1: 2}}]}, r"params\[1\]: must be text"),
        ({"nodes": [{**NODE, "parms": {}}]}, r"parms: is an unknown key; did you mean 'params'\?"),
        ({"nodes": [{**NODE, "zzz": {}}]}, "zzz: is an unknown key; known keys are name, class_name, params"),
        ({"nodes": [NODE], "conections": []}, r"conections: is an unknown key; did you mean 'connections'\?"),
        ({"nodes": [NODE], 1: 2}, r"\[1\]: must be text"),
        ({"nodes": [NODE], "edges": [], "connections": []}, "both 'connections' and 'edges'"),
        ({"nodes": [NODE], "edges": [{"from": "a.x"}]}, r"edges\[0\]\.target: is missing"),
        (
            {"nodes": [NODE], "edges": [{"from": "a.x", "source": "a.x", "to": "b.x"}]},
            "both 'from' and 'source'",
        ),
        (
            {"nodes": [NODE], "edges": [{"to": "a.x", "target": "a.x", "source": "b.x"}]},
            "both 'to' and 'target'",
        ),
        (
            {"nodes": [NODE], "edges": [{"from": "a.inputs.x", "to": "b.x"}]},
            r"edges\[0\]\.source: .*wrong side",
        ),
        (
            {"nodes": [NODE], "edges": [{"from": "a.x", "to": "b.outputs.x"}]},
            r"edges\[0\]\.target: .*wrong side",
        ),
        ({"nodes": [NODE], "plugins": "adaclip"}, "plugins: must be a list"),
        ({"nodes": [NODE], "metadata": "p"}, "metadata: must be a mapping"),
    ],
)
def test_a_bad_file_is_an_error_with_key_rule_and_example(config: Any, problem: str) -> None:
    """The message has the file, the key and the rule; a short example follows."""
    with pytest.raises(PipelineError, match=problem) as error:
        parse_config(config, path=Path("p.yaml"))
    assert "Pipeline file p.yaml" in str(error.value)
    assert "A pipeline file looks like this" in str(error.value)
    assert error.value.path == Path("p.yaml")


def test_all_problems_are_named_at_once_up_to_a_handful() -> None:
    """Whoever mends a file sees more than the first problem, and no wall of text."""
    with pytest.raises(PipelineError) as error:
        parse_config({"nodes": [{} for _ in range(4)]})
    text = str(error.value)
    assert "nodes[0].name" in text
    assert "nodes[1].class_name" in text
    assert "... and 3 more" in text


def test_a_problem_has_the_line_of_its_key() -> None:
    """Where the key is not in the file, it is the line of what is around it."""
    lines = {("nodes", 0): 3, ("nodes",): 2}
    with pytest.raises(PipelineError, match=r"line 3: nodes\[0\]\.class_name: is missing"):
        parse_config({"nodes": [{"name": "a"}]}, line_of=lambda *keys: lines.get(keys))


@pytest.mark.parametrize(
    "endpoint", ["", "a", "a.", ".x", "a..x", "a.outputs.", ".outputs.x", "a.b.c", "a.outputs.x.y"]
)
def test_what_is_no_endpoint_is_an_error(endpoint: str) -> None:
    """The message says how an endpoint is written."""
    with pytest.raises(ValueError, match=r"is no port: write 'node\.outputs\.port' or 'node\.port'"):
        parse_endpoint(endpoint, "outputs")


@pytest.mark.parametrize("endpoint", ["a.x", "a.inputs.x"])
def test_an_endpoint_is_a_node_and_a_port(endpoint: str) -> None:
    """The side may be left out."""
    assert parse_endpoint(endpoint, "inputs") == ("a", "x")


def test_a_node_may_be_named_like_a_side() -> None:
    """Two parts are always node and port."""
    assert parse_endpoint("outputs.x", "inputs") == ("outputs", "x")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"nodes": []}, "Pipeline: nodes: must not be empty"),
        ({"nodes": "x" * 100}, "Pipeline: nodes: must be a list, not '" + "x" * 59),
        (True, "Pipeline is a truth value; it must be a mapping with the key 'nodes'."),
        ("a", "Pipeline is a single text; it must be a mapping with the key 'nodes'."),
        (None, "Pipeline is empty; it must be a mapping with the key 'nodes'."),
        (7, "Pipeline is a int; it must be a mapping with the key 'nodes'."),
        (
            {"nodes": [{"name": " a", "class_name": "A"}]},
            "Pipeline: nodes[0].name: ' a' is no node name: it has no dot and no blank at its ends",
        ),
        (
            {"nodes": [{"name": "a.b", "class_name": "A"}]},
            "Pipeline: nodes[0].name: 'a.b' is no node name: it has no dot and no blank at its ends",
        ),
        ({"nodes": 1, "edges": 2}, "Pipeline: \n  nodes: must be a list, not 1\n  edges: must be a list, not 2"),
        (
            {"nodes": [1, 2, 3], "edges": [4, 5, 6, 7]},
            "Pipeline: "
            + "".join(f"\n  nodes[{number}]: must be a mapping, not {number + 1}" for number in range(3))
            + "\n  edges[0]: must be a mapping, not 4\n  edges[1]: must be a mapping, not 5\n  ... and 2 more",
        ),
    ],
)
def test_problems_of_a_file_are_said_in_one_sentence_or_a_line_each(data: object, text: str) -> None:
    """Five at most, with how many more there are; of a long value so much as fits a line."""
    with pytest.raises(PipelineError) as caught:
        parse_config(data)
    assert (caught.value.message, caught.value.hint) == (text, EXAMPLE)


@pytest.mark.parametrize(
    ("params", "kept"),
    [({"name": None}, {}), ({"name": "x"}, {"name": "x"}), ({"name": ""}, {"name": ""}), ({"x": None}, {"x": None})],
)
def test_a_name_among_parameters_is_left_out_where_it_is_null(params: dict[str, Any], kept: dict[str, Any]) -> None:
    """Any other parameter, and any other name, is the class's own matter."""
    node = {"name": "n", "class_name": "N", "params": params}
    assert parse_config({"nodes": [node]}).nodes[0].params == kept


@pytest.mark.parametrize(
    ("data", "metadata"),
    [
        ({"name": "top"}, {"name": "top"}),
        ({"name": "top", "metadata": {"name": "own", "x": 1}}, {"name": "own", "x": 1}),
        ({"name": "top", "metadata": None}, {"name": "top"}),
        ({"name": None, "metadata": {"x": 1}}, {"x": 1}),
    ],
)
def test_a_name_at_the_top_is_one_where_the_metadata_have_none(data: dict[str, Any], metadata: dict[str, Any]) -> None:
    """As published files of the first generation have it."""
    assert parse_config({**data, "nodes": [{"name": "n", "class_name": "N"}]}).metadata == metadata


def test_an_interpolation_that_leads_nowhere_says_what_one_means(tmp_path: Path) -> None:
    """With the file, and with an explanation of its own instead of a whole example."""
    pytest.importorskip("omegaconf")
    with pytest.raises(PipelineError, match=r"Pipeline file .*: nodes: Interpolation key 'x' not found") as caught:
        parse_config({"nodes": "${x}"}, path=tmp_path)
    assert str(caught.value.hint).startswith("${a.b} is the value of key 'b'")
    assert caught.value.path == tmp_path
