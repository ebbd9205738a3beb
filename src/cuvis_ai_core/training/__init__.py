"""Training: trainrun files, initialisation from statistics, gradient training, prediction.

The names are imported when they are first asked for: whoever only shows a trainrun needs neither torch nor Lightning.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cuvis_ai_core.training.gradient import GradientTrainer
    from cuvis_ai_core.training.predictor import Predictor
    from cuvis_ai_core.training.statistical import StatisticalTrainer
    from cuvis_ai_core.training.trainrun import TrainRun, read_trainrun

__all__ = ["GradientTrainer", "Predictor", "StatisticalTrainer", "TrainRun", "read_trainrun"]

_HOMES = {
    "GradientTrainer": "cuvis_ai_core.training.gradient",
    "Predictor": "cuvis_ai_core.training.predictor",
    "StatisticalTrainer": "cuvis_ai_core.training.statistical",
    "TrainRun": "cuvis_ai_core.training.trainrun",
    "read_trainrun": "cuvis_ai_core.training.trainrun",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
