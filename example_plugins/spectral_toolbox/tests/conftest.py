"""Run the tests against the source folder, so that they need no installation and leave nothing behind."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "cuvis_ai_spectral_toolbox"


@pytest.fixture(autouse=True)
def _source_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "src"))
    yield
    for module in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[module]
