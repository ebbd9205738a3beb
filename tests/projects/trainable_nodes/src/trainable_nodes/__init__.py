"""Small torch nodes that learn."""

import os
import time
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from cuvis_ai_core.node import Node
from cuvis_ai_schemas.execution import Metric
from cuvis_ai_schemas.pipeline import PortSpec

CUBE = PortSpec(torch.float32, (-1, -1, -1, -1))
MASK = PortSpec("int32", (-1, -1, -1))


class Center(Node):
    """The cube less the mean spectrum of the data, which is learned from statistics and can be trained."""

    INPUT_SPECS: ClassVar[Mapping[str, Any]] = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar[Mapping[str, Any]] = {"cube": CUBE}
    TRAINABLE_BUFFERS: ClassVar[tuple[str, ...]] = ("mean",)

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
        """Return the loss; it takes as long as a test wants, so that there is time to kill it."""
        time.sleep(float(os.environ.get("TRAINABLE_NODES_SECONDS", "0")))
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


class Marked(Node):
    """Which pixels have a label."""

    INPUT_SPECS: ClassVar[Mapping[str, Any]] = {"mask": MASK}
    OUTPUT_SPECS: ClassVar[Mapping[str, Any]] = {"mask": PortSpec(torch.bool, (-1, -1, -1))}

    def __init__(self, **base: Any) -> None:
        super().__init__(**{"execution_stages": ["val", "test"], **base})

    def forward(self, mask: Any, **_: Any) -> dict[str, Any]:
        """Return them."""
        return {"mask": mask > 0}


class Decider(Node):
    """Which pixels have scores above a threshold, which can be calibrated."""

    INPUT_SPECS: ClassVar[Mapping[str, Any]] = {"logits": Scores.OUTPUT_SPECS["scores"]}
    OUTPUT_SPECS: ClassVar[Mapping[str, Any]] = {"decisions": PortSpec(torch.bool, (-1, -1, -1))}

    def __init__(self, threshold: float = 0.0, **base: Any) -> None:
        self.threshold = threshold
        super().__init__(threshold=threshold, **base)

    def forward(self, logits: Any, **_: Any) -> dict[str, Any]:
        """Decide."""
        return {"decisions": logits > self.threshold}

    def calibrate(self, scores: Any, targets: Any) -> dict[str, Any]:
        """Put the threshold half way between the scores of marked pixels and of others."""
        old, new = self.threshold, (scores[targets].mean() + scores[~targets].mean()).item() / 2
        self.threshold = self.hparams["threshold"] = new
        return {"threshold": {"old": old, "new": new}, "f1": 0.5}
