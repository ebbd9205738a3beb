"""The third-party modules of plugins: one version per process wherever one version satisfies everybody.

What counts as live: what a loaded plugin's target serves, and what the host has imported. What a loaded plugin takes
from the host is held too, though it may be imported later only. Who serves what is decided before anything of a
plugin is imported (see `sharing_decision`).
"""

import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Final

from cuvis_ai_core.errors import DependencyConflictError
from cuvis_ai_core.plugins.dependencies.distribution import Distribution
from cuvis_ai_core.plugins.dependencies.requirements import conflict, host_version, needed_name
from cuvis_ai_core.plugins.dependencies.search_path import SearchPath, added_below, search_path
from cuvis_ai_core.plugins.dependencies.sharing_decision import (
    Demand,
    Provider,
    Reasons,
    Sharing,
    host_demands,
    host_provider,
)
from cuvis_ai_core.plugins.sys_modules_owners import everybodys_module

_Demands = Mapping[str, Sequence[Demand]]


class _Live:
    def __init__(self, distribution: Distribution, target: Path, *, instead_of_host: bool = False) -> None:
        self.distribution = distribution
        self.target = target
        self.holders: list[str] = []
        self.instead_of_host = instead_of_host

    def provider(self) -> Provider:
        if self.holders:
            holders = ", ".join(dict.fromkeys(self.holders))
            return Provider(self.distribution.version, f"loaded for {holders}, from {self.target}")
        gone = f"imported from {self.target} for a plugin that is gone; only a new process is rid of it"
        # Its late imports would find nothing.
        return Provider(self.distribution.version if self.target.is_dir() else None, gone, self.distribution.version)


# Reentrant: the collector may let go of a registry, and so of its leases, in a thread that holds this.
_lock = threading.RLock()
_live: Final[dict[str, _Live]] = {}
_leases: Final[list["Lease"]] = []
_roots: Final[dict[str, str]] = {}
_portions: Final[dict[str, list[str]]] = {}


class Lease:
    """The dependencies that one loaded plugin keeps alive; made by `acquire`.

    Attributes:
        plugin: Name of the plugin's distribution.
        demands: What it needs of the distributions that are shared, by their names.
        private: The distributions that the plugin has for itself.
        reasons: The conflicts that are why, by the names of these.
        replaced: Names of the distributions in its target directory in whose place another build of them is live.
        target: That directory.
    """

    def __init__(
        self,
        plugin: str,
        demands: _Demands,
        private: Sequence[Distribution],
        reasons: Reasons,
        shared: Sequence[Distribution],
        target: Path,
    ) -> None:
        self.plugin = plugin
        self.demands = demands
        self.private = tuple(private)
        self.reasons = reasons
        self.replaced = [each.name for each in shared if each.name not in _live and host_version(each.name) is None]
        self.target = target
        self._held = [live for each in shared if (live := _serving(each)) is not None]
        for live in self._held:
            live.holders.append(plugin)

    def release(self) -> None:
        """Let go: what nobody holds and nobody imported is served no more."""
        with _lock:
            if self not in _leases:
                return
            _leases.remove(self)
            for live in self._held:
                live.holders.remove(self.plugin)
            _drop_idle()


def acquire(plugin: Distribution, needed: Sequence[Distribution], target: Path) -> Lease:
    """Decide for each dependency of a plugin who serves it: the host, a live target, or the plugin's own target.

    Raises:
        DependencyConflictError: A live version violates a requirement, and the plugin cannot have its own.
    """
    with _lock:
        # Here and not only on release: what was imported then may be gone by now.
        _drop_idle()
        host = search_path()
        sharing = Sharing(plugin, needed, _provider, lambda each: host_provider(each, host))
        private = _private(plugin, needed, sharing, host, target)
        demands: dict[str, list[Demand]] = {}
        for demand in sharing.demands(private):
            demands.setdefault(needed_name(demand.requirement), []).append(demand)
        _refuse_for_the_host(plugin, demands, host)
        _serve(list(sharing.new(private)), target, host)
        shared = [each for each in needed if each.name not in private]
        own = [each for each in needed if each.name in private]
        lease = Lease(plugin.name, demands, own, private, shared, target)
        _leases.append(lease)
        return lease


