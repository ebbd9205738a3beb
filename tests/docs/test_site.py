"""The site is built from the pages: nothing is missing, no link leads nowhere, and it can be searched and shown."""

import importlib
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.docs.browser import BROWSER, DRIVER, Browser, browser

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
    """Fonts, styles, scripts and pictures come with the pages, and no graph waits for a script that draws it."""
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    fetched = re.compile(r'<(?:script|img|iframe)[^>]* src="(?:http|//)|<link[^>]*stylesheet[^>]*http|class="mermaid"')
    assert not [path.name for path, text in pages.items() if fetched.search(text)]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[str]:
    """Serve the site on loopback, and return its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start a browser."""
    if BROWSER is None or DRIVER is None:
        pytest.skip("there is no browser that can be driven")
    with browser(tmp_path_factory.mktemp("browser")) as session:
        yield session


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_every_page(site: Path, served: str, window: Browser, width: int) -> None:
    """On a telephone and on a desk: nothing is wider than the window, asked for elsewhere, or complained of."""
    found = {}
    for page in sorted(site.rglob("*.html")):
        window.show(served + page.relative_to(site).as_posix(), width)
        wide = window.run("return document.documentElement.scrollWidth > innerWidth ? ['too wide'] : []")
        outside = [url for url in window.requests() if not url.startswith((served, "data:", "blob:"))]
        if page.name != "404.html" and (bad := [*wide, *outside, *window.complaints()]):
            found[page.name] = bad
    assert not found


_ASK = """
const box = document.querySelector('.md-search__input');
document.querySelector('[data-md-toggle=search]').checked = true;
box.focus();
box.value = arguments[0];
box.dispatchEvent(new KeyboardEvent('keyup', {bubbles: true}));
box.dispatchEvent(new Event('input', {bubbles: true}));
"""
_FOUND = """
const hits = document.querySelectorAll('.md-search-result__list > .md-search-result__item');
return [...hits].slice(0, 3).map(hit => hit.querySelector('a').href)"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("question", "page"),
    [
        ("how do I use two versions of a library", "how-to/use-plugins.html"),
        ("no internet", "how-to/questions.html"),
        ("which file formats can I read", "how-to/questions.html"),
        ("process a folder of cubes", "how-to/many-cubes.html"),
        ("delete the cache, disk full", "how-to/plugin-cache.html"),
        ("stop a long run and continue later", "how-to/many-cubes.html"),
        ("what does this error mean PluginConflictError", "reference/errors.html"),
        ("sign a tag", "how-to/vet-a-plugin.html"),
    ],
)
def test_the_search_answers_questions_as_they_are_asked(served: str, window: Browser, question: str, page: str) -> None:
    """Among its first three pages; words that say nothing, and endings, do not count."""
    window.show(f"{served}index.html")
    window.wait("return document.querySelector('[data-md-component=search]') !== null")
    window.run(_ASK, question)
    window.wait(f"{_FOUND}.some(each => each.includes(arguments[0]))", page)
