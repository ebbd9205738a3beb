"""`report.html`: what a run gave, on one page that runs nothing and asks nobody."""

import base64
import io
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cuvis_ai_core.results.run_page import run_page

Browser = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def page(shell: Callable[..., Any]) -> Path:
    """Return the page of a run whose names are hostile, and whose command has a password."""
    np.save("scene.npy", np.random.default_rng(0).random((9, 8, 5)).astype(np.float32))
    Path("p.yaml").write_text(
        "metadata: {name: '<script>alert(1)</script>'}\n"
        "nodes:\n  - {name: scale, class_name: MinMaxNormalizer}\n  - {name: '<b>rx', class_name: RXDetector}\n"
        "edges:\n  - {source: scale.cube, target: <b>rx.cube}\n",
        encoding="utf-8",
    )
    found = shell("restore-pipeline", "--pipeline-path", "p.yaml", "--cube-path", "scene.npy", "--output-dir", "out")
    assert found.exit_code == 0, found.output
    return Path("out/report.html").absolute()


def test_the_page_has_what_the_run_gave(page: Path) -> None:
    """Pictures lie in it; outputs, edges, code, times and files are named."""
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") == 1
    assert "&lt;b&gt;rx.scores" in text
    assert "scale.cube to &lt;b&gt;rx.cube" in text
    assert "cuvis_ai_core.builtin" in text
    assert "sha256" in text
    assert "Run it again" in text


def test_texts_of_files_stay_texts_and_nothing_is_fetched(page: Path) -> None:
    """No script runs in it, by its own policy too."""
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "<b>" not in text
    assert "default-src 'none'" in text
    assert not re.search(r"(src|href)=.http", text)


@pytest.mark.slow
def test_a_browser_shows_the_page_on_a_telephone(page: Path, browser: Browser, tmp_path: Path) -> None:
    """At 400 pixels, with nothing to report on the console."""
    shot = tmp_path / "page.png"
    done = browser(f"--screenshot={shot}", page.as_uri())
    assert "CONSOLE" not in done.stderr
    assert shot.stat().st_size > 10_000


def record_of(**more: Any) -> dict[str, Any]:
    """Return the record of a run, as far as a page needs it."""
    hashed = {"file": "/data/scene.npy", "sha256": "0"}
    record = {"files": [], "left_out": [], "nodes": [], "date": "today", "core": {"version": "1"}}
    record |= {
        "cube": {**hashed, "shape": [3, 4], "dtype": "uint8"},
        "pipeline": {**hashed, "file": "p.yaml", "name": "p"},
    }
    return record | more


def cells(page: str) -> list[list[str]]:
    """Return the rows of all tables in a page."""
    rows = re.findall(r"<tr>(.*?)</tr>", page)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]


