"""A catalogue that imports what published ones import, and session files."""

import gc
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core.data.formats import cu3s

PROJECTS = Path(__file__).parents[1] / "projects"


@pytest.fixture
def catalogue(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Have the catalogue on the path, as if it were installed; return a copy of its folder, without its code."""
    folder = PROJECTS / "published_catalogue"
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    yield Path(shutil.copytree(folder / "configs", tmp_path / "configs"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "belt_catalogue"]:
        del sys.modules[name]


def _forget_sdk() -> None:
    cu3s._started_sdk.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] in {"cuvis", "cuvis_il"}]:
        del sys.modules[name]


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Return a function that writes a session file of three measurements; the SDK starts."""
    _forget_sdk()
    monkeypatch.syspath_prepend(PROJECTS / "cubert_binding")
    monkeypatch.setenv("CUVIS", str(tmp_path))
    monkeypatch.setenv("PATH", os.environ["PATH"])
    import_module("cuvis_il")

    def write(**more: Any) -> Path:
        path = tmp_path / "belt.cu3s"
        frames = np.arange(3 * 4 * 6 * 2, dtype=np.uint16).reshape(3, 4, 6, 2)
        with path.open("wb") as file:
            np.savez(file, frames=frames, wavelengths=np.array([450, 500]), references=["Dark", "White"], **more)
        return path

    yield write
    gc.collect()
    _forget_sdk()
