"""Losses and metrics over many batches: those of all pixels together, not the mean of what single cubes came to."""

import copy
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.errors import TrainRunError
from cuvis_ai_core.training.batch_step import LOSS, Measured, as_number

logger = logging.getLogger(__name__)

_METRIC_METHODS = ("update", "compute", "reset")
"""What a metric of torchmetrics has; one of a plugin's own copy of that library is another class."""


class Pool:
    """What the batches of one pass over data come to together.

    A loss, and a metric that is one number for a batch, is averaged with the weight that its node says, by default the
    pixels of the batch. Of a number that its node counts on over all batches that count is taken. A metric of
    torchmetrics is given what it is to compare, batch after batch, and asked at the end.

    Args:
        several: Whether each loss is reported by itself too.
    """

    def __init__(self, *, several: bool = False) -> None:
        self._several = several
        self._losses: dict[str, _Mean] = {}
        self._means: dict[str, _Mean] = {}
        self._counts: dict[str, float] = {}
        self._counted: dict[str, dict[str, bool]] = {}
        self._counting: dict[str, Callable[[], Mapping[str, Any]]] = {}
        self._metrics: dict[str, dict[str, Any]] = {}
        self._undefined: set[str] = set()

    def __bool__(self) -> bool:
        return any(mean.weight for mean in self._losses.values())

    def add(self, measured: Measured) -> None:
        """Take in what a batch came to.

        Raises:
            TrainRunError: A metric node returned something else than metrics.
        """
        for node, loss in measured.losses.items():
            self._losses.setdefault(node, _Mean()).add(as_number(loss), measured.weights[node])
        for node, metrics in measured.metrics.items():
            for name, value in _named(node, metrics):
                if isinstance(value, tuple):
                    self._update(node, name, *value)
                elif not self._is_counted(node, name, measured.counting.get(node, dict)):
                    self._add_number(node, name, value, measured.weights[node])

    def take_counts(self) -> None:
        """Take what nodes have counted so far, before they count for another pass, or are closed."""
        for node, counting in self._counting.items():
            metrics = counting()
            for name in filter(self._counted[node].get, metrics):
                self._counts[f"{node}/{name}"] = as_number(metrics[name].compute())
        self._counting.clear()

    def values(self, loss: str = LOSS) -> dict[str, float]:
        """Return the numbers; one that is not defined is NaN.

        Args:
            loss: What the sum of all losses is called.
        """
        self.take_counts()
        losses = {node: mean.value for node, mean in self._losses.items() if mean.weight}
        total = {loss: sum(losses.values())} if losses else {}
        alone = {f"{node}/{LOSS}": value for node, value in losses.items()} if self._several else {}
        means = {name: mean.value for name, mean in self._means.items()}
        numbers = {name: float(value) for name, value, _ in self._computed() if value.ndim == 0}
        return {**total, **alone, **means, **self._counts, **numbers}

    @property
    def averaged(self) -> set[str]:
        """Names of the nodes of which numbers of batches were averaged."""
        return {*self._losses, *(name.partition("/")[0] for name in self._means)}

    def matrices(self) -> dict[str, tuple[NDArray[Any], list[str]]]:
        """Return the metrics that are matrices, as confusion matrices are, each with the names of its rows."""
        return {
            name: (value, [*map(str, labels if labels and len(labels) == len(value) else range(len(value)))])
            for name, value, labels in self._computed()
            if value.ndim == 2  # noqa: PLR2004
        }

    def _is_counted(self, node: str, name: str, counting: Callable[[], Mapping[str, Any]]) -> bool:
        known = self._counted.setdefault(node, {})
        if name not in known:  # once in a pass: a node in a process is asked by a message
            known[name] = name in counting()
        if known[name]:
            self._counting[node] = counting
        return known[name]

    def _update(self, node: str, name: str, metric: Any, *arguments: Any) -> None:
        if not _is_metric(metric):
            raise _no_metric(node, name, metric)
        own = self._metrics.setdefault(node, {})
        if name not in own:
            # A copy: the node has one, which would count training and validation together.
            own[name] = copy.deepcopy(metric)
            own[name].reset()
        try:
            own[name].update(*arguments)
        except Exception as error:
            words = " ".join(str(error).split())
            raise TrainRunError(
                f"metric_nodes: '{name}' of node '{node}' ({type(metric).__name__}) does not take what it is to "
                f"compare: {type(error).__name__}: {words}",
                hint=f"Look at what the node returns under '{name}'.",
                key="metric_nodes",
            ) from error

    def _add_number(self, node: str, metric: str, number: Any, weight: float) -> None:
        try:
            name, value = f"{node}/{metric}", as_number(number)
        except (TypeError, ValueError, RuntimeError) as error:  # the last is torch's, of several numbers
            raise _no_metric(node, metric, number) from error
        if not math.isfinite(value) and name not in self._undefined:
            self._undefined.add(name)
            logger.warning("%s is %s for a batch, which is left out of it", name, value)
        self._means.setdefault(name, _Mean()).add(value, weight if math.isfinite(value) else 0.0)

    def _computed(self) -> Iterator[tuple[str, NDArray[Any], Any]]:
        for node, metrics in self._metrics.items():
            found = [
                (name, key, value, getattr(metric, "labels", None))
                for name, metric in metrics.items()
                for key, value in _computed_by(node, name, metric)
            ]
            taken = Counter(key for _, key, _, _ in found)
            taken.update(
                name.partition("/")[2] for name in (*self._means, *self._counts) if name.startswith(f"{node}/")
            )
            for name, key, value, labels in found:
                # Two collections may each have a metric of one name.
                yield f"{node}/{key if taken[key] == 1 else f'{name}/{key}'}", value, labels


