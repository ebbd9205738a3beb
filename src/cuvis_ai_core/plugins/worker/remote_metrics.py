"""What a node in a worker process counts over many batches."""

from collections.abc import Callable
from typing import Any


class RemoteMetric:
    """Stands for a metric of torchmetrics, or of its kind, that a node in a worker counts on with.

    Args:
        ask: Has the node called: the name of a method, and its arguments.
        name: The name of the number that it answers.
    """

    def __init__(self, ask: Callable[[str, object], Any], name: str) -> None:
        self._ask = ask
        self._name = name

    def compute(self) -> float:
        """Return what all batches so far come to."""
        return float(self._do("compute"))

    def reset(self) -> None:
        """Have it begin anew."""
        self._do("reset")

    def _do(self, what: str) -> Any:
        return self._ask("pooled_metrics", {"args": [self._name, what], "kwargs": {}})
