"""How torch nodes behave while a pipeline is measured, initialised or used: as trained, and without gradients."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cuvis_ai_core.node.gradient_modes import without_gradients
from cuvis_ai_core.node.torch_modules import is_module

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline


def modules_of(pipeline: "Pipeline") -> list[Any]:
    """Return the nodes of a pipeline that are modules of torch."""
    return list(filter(is_module, pipeline.nodes.values()))


@contextmanager
def evaluating(pipeline: "Pipeline") -> Iterator[None]:
    """Have torch nodes in evaluation mode and record no gradients; afterwards they are as they were."""
    nodes = modules_of(pipeline)
    # Of each module in a node: authors freeze parts of theirs, and `train()` would change all alike.
    before = [(module, module.training) for node in nodes for module in node.modules()]
    try:
        for node in nodes:
            node.eval()
        with without_gradients(nodes):
            yield
    finally:
        for module, training in before:
            module.training = training


@contextmanager
def undisturbed(pipeline: "Pipeline") -> Iterator[None]:
    """Keep Lightning's remarks from the terminal, and nodes and torch's switches as they were."""
    import torch

    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning", "lightning.pytorch")]
    levels = [logger.level for logger in loggers]
    deterministic = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    modes = [(module, module.training) for node in modules_of(pipeline) for module in node.modules()]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            # By module, not by category: a plugin's own warnings are for its user.
            warnings.filterwarnings("ignore", module=r"(pytorch_)?lightning(_utilities|_fabric)?(\.|$)")
            warnings.filterwarnings("ignore", module=r"torch(metrics)?(\.|$)")
            yield
    finally:
        for module, training in modes:
            module.training = training
        # Lightning sets both for the whole process, and leaves them.
        torch.use_deterministic_algorithms(deterministic, warn_only=warns)
        torch.backends.cudnn.benchmark = benchmark
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