class _Mean:
    """A weighted mean; without weight it is not a number."""

    def __init__(self) -> None:
        self.weight = 0.0
        self._total = 0.0

    def add(self, value: float, weight: float) -> None:
        # NaN times 0 is NaN.
        if weight:
            self.weight += weight
            self._total += value * weight

    @property
    def value(self) -> float:
        return self._total / self.weight if self.weight else math.nan


def _named(node: str, metrics: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a metric node returned: a list of `Metric`, or a mapping of names."""
    if isinstance(metrics, Mapping):
        yield from ((str(name), value) for name, value in metrics.items())
        return
    if metrics is not None and not isinstance(metrics, Iterable):
        raise _no_metric(node, "metrics", metrics)
    seen: set[str] = set()
    for each in metrics or ():
        if not hasattr(each, "name") or not hasattr(each, "value"):
            raise _no_metric(node, "metrics", each)
        if each.name in seen:
            raise TrainRunError(
                f"metric_nodes: node '{node}' returned '{each.name}' twice for one batch.",
                hint="Give each metric a name of its own.",
                key="metric_nodes",
            )
        seen.add(each.name)
        yield each.name, each.value


def _computed_by(node: str, name: str, metric: Any) -> list[tuple[str, NDArray[Any]]]:
    try:
        return list(_flat(name, metric.compute()))
    except Exception as error:
        words = " ".join(str(error).split())
        raise TrainRunError(
            f"metric_nodes: what '{name}' of node '{node}' ({type(metric).__name__}) comes to cannot be reported: "
            f"{type(error).__name__}: {words}",
            hint="Reported are numbers and matrices: of a curve, for example, the area below it.",
            key="metric_nodes",
        ) from error


def _flat(name: str, value: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the numbers and matrices of what a metric computes: one, several of either, or a mapping of these."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _flat(str(key), each)
        return
    array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    if array.ndim in {0, 2}:
        yield name, array
        return
    for number, each in enumerate(array):
        yield from _flat(f"{name}/{number}", each)


def _is_metric(value: object) -> bool:
    return all(callable(getattr(value, method, None)) for method in _METRIC_METHODS)


def _no_metric(node: str, name: str, value: object) -> TrainRunError:
    return TrainRunError(
        f"metric_nodes: node '{node}' returned under '{name}' an object of type {type(value).__name__}.",
        hint="Return a list of Metric, or a mapping of names to numbers or to (metric of torchmetrics, predictions, "
        "targets): {'f1': (self.f1, classes, mask)}.",
        key="metric_nodes",
    )
