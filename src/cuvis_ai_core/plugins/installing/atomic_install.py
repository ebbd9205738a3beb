"""One plugin on its way from its source to its installed place, whichever kind of place that is.

Builders look, take the lock of the plugin's content, look again, and build in a temporary folder, which is moved into
place when it is whole. What is left to the two kinds of places is how the plugin gets into one, and which one will do.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Generic, TypeVar

from cuvis_ai_core.plugins.cache.environment_entry import Environment
from cuvis_ai_core.plugins.cache.sources import Source
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.cache.target_entry import Target
from cuvis_ai_core.plugins.dependencies.search_path import site_folders
from cuvis_ai_core.plugins.installing.install_request import Choice
from cuvis_ai_core.plugins.installing.locked_requirements import refuse_unasked, refuse_unmet, unasked
from cuvis_ai_core.plugins.installing.project_build import Building
from cuvis_ai_core.plugins.installing.uv_commands import Uv
from cuvis_ai_core.plugins.load_failure_messages import Enter
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin
from cuvis_ai_core.plugins.plugin_info import PluginState

Place = TypeVar("Place", Target, Environment)


class Installation(ABC, Generic[Place]):
    """One plugin on its way into a place of one kind.

    Args:
        name: Name of the plugin in its manifest.
        declared: Its entry there.
        source: Its code.
        place: The folder below which the places of this content lie.
        store: The plugin cache.
        uv: Runs uv for this plugin, in a temporary folder on the file system of the store.
    """

    own_process = False

    def __init__(
        self, name: str, declared: GitPlugin | LocalPlugin, source: Source, place: Path, store: Store, uv: Uv
    ) -> None:
        self.name = name
        self.declared = declared
        self.source = source
        self.place = place
        self.store = store
        self.uv = uv

    @cached_property
    def building(self) -> Building:
        """Its project, read when it is first needed.

        Raises:
            CacheMismatchError: Its checkout was altered.
            ProjectFileError: pyproject.toml is missing or breaks a rule.
        """
        return Building(self.name, self.declared, self.source, self.uv, own_process=self.own_process)

    @abstractmethod
    def needs(self) -> tuple[str, tuple[str, ...]]:
        """Return the name of the plugin's distribution, and its requirements.

        Raises:
            CacheMismatchError: Its checkout was altered.
            ProjectFileError: pyproject.toml is missing or breaks a rule.
            InstallError: Only a build can tell, and it failed.
        """

    @abstractmethod
    def build_ahead(self) -> None:
        """Build what is likely to be needed, while versions are chosen.

        Raises:
            InstallError: The build failed.
        """

    def finish(self, choice: Choice | None, key: str, enter: Enter) -> Place:
        """Return the place with some versions: the one that is there already, or else a new one.

        Args:
            choice: What to install beside the plugin; None leaves that to uv.
            key: What the choice depended on.
            enter: Told that the installation begins.

        Raises:
            InstallError: The build or the installation failed.
            StoreError: The store cannot be written.
        """
        from cuvis_ai_core.plugins.cache.housekeeping import Entry, replace_older

        with self.store.lock(self.place.name, partial(enter, PluginState.INSTALLING)):
            # Looked at again under the lock: who waited finds what the one before him has made.
            found = self.found(choice, key)
            if found is None:
                enter(PluginState.INSTALLING, self.what())
                made, folder = self.make(choice, key)
                # One rename within one file system: a killed process leaves a temporary folder, never half a place.
                self.store.publish(made.folder, folder)
                found = made._replace(folder=folder)
            # Still under the lock: between making and using, another process's pruning would find it used by nobody.
            self.store.use(found.folder, locked=True)
        replace_older(self.store, self.place)
        for outdated in self.outdated(found):
            Entry(self.store, outdated).remove()  # which keeps what is in use, until the next time
        return found

    def install_locked(
        self, folder: Path, choice: Choice, requirements: Sequence[str], python: Path | None = None
    ) -> None:
        """Install what is locked; what is built from source, which runs its code, only once it is known who needs it.

        Args:
            folder: The folder of packages.
            choice: What is locked.
            requirements: What the plugin requires.
            python: The Python of an environment.

        Raises:
            LockError: Nothing that the plugin needs requires it, or not in this version.
            InstallError: A file is not there, or has another hash.
        """
        built = {pin for pin, hashes in choice.hashes.items() if not hashes or pin.partition("==")[0] in choice.built}
        wheels = {pin: hashes for pin, hashes in choice.hashes.items() if pin not in built}
        folders = [folder, *(map(Path, site_folders()) if python is None else ())]
        # Before anything is fetched, by what the plugin itself says; the words of dependencies are known after.
        self._refuse_unmet(choice, requirements, folder, python)
        self.uv.install_locked(folder, wheels, python)
        self._refuse_unmet(choice, requirements, folder, python)
        # In turns: a source may be needed only by what another one brings, and its `setup.py` runs when it is built.
        while built:
            needed = built.difference(unasked(built, requirements, folders))
            if not needed:
                refuse_unasked(self.name, built, requirements, folders)
            self.uv.install_locked(folder, {pin: choice.hashes[pin] for pin in needed}, python, built=choice.built)
            built -= needed
        self._refuse_unmet(choice, requirements, folder, python)
        refuse_unasked(self.name, choice.hashes, requirements, folders)

    def _refuse_unmet(self, choice: Choice, requirements: Sequence[str], folder: Path, python: Path | None) -> None:
        """Raise if something is locked that nobody accepts; of an environment, whose Python is its own, uv says so."""
        if python is None:
            refuse_unmet(self.name, choice.hashes, requirements, folder)

    @abstractmethod
    def what(self) -> str:
        """Return what is about to be installed, for observers."""

    @abstractmethod
    def found(self, choice: Choice | None, key: str) -> Place | None:
        """Return the place that will do, if it is there."""

    @abstractmethod
    def make(self, choice: Choice | None, key: str) -> tuple[Place, Path]:
        """Make a place in a temporary folder, its marker included; return it, and where it is to be."""

    @abstractmethod
    def outdated(self, present: Place) -> list[Path]:
        """Return the places of the same content that the present one replaces."""
