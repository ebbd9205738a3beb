"""Texts of files steer no terminal, turn no lines round, and are no marks in pictures and pages."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cuvis_ai_core._printable_text import shown, shown_in_line
from cuvis_ai_core.cli.main import main as cuvis_ai
from cuvis_ai_core.cli.restore.restore_pipeline import main as restore_pipeline
from cuvis_ai_core.cli.restore.restore_trainrun import main as restore_trainrun
from cuvis_ai_core.pipeline import Pipeline
from cuvis_ai_core.pipeline.drawing import markdown
from cuvis_ai_core.training.metrics_pictures import draw_losses, draw_matrix

Run = Callable[..., Any]

EVIL = "\x1b]52;c;ZXZpbA==\x07\u202e\x9b31m\u2066"
"""Sets the clipboard, turns the line round, colours what follows."""

_STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def _output(command: Any, *arguments: str | Path) -> str:
    """Return all that a command prints, as a terminal would get it."""
    return CliRunner().invoke(command, [str(each) for each in arguments], color=True, prog_name="command").output


@pytest.fixture
def pipeline(write_yaml: Run) -> Path:
    """Write a pipeline that has such texts wherever it can."""
    nodes = [
        {"name": f"n{EVIL}", "class_name": "QuantileDecider"},
        {"name": f"m{EVIL}", "class_name": f"lab.{EVIL}"},
    ]
    about = {"name": f"p{EVIL}", "description": EVIL}
    edges = [{"source": f"m{EVIL}.out{EVIL}", "target": f"n{EVIL}.scores"}]
    data = {"metadata": about, "plugins": [EVIL], "nodes": nodes, "edges": edges}
    path: Path = write_yaml("p.yaml", data)
    return path


def test_what_is_shown_of_a_pipeline(pipeline: Path) -> None:
    """Names, classes, ports, edges and descriptions; and the names of files."""
    output = _output(restore_pipeline, "--pipeline-path", pipeline)
    assert "n\\x1b]52;c;ZXZpbA==\\x07\\u202e\\x9b31m\\u2066" in output
    assert not _STEERS.search(output)
    pipeline.rename(f"{EVIL}.yaml")
    assert not _STEERS.search(_output(restore_pipeline, "--pipeline-path", f"{EVIL}.yaml", "--pipeline-vis-ext", "md"))


@pytest.mark.parametrize(
    "arguments",
    [
        (restore_pipeline, "--pipeline-path", EVIL),
        (restore_pipeline, "--pipeline-path", "p.yaml", "--override", f"nodes.{EVIL}=1"),
        (restore_pipeline, "--pipeline-path", "p.yaml", "--cube-path", EVIL),
        (restore_pipeline, f"--{EVIL}"),
        (restore_pipeline, "--pipeline-path", "p.yaml", "--measurement", EVIL),
        (restore_trainrun, "--trainrun-path", "t.yaml"),
        (restore_trainrun, "--trainrun-path", "t.yaml", "--mode", "train", "--debug"),
        (cuvis_ai, EVIL),
        (cuvis_ai, "nodes", "show", EVIL),
        (cuvis_ai, "plugins", EVIL),
        (cuvis_ai, "plugins", "list", "--plugins-path", "m.yaml"),
        (cuvis_ai, "nodes", "list", "--plugins-path", "m.yaml"),
        (cuvis_ai, "plugins", "list", "--plugins-path", "broken.yaml"),
    ],
)
def test_errors_and_listings(pipeline: Path, write_yaml: Run, arguments: tuple[Any, ...]) -> None:
    """Whatever is wrong with whatever file."""
    write_yaml("t.yaml", {"name": EVIL, "pipeline": "p.yaml", "data": {"cubes": EVIL}, "tags": {EVIL: EVIL}})
    declared = {"path": f"../{EVIL}", "provides": ["a.B"]}
    write_yaml("m.yaml", {"plugins": {"lab": declared}})
    write_yaml("broken.yaml", {"plugins": {EVIL: {**declared, EVIL: EVIL}}})
    command, *rest = arguments
    output = _output(command, *rest)
    assert output
    assert not _STEERS.search(output)


def test_a_name_adds_no_row_to_a_table(write_yaml: Run) -> None:
    """Its end of line is written out."""
    node = {"name": "n\nm  QuantileDecider  built in", "class_name": "QuantileDecider"}
    path = write_yaml("p.yaml", {"nodes": [node]})
    assert "n\\nm  QuantileDecider" in _output(restore_pipeline, "--pipeline-path", path)


def test_a_name_adds_no_line_to_a_description(write_yaml: Run) -> None:
    """Neither that of a pipeline or a trainrun, nor of a node, a class or a folder."""
    evil = "n\nTrained weights: checked"
    nodes = [{"name": evil, "class_name": "QuantileDecider"}, {"name": "m", "class_name": "QuantileDeciders\nTo: x"}]
    edges = [{"source": f"m.{evil}", "target": f"{evil}.scores"}]
    path = write_yaml("p.yaml", {"metadata": {"name": evil}, "nodes": nodes, "edges": edges})
    run = write_yaml("t.yaml", {"name": evil, "pipeline": f"{evil}.yaml", "data": {"cubes": "x"}, "output_dir": evil})
    for output in (
        _output(restore_pipeline, "--pipeline-path", path),
        _output(restore_trainrun, "--trainrun-path", run),
    ):
        assert "n\\nTrained weights: checked" in output
        assert not re.search("^(Trained weights: checked|To: x)", output, re.MULTILINE)


def test_passwords_are_not_shown(shell: Run, pipeline: Path) -> None:
    """Wherever an address stands in what is said."""
    found = shell("restore-pipeline", "--pipeline-path", pipeline, "--override", "https://me:hunter2@host/p.yaml")
    assert "is no override" in found.output
    assert "hunter2" not in found.output


def test_names_are_no_marks_in_pictures(tmp_path: Path) -> None:
    """Neither HTML or links in Markdown, nor formulas in a title."""
    name = "<img src=x onerror=alert(1)> ![a](http://x) `b` $\\frac$"
    page = markdown(
        Pipeline.from_dict(
            {"metadata": {"name": name}, "nodes": [{"name": f"<b>{EVIL}", "class_name": "QuantileDecider"}]}
        )
    )
    assert "<img" not in page
    assert "](" not in page.splitlines()[0]
    assert "<b>" not in page
    assert not _STEERS.search(page)
    pytest.importorskip("matplotlib")
    draw_losses(tmp_path / "a.png", [{"epoch": 1, "train_loss": 1.0}], name)
    draw_matrix(tmp_path / "b.png", np.eye(2), ["$\\frac$", "$"], name)


@given(st.text())
def test_any_text_can_be_shown(text: str) -> None:
    """Nothing of it steers, and what is harmless stays."""
    assert not _STEERS.search(shown(text))
    assert len(shown_in_line(text).splitlines()) <= 1
    assert shown("Größe 3 µm, 中文, 🙂\tx\ny") == "Größe 3 µm, 中文, 🙂\tx\ny"
