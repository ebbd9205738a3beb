"""`report.html`: what a run gave, on one page that runs nothing and asks nobody."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.00123, "0.00123 s"), (59.4, "59.4 s"), (60.7, "61 s"), (89.4, "89 s"), (90, "2 min"), (7500, "2 h 5 min")],
)
def test_a_time_is_said_as_people_say_it(tmp_path: Path, seconds: float, shown: str) -> None:
    """With three digits below a minute, and in whole seconds from there."""
    hashed = {"file": "a", "sha256": "0"}
    record = {"files": [], "left_out": [], "nodes": [], "date": "today", "core": {"version": "1"}}
    record |= {"cube": {**hashed, "shape": [1], "dtype": "uint8"}, "pipeline": {**hashed, "name": "p"}}
    assert f">{shown}<" in run_page(record, [], tmp_path, {"reading": seconds}, "")
