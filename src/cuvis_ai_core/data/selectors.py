"""Which samples the selectors of a split mean, as newer published trainruns and `splits.json` name them.

A sample is a `SampleRef` of the schemas: a file (`source`), and where it holds several the number in it (`index`). All
samples of a data module in their order are its universe.
"""

import fnmatch
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from posixpath import normpath
from typing import Any, Final

from cuvis_ai_core._nearest import did_you_mean
from cuvis_ai_core.data.index_ranges import expand_range_selectors
from cuvis_ai_core.errors import SplitConstraintError, TrainRunError

# The error is published software's to import from here.
__all__ = ["SplitConstraintError", "attributes", "by_position", "norm_source", "resolve", "resolve_selectors"]

logger = logging.getLogger(__name__)

SETS: Final = frozenset({"union", "except", "intersect"})
_ATTRIBUTES: Final = {"tag": "tags", "categories": "category_ids"}


def norm_source(source: object) -> str:
    """Return the spelling by which two names of one file are compared, on each system the same.

    Forward slashes, no `.` and `..`, and lower case where the name begins with a drive or a server: Windows takes both
    cases for one. A relative name in backslashes keeps its case, since splits made on Windows are read elsewhere too.
    """
    # Two slashes at the begin, a server of Windows, are kept by this function.
    text = normpath(str(source).replace("\\", "/"))
    return text.lower() if _of_windows(text) else text


def _of_windows(text: str) -> bool:
    return re.match(r"[A-Za-z]:/|//", text) is not None


_norm_source = norm_source  # as published software calls it


def attributes(selectors: Iterable[Any]) -> frozenset[str]:
    """Return which attributes of samples selectors ask for: `tags`, `category_ids`."""
    every = list(chain.from_iterable(_all_of(each) for each in selectors))
    return frozenset(_ATTRIBUTES[each.kind.value] for each in every if each.kind.value in _ATTRIBUTES)


def by_position(selectors: Iterable[Any]) -> bool:
    """Tell whether selectors count files, so that they mean others where files come or go."""
    return any(each.kind.value == "dir_indices" for selector in selectors for each in _all_of(selector))


def _all_of(selector: Any) -> Iterable[Any]:
    yield selector
    for each in selector.of:
        yield from _all_of(each)


def resolve(
    selectors: Iterable[Any], universe: Sequence[Any], categories: Mapping[str, int] | None, stage: str
) -> list[Any]:
    """Return the samples that selectors mean together, each once, in the order of the universe.

    Args:
        selectors: The selectors of a part of the data.
        universe: All samples.
        categories: The numbers of the categories by their names, where they are known.
        stage: Name of the part, for errors.

    Raises:
        TrainRunError: One means no sample, or names a category that is not there.
    """
    found = {each.uid for each in chain.from_iterable(_each_meant(selectors, universe, categories, stage))}
    return [each for each in universe if each.uid in found]


def resolve_selectors(
    selectors: Iterable[Any], refs: Sequence[Any], *, name_to_id: Mapping[str, int] | None = None
) -> list[Any]:
    """Return the samples that selectors mean together, each once: those of the first selector first.

    Args:
        selectors: The selectors.
        refs: All samples.
        name_to_id: The numbers of the categories by their names, where they are known.

    Raises:
        TrainRunError: One means no sample, or names a category that is not there.
    """
    meant = chain.from_iterable(_each_meant(selectors, refs, name_to_id, "selectors"))
    return list({each.uid: each for each in meant}.values())


def _each_meant(
    selectors: Iterable[Any], universe: Sequence[Any], categories: Mapping[str, int] | None, stage: str
) -> Iterator[list[Any]]:
    """Yield the samples of each selector, in the order of the universe."""
    for number, selector in enumerate(selectors):
        meant = _Universe(universe, categories).meant(selector)
        if not meant:
            raise TrainRunError(
                f"splits.{stage}[{number}] ({_shown(selector)}) matched 0 samples of {len(universe)}.",
                hint=_sources(universe),
                key=f"data.splits.{stage}",
            )
        _say_missing(selector, universe, f"splits.{stage}[{number}]")
        yield [each for each in universe if each.uid in meant]


