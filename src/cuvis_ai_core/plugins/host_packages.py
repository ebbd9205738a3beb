"""The host environment's packages, as far as plugins may come to share them."""

from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
from importlib.metadata import DistributionFinder, MetadataPathFinder
from pathlib import Path

from cuvis_ai_core.plugins.distribution import Distribution
from cuvis_ai_core.plugins.requirements import applies, host_version, needed_name
from cuvis_ai_core.plugins.sharing import Demand, Provider


def provider(distribution: Distribution) -> Provider | None:
    """Return what the host has under the name of a distribution or of its modules, or None."""
    version = host_version(distribution.name)
    if version is not None:
        return Provider(version, "in the host environment")
    for root in distribution.roots:
        place = _place(root)
        if place is not None:
            return Provider(None, "on this program's path", f"another module '{root}', {place},")
    return None


def demands(names: Iterable[str], wanted: str) -> Iterator[Demand]:
    """Return what the host's packages of some names, and all that these need, ask of one distribution."""
    waiting, seen = list(names), {wanted}
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for requirement in _requirements(name):
            if needed_name(requirement) == wanted:
                yield Demand(name, requirement)
            waiting.append(needed_name(requirement))


def _requirements(name: str) -> list[str]:
    context = DistributionFinder.Context(name=name)
    found = next(iter(MetadataPathFinder.find_distributions(context)), None)
    return [text for text in (found.requires if found else None) or () if applies(text)]


def _place(root: str) -> str | None:
    """Return where the host has a module or regular package; a plain folder is neither."""
    top, *rest = root.split(".")
    spec = PathFinder.find_spec(top)
    if spec is None or not rest:
        return None if spec is None or spec.loader is None else spec.origin
    # Below a namespace package the path finder answers only where that is imported.
    places = (Path(folder, *rest) for folder in spec.submodule_search_locations or ())
    files = (file for place in places for file in (place / "__init__.py", place.with_suffix(".py")))
    return next((str(file) for file in files if file.is_file()), None)
