"""The host environment's packages, as far as plugins may come to share them."""

from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path

from cuvis_ai_core.plugins.dependencies.distribution import Distribution
from cuvis_ai_core.plugins.dependencies.requirements import applies, needed_name
from cuvis_ai_core.plugins.dependencies.search_path import SearchPath
from cuvis_ai_core.plugins.dependencies.sharing_decision import Demand, Provider


def provider(distribution: Distribution, host: SearchPath) -> Provider | None:
    """Return what the host has under the name of a distribution or of its modules, or None."""
    version = host.version(distribution.name)
    if version is not None:
        return Provider(version, "in the host environment")
    for root in distribution.roots:
        # By the listing first: the path finder looks into every folder of the path.
        place = _place(root) if root.partition(".")[0] in host.tops else None
        if place is not None:
            return Provider(None, "on this program's path", f"another module '{root}', {place},")
    return None


def demands(names: Iterable[str], wanted: str, host: SearchPath) -> Iterator[Demand]:
    """Return what the host's packages of some names, and all that these need, ask of one distribution."""
    waiting, seen = list(names), {wanted}
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            found = host.distribution(name)
            needs = [text for text in (found.requires if found else None) or () if applies(text)]
            yield from (Demand(name, text) for text in needs if needed_name(text) == wanted)
            waiting += map(needed_name, needs)


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
