"""What is watched in the published spelling is found under our names."""

from collections.abc import Sequence
from typing import Any

import pytest

from cuvis_ai_core.training.config import TrainingConfig
from cuvis_ai_core.training.monitored_metric import in_our_words, watched_metrics


@pytest.mark.parametrize(
    ("nodes", "published", "ours"),
    [
        (["bce"], "val/bce", "val_loss"),
        (["bce"], "train/bce", "train_loss"),
        (["bce", "dice"], "val/bce", "bce/loss"),
        (["bce", "dice"], "val/dice", "dice/loss"),
        (["bce", "dice"], "train/bce", "train/bce/loss"),
        (["bce"], "accuracy/f1", "accuracy/f1"),
        (["bce"], "val/other", "val/other"),
    ],
)
@pytest.mark.parametrize("key", ["callbacks.early_stopping", "callbacks.checkpoint", "scheduler"])
def test_losses_by_their_published_names(nodes: Sequence[str], published: str, ours: str, key: str) -> None:
    """Of one loss node or of several, whoever watches; everything else stays as it is called."""
    watching: dict[str, Any] = {"monitor": published}
    sections: dict[str, dict[str, Any]] = {
        "callbacks.early_stopping": {"callbacks": {"early_stopping": [watching, {"monitor": "train_loss"}]}},
        "callbacks.checkpoint": {"callbacks": {"checkpoint": watching}},
        "scheduler": {"scheduler": {"name": "plateau", **watching}},
    }
    config = in_our_words(TrainingConfig.model_validate({**sections[key], "max_epochs": 7}), nodes)
    assert watched_metrics(config)[ours] == key
    assert config.max_epochs == 7
