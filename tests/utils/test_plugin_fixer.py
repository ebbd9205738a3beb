"""The published command that names in a pipeline file the plugins that its nodes come from."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cuvis_ai_core.plugins.manifest_folders import BUILTIN
from cuvis_ai_core.utils.plugin_fixer import (
    reorder_pipeline_with_plugins,
    suggest_plugins_field,
    suggest_plugins_fix_cli,
)

PIPELINE = "metadata: {name: belt}\nnodes:\n- {name: a, class_name: lab_belt.Sorter}\nconnections: []\n"


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """Return a pipeline file that names no plugins, below a folder of manifests."""
    (tmp_path / "configs" / "plugins").mkdir(parents=True)
    manifest = {"name": "belt", "path": "../belt", "capabilities": [{"class_name": "lab_belt.Sorter"}]}
    (tmp_path / "configs" / "plugins" / "belt.yaml").write_text(yaml.safe_dump(manifest))
    (tmp_path / "configs" / "belt.yaml").write_text(PIPELINE)
    return tmp_path / "configs" / "belt.yaml"


def suggest(*arguments: str) -> int:
    """Run the command, and return its exit code."""
    return suggest_plugins_fix_cli(list(arguments))


def test_arguments_are_those_of_the_process_where_none_are_given(
    pipeline: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As an entry point calls it; what is wrong with them is a code too."""
    monkeypatch.setattr(sys, "argv", ["suggest-plugins-fix", "--pipeline-path", str(pipeline)])
    assert suggest_plugins_fix_cli() == 0
    assert "plugins:\n- belt\n" in capsys.readouterr().out
    assert (suggest("--help"), suggest(), suggest("--pipeline-path", "no.yaml")) == (0, 2, 2)


def test_plugins_are_suggested(pipeline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a whole file, as what changes, or as JSON with both; the file stays as it is."""
    assert suggest("--pipeline-path", str(pipeline)) == 0
    text = capsys.readouterr().out
    assert yaml.safe_load(text) == {**yaml.safe_load(PIPELINE), "plugins": ["belt"]}
    assert suggest("--pipeline-path", str(pipeline), "--output", "diff") == 0
    assert "\n+- belt\n" in capsys.readouterr().out
    folder = pipeline.parent / "plugins"
    assert suggest("--pipeline-path", str(pipeline), "--plugins-dir", str(folder), "--output", "json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["pipeline"], answer["plugins"]) == (str(pipeline), ["belt"])
    assert pipeline.read_text() == PIPELINE
    pipeline.write_text(text)
    assert suggest("--pipeline-path", str(pipeline)) == 0
    told = capsys.readouterr()
    assert (told.out, "names its plugins already: belt" in told.err) == ("", True)


@pytest.mark.parametrize(
    ("nodes", "names"),
    [
        (None, []),
        ([], []),
        ([{"class_name": "lab_belt.Sorter"}, {"class": "lab_belt.Sorter"}], ["belt"]),
        ([{"class": "lab_belt.Sorter"}, {"class_name": "cuvis_ai.node.X"}], [BUILTIN, "belt"]),
        ([{"class_name": "cuvis_ai_core.X"}, {"class_name": "lab.Other"}, {}], []),
    ],
)
def test_which_plugins_nodes_come_from(pipeline: Path, nodes: Any, names: list[str]) -> None:
    """Each once, the catalogue before others; what no manifest names is left out."""
    content = {"nodes": nodes, "plugins": ["old"], "metadata": {"name": "x"}, "connections": []}
    found, answer = suggest_plugins_field(None, content, [str(pipeline.parent / "plugins")])
    assert found == names
    assert list(answer.items()) == [
        ("metadata", {"name": "x"}),
        ("plugins", names),
        ("nodes", nodes),
        ("connections", []),
    ]
    assert list(reorder_pipeline_with_plugins({"nodes": nodes}, names)) == ["plugins", "nodes"]


def test_a_file_that_is_no_pipeline_is_an_error(pipeline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of one line."""
    for content in ("- 1\n", "a: [\n", "plugins: [1]\n", "plugins: 5\n", "nodes: 5\n", "nodes: [1]\n"):
        pipeline.write_text(content)
        assert suggest("--pipeline-path", str(pipeline)) == 1
        assert capsys.readouterr().err.startswith("Error: ")


def test_names_steer_no_terminal(pipeline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a file calls its plugins is shown with controls written out."""
    pipeline.write_text('plugins: ["a\\e]52;c;x\\a"]\n')
    assert suggest("--pipeline-path", str(pipeline)) == 0
    told = capsys.readouterr()
    assert "\x1b" not in told.err + told.out
    assert r"a\x1b]52;c;x\x07" in told.err
