"""What a node in a worker process counts over many batches."""

from collections.abc import Callable
from typing import Any


class RemoteMetric:
    """Stands for a metric of torchmetrics, or of its kind, that a node in a worker counts on with.

    Args:
        ask: Has the metric of a name do something, `compute` or `reset`, and returns what it answers.
        name: The name of the number that it answers.
    """

    def __init__(self, ask: Callable[[str, str], Any], name: str) -> None:
        self._ask = ask
        self._name = name

    def compute(self) -> float:
        """Return what all batches so far come to."""
        return float(self._ask(self._name, "compute"))

    def reset(self) -> None:
        """Have it begin anew."""
        self._ask(self._name, "reset")
