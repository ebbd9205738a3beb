"""From the entries of a manifest to installed plugins: source, project, versions, build, installed place.

Several plugins take each step at once. A plugin that fails drops out, and does not hinder the others. Those that are
to live in this process get target directories, and versions that suit it and each other; those with a process of their
own get environments.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, cast

from cuvis_ai_core._lazy_imports import import_modules
from cuvis_ai_core.errors import CuvisError, PluginLoadError, PreparationError
from cuvis_ai_core.plugins.cache import policy_checks
from cuvis_ai_core.plugins.cache.sources import Source, git_source, local_source, usable_source
from cuvis_ai_core.plugins.cache.store import short_hash
from cuvis_ai_core.plugins.installing.already_installed import (
    Installed,
    Place,
    announce_source,
    first_step,
    keys_of,
    place_of,
    usable_place,
)
from cuvis_ai_core.plugins.installing.concurrent_steps import Job, Jobs
from cuvis_ai_core.plugins.installing.install_request import Choice, InstallRequest, Needs, Versions
from cuvis_ai_core.plugins.load_failure_messages import Enter
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin
from cuvis_ai_core.plugins.offline import not_fetched
from cuvis_ai_core.plugins.plugin_info import PluginState

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.installing.virtual_environment import EnvironmentInstallation

_FOR_LOADING: Final = ("cuvis_ai_core.plugins.loading.scoped_plugin", "yaml"), ("cuvis_ai_schemas.pipeline",)
"""What loads plugins, and with what nodes say what their ports are: the one can wait for a build, the other for an
installation, which both take about that long."""


class Installer:
    """Installs plugins into the plugin cache; what is announced is announced in the thread of the caller."""

    def __init__(self, request: InstallRequest) -> None:
        self._jobs = Jobs(request)
        self._request = request._replace(announce=self._jobs.announce)
        self._store = request.store
        self._keys: Mapping[str, str] = {}

    def run(self) -> Mapping[str, Installed | PluginLoadError]:
        """Do all steps, unless all is found finished; return for each plugin where it is, or why it failed."""
        self.fetch()
        self._find()
        jobs = self._jobs.open()
        if jobs:
            # Whoever installs the same plugins waits here; nobody waits for a lock with a plugin's lock in hand.
            # One lock for the set, taken before those of plugins and never within: two orders of locks could wait for
            # each other.
            entry = f"resolution-{short_hash(*(job.place.name for job in jobs))}"
            try:
                with self._store.lock(entry, self._wait):
                    # Again, with the lock: another process may have installed all of it meanwhile.
                    self._find()
                    if self._jobs.open():
                        with self._store.workspace() as folder:
                            self.read_projects(folder)
                            self.install(self.choose(folder))
            # An error of one plugin ends in its job and never comes here.
            except CuvisError as error:  # of the store: it concerns all that is not done
                self._jobs.do(PluginState.INSTALLING, partial(_fail, error))
        return self.results()

    def results(self) -> Mapping[str, Installed | PluginLoadError]:
        """Return what became of each plugin that is done."""
        return self._jobs.results()

    def refuse_failed(self, what: str, choices: Mapping[str, Choice | None] = MappingProxyType({})) -> None:
        """Raise if a plugin failed, where one is too many.

        Args:
            what: What cannot be done.
            choices: What was chosen for each, so far.

        Raises:
            PreparationError: One did, or nothing could be chosen for it.
        """
        errors = {name: choice.error for name, choice in choices.items() if choice is not None}
        errors |= {name: each for name, each in self.results().items() if isinstance(each, PluginLoadError)}
        failed = {name: error for name, error in errors.items() if error is not None}
        if failed:
            raise not_prepared(what, failed)

    def fetch(self) -> None:
        """Have the code of all plugins on disk."""
        jobs = self._jobs.open()
        self._jobs.crew.run([partial(self._jobs.attempt, job, first_step(job.declared), self._fetch) for job in jobs])
        self._note_keys()

    def read_projects(self, folder: Path) -> None:
        """See what each plugin needs.

        Args:
            folder: Temporary folder on the file system of the store.
        """
        self._jobs.do(PluginState.INSTALLING, partial(self._read_project, folder))

    def needs(self) -> dict[str, Needs]:
        """Return what each plugin needs."""
        return {job.name: job.needs for job in self._jobs.open()}

    def source(self, name: str) -> Source:
        """Return the code of a plugin."""
        return self._jobs.job(name).source

    def choose(self, folder: Path, kept: Mapping[str, Sequence[str]] | None = None) -> dict[str, Choice | None]:
        """Choose versions, and build meanwhile: builds compute, the choice waits for the network.

        Args:
            folder: Temporary folder on the file system of the store.
            kept: For a lock file: versions that stay in the environments of plugins where that is possible, by plugin.

        Returns:
            What was chosen for each plugin; None for an environment that nothing is locked for: uv chooses then.
        """
        from cuvis_ai_core.plugins.installing.uv_commands import Uv

        here = {name: each for name, each in self.needs().items() if name not in self._request.processes}
        choices = dict[str, Choice | None]()
        allowed = frozenset(name for job in self._jobs.open() for name in job.declared.build)
        uv = Uv(", ".join(here), folder, self._request.offline, allowed=allowed, dry=self._request.dry)

        def choose() -> None:
            choices.update(self._request.versions.choose(here, uv, self._jobs.crew))

        def build(job: Job, enter: Enter) -> None:
            if not self._request.dry:
                job.installation.build_ahead()
            if job.installation.own_process:
                choices[job.name] = self._choose_for(job, enter, kept)

        # Those for this process first: the thread of the first one also chooses versions, for them alone.
        jobs = sorted(self._jobs.open(), key=lambda job: job.installation.own_process)
        if not jobs:
            return choices
        first, *others = [partial(self._jobs.attempt, job, PluginState.INSTALLING, build) for job in jobs]
        meanwhile = jobs[0].needs.uv.meanwhile

        def begin() -> None:
            # The choice begins by computing in this process, and would take the time in which that build is started.
            meanwhile.expect(*([choose] if here else []), partial(import_modules, *_FOR_LOADING[0]))
            first()
            meanwhile.finish()
            meanwhile.expect(partial(import_modules, *_FOR_LOADING[1]))

        # Building costs a processor and choosing the network's time: one after the other is the sum of both.
        self._jobs.crew.run([begin, *others])
        return choices

    def follow(self, versions: Versions) -> None:
        """Have versions come about in another way from now on."""
        self._request = self._request._replace(versions=versions)
        self._note_keys()

    def install(self, choices: Mapping[str, Choice | None]) -> None:
        """Have each plugin in its place.

        Args:
            choices: What was chosen for it.
        """

        def install(job: Job, enter: Enter) -> None:
            choice = choices[job.name]
            if choice is not None and choice.error is not None:
                enter(PluginState.RESOLVING, None)
                raise choice.error
            policy_checks.refuse_sources(job.name, choice.pins if choice is not None else ())
            job.finish(job.installation.finish(choice, self._keys.get(job.name, ""), enter))

        self._jobs.do(PluginState.INSTALLING, install)

    def _wait(self, _: str) -> None:
        for job in self._jobs.open():
            job.announce(PluginState.INSTALLING, "waiting for another process that prepares the same plugins")

    def _note_keys(self) -> None:
        """Note what choices depend on; that stays when a plugin drops out later, so that the others are found again."""
        self._keys = keys_of({job.name: job.place for job in self._jobs.open()}, self._request)

    def _fetch(self, job: Job, enter: Enter) -> None:
        declared = job.declared
        policy_checks.judged(job.name, declared, own_process=job.name in self._request.processes)
        job.source = (
            local_source(declared.path) if isinstance(declared, LocalPlugin) else self._checkout(job, declared, enter)
        )
        policy_checks.signed(job.name, declared, job.source, _import_for_building)
        self._request.versions.check(job.name, job.source)
        announce_source(self._request, job.name, job.source)
        enter(PluginState.INSTALLING, None)
        job.place = place_of(job.name, job.source, self._request)

    def _checkout(self, job: Job, declared: GitPlugin, enter: Enter) -> Source:
        if self._request.offline and usable_source(job.name, declared, self._store) is None:
            raise not_fetched(declared.repo, declared.tag)
        announce = partial(enter, PluginState.DOWNLOADING)
        store, early = self._store, self._request.early
        return git_source(job.name, declared.repo, declared.tag, store, announce, _import_for_building, early)

    def _find(self) -> None:
        """Look for what is installed; what was chosen together is taken together, or chosen anew."""
        found: dict[str, Place | None] = {}

        def look(job: Job, _: Enter) -> None:
            found[job.name] = usable_place(job.name, job.place, self._keys, self._request)

        for job in self._jobs.open():
            self._jobs.attempt(job, PluginState.INSTALLING, look)
        # Versions that were chosen together hold together: with one plugin missing, the others' are chosen anew as
        # well.
        incomplete = {self._keys[name] for name, place in found.items() if place is None and name in self._keys}
        for job in self._jobs.open():
            place = found[job.name]
            if place is not None and self._keys.get(job.name) not in incomplete:
                job.finish(place)

    def _read_project(self, folder: Path, job: Job, _: Enter) -> None:
        from cuvis_ai_core.plugins.cache.wheelhouse import wheelhouse
        from cuvis_ai_core.plugins.installing.target_directory import TargetInstallation
        from cuvis_ai_core.plugins.installing.uv_commands import Uv

        # A folder for each: two builds that share a TMPDIR or a constraints.txt would write over each other.
        work = folder / job.name
        work.mkdir()
        carried = self._request.versions.carried(job.name)
        carried_wheels = wheelhouse(self._store, *carried, work / "carried") if carried and self._store.wheels else None
        uv = Uv(job.name, work, self._request.offline, carried_wheels, frozenset(job.declared.build), self._request.dry)
        arguments = (job.name, job.declared, job.source, job.place, self._store, uv)
        if job.name in self._request.processes:
            from cuvis_ai_core.plugins.installing.virtual_environment import EnvironmentInstallation

            job.installation = EnvironmentInstallation(*arguments)
        else:
            job.installation = TargetInstallation(*arguments)
        distribution, requirements = job.installation.needs()
        policy_checks.refuse_requirements(job.name, requirements, job.declared.extras)
        job.needs = Needs(distribution, requirements, uv, partial(job.announce, PluginState.RESOLVING))

    def _choose_for(self, job: Job, enter: Enter, kept: Mapping[str, Sequence[str]] | None) -> Choice | None:
        """Return what an environment is to have: what is locked, or for a lock file what uv would choose."""
        if kept is None:
            return self._request.versions.environment(job.name)
        enter(PluginState.RESOLVING, "an environment of its own")
        installation = cast("EnvironmentInstallation", job.installation)
        return Choice(tuple(installation.resolve(kept[job.name])))


def not_prepared(what: str, failed: Mapping[str, Exception]) -> PreparationError:
    """Return the error for a manifest of which some plugins failed, where one is too many."""
    texts = "\n".join(str(error) for error in failed.values())
    return PreparationError(f"{what}; nothing was written.\n{texts}", failed=failed)


def _import_for_building() -> None:
    """Import what building needs; that can wait until git waits for the network, or for who looks at a signature."""
    import_modules("cuvis_ai_core.plugins.installing.target_directory")


def _fail(error: CuvisError, _job: Job, _enter: Enter) -> None:
    raise error
