"""Making the lock file of a manifest: which commits and versions it means, written down."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from cuvis_ai_core.errors import DependencyConflictError, PluginLoadError, PreparationError
from cuvis_ai_core.plugins.cache import policy_checks
from cuvis_ai_core.plugins.cache.sources import Source
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.cache.target_entry import Target
from cuvis_ai_core.plugins.cancellable_threads import Crew
from cuvis_ai_core.plugins.dependencies import host_environment, live_versions
from cuvis_ai_core.plugins.dependencies.search_path import interpreter
from cuvis_ai_core.plugins.hooks.load_events import Announcement
from cuvis_ai_core.plugins.installing.already_installed import NEED_PROCESS, Installed
from cuvis_ai_core.plugins.installing.compatible_wheels import Wheel, Wheels
from cuvis_ai_core.plugins.installing.conflicts import with_all_demands
from cuvis_ai_core.plugins.installing.install_request import Choice, InstallRequest, Needs
from cuvis_ai_core.plugins.installing.installer import Installer, not_prepared
from cuvis_ai_core.plugins.installing.resolution import ResolvedTogether
from cuvis_ai_core.plugins.lock.locked_versions import LockedVersions
from cuvis_ai_core.plugins.lock.lockfile import Declared, Lock, LockedPins, LockedPlugin, entry_of, read_lock
from cuvis_ai_core.plugins.lock.versions_for_other_hosts import SparseHost
from cuvis_ai_core.plugins.manifest.manifest_schema import lock_path


class LockResult(NamedTuple):
    """What was found out about a manifest.

    Attributes:
        lock: What its lock file is to say.
        wheels: The wheels of all pins for this interpreter and platform.
        installed: The plugins, installed as locked; none in a dry run.
    """

    lock: Lock
    wheels: Mapping[str, Wheels]
    installed: Mapping[str, Installed]

    @property
    def environment(self) -> LockedPins:
        """What is locked for this interpreter and platform."""
        return self.lock.environments[interpreter()]

    def missing(self) -> list[Wheel]:
        """Return the wheels of what this host lacks."""
        lacking = (wheels.chosen() for pin, wheels in self.wheels.items() if not host_environment.has(pin))
        return [wheel for wheel in lacking if wheel is not None]


class Locker:
    """Makes lock files.

    Args:
        store: The plugin cache.
        announce: Told of the states that each plugin enters.
        offline: Whether no connection may be opened.
    """

    def __init__(self, store: Store, announce: Announcement, *, offline: bool) -> None:
        self.store = store
        self.announce = announce
        self._offline = offline
        self._crew = Crew()

    def lock(
        self, manifest: Path, plugins: Mapping[str, Declared], *, moving: Collection[str] = (), dry_run: bool = False
    ) -> LockResult:
        """Find out what a manifest means, and install it, so that it is known to work.

        What is locked already stays as it is where that is possible. Nothing is written but to the plugin cache.

        Args:
            manifest: The manifest.
            plugins: Its entries by the plugins' names.
            moving: Names of plugins whose dependencies may change.
            dry_run: Whether to fetch only checkouts, which say what is needed, and to run no code of them.

        Raises:
            PreparationError: A plugin cannot be fetched, resolved or installed, or plugins cannot live together.
            LockError: There is a lock file that cannot be read.
        """
        plugins = policy_checks.under_policy(plugins)
        processes = {name for name, declared in plugins.items() if declared.isolation == "process"}
        try:
            while True:
                try:
                    return self._locked(manifest, plugins, moving, processes, dry_run=dry_run)
                except PreparationError as error:
                    impossible = {name for name, each in error.failed.items() if _needs_process(plugins[name], each)}
                    # Grows in each turn, so that this ends.
                    impossible -= processes  # what fails there too has failed
                    if not impossible:
                        raise
                    processes |= impossible
        finally:
            # A lock is no load: what was fetched and installed for it may be pruned again.
            self.store.release()

    def _locked(
        self,
        manifest: Path,
        plugins: Mapping[str, Declared],
        moving: Collection[str],
        processes: Collection[str],
        *,
        dry_run: bool,
    ) -> LockResult:
        old, what = read_lock(manifest), f"{manifest} cannot be locked"
        resolved = ResolvedTogether(_kept(old, [name for name in plugins if name not in processes], moving))
        request = InstallRequest(
            plugins, resolved, self.store, self.announce, self._offline, frozenset(processes), dry_run
        )
        installer = Installer(request)
        installer.fetch()
        with self.store.workspace() as folder:
            installer.read_projects(folder)
            installer.refuse_failed(what)
            needs = installer.needs()
            choices = installer.choose(folder, {name: _kept(old, [name], moving) for name in processes})
            installer.refuse_failed(what, choices)
            wheels = self._wheels(folder, request, needs, choices)
            entries = {
                name: _locked_plugin(
                    name, declared, manifest, installer.source(name), needs[name], own_process=name in processes
                )
                for name, declared in plugins.items()
            }
            lock = _merged(lock_path(manifest), old, entries, wheels)
            if dry_run:
                return LockResult(lock, _by_pin(wheels), {})
            # Installed from the lock itself: what could not be read back would be found by somebody else.
            installer.follow(LockedVersions(lock))
            installer.install(installer.choose(folder))
            installer.refuse_failed(what)
        installed = {name: each for name, each in installer.results().items() if isinstance(each, Installed)}
        _refuse_clashes(what, installed)
        return LockResult(lock, _by_pin(wheels), installed)

    def _wheels(
        self, folder: Path, request: InstallRequest, needs: Mapping[str, Needs], choices: Mapping[str, Choice | None]
    ) -> dict[str, Sequence[Wheels]]:
        """Return the wheels of all that each plugin needs: in its environment, or beside what the core itself needs."""
        sparse = SparseHost(folder / "sparse host")
        found: dict[str, Sequence[Wheels]] = {}

        def find(name: str) -> None:
            choice, python = choices[name], None
            pins: Sequence[str] = choice.pins if choice is not None else ()
            if name in request.processes:
                python = request.plugins[name].python
            else:
                pins = sparse.lacks(needs[name], pins)
            found[name] = needs[name].uv.wheels(pins, python) if pins else ()

        self._crew.run([partial(find, name) for name in needs])
        return found


def _kept(old: Lock | None, plugins: Iterable[str], moving: Collection[str]) -> list[str]:
    """Return the pins of plugins that stay as they are."""
    environment = old.environments.get(interpreter()) if old else None
    pins = environment.dependencies if environment else {}
    staying = (name for name in plugins if name not in moving)
    return sorted({pin for name in staying for pin in pins.get(name, ()) if " @ " not in pin})


def _needs_process(declared: Declared, error: BaseException) -> bool:
    """Tell whether a plugin with `isolation: auto` failed for a reason that there is not in a process of its own."""
    cause = error.__cause__ if isinstance(error, PluginLoadError) else error
    return declared.isolation == "auto" and isinstance(cause, NEED_PROCESS)


def _locked_plugin(
    name: str, declared: Declared, manifest: Path, source: Source, needs: Needs, *, own_process: bool
) -> LockedPlugin:
    """Return what is locked of a plugin."""
    found = entry_of(declared, manifest) | {"isolation": "process" if own_process else "scoped"}
    judgement, signature = (
        policy_checks.judged(name, declared, own_process=own_process),
        policy_checks.signed(name, declared, source),
    )
    if judgement is not None and judgement.apart:
        found["apart_by"] = "policy"
    if signature is not None:
        found |= signature._asdict()
    if source.commit is None:
        return found | {"requirements": sorted(needs.requirements)}
    return found | {"commit": source.commit, "content": source.content}


def _merged(
    path: Path, old: Lock | None, entries: Mapping[str, LockedPlugin], wheels: Mapping[str, Sequence[Wheels]]
) -> Lock:
    """Return the lock file with what was found for this platform, and what still holds for others."""
    environments = {
        name: _still_valid(each, [plugin for plugin, entry in entries.items() if old.plugins.get(plugin) == entry])
        for name, each in (old.environments if old else {}).items()
        if old
    }
    known = environments.get(interpreter(), LockedPins({}, {}))
    # What builds need was found out by a bundle, and is not asked for again here.
    hashes = {pin: known.hashes[pin] for pins in known.builds.values() for pin in pins}
    environments[interpreter()] = LockedPins(
        {name: tuple(sorted(each.pin for each in found)) for name, found in wheels.items()},
        hashes | {each.pin: each.hashes for found in wheels.values() for each in found},
        tuple(sorted({each.pin for found in wheels.values() for each in found if each.source is not None})),
        known.builds,
    )
    return Lock(path, entries, environments)


def _still_valid(environment: LockedPins, unchanged: Collection[str]) -> LockedPins:
    dependencies = {name: pins for name, pins in environment.dependencies.items() if name in unchanged}
    builds = {name: pins for name, pins in environment.builds.items() if name in unchanged}
    used = {pin for pins in (*dependencies.values(), *builds.values()) for pin in pins}
    hashes = {pin: each for pin, each in environment.hashes.items() if pin in used}
    return LockedPins(dependencies, hashes, tuple(pin for pin in environment.built if pin in used), builds)


def _by_pin(wheels: Mapping[str, Sequence[Wheels]]) -> dict[str, Wheels]:
    return {each.pin: each for found in wheels.values() for each in found}


def _refuse_clashes(what: str, installed: Mapping[str, Installed]) -> None:
    """Decide who serves the dependencies of all plugins as loading them would, in their order."""
    targets = {name: each.place for name, each in installed.items() if isinstance(each.place, Target)}
    with ExitStack() as held:
        for name, target in targets.items():
            try:
                # Tried for real, in their order, and let go of: no rule of its own can drift from that of loading.
                held.callback(live_versions.acquire(target.plugin, target.needed, target.folder).release)
            except DependencyConflictError as error:
                raise not_prepared(what, {name: with_all_demands(error, targets)}) from error
