"""The third-party modules of plugins: one version per process wherever one version satisfies everybody.

What counts as live: what a loaded plugin's target serves, and what the host has imported. A dependency that is live
in a version that a plugin's requirements refuse becomes private to that plugin if it is pure Python, and so does
everything in its target that depends on it. If it is compiled, that is a clash. All of that is decided here, before
anything of the plugin is imported.
"""

import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import DistributionFinder, MetadataPathFinder, PathDistribution
from pathlib import Path
from typing import Final

from cuvis_ai_core.errors import DependencyConflictError
from cuvis_ai_core.plugins.distribution import Distribution, normalised


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
    """The dependencies that one loaded plugin keeps alive; made by `acquire`.

    Attributes:
        private: The distributions that the plugin has for itself.
    """

    def __init__(self, shared: Sequence[str], private: Sequence[Distribution]) -> None:
        self.private = tuple(private)
        self._shared = shared

    def release(self) -> None:
        """Let go: what nobody holds and nobody imported is served no more."""
        with _lock:
            for name in self._shared:
                live = _live[name]
                live.holders -= 1
                _drop_idle(live)
            self._shared = ()


def acquire(plugin: Distribution, needed: Sequence[Distribution], target: Path) -> Lease:
    """Decide for each dependency of a plugin who serves it: the host, a live target, or the plugin's own target.

    Args:
        plugin: The plugin's own distribution.
        needed: The other distributions in its target directory.
        target: That directory.

    Raises:
        DependencyConflictError: A live version violates a requirement, and the plugin cannot have its own.
    """
    with _lock:
        for live in list(_live.values()):
            _drop_idle(live)
        private = _private(plugin, needed)
        for each in needed:
            if each.name not in private and each.name not in _live and not _imported(each):
                _serve(each, target)
        shared = [each.name for each in needed if each.name in _live and each.name not in private]
        for name in shared:
            _live[name].holders += 1
        return Lease(shared, [each for each in needed if each.name in private])


def served() -> dict[str, list[str]]:
    """Return the names of the dependencies that loaded plugins are served with, by target directory."""
    targets: dict[str, list[str]] = {}
    with _lock:
        for name, live in _live.items():
            if live.holders:
                targets.setdefault(str(live.target), []).append(name)
    return targets


def serve(distributions: Iterable[Distribution], target: Path) -> None:
    """Serve dependencies from a target directory for the life of this process, as the parent process does."""
    with _lock:
        for each in distributions:
            if each.name not in _live:
                _serve(each, target)
                _live[each.name].holders += 1


def find_dependency(fullname: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """Answer the import of a module that a live dependency owns."""
    folder = _roots.get(fullname)
    if folder is not None:
        return PathFinder.find_spec(fullname, [str(folder)])
    return _namespace_spec(fullname, path) if fullname in _namespaces else None


def live_metadata(name: str | None) -> Iterator[PathDistribution]:
    """Return the metadata of the live dependency of a name, or of all."""
    for live in list(_live.values()):
        if name in {None, live.distribution.name}:
            yield from metadata_in(live.target, live.distribution.name)


def metadata_in(target: Path, name: str) -> Iterator[PathDistribution]:
    """Return the metadata of a distribution in a target directory."""
    for folder in target.glob("*.dist-info"):
        if normalised(folder.name.partition("-")[0]) == name:
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


def _drop_idle(live: _Live) -> None:
    if not live.holders and not _imported(live.distribution):
        _withdraw(live)


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


def _private(plugin: Distribution, needed: Sequence[Distribution]) -> set[str]:
    """Return the distributions that cannot be shared; whoever depends on one of them cannot be shared either."""
    own = {each.name: each for each in needed}
    requirements = list(_requirements((plugin, *needed)))
    private = _spread(own, requirements, dict(_clashes(plugin, own, requirements)))
    # What the host has installed in another version, it means to use itself: better not to take its place.
    kept = {
        each.name: conflict(
            plugin.name, f"{each.name}=={each.version}", version, "in the host environment", plugin.name
        )
        for each in needed
        if each.name not in private and _live_version(each) is None and (version := host_version(each.name))
    }
    try:
        return private | _spread(own, requirements, kept)
    except DependencyConflictError:
        return private  # something compiled depends on it: the plugin's copies serve everybody


def _spread(
    own: Mapping[str, Distribution],
    requirements: Iterable[tuple[str, str, str]],
    clashes: dict[str, DependencyConflictError],
) -> set[str]:
    """Return the distributions that are private because of some clashes, and because they depend on such.

    Raises:
        DependencyConflictError: One of them is compiled, or not in the target.
    """
    private: set[str] = set()
    waiting = list(clashes)
    while waiting:
        name = waiting.pop()
        if name not in own or not own[name].pure:
            raise clashes[name]
        private.add(name)
        for who, needs, _ in requirements:
            if needs == name and who in own and who not in private and _live_version(own[who]) is None:
                clashes.setdefault(who, clashes[name])
                waiting.append(who)
    return private


def _clashes(
    plugin: Distribution, own: Mapping[str, Distribution], requirements: Iterable[tuple[str, str, str]]
) -> Iterator[tuple[str, DependencyConflictError]]:
    for who, name, requirement in requirements:
        found = _live_version(own.get(name) or Distribution(name, ""))
        if found is not None and not (found[0] and satisfies(found[0], requirement)):
            version = found[0] or "a module of that name that belongs to no package"
            yield name, conflict(who, requirement, version, found[1], plugin.name)
    for each in own.values():
        for live in _live.values():
            # Several distributions may own one module, as `cv2`.
            doubled = sorted(set(live.distribution.roots) & set(each.roots))
            if doubled and live.distribution.name != each.name:
                yield each.name, _double(plugin, each, live.distribution, doubled[0])


def _live_version(distribution: Distribution) -> tuple[str | None, str] | None:
    """Return the version of a distribution that is live, and where it is from; None where none is."""
    live = _live.get(distribution.name)
    if live is not None:
        return live.distribution.version, f"loaded from {live.target}"
    if _imported(distribution):
        return host_version(distribution.name), "imported by this program"
    return None


def _double(plugin: Distribution, needed: Distribution, owner: Distribution, module: str) -> DependencyConflictError:
    return DependencyConflictError(
        f"Dependency conflict: package {plugin.name} requires {needed.name}=={needed.version}, "
        f"but {owner.name} {owner.version} is installed (it is loaded and owns the module '{module}' too).",
        hint=WAY_OUT,
        plugin=plugin.name,
        requirement=f"{needed.name}=={needed.version}",
        installed=f"{owner.name}=={owner.version}",
    )


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
