"""The notebooks run from top to bottom, in a kernel as readers have one; and what they show is there."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
NEEDED = {"train-and-map": "pytorch_lightning", "service": "grpc"}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], list[Any]]:
    """Return a function that runs a notebook in a folder like a fresh clone, and returns its code cells."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    monkeypatch.setenv("CUVIS_PLUGINS_DIR", str(tmp_path / "plugins"))
    monkeypatch.setenv("CUVIS_PLUGIN_DISCOVERY", "0")
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as on the pages: beside other tests, threads only wait for each other
    folder = tmp_path / "clone"
    shutil.copytree(ROOT / "example_plugins", folder / "example_plugins", ignore=shutil.ignore_patterns("__pycache__"))

    def execute(path: Path) -> list[Any]:
        notebook = nbformat.read(path, as_version=4)
        assert all(cell.get("outputs", []) == [] for cell in notebook.cells), "it is kept without outputs"
        nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(folder)}}).execute()
        return [cell for cell in notebook.cells if cell.cell_type == "code"]

    return execute


def shown(cell: Any, kind: str = "text/html") -> str:
    """Return what a cell shows, of a kind; nothing if it does not."""
    return "".join(str(output["data"].get(kind, "")) for output in cell.outputs if "data" in output)


def printed(cell: Any) -> str:
    """Return what a cell prints."""
    return "".join(output["text"] for output in cell.outputs if output.output_type == "stream")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the libraries that talk to kernels
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda each: each.stem)
def test_a_notebook_runs_from_top_to_bottom(run: Callable[[Path], list[Any]], path: Path) -> None:
    """Each cell as it stands there; what it shows is what a reader is told that it shows."""
    if path.stem in NEEDED:
        pytest.importorskip(NEEDED[path.stem])
    cells = run(path)
    if path.stem == "first-pipeline":
        assert "application/vnd.jupyter.widget-view+json" in cells[0].outputs[0]["data"]
        assert "Cube 20 x 16 x 200 uint16" in shown(cells[0])
        assert "RXDetector" in shown(cells[1])
        assert "<svg" in shown(cells[2])
        assert shown(cells[3]).count("data:image/png") == 2
    elif path.stem == "write-a-plugin":
        said = [printed(cell) for cell in cells]
        assert "2 passed" in said[4]
        assert "leaf-index: Nothing is wrong; 1 node" in said[5]
        assert "index: float32 1 x 20 x 16 x 1" in said[6]
        assert "v0.1.0 of http://127.0.0.1" in said[7]
        assert "leaf_index.index" in shown(cells[9])
    elif path.stem == "train-and-map":
        assert printed(cells[3]).endswith("100 True\n")
        assert float(printed(cells[4]).split()[0]) > 0.7
        assert shown(cells[5]).count("data:image/png") == 2
