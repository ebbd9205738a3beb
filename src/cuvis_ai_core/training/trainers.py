"""The published trainers, which take data modules of Lightning; importing this module imports torch and Lightning."""

from cuvis_ai_core.training.published_gradient_trainer import GradientTrainer
from cuvis_ai_core.training.statistical_trainer import StatisticalTrainer

__all__ = ["GradientTrainer", "StatisticalTrainer"]
