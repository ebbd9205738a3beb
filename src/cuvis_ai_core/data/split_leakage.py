"""What a split promises about itself: no sample in two parts, no file in two parts, nothing anomalous to train on."""

import logging
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Final

from cuvis_ai_core.errors import TrainRunError

logger = logging.getLogger(__name__)

TAGS: Final = "tags"
_ANOMALOUS: Final = "anomalous"
_SHOWN: Final = 3


def promises_of(splits: Any) -> Sequence[Any]:
    """Return what a split promises; the older schemas, which are taken too, know of no promises."""
    found: Sequence[Any] = getattr(splits, "constraints", ())
    return found


def needed_attributes(splits: Any, supported: frozenset[str]) -> frozenset[str]:
    """Return which attributes of samples the promises are checked by, as far as they are to be had."""
    named = {each.kind.value for each in promises_of(splits)}
    return frozenset({TAGS}) & supported if "no_train_anomalous" in named else frozenset()


def check_promises(splits: Any, parts: Mapping[str, Sequence[Any]], supported: frozenset[str]) -> None:
    """Check what a split promises; a broken promise is an error or a warning, as it says.

    Args:
        splits: The `DataSplitConfig`.
        parts: The samples of `train`, `val` and `test`.
        supported: Which attributes samples have.

    Raises:
        TrainRunError: A promise is broken that is to be kept.
    """
    for promise in promises_of(splits):
        kind = promise.kind.value
        if kind == "no_train_anomalous" and TAGS not in supported:
            logger.warning("splits: '%s' cannot be checked: the data do not say what is anomalous", kind)
            continue
        problem = _broken(kind, parts)
        if problem is None:
            continue
        if promise.severity.value == "error":
            raise TrainRunError(
                f"splits: '{kind}' is promised, and {problem}.",
                hint="Correct the selectors, or give the constraint the severity 'warn'.",
                key="data.splits.constraints",
            )
        logger.warning("splits: '%s' is promised, and %s", kind, problem)


def _broken(kind: str, parts: Mapping[str, Sequence[Any]]) -> str | None:
    if kind == "no_train_anomalous":
        found = [each.uid for each in parts["train"] if _ANOMALOUS in each.tags]
        return f"these of 'train' are anomalous: {_some(found)}" if found else None
    key = "uid" if kind == "no_split_overlap" else "group"
    for first, second in combinations(parts, 2):
        others = {getattr(each, key) for each in parts[second]}
        both = dict.fromkeys(value for each in parts[first] if (value := getattr(each, key)) in others)
        if both:
            return f"these are in '{first}' and in '{second}': {_some(list(both))}"
    return None


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
