"""From the entries of a manifest to plugins that are ready to be imported, several at once.

First all sources are fetched, then the dependencies of all plugins are resolved together, then all are installed. A
plugin that fails drops out, and does not hinder the others.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from cuvis_ai_core.errors import CuvisError, PluginLoadError, PreparationError
from cuvis_ai_core.plugins.cache.disk_space import refuse_full_disk
from cuvis_ai_core.plugins.cache.offline import not_fetched
from cuvis_ai_core.plugins.cache.sources import Source, git_source, local_source, usable_source
from cuvis_ai_core.plugins.cache.store import short_hash
from cuvis_ai_core.plugins.installing.installed import Installed, announce_source, first_step, place_of, usable_target
from cuvis_ai_core.plugins.installing.request import Choice, InstallRequest, Needs
from cuvis_ai_core.plugins.load_errors import Announce, Enter, failing
from cuvis_ai_core.plugins.manager import PluginState
from cuvis_ai_core.plugins.manifest import GitPlugin, LocalPlugin
from cuvis_ai_core.plugins.parallel import Crew

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.cache.target import Target
    from cuvis_ai_core.plugins.installing.target_directory import Installation

_NEEDED_LATER: Final = (
    "cuvis_ai_core.plugins.installing.target_directory",
    "cuvis_ai_core.plugins.loader",
    "concurrent.futures.thread",
    "cuvis_ai_schemas.pipeline",  # with which nodes say what their ports are
)


@dataclass
class _Job:
    """One plugin on its way; `result` ends it."""

    name: str
    declared: GitPlugin | LocalPlugin
    announce: Announce
    source: Source = field(init=False)
    place: Path = field(init=False)
    installation: "Installation" = field(init=False)
    needs: Needs = field(init=False)
    result: Installed | PluginLoadError | None = None


_Step: TypeAlias = Callable[[_Job, Enter], None]


def prepare(request: InstallRequest) -> dict[str, Installed | PluginLoadError]:
    """Fetch and install plugins, and return for each what it became, or why it failed.

    What is announced is announced in the thread of the caller.
    """
    return Installer(request).run()


class Installer:
    """The steps from manifest entries to finished target directories.

    Args:
        request: What is wanted.
    """

    def __init__(self, request: InstallRequest) -> None:
        self._request = request
        self._store = request.store
        self._crew = Crew()
        self._jobs = [_Job(name, declared, self._said(name)) for name, declared in request.plugins.items()]

    def run(self) -> dict[str, Installed | PluginLoadError]:
        """Do all steps, unless all is found finished."""
        self.fetch()
        keys = self._request.versions.keys(self.places())
        self._find(keys)
        jobs = self._open()
        if jobs:
            # Whoever prepares the same plugins waits here; nobody waits for a lock with a plugin's lock in hand.
            entry = f"resolution-{short_hash(*(job.place.name for job in jobs))}"
            try:
                with self._store.lock(entry, self._wait):
                    self._find(keys)
                    if self._open():
                        with self._store.workspace() as folder:
                            self.study(folder)
                            self.install(self.choose(folder), keys)
            except CuvisError as error:  # of the store: it concerns all that is not done
                self._do(PluginState.INSTALLING, partial(_fail, error))
        return self.results()

    def results(self) -> dict[str, Installed | PluginLoadError]:
        """Return what became of each plugin that is done."""
        return {job.name: job.result for job in self._jobs if job.result is not None}

    def refuse_failed(self, what: str) -> None:
        """Raise if a plugin failed, where one is too many.

        Args:
            what: What cannot be done.

        Raises:
            PreparationError: One did.
        """
        failed = {name: error for name, error in self.results().items() if isinstance(error, PluginLoadError)}
        if failed:
            raise not_prepared(what, failed)

    def fetch(self) -> None:
        """Have the code of all plugins on disk."""
        self._crew.run([partial(self._attempt, job, first_step(job.declared), self._fetch) for job in self._open()])

    def study(self, folder: Path) -> None:
        """See what each plugin needs.

        Args:
            folder: Temporary folder on the file system of the store.
        """
        self._do(PluginState.INSTALLING, partial(self._study, folder))

    def needs(self) -> dict[str, Needs]:
        """Return what each plugin needs."""
        return {job.name: job.needs for job in self._open()}

    def places(self) -> dict[str, Path]:
        """Return the folder below which the target directories of each plugin lie."""
        return {job.name: job.place for job in self._open()}

    def source(self, name: str) -> Source:
        """Return the code of a plugin."""
        return next(job.source for job in self._jobs if job.name == name)

    def choose(self, folder: Path) -> dict[str, Choice]:
        """Choose versions, and build meanwhile: builds compute, the choice waits for the network.

        Args:
            folder: Temporary folder on the file system of the store.
        """
        from cuvis_ai_core.plugins.installing.uv import Uv

        needs, choices = self.needs(), dict[str, Choice]()
        allowed = frozenset(name for job in self._open() for name in job.declared.build)
        uv = Uv(", ".join(needs), folder, self._request.offline, self._store.wheels, allowed)

        def choose() -> None:
            choices.update(self._request.versions.choose(needs, uv, self._crew))

        builds = [partial(self._attempt, job, PluginState.INSTALLING, _build_ahead) for job in self._open()]
        self._crew.run([choose, *builds])
        return choices

    def install(self, choices: Mapping[str, Choice], keys: Mapping[str, str]) -> None:
        """Have a target directory for each plugin.

        Args:
            choices: What was chosen for it.
            keys: What that choice depended on; the target directory remembers it.
        """

        def install(job: _Job, enter: Enter) -> None:
            choice = choices[job.name]
            if choice.error is not None:
                enter(PluginState.RESOLVING, None)
                raise choice.error
            job.result = Installed(job.source, job.installation.finish(choice, keys[job.name], enter))

        self._do(PluginState.INSTALLING, install)

    def _wait(self, _: str) -> None:
        for job in self._open():
            job.announce(PluginState.INSTALLING, "waiting for another process that prepares the same plugins")

    def _said(self, name: str) -> Announce:
        return partial(self._say, name)

    def _say(self, name: str, state: PluginState, detail: str) -> None:
        self._crew.say(partial(self._request.announce, name, state, detail))

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
        job.source = (
            local_source(declared.path) if isinstance(declared, LocalPlugin) else self._checkout(job, declared, enter)
        )
        self._request.versions.check(job.name, job.source)
        announce_source(self._request._replace(announce=self._say), job.name, job.source)
        enter(PluginState.INSTALLING, None)
        job.place = place_of(job.name, declared, job.source, self._store)

    def _checkout(self, job: _Job, declared: GitPlugin, enter: Enter) -> Source:
        if self._request.offline and usable_source(job.name, declared, self._store) is None:
            raise not_fetched(declared.repo, declared.tag)
        announce = partial(enter, PluginState.DOWNLOADING)
        return git_source(job.name, declared.repo, declared.tag, self._store, announce, _import_the_rest)

    def _find(self, keys: Mapping[str, str]) -> None:
        """Look for target directories; those that were chosen together are taken together, or chosen anew."""
        found: dict[str, Target | None] = {}

        def look(job: _Job, _: Enter) -> None:
            found[job.name] = usable_target(job.place, keys[job.name], self._store)

        for job in self._open():
            self._attempt(job, PluginState.INSTALLING, look)
        incomplete = {keys[name] for name, target in found.items() if target is None}
        for job in self._open():
            target = found[job.name]
            if target is not None and keys[job.name] not in incomplete:
                job.result = Installed(job.source, target)

    def _study(self, folder: Path, job: _Job, _: Enter) -> None:
        from cuvis_ai_core.plugins.installing.target_directory import Installation
        from cuvis_ai_core.plugins.installing.uv import Uv

        work = folder / job.name
        work.mkdir()
        uv = Uv(job.name, work, self._request.offline, self._store.wheels, frozenset(job.declared.build))
        job.installation = Installation(job.name, job.declared, job.source, job.place, self._store, uv)
        distribution, requirements = job.installation.needs()
        job.needs = Needs(distribution, requirements, uv, partial(job.announce, PluginState.RESOLVING))


def not_prepared(what: str, failed: Mapping[str, Exception]) -> PreparationError:
    """Return the error for a manifest of which some plugins failed, where one is too many."""
    texts = "\n".join(str(error) for error in failed.values())
    return PreparationError(f"{what}; nothing was written.\n{texts}", failed=failed)


def _import_the_rest() -> None:
    """Import what building and loading need; most of that can wait until git waits for the network."""
    for module in _NEEDED_LATER:
        import_module(module)


def _build_ahead(job: _Job, _: Enter) -> None:
    job.installation.build_ahead()


def _fail(error: CuvisError, _job: _Job, _enter: Enter) -> None:
    raise error
