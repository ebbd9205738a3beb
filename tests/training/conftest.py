"""Small torch nodes that learn, a pipeline of them, and cubes with masks to learn from."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from cuvis_ai_schemas.execution import Metric
from cuvis_ai_schemas.pipeline import PortSpec
from PIL import Image

from cuvis_ai_core import NodeRegistry, Pipeline
from cuvis_ai_core.data import Batches, Cubes, open_annotations
from cuvis_ai_core.node import Node

CUBE = PortSpec(torch.float32, (-1, -1, -1, -1))
MASK = PortSpec("int32", (-1, -1, -1))


class Center(Node):
    """The cube less the mean spectrum of the data, which is learned from statistics and can be trained."""

    INPUT_SPECS: ClassVar[Mapping[str, Any]] = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar[Mapping[str, Any]] = {"cube": CUBE}
    TRAINABLE_BUFFERS: ClassVar[Iterable[str]] = ("mean",)

    def __init__(self, **base: Any) -> None:
        super().__init__(**base)
        self.register_buffer("mean", torch.empty(0))

    def statistical_initialization(self, input_stream: Iterable[Mapping[str, Any]]) -> None:
        """Learn the mean."""
        total, count = torch.zeros(1), 0
        for values in input_stream:
            total = total + values["cube"].sum(dim=(0, 1, 2))
            count += values["cube"][..., 0].numel()
        self.mean = total / count

    def forward(self, cube: Any, **_: Any) -> dict[str, Any]:
        """Return the difference."""
        return {"cube": cube - self.mean}


class Scores(Node):
    """A number for each pixel: a linear function of its spectrum, with dropout before it."""

    INPUT_SPECS: ClassVar[Mapping[str, Any]] = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar[Mapping[str, Any]] = {"scores": PortSpec(torch.float32, (-1, -1, -1))}

    def __init__(self, channels: int = 3, dropout: float = 0.2, **base: Any) -> None:
        super().__init__(channels=channels, dropout=dropout, **base)
        self.linear = torch.nn.Linear(channels, 1)
        self.dropout = torch.nn.Dropout(dropout)

    def forward(self, cube: Any, **_: Any) -> dict[str, Any]:
        """Return the scores."""
        return {"scores": self.linear(self.dropout(cube))[..., 0]}


class SquaredError(Node):
    """The mean squared difference between scores and masks."""

    INPUT_SPECS: ClassVar[Mapping[str, Any]] = {"scores": Scores.OUTPUT_SPECS["scores"], "mask": MASK}
    OUTPUT_SPECS: ClassVar[Mapping[str, Any]] = {"loss": PortSpec(torch.float32, ())}

    def __init__(self, scale: float = 1.0, **base: Any) -> None:
        super().__init__(**{"execution_stages": ["train", "val", "test"], **base}, scale=scale)

    def forward(self, scores: Any, mask: Any, **_: Any) -> dict[str, Any]:
        """Return the loss."""
        return {"loss": self.hparams["scale"] * ((scores - mask) ** 2).mean()}


class Accuracy(Node):
    """How many pixels have scores on the right side."""

    INPUT_SPECS: ClassVar[Mapping[str, Any]] = SquaredError.INPUT_SPECS
    OUTPUT_SPECS: ClassVar[Mapping[str, Any]] = {"metrics": PortSpec(list, ())}

    def __init__(self, **base: Any) -> None:
        super().__init__(**{"execution_stages": ["val", "test"], **base})

    def forward(self, scores: Any, mask: Any, context: Any = None, **_: Any) -> dict[str, Any]:
        """Return the share."""
        right = ((scores > 0.5) == (mask > 0)).float().mean()
        return {"metrics": [Metric(name="accuracy", value=right.item(), stage=context.stage)]}


CLASSES = (Center, Scores, SquaredError, Accuracy)
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
def registry(registry: NodeRegistry) -> NodeRegistry:
    """Return a registry that knows the nodes of this file."""
    for each in CLASSES:
        NodeRegistry.register(each)
    return registry


@pytest.fixture
def make_pipeline(registry: NodeRegistry) -> Callable[..., Pipeline]:
    """Return a function that builds the pipeline, with random weights of a seed; parameters of nodes by their names."""

    def make(seed: int = 0, **params: dict[str, Any]) -> Pipeline:
        torch.manual_seed(seed)
        nodes = [{**node, "params": params.get(node["name"], {})} for node in PIPELINE["nodes"]]
        return Pipeline.from_dict({**PIPELINE, "nodes": nodes}, node_registry=registry)

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
