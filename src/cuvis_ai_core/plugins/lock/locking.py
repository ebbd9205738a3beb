"""Making the lock file of a manifest: which commits and versions it means, written down."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from cuvis_ai_core.errors import DependencyConflictError, PluginLoadError, PreparationError
from cuvis_ai_core.plugins.apart import IMPOSSIBLE
from cuvis_ai_core.plugins.cache.sources import Source
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.dependencies import host, leases
from cuvis_ai_core.plugins.installing.choices import Choice, Needs
from cuvis_ai_core.plugins.installing.disagreement import disagreement
from cuvis_ai_core.plugins.installing.plans import Together
from cuvis_ai_core.plugins.installing.wheels import Wheel, Wheels
from cuvis_ai_core.plugins.lock.locked import Locked
from cuvis_ai_core.plugins.lock.lockfile import Declared, Entry, Environment, Lock, entry_of, lock_path, read_lock
from cuvis_ai_core.plugins.lock.portable import SparseHost
from cuvis_ai_core.plugins.parallel import Crew
from cuvis_ai_core.plugins.preparation import Preparation, not_prepared
from cuvis_ai_core.plugins.ready import Announcement, Ready, Request
from cuvis_ai_core.plugins.worker.survey import Surveyed, survey


class Locking(NamedTuple):
    """What was found out about a manifest.

    Attributes:
        lock: What its lock file is to say.
        wheels: The wheels of all pins for this interpreter and platform.
        ready: The plugins, installed as locked; none in a dry run.
    """

    lock: Lock
    wheels: Mapping[str, Wheels]
    ready: Mapping[str, Ready]

    @property
    def environment(self) -> Environment:
        """What is locked for this interpreter and platform."""
        return self.lock.environments[host.interpreter()]

    def missing(self) -> list[Wheel]:
        """Return the wheels of what this host lacks."""
        lacking = (wheels.chosen() for pin, wheels in self.wheels.items() if not host.has(pin))
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
    ) -> Locking:
        """Find out what a manifest means, and install it, so that it is known to work.

        What is locked already stays as it is where that is possible. Nothing is written but to the plugin cache.

        Args:
            manifest: The manifest.
            plugins: Its entries by the plugins' names.
            moving: Names of plugins whose dependencies may change.
            dry_run: Whether to fetch only checkouts, which say what is needed, and to install nothing.

        Raises:
            PreparationError: A plugin cannot be fetched, resolved or installed, or plugins cannot live together.
            LockError: There is a lock file that cannot be read.
        """
        apart = {name for name, declared in plugins.items() if declared.isolation == "process"}
        try:
            while True:
                try:
                    return self._locked(manifest, plugins, moving, apart, dry_run=dry_run)
                except PreparationError as error:
                    impossible = {name for name, each in error.failed.items() if _needs_process(plugins[name], each)}
                    if not impossible:
                        raise
                    apart |= impossible
        finally:
            self.store.release()

    def _locked(
        self,
        manifest: Path,
        plugins: Mapping[str, Declared],
        moving: Collection[str],
        apart: Collection[str],
        *,
        dry_run: bool,
    ) -> Locking:
        old, what = read_lock(manifest), f"{manifest} cannot be locked"
        here = {name: declared for name, declared in plugins.items() if name not in apart}
        request = Request(here, Together(_kept(old, plugins, moving)), self.store, self.announce, self._offline)
        preparation = Preparation(request)
        preparation.fetch()
        with self.store.workspace() as folder:
            preparation.study(folder)
            preparation.refuse_failed(what)
            needs, choices = preparation.needs(), preparation.choose(folder)
            preparation.refuse_failed(what)
            errors = {name: choice.error for name, choice in choices.items() if choice.error is not None}
            if errors:
                raise not_prepared(what, errors)
            wheels = self._wheels(folder, needs, choices)
            entries = {
                name: _entry(declared, manifest, preparation.source(name), needs[name].requirements)
                for name, declared in here.items()
            }
            for name, found in self._apart(what, {name: plugins[name] for name in plugins if name in apart}).items():
                entries[name] = _entry(plugins[name], manifest, found.source, None)
                wheels[name] = list(found.wheels)
            lock = _merged(lock_path(manifest), old, entries, wheels)
            if dry_run:
                return Locking(lock, _by_pin(wheels), {})
            ready = _install(what, preparation, lock)
        _refuse_clashes(what, ready)
        return Locking(lock, _by_pin(wheels), ready)

    def _apart(self, what: str, plugins: Mapping[str, Declared]) -> dict[str, Surveyed]:
        """Have the environments of plugins in processes of their own, several at once, and say what is in them."""
        crew, found, failed = self._crew, dict[str, Surveyed](), dict[str, Exception]()
        request = Request(
            plugins,
            Together(),
            self.store,
            lambda *words: crew.say(partial(self.announce, *words)),
            self._offline,
        )

        def look(name: str) -> None:
            try:
                found[name] = survey(name, request)
            except PluginLoadError as error:
                failed[name] = error

        crew.run([partial(look, name) for name in plugins])
        if failed:
            raise not_prepared(what, {name: failed[name] for name in plugins if name in failed})
        return {name: found[name] for name in plugins}

    def _wheels(
        self, folder: Path, needs: Mapping[str, Needs], choices: Mapping[str, Choice]
    ) -> dict[str, list[Wheels]]:
        """Return the wheels of everything that each plugin needs beside what the core itself needs."""
        sparse = SparseHost(folder / "sparse host")
        found: dict[str, list[Wheels]] = {}

        def find(name: str) -> None:
            pins = sparse.lacks(needs[name], choices[name].pins)
            found[name] = needs[name].uv.wheels(pins) if pins else []

        self._crew.run([partial(find, name) for name in needs])
        return found


def _install(what: str, preparation: Preparation, lock: Lock) -> dict[str, Ready]:
    locked = Locked(lock)
    preparation.install(locked.choices(preparation.needs()), locked.keys(preparation.places()))
    preparation.refuse_failed(what)
    return {name: ready for name, ready in preparation.results().items() if isinstance(ready, Ready)}


def _kept(old: Lock | None, plugins: Mapping[str, Declared], moving: Collection[str]) -> list[str]:
    """Return the pins of plugins that stay as they are."""
    environment = old.environments.get(host.interpreter()) if old else None
    pins = environment.dependencies if environment else {}
    staying = (name for name in plugins if name not in moving)
    return sorted({pin for name in staying for pin in pins.get(name, ()) if " @ " not in pin})


def _needs_process(declared: Declared, error: BaseException) -> bool:
    """Tell whether a plugin with `isolation: auto` failed for a reason that there is not in a process of its own."""
    cause = error.__cause__ if isinstance(error, PluginLoadError) else error
    return declared.isolation == "auto" and isinstance(cause, IMPOSSIBLE)


def _entry(declared: Declared, manifest: Path, source: Source, requirements: Sequence[str] | None) -> Entry:
    """Return what is locked of a plugin; one without requirements that the host could meet has a process of its own."""
    found = entry_of(declared, manifest) | {"isolation": "scoped" if requirements is not None else "process"}
    if source.commit is None:
        return found | {"requirements": sorted(requirements or ())}
    return found | {"commit": source.commit, "content": source.content}


def _merged(path: Path, old: Lock | None, entries: Mapping[str, Entry], wheels: Mapping[str, Sequence[Wheels]]) -> Lock:
    """Return the lock file with what was found for this platform, and what still holds for others."""
    environments = {
        name: _still_valid(each, [plugin for plugin, entry in entries.items() if old.plugins.get(plugin) == entry])
        for name, each in (old.environments if old else {}).items()
        if old
    }
    environments[host.interpreter()] = Environment(
        {name: tuple(sorted(each.pin for each in found)) for name, found in wheels.items()},
        {each.pin: each.hashes for found in wheels.values() for each in found},
    )
    return Lock(path, entries, environments)


def _still_valid(environment: Environment, unchanged: Collection[str]) -> Environment:
    dependencies = {name: pins for name, pins in environment.dependencies.items() if name in unchanged}
    used = {pin for pins in dependencies.values() for pin in pins}
    return Environment(dependencies, {pin: each for pin, each in environment.hashes.items() if pin in used})


def _by_pin(wheels: Mapping[str, Sequence[Wheels]]) -> dict[str, Wheels]:
    return {each.pin: each for found in wheels.values() for each in found}


def _refuse_clashes(what: str, ready: Mapping[str, Ready]) -> None:
    """Decide who serves the dependencies of all plugins as loading them would, in their order."""
    targets = {name: each.target for name, each in ready.items()}
    with ExitStack() as held:
        for name, target in targets.items():
            try:
                held.callback(leases.acquire(target.plugin, target.needed, target.folder).release)
            except DependencyConflictError as error:
                raise not_prepared(what, {name: disagreement(error, targets)}) from error
