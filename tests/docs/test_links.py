"""Links inside the documentation lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACES = ("*.md", "hookspecs/*.md", "example_plugins/*/*.md", "docs/**/*.md")
PAGES = [page for place in PLACES for page in sorted(ROOT.glob(place))]


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as Git hosts make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_resolve(page: Path) -> None:
    """The file is there, and the heading in it."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), target


def test_every_page_is_on_the_map() -> None:
    """A page that the index does not name is never found."""
    index = ROOT / "docs" / "index.md"
    linked = {
        (index.parent / target).resolve()
        for target in re.findall(r"\]\(([^)\s#]+)\)", index.read_text(encoding="utf-8"))
    }
    assert {page for page in ROOT.glob("docs/**/*.md") if page != index} <= linked


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/**/*.md")), ids=lambda page: str(page.relative_to(ROOT)))
def test_source_files_that_pages_name_are_there(page: Path) -> None:
    """A file that was renamed is called by its new name in explanations and decisions too."""
    files = [
        file.as_posix()
        for place in ("src", "hookspecs", "benchmarks", "tools")
        for file in ROOT.glob(f"{place}/**/*.py")
    ]
    named = re.findall(r"`([a-z_]+/[a-z_0-9/]+\.py)`", page.read_text(encoding="utf-8"))
    assert [name for name in named if not any(file.endswith(f"/{name}") for file in files)] == []
