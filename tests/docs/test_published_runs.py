"""What the page about the published core says of runs here is so, row by row."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cuvis_ai_schemas.pipeline import PortSpec

pytest.importorskip("torch")

import torch

from cuvis_ai_core import NodeRegistry, Pipeline
from cuvis_ai_core.errors import PipelineError
from cuvis_ai_core.node import Node

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "move-from-the-published-core.md"
IMAGE = PortSpec("float32", (-1, -1, -1, 3))


class Norm(Node):
    """Has what behaves otherwise in training, random weights, and an output that it leaves out."""

    INPUT_SPECS: ClassVar[Any] = {"image": IMAGE}
    OUTPUT_SPECS: ClassVar[Any] = {"image": IMAGE, "more": PortSpec("float32", (-1,), optional=True)}

    def __init__(self, size: int = 3, **base: Any) -> None:
        super().__init__(**base)
        self.norm = torch.nn.BatchNorm1d(size)
        self.weight = torch.nn.Parameter(torch.rand(size))

    def forward(self, image: Any, **_: Any) -> dict[str, Any]:
        """Return it normalised."""
        return {"image": self.norm(image.flatten(0, 2)).view(image.shape) * self.weight}


class Fitted(Norm):
    """Learns before it runs."""

    def statistical_initialization(self, input_stream: Any) -> None:
        """Learn nothing."""


def _mode(pipeline: Pipeline, batch: Any, _: Path) -> None:
    node = pipeline.nodes["norm"]
    pipeline.forward(batch, stage="train")
    assert int(node.norm.num_batches_tracked) == 0
    node.train()
    pipeline.forward(batch, stage="train")
    assert int(node.norm.num_batches_tracked) == 1


def _left_out(pipeline: Pipeline, batch: Any, _: Path) -> None:
    assert pipeline.forward(batch, stage="val")["norm", "more"] is None


def _untrained(_: Pipeline, batch: Any, __: Path) -> None:
    for node_class, stage in ((Norm, "inference"), (Fitted, "val")):
        NodeRegistry.register(node_class)
        nodes = [{"name": "norm", "class_name": node_class.__name__}]
        with pytest.raises(PipelineError, match="allow_untrained=True"):
            Pipeline.from_dict({"nodes": nodes}).forward(batch, stage=stage)
        assert Pipeline.from_dict({"nodes": nodes}, allow_untrained=True).forward(batch, stage=stage)


def _weights(pipeline: Pipeline, batch: Any, folder: Path) -> None:
    pipeline.save_to_file(folder / "norm.yaml")
    NodeRegistry.register(Norm)
    again = Pipeline.load_pipeline(folder / "norm.yaml").forward(batch, stage="inference")
    assert torch.equal(again["norm", "image"], pipeline.forward(batch, stage="val")["norm", "image"])


def _icon(pipeline: Pipeline, *_: Any) -> None:
    assert pipeline.nodes["norm"].get_icon_name() == pipeline.nodes["norm"].get_category().value


def _hparams(pipeline: Pipeline, *_: Any) -> None:
    assert (pipeline.nodes["norm"].hparams, pipeline.to_dict()["nodes"][0]["params"]) == ({}, {"size": 3})


def _stages(*_: Any) -> None:
    assert Norm(execution_stages=["test"]).execution_stages == {"test"}
    with pytest.raises(TypeError, match="EXECUTION_STAGES"):
        type("Staged", (Norm,), {"EXECUTION_STAGES": frozenset({"val"})})(execution_stages=["test"])


def _overrides(pipeline: Pipeline, _: Any, folder: Path) -> None:
    pipeline.save_to_file(folder / "norm.yaml")
    for text in ("+metadata.x=1", "++metadata.x=1", "~metadata"):
        with pytest.raises(PipelineError, match=r"key\.path=value"):
            Pipeline.load(folder / "norm.yaml", overrides=[text])


CHECKS: dict[str, Callable[[Pipeline, Any, Path], None]] = {
    "mode of torch nodes": _mode,
    "an optional output that its node leaves out": _left_out,
    "a node that has not learned, or random weights of a node from a file in the stage `inference`": _untrained,
    "weights beside a pipeline file": _weights,
    "icon of a class that names none": _icon,
    "`hparams` of a class that hands its arguments not on": _hparams,
    "`execution_stages` given to a class without `EXECUTION_STAGES`": _stages,
    "overrides with Hydra's `+`, `++` and `~`": _overrides,
}


@pytest.mark.parametrize("row", CHECKS)
def test_a_row_of_the_table_of_runs(row: str, registry: NodeRegistry, tmp_path: Path) -> None:
    """By a node of ours that does what the row is about."""
    CHECKS[row](Pipeline("norm").add(Norm(name="norm")), {"image": torch.rand(2, 4, 4, 3)}, tmp_path)


def test_every_row_is_checked() -> None:
    """And none is checked that the page has not."""
    table = PAGE.read_text(encoding="utf-8").partition("## Runs")[2].partition("\n## ")[0]
    assert re.findall(r"^\| (?!what \|)([^|]+) \|", table, re.MULTILINE) == list(CHECKS)
