"""The third-party modules of plugins: one version per process, from the host or from one live target directory.

What counts as live: what a loaded plugin's target serves, and what the host has imported. A dependency that is live
in a version that a plugin's requirements refuse is a clash, found here before anything of the plugin is imported.
"""

import re
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import DistributionFinder, MetadataPathFinder, PathDistribution
from pathlib import Path
from typing import Final

from cuvis_ai_core.errors import DependencyConflictError
from cuvis_ai_core.plugins.distribution import Distribution


class _Live:
    def __init__(self, distribution: Distribution, target: Path) -> None:
        self.distribution = distribution
        self.target = target
        self.holders = 0


WAY_OUT: Final = (
    "Let the plugin accept that version, or change what is installed. A plugin that cannot agree needs a process of "
    "its own (isolation: process), which this version of cuvis-ai-core does not have yet."
)
"""The next step for whoever meets a dependency conflict."""

_lock = threading.RLock()
_live: Final[dict[str, _Live]] = {}
_roots: Final[dict[str, Path]] = {}
_namespaces: Final[dict[str, Path]] = {}


class Lease:
    """The dependencies that one loaded plugin keeps alive; made by `acquire`."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def release(self) -> None:
        """Let go: what nobody holds and nobody imported is served no more."""
        with _lock:
            for name in self._names:
                live = _live[name]
                live.holders -= 1
                if not live.holders and not _imported(live.distribution):
                    _withdraw(live)
            self._names = ()


def acquire(plugin: Distribution, needed: Sequence[Distribution], target: Path) -> Lease:
    """Make the dependencies of a plugin importable, each from the host, a live target or the plugin's own.

    Args:
        plugin: The plugin's own distribution.
        needed: The other distributions in its target directory.
        target: That directory.

    Raises:
        DependencyConflictError: A live version violates a requirement of the plugin or of what it needs.
    """
    with _lock:
        requirements = list(_requirements((plugin, *needed)))
        _check_live(plugin, requirements)
        missing = [each for each in needed if each.name not in _live]
        own = [each for each in missing if not _host_serves(plugin, each, requirements)]
        for distribution in own:
            _check_roots(plugin, distribution)
        for distribution in own:
            _serve(distribution, target)
        names = [each.name for each in needed if each.name in _live]
        for name in names:
            _live[name].holders += 1
        return Lease(names)


def find_dependency(fullname: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """Answer the import of a module that a live dependency owns."""
    folder = _roots.get(fullname)
    if folder is not None:
        return PathFinder.find_spec(fullname, [str(folder)])
    return _namespace_spec(fullname, path) if fullname in _namespaces else None


def live_metadata(name: str | None) -> Iterator[PathDistribution]:
    """Return the metadata of the live dependency of a name, or of all."""
    for live in list(_live.values()):
        if name is None or normalised(name) == live.distribution.name:
            for folder in live.target.glob("*.dist-info"):
                if normalised(folder.name.partition("-")[0]) == live.distribution.name:
                    yield PathDistribution(folder)


def _namespace_spec(fullname: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """Answer for a namespace package of a dependency where the host has none of that name."""
    if PathFinder.find_spec(fullname, path) is not None:
        return None
    spec = ModuleSpec(fullname, None, is_package=True)
    spec.submodule_search_locations = [str(_namespaces[fullname])]
    return spec


def _serve(distribution: Distribution, target: Path) -> None:
    _live[distribution.name] = _Live(distribution, target)
    for root in distribution.roots:
        _roots[root] = target.joinpath(*root.split(".")[:-1])
    for namespace in distribution.namespaces:
        _namespaces.setdefault(namespace, target.joinpath(*namespace.split(".")))


def _withdraw(live: _Live) -> None:
    del _live[live.distribution.name]
    for root in live.distribution.roots:
        _roots.pop(root, None)
    still = {name: each.target for each in _live.values() for name in each.distribution.namespaces}
    for namespace in live.distribution.namespaces:
        if namespace in still:
            _namespaces[namespace] = still[namespace].joinpath(*namespace.split("."))
        else:
            _namespaces.pop(namespace, None)


def _requirements(distributions: Iterable[Distribution]) -> Iterator[tuple[str, str, str]]:
    """Return (who, needed distribution, requirement) for requirements that may concern something live."""
    for distribution in distributions:
        for requirement in distribution.requires:
            name = normalised(_leading_name(requirement))
            yield distribution.name, name, requirement


def _check_live(plugin: Distribution, requirements: Iterable[tuple[str, str, str]]) -> None:
    for who, name, requirement in requirements:
        live = _live.get(name)
        if live is not None and not satisfies(live.distribution.version, requirement):
            raise conflict(who, requirement, live.distribution.version, f"loaded from {live.target}", plugin.name)


def _check_roots(plugin: Distribution, distribution: Distribution) -> None:
    """Refuse a distribution whose modules another live distribution owns (`cv2` has several owners)."""
    for live in _live.values():
        shared = sorted(set(live.distribution.roots) & set(distribution.roots))
        if shared:
            owner = live.distribution
            raise DependencyConflictError(
                f"Dependency conflict: package {plugin.name} requires {distribution.name}=={distribution.version}, "
                f"but module '{shared[0]}' is already served by {owner.name}=={owner.version}.",
                hint=f"Let both plugins depend on the same distribution. {WAY_OUT}",
                plugin=plugin.name,
                requirement=f"{distribution.name}=={distribution.version}",
                installed=f"{owner.name}=={owner.version}",
            )


def _host_serves(
    plugin: Distribution, distribution: Distribution, requirements: Iterable[tuple[str, str, str]]
) -> bool:
    """Tell whether the host has imported this distribution; its version is then the live one.

    Raises:
        DependencyConflictError: A requirement refuses that version.
    """
    if not _imported(distribution):
        return False
    version = host_version(distribution.name)
    for who, name, requirement in requirements:
        if name == distribution.name and not (version and satisfies(version, requirement)):
            shown = version or "a module of that name that belongs to no package"
            raise conflict(who, requirement, shown, "imported by this program", plugin.name)
    return True


def _imported(distribution: Distribution) -> bool:
    return any(root in sys.modules for root in distribution.roots)


def host_version(name: str) -> str | None:
    """Return the version of a distribution in the host environment, or None."""
    context = DistributionFinder.Context(name=name)
    return next((found.version for found in MetadataPathFinder.find_distributions(context)), None)


def satisfies(version: str, requirement: str) -> bool:
    """Tell whether a version meets a requirement; one whose marker does not apply here is met."""
    from packaging.requirements import Requirement

    parsed = Requirement(requirement)
    if parsed.marker is not None and not parsed.marker.evaluate({"extra": ""}):
        return True
    return parsed.specifier.contains(version, prereleases=True)


def conflict(who: str, requirement: str, installed: str, where: str, plugin: str | None) -> DependencyConflictError:
    """Return the error for an installed or live version that a requirement refuses."""
    needed = requirement.partition(";")[0].strip()
    return DependencyConflictError(
        f"Dependency conflict: package {who} requires {needed}, but {installed} is installed ({where}).",
        hint=WAY_OUT,
        plugin=plugin,
        requirement=requirement,
        installed=installed,
    )


def _leading_name(requirement: str) -> str:
    end = next((i for i, char in enumerate(requirement) if not (char.isalnum() or char in "-_.")), None)
    return requirement[:end]


def normalised(name: str) -> str:
    """Return the name of a distribution as requirements compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
