"""What a split promises about itself: no sample in two parts, no file in two parts, nothing anomalous to train on."""

import logging
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Final

from cuvis_ai_core.data.selectors import norm_source
from cuvis_ai_core.errors import SplitConstraintError

logger = logging.getLogger(__name__)

_CATEGORIES: Final = "category_ids"
_UNSAID: Final = "the data do not say what is anomalous"
_SHOWN: Final = 3


def promises_of(splits: Any) -> Sequence[Any]:
    """Return what a split promises; the older schemas, which are taken too, know of no promises."""
    found: Sequence[Any] = getattr(splits, "constraints", ())
    return found


def needed_attributes(splits: Any, supported: frozenset[str]) -> frozenset[str]:
    """Return which attributes of samples the promises are checked by, as far as they are to be had."""
    named = {each.kind.value for each in promises_of(splits)}
    return frozenset({_CATEGORIES}) & supported if "no_train_anomalous" in named else frozenset()


def check_promises(splits: Any, parts: Mapping[str, Sequence[Any]], supported: frozenset[str]) -> None:
    """Check what a split promises; a promise that is broken, or that cannot be checked, is an error or a warning.

    Args:
        splits: The `DataSplitConfig`.
        parts: The samples of `train`, `val` and `test`.
        supported: Which attributes samples have.

    Raises:
        SplitConstraintError: One whose severity is `error` is broken or cannot be checked.
    """
    for promise in promises_of(splits):
        kind = promise.kind.value
        unsaid = kind == "no_train_anomalous" and _CATEGORIES not in supported
        problem = _UNSAID if unsaid else _broken(kind, parts)
        if problem is None:
            continue
        text = f"splits: {kind} {'unavailable' if unsaid else 'violated'}: {problem}"
        if promise.severity.value == "error":
            raise SplitConstraintError(
                f"{text}.",
                hint="Correct the selectors, or give the constraint the severity 'warn'.",
                key="data.splits.constraints",
            )
        logger.warning("%s", text)


def _broken(kind: str, parts: Mapping[str, Sequence[Any]]) -> str | None:
    if kind == "no_train_anomalous":
        # The category 0 is the background; tags are the author's own words, which a data module may not have.
        found = [each.uid for each in parts["train"] if any(each.category_ids)]
        return f"these of 'train' are anomalous: {_some(found)}" if found else None
    same = _uid if kind == "no_split_overlap" else _file
    for first, second in combinations(parts, 2):
        others = set(map(same, parts[second]))
        both = dict.fromkeys(value for value in map(same, parts[first]) if value in others)
        if both:
            return f"these are in '{first}' and in '{second}': {_some(list(both))}"
    return None


def _uid(sample: Any) -> str:
    return str(sample.uid)


def _file(sample: Any) -> str:
    return norm_source(sample.source)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