def served(name: str | None = None, *, idle: bool = True) -> dict[str, list[str]]:
    """Return the names of the dependencies that are served, by target directory.

    Args:
        name: The one that is asked for, or None for all.
        idle: Also those that no loaded plugin holds, but that are imported.
    """
    targets: dict[str, list[str]] = {}
    # Without the lock: an import that waited for it, while its holder imports, would wait for ever.
    for live in list(_live.values()):
        if name in {None, live.distribution.name} and (idle or live.holders):
            targets.setdefault(str(live.target), []).append(live.distribution.name)
    return targets


def served_roots() -> dict[str, str]:
    """Return the modules that are served, by their full names, each with the folder that it lies in."""
    return _roots.copy()  # in one step: asked without the lock, by any thread


def replaced(name: str | None = None) -> dict[str, list[str]]:
    """Return the names of dependencies in whose place another build of them is live, by the directory that has them.

    Args:
        name: The one that is asked for, or None for all.
    """
    targets: dict[str, list[str]] = {}
    # A copy in one step: metadata are asked for without the lock, by any thread.
    for lease in _leases.copy():
        if found := [each for each in lease.replaced if name in {None, each}]:
            targets.setdefault(str(lease.target), []).extend(found)
    return targets


def serve(distributions: Sequence[Distribution], target: Path) -> None:
    """Serve dependencies from a target directory for the life of this process, as the parent process does."""
    with _lock:
        _serve([each for each in distributions if each.name not in _live], target, search_path())
        for each in distributions:
            _live[each.name].holders.append("the process that started this one")


