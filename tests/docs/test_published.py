"""The page about the published core tells the truth about names."""

import re
from importlib import import_module
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "move-from-the-published-core.md"
NAMES = re.findall(r"^\| `(cuvis_ai_core\.[\w.]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.filterwarnings("ignore:.*is an old spelling:DeprecationWarning")
@pytest.mark.parametrize("path", NAMES)
def test_published_names_are_where_the_page_says(path: str) -> None:
    """Each can be imported from its place."""
    for package in ("torch", "pytorch_lightning"):
        pytest.importorskip(package)
    module, _, name = path.rpartition(".")
    assert getattr(import_module(module), name) is not None


def test_the_page_has_no_name_twice() -> None:
    """Every name has one line."""
    assert len(NAMES) == len(set(NAMES)) > 50
