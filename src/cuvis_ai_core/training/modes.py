"""How torch nodes behave while a pipeline is measured, initialised or used: as trained, and without gradients."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cuvis_ai_core.node.libraries import is_module, without_gradients

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline


def modules_of(pipeline: "Pipeline") -> list[Any]:
    """Return the nodes of a pipeline that are modules of torch."""
    return list(filter(is_module, pipeline.nodes.values()))


@contextmanager
def evaluating(pipeline: "Pipeline") -> Iterator[None]:
    """Have torch nodes in evaluation mode and record no gradients; afterwards they are as they were."""
    nodes = modules_of(pipeline)
    before = [(module, module.training) for node in nodes for module in node.modules()]
    try:
        for node in nodes:
            node.eval()
        with without_gradients(nodes):
            yield
    finally:
        for module, training in before:
            module.training = training
