"""Training: trainrun files, initialisation from statistics, gradient training, prediction.

The names are imported when they are first asked for: whoever only shows a trainrun needs neither torch nor Lightning.
"""

from typing import TYPE_CHECKING

from cuvis_ai_core._lazy_imports import late

if TYPE_CHECKING:
    from cuvis_ai_core.training.config import OptimizerConfig, SchedulerConfig, TrainingConfig
    from cuvis_ai_core.training.gradient_trainer import GradientTrainer
    from cuvis_ai_core.training.predictor import Predictor
    from cuvis_ai_core.training.statistical_trainer import StatisticalTrainer
    from cuvis_ai_core.training.trainrun import TrainRun, read_trainrun

__all__ = [
    "GradientTrainer",
    "OptimizerConfig",
    "Predictor",
    "SchedulerConfig",
    "StatisticalTrainer",
    "TrainRun",
    "TrainingConfig",
    "read_trainrun",
]

__getattr__, __dir__ = late(
    __name__,
    {
        **dict.fromkeys(("OptimizerConfig", "SchedulerConfig", "TrainingConfig"), "cuvis_ai_core.training.config"),
        "GradientTrainer": "cuvis_ai_core.training.gradient_trainer",
        "Predictor": "cuvis_ai_core.training.predictor",
        "StatisticalTrainer": "cuvis_ai_core.training.statistical_trainer",
        "TrainRun": "cuvis_ai_core.training.trainrun",
        "read_trainrun": "cuvis_ai_core.training.trainrun",
    },
)
