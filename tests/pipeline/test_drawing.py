"""Pictures of the graph."""

import io
import re
import shutil
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cuvis_ai_core.errors import MissingExtraError, PipelineError
from cuvis_ai_core.pipeline import Pipeline

PipelineOf = Callable[..., Pipeline]
MakeClass = Callable[..., type]


@pytest.fixture
def pipeline(pipeline_of: PipelineOf, make_class: MakeClass) -> Pipeline:
    """A pipeline of odd names, several ports, fan-in, and a node of one stage."""
    ports = {"a<b>": {"dtype": "float32", "shape": (-1, 3)}, "free": {"dtype": str, "shape": (), "optional": True}}
    make_class("Odd", lambda self, **_: {}, ports, {"out": {"dtype": "float32", "shape": (-1, -1, -1, -1)}})
    nodes = {'odd "one" & <more>': "Odd", "a": "Scale", "sum": ("Sum", {"execution_stages": ["train", "val"]})}
    return pipeline_of(nodes, 'odd "one" & <more>.out -> sum.cubes', "a.cube -> sum.cubes")


def test_markdown_shows_nodes_ports_and_dtypes(pipeline: Pipeline, tmp_path: Path) -> None:
    """As a Mermaid diagram, with what it would read as marks written as its entities."""
    pipeline.draw(tmp_path / "p.md")
    lines = (tmp_path / "p.md").read_text(encoding="utf-8").splitlines()
    assert lines[:4] == ["# pipeline", "", "```mermaid", "flowchart TB"]
    assert lines[-1] == "```"
    odd = next(line for line in lines if "Odd" in line)
    assert "odd #34;one#34; #38; #60;more#62;<br/>Odd<br/>in a#60;b#62;: float32 [*, 3] (handed in)<br/>" in odd
    assert "in free: str<br/>out out: float32 [*, *, *, *]" in odd
    assert any("sum<br/>Sum (train, val)<br/>" in line for line in lines)
    keys = {name: re.search(rf'(n\d)\["{name}<', "\n".join(lines)) for name in ("a", "sum")}
    assert all(keys.values())
    edge = f'  {keys["a"][1]} -- "cube → cubes: float32 [*, *, *, *]" --> {keys["sum"][1]}'  # type: ignore[index]
    assert edge in lines
    assert sum("-->" in line for line in lines) == 2


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_graphviz_draws_a_picture(pipeline: Pipeline, tmp_path: Path, kind: str) -> None:
    """Where it is installed; elsewhere an error says how to install it, and nothing is written."""
    file = tmp_path / f"p.{kind}"
    if shutil.which("dot") is None:
        with pytest.raises(MissingExtraError, match="program 'dot' is not on PATH"):
            pipeline.draw(file)
        assert not file.exists()
        return
    pipeline.draw(file)
    if kind == "png":
        with Image.open(io.BytesIO(file.read_bytes())) as image:
            assert min(image.size) > 100
    else:
        text = file.read_text(encoding="utf-8")
        for shown in ("odd &quot;one&quot; &amp; &lt;more&gt;", "a&lt;b&gt;", "float32 [*, 3]", "Sum (train, val)"):
            assert shown in text
        assert text.count('class="edge"') == 2


def test_a_long_pipeline_is_folded(pipeline_of: PipelineOf, tmp_path: Path) -> None:
    """Thirty nodes in a row make no strip that nobody can read."""
    if shutil.which("dot") is None:
        return
    names = [f"n{number}" for number in range(30)]
    pipeline = pipeline_of(dict.fromkeys(names, "Scale"), *(f"{a}.cube -> {b}.cube" for a, b in pairwise(names)))
    pipeline.draw(tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as image:
        width, height = image.size
    assert 0.5 < width / height < 2


def test_without_dot_or_the_package_the_error_says_what_to_install(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Markdown works all the same."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match="program 'dot' is not on PATH") as error:
        pipeline.draw(tmp_path / "p.png")
    assert "apt-get install graphviz" in str(error.value)
    monkeypatch.setitem(sys.modules, "graphviz", None)
    with pytest.raises(MissingExtraError, match=r"cuvis-ai-core\[viz\]") as error:
        pipeline.draw(tmp_path / "p.svg")
    assert error.value.extra == "viz"
    assert list(tmp_path.iterdir()) == []
    pipeline.draw(tmp_path / "p.md")


@pytest.mark.parametrize("name", ["p.pdf", "p", "p.PNG"])
def test_another_suffix_is_an_error(pipeline: Pipeline, tmp_path: Path, name: str) -> None:
    """The message has those there are."""
    with pytest.raises(PipelineError, match=r"is no name of a picture: it ends in \.png, \.svg, \.md"):
        pipeline.draw(tmp_path / name)


def test_a_node_without_ports_is_drawn(pipeline_of: PipelineOf, make_class: MakeClass, tmp_path: Path) -> None:
    """It is a box with a name."""
    make_class("Bare", lambda self: {})
    for kind in ("md", "svg") if shutil.which("dot") else ("md",):
        pipeline_of({"bare": "Bare"}).draw(tmp_path / f"p.{kind}")
        assert "bare" in (tmp_path / f"p.{kind}").read_text(encoding="utf-8")


def test_the_order_of_the_drawing_is_that_of_the_pipeline(pipeline: Pipeline, tmp_path: Path) -> None:
    """The same pipeline gives the same text."""
    texts: list[Any] = []
    for name in ("p.md", "q.md"):
        pipeline.draw(tmp_path / name)
        texts.append((tmp_path / name).read_text(encoding="utf-8"))
    assert texts[0] == texts[1]
