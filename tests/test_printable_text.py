"""What a notebook shows of a pipeline, a registry, a cube and results; nothing in it steers the page."""

import sys

import numpy as np
import pytest

from cuvis_ai_core import NodeRegistry, Pipeline
from cuvis_ai_core._printable_text import bytes_in, in_cell, shown, shown_in_line, shown_size
from cuvis_ai_core.data import Cube

formatters = pytest.importorskip("IPython.core.formatters")


def html(shown: object) -> str:
    """Return the HTML that a notebook takes of an object."""
    found: str = formatters.DisplayFormatter().format(shown)[0].get("text/html", "")
    return found


@pytest.fixture
def pipeline(registry: NodeRegistry) -> Pipeline:
    """Return a pipeline whose name would be markup."""
    nodes = [
        {"name": "rx", "class_name": "RXDetector"},
        {"name": "mask", "class_name": "QuantileDecider", "params": {"quantile": 0.5}},
    ]
    edges = [{"source": "rx.scores", "target": "mask.scores"}]
    content = {"metadata": {"name": "<script>x</script>"}, "nodes": nodes, "edges": edges}
    return Pipeline.from_dict(content, node_registry=registry)


def test_a_pipeline_is_shown_as_its_graph_with_its_nodes(pipeline: Pipeline) -> None:
    """Names are texts, whatever stands in them."""
    found = html(pipeline)
    assert "<svg" in found
    assert "rx.scores → mask.scores" in found
    assert "quantile=0.5" in found
    assert "cube: floating" in found
    assert "<script" not in found


def test_a_registry_is_shown_as_a_table(registry: NodeRegistry) -> None:
    """Without importing a node."""
    assert "cuvis_ai_core.builtin.anomaly.RXDetector" in html(registry)


@pytest.mark.slow
def test_results_are_shown_with_small_pictures(pipeline: Pipeline) -> None:
    """They are a dict all the same; what is no number is named."""
    results = pipeline.forward(batch={"cube": np.random.default_rng(0).random((1, 6, 5, 4), np.float32)})
    assert isinstance(results, dict)
    found = html(results)
    assert found.count("data:image/png") == 2
    assert "rx.scores" in found
    assert "1 x 6 x 5 x 1" in found
    tiled = pipeline.forward_tiled({"cube": np.ones((1, 40, 30, 4), np.float32)}, memory=1)
    assert "data:image/png" in html(tiled)


@pytest.mark.parametrize("widgets", [True, False])
def test_a_cube_is_shown_in_false_colour_with_a_slider_where_there_can_be_one(
    monkeypatch: pytest.MonkeyPatch, *, widgets: bool
) -> None:
    """The colours are named by their bands."""
    if widgets:
        pytest.importorskip("ipywidgets")
    else:
        monkeypatch.setitem(sys.modules, "ipywidgets", None)
    cube = Cube(np.random.default_rng(0).random((6, 5, 4)), np.array([450.0, 550.0, 650.0, 800.0]))
    found = formatters.DisplayFormatter().format(cube)[0]
    assert "red band 2, 650.0 nm, green band 1, 550.0 nm, blue band 0, 450.0 nm" in found["text/html"]
    assert ("application/vnd.jupyter.widget-view+json" in found) == widgets


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("\x1b[1m\x00\x7f\x9b", r"\x1b[1m\x00\x7f\x9b"),
        ("a\rb", r"a\rb"),
        ("\u202eabc\u200b\ufeff\ud800", r"\u202eabc\u200b\ufeff\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("Größe 3 µm ✓ \xa0", "Größe 3 µm ✓ \xa0"),
    ],
)
def test_what_steers_is_written_out(text: str, written: str) -> None:
    """By its number; letters stay, and so do ends of lines but in a line."""
    assert shown(text) == shown_in_line(text) == written
    assert shown(f"a\n\t{text}") == f"a\n\t{written}"
    assert shown_in_line(f"a\n\t{text}") == rf"a\n\t{written}"


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@a", "'@a"),
        ("a=b", "a=b"),
        ("a\nb", r"a\nb"),
        (-1.5, -1.5),
        (None, None),
    ],
)
def test_cells_are_not_computed(value: object, cell: object) -> None:
    """A text that a spreadsheet would take for a formula is told as a text; numbers stay numbers."""
    assert in_cell(value) == cell


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1024**2, "1 MiB"),
        (1024**3 - 1024**2, "1.02e+03 MiB"),
        (1024**3, "1 GiB"),
        (3 * 1024**3 // 2, "1.5 GiB"),
    ],
)
def test_sizes_for_people(size: int, text: str) -> None:
    """In the largest unit of which there is one."""
    assert shown_size(size) == text


def test_the_slider_shows_the_band_that_is_chosen() -> None:
    """Its number and wavelength beside it."""
    ipywidgets = pytest.importorskip("ipywidgets")
    from cuvis_ai_core.data.cube_preview import slider

    data = np.zeros((2, 2, 3))
    data[0, 0, 2] = 1.0
    box = slider(Cube(data, np.array([450.0, 550.0, 650.0]))).children[1]
    image, chosen, name = box.children
    before = image.value
    assert isinstance(chosen, ipywidgets.IntSlider)
    chosen.value = 2
    assert name.value == "band 2, 650.0 nm"
    assert image.value != before


def test_values_without_a_finite_number_are_shown_too(pipeline: Pipeline) -> None:
    """NaN everywhere, texts, nothing at all."""
    from cuvis_ai_core.pipeline.execution.run_results import Results

    values = {("a", "x"): np.full((1, 3, 3), np.nan), ("a", "y"): None, ("b", "z"): "<b>", ("b", "n"): np.zeros((0, 2))}
    found = html(Results(values))
    assert "NoneType" in found
    assert "str" in found


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("500", 500), ("10MB", 10**7), ("8GiB", 2**33), ("1.5 g", 1_500_000_000), (" 2 kib ", 2048), ("1T", 10**12)),
        ("1.2345 GB", 1_234_500_000),
        *((text, None) for text in ("x", "-1", "1 PB", "2ib", "", "1e3", "9" * 16)),
    ],
)
def test_sizes(text: str, size: int | None) -> None:
    """As people write them: of a thousand, or of 1024 with an `i`."""
    assert bytes_in(text) == size
