"""What notebooks show of a registry, a pipeline, a cube and results, in a browser."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core import NodeRegistry, Pipeline
from cuvis_ai_core.data import Cube
from cuvis_ai_core.testing import small_scene
from tests.docs.browser import BROWSER, DRIVER, browser

PIPELINE = {
    "metadata": {"name": "anomalies"},
    "nodes": [{"name": "rx", "class_name": "RXDetector"}, {"name": "decider", "class_name": "QuantileDecider"}],
    "edges": [{"source": "rx.scores", "target": "decider.scores"}],
}


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None or DRIVER is None, reason="there is no browser that can be driven")
def test_pictures_are_there_without_scrolling(tmp_path: Path) -> None:
    """As a notebook is printed, too; and what a name or a path says runs nowhere."""
    cube = small_scene()
    hostile = Cube(np.ones((4, 4, 3), np.float32), source=Path("<img src=x onerror=document.title='ran'>.npy"))
    with NodeRegistry(discover=False) as registry:
        pipeline = Pipeline.from_dict(PIPELINE, node_registry=registry)
        shown: list[Any] = [registry, pipeline, cube, hostile, pipeline.forward(batch=cube.batch())]
        outputs = [f"<div>{each._repr_html_()}</div><p style='height:2000px'></p>" for each in shown]
    page = tmp_path / "notebook.html"
    page.write_text(f"<!doctype html><meta charset=utf-8><title>quiet</title>{''.join(outputs)}", encoding="utf-8")
    with browser(tmp_path) as window:
        window.show(page.as_uri())
        widths = window.wait("return document.images.length && [...document.images].map(each => each.naturalWidth)")
        assert len(widths) == 4
        window.wait("return [...document.images].every(each => each.naturalWidth)", seconds=5)
        assert window.run("return document.title") == "quiet"
        assert not window.complaints()


def test_a_pipeline_without_nodes_draws_none() -> None:
    """A drawing of nothing took as much room as one of three nodes."""
    with NodeRegistry(discover=False) as registry:
        shown = Pipeline("empty", node_registry=registry)._repr_html_()
    assert "no nodes" in shown
    assert "<svg" not in shown
