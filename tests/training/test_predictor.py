from collections.abc import Callable
from typing import Any

import pytest

from cuvis_ai_core import training
from cuvis_ai_core.errors import PortError
from cuvis_ai_core.training import Predictor, StatisticalTrainer

pytest.importorskip("torch")

Make = Callable[..., Any]


def test_predictions(make_pipeline: Make, batches: Make) -> None:
    """Outputs come batch after batch, without gradients and dropout; nodes for training do not run."""
    pipeline = make_pipeline()
    StatisticalTrainer(pipeline).fit(batches(0))
    pipeline.nodes["scores"].train()
    first, second = (list(Predictor(pipeline).predict(batches(0, 1, 2))) for _ in range(2))
    assert [each["scores", "scores"].shape[0] for each in first] == [2, 1]
    assert set(first[0]) == {("center", "cube"), ("scores", "scores")}
    assert not first[0]["scores", "scores"].requires_grad
    assert (first[1]["scores", "scores"] == second[1]["scores", "scores"]).all()
    assert pipeline.nodes["scores"].training


def test_wanted_outputs(make_pipeline: Make, batches: Make) -> None:
    """Only what is asked for is kept; what is not there is an error."""
    pipeline = make_pipeline()
    StatisticalTrainer(pipeline).fit(batches(0))
    (only,) = Predictor(pipeline).predict(batches(0), keep_ports=["scores.scores"])
    assert list(only) == [("scores", "scores")]
    with pytest.raises(PortError, match=r"no output 'scores\.score'"):
        list(Predictor(pipeline).predict(batches(0), keep_ports=["scores.score"]))


def test_public_names() -> None:
    """The package hands on its public names, and no others."""
    assert sorted(training.__all__) == [
        "GradientTrainer",
        "OptimizerConfig",
        "Predictor",
        "SchedulerConfig",
        "StatisticalTrainer",
        "TrainRun",
        "TrainingConfig",
        "read_trainrun",
    ]
    assert all(getattr(training, name).__name__ == name for name in training.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Trainer'"):
        _ = training.Trainer
