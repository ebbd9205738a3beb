"""What `importlib.metadata` is told of plugins and their dependencies."""

from collections.abc import Iterator
from importlib.metadata import Distribution, DistributionFinder, EntryPoint, EntryPoints, PathDistribution
from pathlib import Path
from typing import Any, cast

from cuvis_ai_core.plugins.dependencies.distribution import normalised
from cuvis_ai_core.plugins.dependencies.live_versions import replaced, served
from cuvis_ai_core.plugins.isolation.calling_plugin import asking_scope
from cuvis_ai_core.plugins.isolation.private_names import public_name
from cuvis_ai_core.plugins.isolation.scope import Scope


def find_distributions(context: DistributionFinder.Context | None = None) -> Iterator[Distribution]:
    """Return the metadata of live dependencies, and in a plugin's code of the plugin and what it has for itself."""
    # `Context.path` is a property that falls back to `sys.path`: only what was given lies in its own dictionary.
    if context is not None and "path" in vars(context):
        return  # Who names the folders to look in does not mean ours.
    # `version(__package__)` asks by a private name.
    name = normalised(public_name(context.name)) if context is not None and context.name else None
    scope = asking_scope()
    own = {} if scope is None else dict(scope.distributions)
    if scope is not None:
        wanted = set(own) if name is None else {name} & set(own)
        for target in {own[each] for each in wanted}:
            names_here = {each for each in wanted if own[each] == target}
            yield from (_ScopedDistribution(info, scope) for info in _dist_infos(target, names_here))
    for folder, names in (*served(name).items(), *replaced(name).items()):
        yield from map(PathDistribution, _dist_infos(Path(folder), set(names)))


def _dist_infos(target: Path, names: set[str]) -> Iterator[Path]:
    for folder in target.glob("*.dist-info"):
        # By the folder's name, in which PEP 427 allows no '-' within a part: METADATA of a large package has a README
        # in it.
        if normalised(folder.name.partition("-")[0]) in names:
            yield folder


class _ScopedDistribution(PathDistribution):
    """A distribution that a plugin has for itself: its entry points lead to the plugin's copy."""

    def __init__(self, folder: Path, scope: Scope) -> None:
        super().__init__(folder)
        self._scope = scope

    @property
    def entry_points(self) -> EntryPoints:
        """The entry points, each loading within the plugin."""
        return EntryPoints(_ScopedEntryPoint.of(point, self) for point in super().entry_points)

    @property
    def scope(self) -> Scope:
        """The scope that has this distribution."""
        return self._scope


class _ScopedEntryPoint(EntryPoint):
    @classmethod
    def of(cls, point: EntryPoint, distribution: _ScopedDistribution) -> "_ScopedEntryPoint":
        made = cls(point.name, point.value, point.group)
        # As the standard class does: entry points cannot be assigned to.
        vars(made).update(dist=distribution)
        return made

    def load(self) -> Any:
        """Import the module within the scope and return what is named in it."""
        # Needed where an entry point is loaded only; finding metadata is part of every load.
        from functools import reduce

        scope = cast("_ScopedDistribution", self.dist).scope
        return reduce(getattr, self.attr.split(".") if self.attr else (), scope.import_module(self.module))
