"""From the entries of a manifest to plugins that are ready to be imported, several at once.

First all sources are fetched, then the dependencies of all plugins are resolved together, then all are installed. A
plugin that fails drops out, and does not hinder the others.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from cuvis_ai_core.errors import CuvisError, PluginError, PluginLoadError
from cuvis_ai_core.plugins.failing import Announce, Enter, failing
from cuvis_ai_core.plugins.manager import PluginState
from cuvis_ai_core.plugins.manifest import GitPlugin, LocalPlugin
from cuvis_ai_core.plugins.parallel import Crew
from cuvis_ai_core.plugins.ready import Ready, place_of, resolution_key
from cuvis_ai_core.plugins.sources import Source, git_source, local_source
from cuvis_ai_core.plugins.store import Store, refuse_full_disk, short_hash
from cuvis_ai_core.plugins.target import target_for

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.installer import Installation
    from cuvis_ai_core.plugins.resolution import Choice, Needs


@dataclass
class _Job:
    """One plugin on its way; `result` ends it."""

    name: str
    declared: GitPlugin | LocalPlugin
    announce: Announce
    source: Source = field(init=False)
    place: Path = field(init=False)
    installation: "Installation" = field(init=False)
    needs: "Needs" = field(init=False)
    result: Ready | PluginLoadError | None = None


_Step: TypeAlias = Callable[[_Job, Enter], None]


def prepare(
    plugins: Mapping[str, GitPlugin | LocalPlugin], store: Store, announce: Callable[[str, PluginState, str], None]
) -> dict[str, Ready | PluginLoadError]:
    """Fetch and install plugins that live together, and return for each what it became, or why it failed.

    Args:
        plugins: Manifest entries by the plugins' names, in the order of the manifest.
        store: The plugin cache.
        announce: Told of the states that each plugin enters, with a detail to show; in the thread of the caller.
    """
    return _Preparation(plugins, store, announce).run()


class _Preparation:
    def __init__(
        self, plugins: Mapping[str, GitPlugin | LocalPlugin], store: Store, announce: Callable[..., None]
    ) -> None:
        self._store = store
        self._crew = Crew()
        self._jobs = [_Job(name, declared, self._said(announce, name)) for name, declared in plugins.items()]

    def _said(self, announce: Callable[..., None], name: str) -> Announce:
        return lambda state, detail: self._crew.say(partial(announce, name, state, detail))

    def run(self) -> dict[str, Ready | PluginLoadError]:
        self._do(PluginState.DOWNLOADING, self._fetch)
        jobs = self._open()
        key = resolution_key([job.place for job in jobs])
        if not self._found(key):
            try:
                self._resolve_and_install(jobs, key)
            except CuvisError as error:  # of the store: it concerns all that is not done
                self._do(PluginState.INSTALLING, partial(_fail, error))
        return {job.name: job.result for job in self._jobs if job.result is not None}

    def _open(self) -> list[_Job]:
        return [job for job in self._jobs if job.result is None]

    def _do(self, state: PluginState, step: _Step) -> None:
        """Do a step for all plugins that are not done, several at once."""
        self._crew.run([partial(self._attempt, job, state, step) for job in self._open()])

    def _attempt(self, job: _Job, state: PluginState, step: _Step) -> None:
        try:
            with failing(job.name, job.announce, state) as enter:
                try:
                    step(job, enter)
                except OSError as error:
                    if not isinstance(error, CuvisError):
                        refuse_full_disk(str(error), self._store.root)
                    raise
        except PluginLoadError as error:
            job.result = error

    def _fetch(self, job: _Job, enter: Enter) -> None:
        declared = job.declared
        _refuse_process(declared)
        if isinstance(declared, LocalPlugin):
            job.source = local_source(declared.path)
        else:

            def downloading(detail: str) -> None:
                enter(PluginState.DOWNLOADING, detail)
                # While git waits for the network, there is time to import what building needs.
                threading.Thread(target=import_module, args=("cuvis_ai_core.plugins.installer",), daemon=True).start()

            job.source = git_source(job.name, declared.repo, declared.tag, self._store, downloading)
        enter(PluginState.INSTALLING, None)
        job.place = place_of(job.name, declared, job.source, self._store)

    def _found(self, key: str) -> bool:
        """Tell whether all target directories are there; what is resolved together is taken together."""
        jobs = self._open()
        targets = [target_for(job.place, key) for job in jobs]
        if None in targets:
            return False
        for job, target in zip(jobs, targets, strict=True):
            assert target is not None
            job.result = Ready(job.source, target)
        return True

    def _resolve_and_install(self, jobs: list[_Job], key: str) -> None:
        # Whoever prepares the same plugins waits here; no lock is waited for with another plugin's lock in hand.
        entry = f"resolution-{short_hash(*(job.place.name for job in jobs))}"
        with self._store.lock(entry):
            if not self._found(key):
                with self._store.workspace() as folder:
                    self._install(folder, key)

    def _install(self, folder: Path, key: str) -> None:
        self._do(PluginState.INSTALLING, partial(self._read, folder))
        jobs, choices = self._open(), dict[str, "Choice"]()

        def choose() -> None:
            choices.update(self._choose(folder, jobs))

        builds = [partial(self._attempt, job, PluginState.INSTALLING, _build_ahead) for job in jobs]
        # Builds compute, the resolution waits for the network: side by side they take the time of one.
        self._crew.run([choose, *builds])

        def install(job: _Job, enter: Enter) -> None:
            choice = choices[job.name]
            if choice.error is not None:
                enter(PluginState.RESOLVING, None)
                raise choice.error
            job.result = Ready(job.source, job.installation.finish(choice.pins, key, enter))

        self._do(PluginState.INSTALLING, install)

    def _read(self, folder: Path, job: _Job, _: Enter) -> None:
        from cuvis_ai_core.plugins.installer import Installation
        from cuvis_ai_core.plugins.uv import Uv

        work = folder / job.name
        work.mkdir()
        job.installation = Installation(job.name, job.declared, job.source, job.place, self._store, Uv(job.name, work))
        job.needs = job.installation.needs()

    def _choose(self, folder: Path, jobs: list[_Job]) -> "dict[str, Choice]":
        from cuvis_ai_core.plugins.resolution import Resolution
        from cuvis_ai_core.plugins.uv import Uv

        announces = {job.name: job.announce for job in jobs}
        return Resolution(
            {job.name: job.needs for job in jobs},
            Uv(", ".join(announces), folder),
            self._crew,
            lambda name, missing: announces[name](PluginState.RESOLVING, missing),
        ).choose()


def _build_ahead(job: _Job, _: Enter) -> None:
    job.installation.build_ahead()


def _fail(error: CuvisError, _job: _Job, _enter: Enter) -> None:
    raise error


def _refuse_process(declared: GitPlugin | LocalPlugin) -> None:
    if declared.isolation == "process":
        raise PluginError(
            "isolation: process is not available in this version of cuvis-ai-core.",
            hint="Use isolation: scoped (the default).",
        )
