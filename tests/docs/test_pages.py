"""Every example in README and docs works, as it stands there."""

from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "hookspecs" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_runs_as_it_stands(page: Path, run: Callable[[Path], None]) -> None:
    """Code is executed, commands are run, files are written, and what is printed is what the page says."""
    run(page)
