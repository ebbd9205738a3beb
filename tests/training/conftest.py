"""Small torch nodes that learn, a pipeline of them, and cubes with masks to learn from."""

from collections.abc import Callable
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cuvis_ai_core import NodeRegistry, Pipeline
from cuvis_ai_core.data import Batches, Cubes, open_annotations

NODES = Path(__file__).parents[1] / "projects/trainable_nodes/src/trainable_nodes/__init__.py"

CLASSES = ("Center", "Scores", "SquaredError", "Accuracy")
PIPELINE: dict[str, Any] = {
    "metadata": {"name": "scores"},
    "nodes": [
        {"name": "center", "class_name": "Center"},
        {"name": "scores", "class_name": "Scores"},
        {"name": "error", "class_name": "SquaredError"},
        {"name": "accuracy", "class_name": "Accuracy"},
    ],
    "edges": [
        {"source": "center.cube", "target": "scores.cube"},
        {"source": "scores.scores", "target": "error.scores"},
        {"source": "scores.scores", "target": "accuracy.scores"},
    ],
}


@pytest.fixture
def trainable_nodes() -> ModuleType:
    """Return the module of the nodes, new for each test."""
    spec = spec_from_file_location("trainable_nodes", NODES)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def registry(registry: NodeRegistry, trainable_nodes: ModuleType) -> NodeRegistry:
    """Return a registry that knows these nodes."""
    for name in CLASSES:
        NodeRegistry.register(getattr(trainable_nodes, name))
    return registry


@pytest.fixture
def make_pipeline(registry: NodeRegistry) -> Callable[..., Pipeline]:
    """Return a function that builds the pipeline, with random weights of a seed; parameters of nodes by their names."""

    def make(seed: int = 0, **params: dict[str, Any]) -> Pipeline:
        import torch

        torch.manual_seed(seed)
        nodes = [{**node, "params": params.get(node["name"], {})} for node in PIPELINE["nodes"]]
        return Pipeline.from_dict({**PIPELINE, "nodes": nodes}, node_registry=registry, allow_untrained=True)

    return make


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Return a folder of 8 cubes, 4 x 5 pixels of 3 bands, with masks of the pixels whose second band is large."""
    random = np.random.default_rng(7)
    (tmp_path / "scenes" / "masks").mkdir(parents=True)
    for number in range(8):
        cube = random.random((4, 5, 3), dtype=np.float32) + np.array([1, 2, 3], np.float32)
        np.save(tmp_path / "scenes" / f"{number}.npy", cube)
        Image.fromarray((cube[..., 1] > 2.5).astype(np.uint8)).save(tmp_path / "scenes" / "masks" / f"{number}.png")
    return tmp_path / "scenes"


@pytest.fixture
def batches(scenes: Path, registry: NodeRegistry) -> Callable[..., Batches]:
    """Return a function that gives batches of some of the cubes."""
    cubes = Cubes(scenes, registry.cube_readers())

    def make(*numbers: int, size: int = 2) -> Batches:
        return Batches(cubes, numbers, open_annotations(scenes / "masks"), size)

    return make


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Let torch use one thread: for tensors this small, several only wait for each other."""
    if find_spec("torch") is not None:
        import torch

        torch.set_num_threads(1)
