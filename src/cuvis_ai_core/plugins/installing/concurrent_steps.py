"""Several plugins that take the same steps at once; one that fails drops out, and does not hinder the others."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from cuvis_ai_core.errors import CuvisError, PluginLoadError
from cuvis_ai_core.plugins.cache.sources import Source
from cuvis_ai_core.plugins.cancellable_threads import Crew
from cuvis_ai_core.plugins.disk.full_disk import refuse_full_disk
from cuvis_ai_core.plugins.hooks.load_events import Announce
from cuvis_ai_core.plugins.installing.already_installed import Installed, Place
from cuvis_ai_core.plugins.installing.install_request import InstallRequest, Needs
from cuvis_ai_core.plugins.load_failure_messages import Enter, failing
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin
from cuvis_ai_core.plugins.plugin_info import PluginState

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.installing.target_directory import TargetInstallation
    from cuvis_ai_core.plugins.installing.virtual_environment import EnvironmentInstallation


@dataclass
class Job:
    """One plugin on its way; what each step found out is there for the next, and `result` ends it.

    Attributes:
        name: Name of the plugin in its manifest.
        declared: Its entry there.
        announce: Tells observers of its states, in the thread of the caller.
        source: Its code.
        place: The folder below which what is installed of its content lies.
        installation: How it is installed.
        needs: What it needs.
        result: Where it is installed, or why it failed.
    """

    name: str
    declared: GitPlugin | LocalPlugin
    announce: Announce
    source: Source = field(init=False)
    place: Path = field(init=False)
    installation: "TargetInstallation | EnvironmentInstallation" = field(init=False)
    needs: Needs = field(init=False)
    result: Installed | PluginLoadError | None = None

    def finish(self, place: "Place") -> None:
        """Say where the plugin is installed."""
        self.result = Installed(self.source, place)


Step: TypeAlias = Callable[[Job, Enter], None]


class Jobs:
    """The plugins of a request on their way.

    Attributes:
        crew: Threads to work with.
    """

    def __init__(self, request: InstallRequest) -> None:
        self.crew = Crew()
        self._announce = request.announce
        self._root = request.store.root
        self._all = {name: Job(name, each, partial(self.announce, name)) for name, each in request.plugins.items()}

    def announce(self, name: str, state: PluginState, detail: str) -> None:
        """Tell observers, in the thread of the caller, that a plugin entered a state."""
        self.crew.say(partial(self._announce, name, state, detail))

    def job(self, name: str) -> Job:
        """Return the job of a plugin."""
        return self._all[name]

    def open(self) -> list[Job]:
        """Return those that are not done, in the order of the manifest."""
        return [job for job in self._all.values() if job.result is None]

    def results(self) -> Mapping[str, Installed | PluginLoadError]:
        """Return what became of each plugin that is done."""
        return {name: job.result for name, job in self._all.items() if job.result is not None}

    def do(self, state: PluginState, step: Step) -> None:
        """Do a step for all that are not done, several at once."""
        self.crew.run([partial(self.attempt, job, state, step) for job in self.open()])

    def attempt(self, job: Job, state: PluginState, step: Step) -> None:
        """Do a step for one plugin, which ends there if that goes wrong.

        Args:
            job: The plugin.
            state: What an error calls the step: the state that it brings about or is in.
            step: What to do.
        """
        try:
            with failing(job.name, job.announce, state) as enter:
                try:
                    step(job, enter)
                # A full disk is one cause with many faces: it is said as such wherever it strikes.
                except OSError as error:
                    # Some of our errors are OSErrors too, and have their words already.
                    if not isinstance(error, CuvisError):
                        refuse_full_disk(str(error), self._root)
                    raise
        except PluginLoadError as error:
            job.result = error
