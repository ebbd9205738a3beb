"""A plugin in a process of its own, whose environment is made once for all tests of this folder."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core import NodeRegistry

PROJECT = Path(__file__).parents[2] / "projects" / "process_nodes"
NODES = ("Echo", "Scale", "Forgetful", "Fragile", "Keeper", "Misbehaving", "Zero", "PerPixel", "Gathering", "Counting")
CONFIG = {
    "path": str(PROJECT),
    "provides": [f"process_nodes.nodes.{name}" for name in NODES],
    "isolation": "process",
}


@pytest.fixture(scope="session")
def project() -> Path:
    """Return the folder of the plugin's project."""
    return PROJECT


@pytest.fixture
def config() -> dict[str, Any]:
    """Return the plugin's manifest entry."""
    return dict(CONFIG)


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a plugin cache that tests share."""
    return tmp_path_factory.mktemp("shared") / "plugin cache"


@pytest.fixture
def load(shared_cache: Path) -> Iterator[Callable[[], NodeRegistry]]:
    """Return a function that loads the plugin into a new registry, which is closed in the end."""
    NodeRegistry.set_cache_dir(shared_cache)
    registries: list[NodeRegistry] = []

    def run() -> NodeRegistry:
        registry = NodeRegistry(discover=False)
        registries.append(registry)
        registry.load_plugin("process_nodes", CONFIG)
        return registry

    yield run
    for registry in registries:
        registry.close()


@pytest.fixture
def registry(load: Callable[[], NodeRegistry]) -> NodeRegistry:
    """Return a registry with the plugin."""
    return load()


@pytest.fixture(scope="module")
def lasting_registry(
    shared_cache: Path, own_world: Callable[[], AbstractContextManager[None]]
) -> Iterator[NodeRegistry]:
    """Return a registry with the plugin, and by it a worker, for all tests of a file that leave both as they were."""
    with NodeRegistry(discover=False) as registry:
        with own_world():
            NodeRegistry.set_cache_dir(shared_cache)
            registry.load_plugin("process_nodes", CONFIG)
        yield registry


@pytest.fixture
def node(registry: NodeRegistry) -> Callable[..., Any]:
    """Return a function that constructs a node of the plugin."""

    def construct(class_name: str, /, *args: Any, **params: Any) -> Any:
        return registry.get(class_name)(*args, **params)

    return construct


@pytest.fixture(autouse=True)
def _same_shared_memory() -> Iterator[None]:
    """Prove that nothing is left where shared memory has names, and no file is left open."""
    before = _named_memory()
    yield
    assert _named_memory() <= before


def _named_memory() -> set[str]:
    """Return the names of shared memory, but for those that other programs make at the same time.

    Among these are servers that tests of other processes have started: what they leave is looked at there.
    """
    folder = Path("/dev/shm")
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return {name for name in names if not name.startswith(("joblib_", "sem.", "psm_", "torch_", "cuvis-ai-", "disk-"))}