class _Universe:
    def __init__(self, samples: Sequence[Any], categories: Mapping[str, int] | None) -> None:
        self._samples = samples
        self._categories = categories
        self._files = list(dict.fromkeys(norm_source(each.source) for each in samples))

    def meant(self, selector: Any) -> set[str]:
        """Return the identities of the samples that a selector means."""
        kind = selector.kind.value
        if kind in SETS:
            first, *others = map(self.meant, selector.of)
            if kind == "union":
                return first.union(*others)
            return first.difference(*others) if kind == "except" else first.intersection(*others)
        wanted, keys = self._wanted(selector)
        return {each.uid for each in self._samples if not wanted.isdisjoint(keys(each))}

    def _wanted(self, selector: Any) -> tuple[set[Any], Callable[[Any], Iterable[Any]]]:
        """Return what samples are picked by, and the function that tells of one what it has of that."""
        wanted: set[Any] = set(self._files)
        keys: Callable[[Any], Iterable[Any]] = _files_of
        match selector.kind.value:
            case "files":
                wanted = set(map(norm_source, selector.paths))
            case "dir_indices":
                numbers = set(expand_range_selectors(selector.ids))
                wanted = {file for number, file in enumerate(self._files) if number in numbers}
            case "glob":
                wanted = {file for file in self._files if _fits(file, norm_source(selector.pattern))}
            case "file_indices":
                source = norm_source(selector.source)
                wanted, keys = {(source, number) for number in expand_range_selectors(selector.ids)}, _places_of
            case "stems":
                wanted, keys = set(selector.stems), lambda each: (each.stem,)
            case "tag":
                wanted, keys = set(selector.any_of), lambda each: each.tags
            case "categories":
                wanted, keys = self._numbers(selector.any_of), lambda each: each.category_ids
        return wanted, keys

    def _numbers(self, names: Sequence[str]) -> set[int]:
        known = self._categories or {}
        for name in names:
            if name not in known:
                raise TrainRunError(
                    f"splits: the data have no category '{name}'.{did_you_mean(name, known)}",
                    hint=f"Categories: {', '.join(known) or 'none'}.",
                    key="data.splits",
                )
        return {known[name] for name in names}


def _files_of(sample: Any) -> Iterable[Any]:
    return (norm_source(sample.source),)


def _places_of(sample: Any) -> Iterable[Any]:
    return ((norm_source(sample.source), sample.index or 0),)


def _fits(source: str, pattern: str) -> bool:
    pattern = pattern.lower() if _of_windows(source) else pattern
    return fnmatch.fnmatchcase(source, pattern) or fnmatch.fnmatchcase(source.rpartition("/")[2], pattern)


def _say_missing(selector: Any, universe: Sequence[Any], place: str) -> None:
    """Warn of files and numbers that a selector names beside others, and that are not there."""
    files = {norm_source(each.source) for each in universe}
    missing = [each for each in selector.paths if norm_source(each) not in files]
    if selector.source is not None:
        source = norm_source(selector.source)
        there = {each.index or 0 for each in universe if norm_source(each.source) == source}
        missing = [str(each) for each in expand_range_selectors(selector.ids) if each not in there]
    if missing:
        logger.warning("%s names what is not there, and goes without it: %s", place, ", ".join(missing[:5]))


def _shown(selector: Any) -> str:
    content = selector.model_dump(mode="json", exclude_defaults=True)
    return f"{', '.join(f'{key} {value}' for key, value in content.items())!s:.120}"


def _sources(universe: Sequence[Any]) -> str:
    files = list(dict.fromkeys(str(each.source) for each in universe))
    return f"Files of the data, as they are to be named: {', '.join(files[:3]) or 'none'}{', ...' * (len(files) > 3)}"  # noqa: PLR2004
