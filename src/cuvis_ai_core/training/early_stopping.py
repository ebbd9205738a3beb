"""When a training stops early.

Importing this module imports torch and Lightning.
"""

from pytorch_lightning.callbacks import EarlyStopping

from cuvis_ai_core.training.config import EarlyStoppingConfig
from cuvis_ai_core.training.monitored_metric import direction


def early_stopping(config: EarlyStoppingConfig) -> EarlyStopping:
    """Return the callback that stops early; a value that is not a number is no better than the best so far."""
    mode = direction(config.monitor, config.mode)
    # Lightning would end the training at the first NaN of what it watches; the guards of ours say where it comes from.
    return EarlyStopping(**{**config.model_dump(), "mode": mode, "check_finite": False})
