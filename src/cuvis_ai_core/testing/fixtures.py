"""Fixtures of pytest, there wherever this package is installed (entry point `pytest11`); a suite's own go before them.

Nothing but pytest is imported before a test asks for one.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cuvis_ai_core.data import Cube
    from cuvis_ai_core.registry import NodeRegistry
    from cuvis_ai_core.testing.git_host import GitHost


@pytest.fixture
def cuvis_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a plugin cache of the test's own, and return its folder: the user's is left alone."""
    folder = tmp_path / "cuvis-plugins"
    monkeypatch.setenv("CUVIS_PLUGINS_DIR", str(folder))
    return folder


@pytest.fixture
def cuvis_registry(cuvis_cache: Path) -> "Iterator[NodeRegistry]":
    """Return a registry without pip-installed plugins, with a plugin cache of its own; it is closed in the end."""
    from cuvis_ai_core.registry import NodeRegistry

    # Asked for since it sets the variable of the plugin cache.
    del cuvis_cache
    with NodeRegistry(discover=False) as registry:
        yield registry


@pytest.fixture
def cuvis_load(cuvis_registry: "NodeRegistry", request: pytest.FixtureRequest) -> Callable[..., "NodeRegistry"]:
    """Return a function that loads a plugin as users will, and returns the registry that has it.

    `cuvis_load("my_plugin.nodes.MyNode")` loads the project that pytest runs in; `path` names another folder.
    """

    def load(*provides: str, path: str | Path | None = None, name: str = "plugin", **entry: Any) -> "NodeRegistry":
        source = {} if "repo" in entry else {"path": str(path or request.config.rootpath)}
        cuvis_registry.load_plugin(name, {**source, "provides": list(provides), **entry})
        return cuvis_registry

    return load


@pytest.fixture
def cuvis_git_host(tmp_path: Path) -> "Iterator[GitHost]":
    """Return a Git host on loopback, which serves real repositories until the test ends."""
    from cuvis_ai_core.testing.git_host import GitHost

    with GitHost(tmp_path / "cuvis-git") as host:
        yield host


@pytest.fixture
def cuvis_cube() -> "Cube":
    """Return a small cube, 7 x 5 pixels of 60 bands from 400 to 1000 nm: a bright target on a background."""
    import numpy as np

    from cuvis_ai_core.data import Cube

    wavelengths = np.linspace(400.0, 1000.0, 60)
    background = 0.2 + 0.1 * np.sin(wavelengths / 90.0)
    noise = np.random.default_rng(0).normal(0.0, 0.01, (7, 5, 60))
    data = (background + noise).astype(np.float32)
    data[3, 2] += 0.3
    return Cube(data, wavelengths)
