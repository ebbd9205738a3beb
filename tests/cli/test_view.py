"""`cuvis-ai view`: a page that shows a cube, in one file, and does so in a browser."""

import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core.data import Cube
from cuvis_ai_core.results.cube_page import cube_page

Browser = Callable[..., subprocess.CompletedProcess[str]]
CLICKED = """<script>
const box = document.getElementById("colours").getBoundingClientRect();
const at = {clientX: box.left + box.width * 0.9, clientY: box.top + box.height * 0.1};
document.getElementById("colours").dispatchEvent(new MouseEvent("click", at));
const slider = document.getElementById("slider");
slider.value = slider.max;
slider.dispatchEvent(new Event("input"));
</script></body>"""


@pytest.fixture
def scene() -> Cube:
    """Return 20 x 30 pixels of 40 bands; the right half is brighter."""
    data = np.random.default_rng(0).random((20, 30, 40)).astype(np.float32)
    data[:, 15:] += 5
    return Cube(data, np.linspace(400.0, 1000.0, 40), metadata={"<script>alert(1)</script>": "<b>bold</b>"})


def test_a_page_is_whole_and_asks_nobody(scene: Cube) -> None:
    """It has pictures, spectra and a header, fetches nothing, and texts of the file stay texts."""
    text = cube_page(scene, "<img src=x onerror=alert(1)>")
    assert "http" not in re.sub(r"http-equiv", "", text)
    assert "<script>alert" not in text
    assert "onerror=alert(1)&gt;" in text
    assert "&lt;b&gt;bold&lt;/b&gt;" in text
    assert "400.0 to 1000.0 nm" in text
    assert "red band 16, 646.2 nm" in text


@pytest.mark.parametrize(
    "data",
    [
        np.zeros((1, 1, 1), np.float32),
        np.full((3, 4, 2), np.nan, np.float32),
        np.ones((2, 900, 3), np.uint16),
        np.array([[[0.0, np.inf, -np.inf]]]),
    ],
)
def test_odd_cubes_have_a_page(data: np.ndarray) -> None:
    """One pixel, nothing finite, far wider than high, infinite values."""
    assert cube_page(Cube(data), "odd").startswith("<!doctype html>")


def test_a_page_has_the_facts_of_a_cube() -> None:
    """Its type, wavelengths, widths, bands without data, place, and when it was taken, as far as they are known."""
    cube = Cube(
        np.ones((2, 2, 4), np.uint16),
        np.array([0.0, 450, 500, 600]),
        fwhm=np.array([np.nan, 5.0, 6.25, 7]),
        good_bands=np.array([0, 1, 0, 1]),
        crs="EPSG:4326",
        acquired=datetime(2024, 1, 2, 3, 4, tzinfo=UTC),
    )
    text = re.sub(r"<[^>]*>", "|", cube_page(cube, "facts"))
    for name, value in (
        ("values", "uint16"),
        ("wavelengths", "450.0 to 600.0 nm"),
        ("full width at half maximum", "5.00 to 7.00 nm"),
        ("bands without data", "2"),
        ("place", "EPSG:4326"),
        ("taken", r"2024-01-02 03:04:00\+00:00"),
    ):
        assert re.search(rf"\|{name}\|+{value}\|", text), name


def test_a_large_cube_has_a_small_page() -> None:
    """Its size does not grow with the image."""
    large = Cube(np.random.default_rng(0).random((3000, 1000, 4)).astype(np.float32))
    assert len(cube_page(large, "large")) < 3_000_000


def test_the_command_writes_a_page_and_overwrites_none(shell: Callable[..., Any], cube_file: Path) -> None:
    """In the working directory, by the name of the cube."""
    first = shell("cuvis-ai", "view", cube_file)
    assert first.exit_code == 0, first.output
    assert Path("cube.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    again = shell("cuvis-ai", "view", cube_file)
    assert again.exit_code == 2
    assert "is there already" in again.stderr


@pytest.mark.slow
def test_a_browser_shows_spectra_and_bands(scene: Cube, browser: Browser, tmp_path: Path) -> None:
    """A click draws a spectrum of that point, the slider another band, and nothing is reported on the console."""
    page = tmp_path / "page.html"
    page.write_text(cube_page(scene, "cube").replace("</body>", CLICKED), encoding="utf-8")
    done = browser("--dump-dom", page.as_uri())
    assert "CONSOLE" not in done.stderr
    assert re.search(r"row \d, column 2\d \(the nearest", done.stdout)
    assert re.search(r'<path d="M60.0 [\d.]+L', done.stdout)
    assert "band 39, 1000.0 nm" in done.stdout
