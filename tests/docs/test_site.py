"""The site is built from the pages: nothing is missing, no link leads nowhere, and it can be searched."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs")

ROOT = Path(__file__).parents[2]
PUBLIC = ("cuvis_ai_core.data", "cuvis_ai_core.training", "cuvis_ai_core.grpc", "cuvis_ai_core.testing")
NAMED = ("cuvis_ai_core.node.ArrayNode", "cuvis_ai_core.node.Node", "cuvis_ai_core.registry.NodeRegistry")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site as the command in CONTRIBUTING.md does; a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_every_page_and_example_is_in_it(site: Path) -> None:
    """Pages, notebooks and the READMEs of the example plugins each have a page."""
    pages = [path.relative_to(ROOT / "docs") for kind in ("*.md", "*.ipynb") for path in (ROOT / "docs").rglob(kind)]
    examples = [Path("examples", path.parent.name) for path in ROOT.glob("example_plugins/*/README.md")]
    missing = [page for page in [*pages, *examples] if not (site / page.with_suffix(".html")).is_file()]
    assert not missing


@pytest.mark.slow
def test_public_names_have_their_docstrings_in_it(site: Path) -> None:
    """Every name that a public module exports stands in the API with an anchor."""
    page = (site / "reference" / "api.html").read_text(encoding="utf-8")
    pytest.importorskip("torch")
    exported = [f"{module}.{name}" for module in PUBLIC for name in importlib.import_module(module).__all__]
    assert not [name for name in [*exported, *NAMED] if f'id="{name}"' not in page]


@pytest.mark.slow
def test_the_search_finds_what_pages_say(site: Path) -> None:
    """An error's name leads to the page that explains it."""
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    found = {entry["location"].partition("#")[0] for entry in index["docs"] if "PluginConflictError" in entry["text"]}
    assert "reference/errors.html" in found


@pytest.mark.slow
def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    """Fonts, styles and scripts come with the pages; only the two graphs are drawn by a script that is fetched."""
    page = (site / "index.html").read_text(encoding="utf-8")
    assert "fonts.googleapis" not in page
    assert 'src="http' not in page