def test_tables_say_what_the_record_says(tmp_path: Path) -> None:
    """Of outputs, nodes and files; a dash stands for what there is not."""
    output = {"file": "o.npz", "dtype": "int8"}
    files = [
        {**output, "key": "a.x", "shape": [1, 2], "min": 0, "max": 3.5},
        {**output, "key": "a.y", "shape": [], "min": None, "max": None},
        {"file": "profile.json", "shows": "times"},
    ]
    nodes = [
        {
            "name": "a",
            "class": "A",
            "repo": "https://h/r",
            "path": None,
            "version": "1",
            "tag": "v1",
            "commit": "c" * 40,
        },
        {"name": "b", "class": "B", "repo": None, "path": "/p", "distribution": "d", "version": None, "commit": None},
        {"name": "c", "class": "C", "distribution": "d", "version": "2"},
        {"name": "e", "class": "E"},
    ]
    weights = {"file": "w.pt", "sha256": "1"}
    record = record_of(files=files, nodes=nodes, weights=weights, plugins=None)
    record["cube"]["remarks"] = ["a remark"]
    record["left_out"] = [{"node": "n", "port": "p", "type": "dict"}]
    page = run_page(record, [("a", "b", "a.x to b.y")], tmp_path, {"reading": 2.0}, "run\nagain")
    assert cells(page) == [
        ["output", "file", "dtype", "shape", "least", "greatest"],
        ["a.x", "o.npz", "int8", "1 x 2", "0", "3.5"],
        ["a.y", "o.npz", "int8", "one value", "-", "-"],
        ["node", "class", "from", "version", "tag", "commit"],
        ["a", "A", "https://h/r", "1", "v1", "c" * 12],
        ["b", "B", "/p", "-", "-", "-"],
        ["c", "C", "d", "2", "-", "-"],
        ["e", "E", "-", "-", "-", "-"],
        ["part", "time"],
        ["reading", "2 s"],
        ["", "file", "sha256"],
        ["cube", "/data/scene.npy", "0"],
        ["pipeline", "p.yaml", "0"],
        ["weights", "w.pt", "1"],
    ]
    assert re.findall(r'<p class="bad">(.*?)</p>', page) == ["a remark", "n.p is no array"]
    assert "<h1>p on scene.npy</h1>" in page
    assert "/data/scene.npy, 3 x 4 uint8; today; cuvis-ai-core 1<" in page
    assert "<pre>run\nagain</pre>" in page
    assert "Run it again" not in run_page(record, [], tmp_path, {}, "")


def test_pages_show_the_pictures_for_people(tmp_path: Path) -> None:
    """Forty of them; what else was drawn only where there are none."""
    dot = Image.new("L", (1, 1))
    names = [f"n.p{number}" for number in range(41)]
    files: list[dict[str, Any]] = [
        {"file": "pipeline.png", "shows": "the graph"},
        {"file": "pipeline.svg", "shows": "it"},
    ]
    for name in ("pipeline.png", *(f"{each}{kind}.png" for each in names for kind in ("-map", ""))):
        dot.save(tmp_path / name)
    for name in names:
        about = {"node": "n", "port": name.removeprefix("n.")}
        files += [{"file": f"{name}-map.png", "kind": "scores", **about}, {"file": f"{name}.png", **about}]

    def shown(files: list[dict[str, Any]]) -> list[str]:
        return re.findall(r"<figcaption>(.*?)</figcaption>", run_page(record_of(files=files), [], tmp_path, {}, ""))

    captions = [f"n.p{number}: n.p{number}-map.png" for number in range(41)]
    assert shown(files) == captions[:40]
    assert "and 1 more in the folder" in run_page(record_of(files=files), [], tmp_path, {}, "")
    assert shown(files[:-2]) == captions[:40]
    assert "more in the folder" not in run_page(record_of(files=files[:-2]), [], tmp_path, {}, "")
    assert shown(files[:2]) == ["graph: pipeline.png"]
    assert shown([{"file": "gone-map.png", "kind": "scores"}]) == []


@pytest.mark.parametrize(("size", "kind", "side"), [((20, 10), "png", 20), ((1500, 500), "jpeg", 1024)])
def test_a_large_picture_is_drawn_smaller(tmp_path: Path, size: tuple[int, int], kind: str, side: int) -> None:
    """So that the page stays small; in the folder it is as it is."""
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0]), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "n.p-map.png")
    files = [{"file": "n.p-map.png", "kind": "scores", "node": "n", "port": "p"}]
    page = run_page(record_of(files=files), [], tmp_path, {}, "")
    ((found, content),) = re.findall(r"data:image/(\w+);base64,([A-Za-z0-9+/=]+)", page)
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        assert (found, image.format, max(image.size)) == (kind, kind.upper(), side)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.00123, "0.00123 s"), (59.4, "59.4 s"), (60.7, "61 s"), (89.4, "89 s"), (90, "2 min"), (7500, "2 h 5 min")],
)
def test_a_time_is_said_as_people_say_it(tmp_path: Path, seconds: float, shown: str) -> None:
    """With three digits below a minute, and in whole seconds from there."""
    assert f">{shown}<" in run_page(record_of(), [], tmp_path, {"reading": seconds}, "")
