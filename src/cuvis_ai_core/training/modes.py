"""How torch nodes behave while a pipeline is measured, initialised or used: as trained, and without gradients."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cuvis_ai_core.pipeline.libraries import is_module

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline


@contextmanager
def evaluating(pipeline: "Pipeline") -> Iterator[None]:
    """Have torch nodes in evaluation mode and record no gradients; afterwards they are as they were."""
    modules = [node for node in pipeline.nodes.values() if is_module(node)]
    if not modules:
        yield
        return
    torch = sys.modules["torch"]
    before = [(module, module.training) for node in modules for module in node.modules()]
    try:
        for node in modules:
            node.eval()
        with torch.no_grad():
            yield
    finally:
        for module, training in before:
            module.training = training