def find_dependency(fullname: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """Answer the import of a module that a live dependency owns."""
    folder = _roots.get(fullname)
    if folder is None and fullname in _portions:
        from cuvis_ai_core.plugins.dependencies.namespace_packages import find_namespace

        return find_namespace(fullname, path)
    if folder is None:
        return None
    # The standard finder on one folder: editable hooks and zip files of a dependency are found as anywhere.
    return PathFinder.find_spec(fullname, [*(added_below(folder) if path is None else ()), folder])


def _private(
    plugin: Distribution, needed: Sequence[Distribution], sharing: Sharing, host: SearchPath, target: Path
) -> Reasons:
    # All at once: one private distribution makes others private, whatever the order of asking.
    private = sharing.private({**dict(_doubles(plugin, needed)), **dict(_others(plugin, needed, target))})
    for each in list(sharing.new(private)):
        # What the host has, it means to use itself: better not to take its place.
        kept = host_provider(each, host) if each.pure and each.name not in private else None
        if kept is not None:
            reason = _conflict(plugin, sharing, each, kept)
            # Where something compiled depends on it, the plugin's copy serves everybody.
            with suppress(DependencyConflictError):
                private = sharing.private({**private, each.name: reason})
    return sharing.private({**private, **dict(_contradictions(plugin, sharing, private, host))})


def _conflict(plugin: Distribution, sharing: Sharing, wanted: Distribution, found: Provider) -> DependencyConflictError:
    who, requirement = sharing.asking_for(wanted.name)
    return conflict(who, requirement, found.version or found.what, found.where, plugin.name)


def _provider(distribution: Distribution) -> Provider | None:
    """Return what everybody gets under a distribution's name, or None where it is nothing yet."""
    live = _serving(distribution)
    if live is not None:
        return live.provider()
    root = next((root for root in distribution.roots if _imported(root)), None)
    if root is None:
        return None
    place = getattr(sys.modules[root], "__file__", None) or "a namespace package"
    version = host_version(distribution.name) or _twin_of_the_host(distribution)
    return Provider(version, "imported by this program", f"another module '{root}', {place},")


def _serving(distribution: Distribution) -> _Live | None:
    """Return what is live of a distribution, or in its place: of something compiled, another build of it."""
    live = _live.get(distribution.name)
    if live is not None or distribution.pure or not distribution.roots:
        return live
    from cuvis_ai_core.plugins.dependencies.alternative_builds import stands_in

    wanted = set(distribution.roots)
    rivals = [each for each in _live.values() if wanted.issubset(each.distribution.roots)]
    return next((each for each in rivals if stands_in(each.distribution.name, distribution.name)), None)


def _twin_of_the_host(distribution: Distribution) -> str | None:
    """Return the version of another build of something compiled that the host has."""
    if distribution.pure:
        return None
    from cuvis_ai_core.plugins.dependencies.alternative_builds import stands_in

    host = search_path()
    return next((host.version(name) for name in host.metadata if stands_in(name, distribution.name)), None)


def _doubles(plugin: Distribution, needed: Iterable[Distribution]) -> Iterator[tuple[str, DependencyConflictError]]:
    """Several distributions may own one module: what another one is live for, no build of it, cannot be shared."""
    owners = {root: live for live in _live.values() for root in live.distribution.roots}
    for each in needed:
        # What is live came in one folder with whatever else that brought of its modules, as anywhere.
        for root in each.roots if _serving(each) is None else ():
            live = owners.get(root)
            if live is not None:
                what = f"{live.distribution.name} {live.distribution.version}"
                where = f"{live.provider().where}; it owns the module '{root}' too"
                yield each.name, conflict(plugin.name, f"{each.name}=={each.version}", what, where, plugin.name)


def _others(
    plugin: Distribution, needed: Iterable[Distribution], target: Path
) -> Iterator[tuple[str, DependencyConflictError]]:
    """Return what is live in the same version, and with other files: what was locked by its hash is not that."""
    for each in needed:
        live = _live.get(each.name)
        if live is None or live.distribution.version != each.version or live.target == target:
            continue
        from cuvis_ai_core.plugins.dependencies.alternative_builds import are_one

        if not are_one(each.name, live.target, target):
            where = f"{live.provider().where}, with other files"
            yield each.name, conflict(plugin.name, f"{each.name}=={each.version}", each.version, where, plugin.name)


def _contradictions(
    plugin: Distribution, sharing: Sharing, private: Reasons, host: SearchPath
) -> Iterator[tuple[str, DependencyConflictError]]:
    """Return what would take the place of a host's version that a loaded plugin needs, though not imported yet."""
    for each in sharing.new(private):
        version = host.version(each.name)
        for lease in _leases if version is not None else ():
            refused = next(
                (need for need in _needs(lease.demands, each.name, host) if not need.met_by(each.version)), None
            )
            if version is not None and refused is not None:
                where = f"in the host environment; {refused.who}, for {lease.plugin}, requires {refused.requirement}"
                yield each.name, _conflict(plugin, sharing, each, Provider(version, where))


def _refuse_for_the_host(plugin: Distribution, demands: _Demands, host: SearchPath) -> None:
    """Refuse what the host's packages cannot live with, where a live target took the place of a host's version.

    Raises:
        DependencyConflictError: A package of the host that the plugin needs refuses what is live.
    """
    for live in _live.values():
        if live.instead_of_host:
            for need in _needs(demands, live.distribution.name, host):
                if not need.met_by(live.distribution.version):
                    provider = live.provider()
                    raise conflict(need.who, need.requirement, live.distribution.version, provider.where, plugin.name)


def _needs(demands: _Demands, name: str, host: SearchPath) -> Iterator[Demand]:
    """Return what is needed of a distribution, also by the host's packages that somebody needs."""
    yield from demands.get(name, ())
    yield from host_demands([other for other in demands if other not in _live], name, host)


def _serve(distributions: Iterable[Distribution], target: Path, host: SearchPath) -> None:
    for each in distributions:
        _live[each.name] = _Live(each, target, instead_of_host=each.name in host.metadata)
        for root in each.roots:
            # `google.cloud.storage` is looked for in `google/cloud`: the path finder takes the last part of a name.
            _roots[root] = os.path.join(target, *root.split(".")[:-1])
        if each.namespaces:
            _fill_namespaces()


def _drop_idle() -> None:
    for live in list(_live.values()):
        if not live.holders and not any(map(_imported, live.distribution.roots)):
            _withdraw(live.distribution)


def _withdraw(distribution: Distribution) -> None:
    del _live[distribution.name]
    for root in distribution.roots:
        _roots.pop(root, None)
    if distribution.namespaces:
        _fill_namespaces()


def _fill_namespaces() -> None:
    from cuvis_ai_core.plugins.dependencies.namespace_packages import set_portions

    _portions.clear()
    for live in _live.values():
        for namespace in live.distribution.namespaces:
            _portions.setdefault(namespace, []).append(str(live.target.joinpath(*namespace.split("."))))
    set_portions(_portions)


def _imported(root: str) -> bool:
    # Not `root in sys.modules`: a proxy of a plugin may stand there while nobody has the module.
    return everybodys_module(root) is not None
