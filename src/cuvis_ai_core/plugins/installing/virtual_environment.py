"""The place of a plugin in a process of its own: a virtual environment with this package, the plugin, and its needs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from importlib.metadata import distributions
from pathlib import Path

from cuvis_ai_core.errors import DependencyConflictError, DependencyNotFoundError, LockError
from cuvis_ai_core.plugins.cache.environment_entry import (
    Environment,
    described,
    packages_of,
    read_environment,
    usable_environment,
    write_environment,
)
from cuvis_ai_core.plugins.cache.store import listed
from cuvis_ai_core.plugins.dependencies.requirements import host_version, needed_name, satisfies
from cuvis_ai_core.plugins.installing import host_wheels
from cuvis_ai_core.plugins.installing.atomic_install import Installation
from cuvis_ai_core.plugins.installing.editables import UnclearEditableError, editable_code
from cuvis_ai_core.plugins.installing.install_request import Choice
from cuvis_ai_core.plugins.installing.locked_requirements import refuse_addresses
from cuvis_ai_core.plugins.installing.pyproject import extras_of, refuse_unknown_extras


class EnvironmentInstallation(Installation[Environment]):
    """One plugin on its way into a virtual environment."""

    own_process = True

    def needs(self) -> tuple[str, tuple[str, ...]]:
        """Return the name of the plugin's distribution, and its requirements as far as its project file has them."""
        project = self.building.project
        self.building.refuse_looking()
        if project and project.dependencies is None:
            if not project.name:  # its wheel has the name, and is for the Python of the process
                self.building.wheel(self._python)
            if self.building.is_editable:  # uv has to build what does not write down what it needs
                self.uv = replace(self.uv, allowed=self.uv.allowed | {self.building.distribution})
        requirements = (project.dependencies or ()) if project else ()
        self._refuse_other_host(requirements)
        return self.building.distribution, requirements

    def build_ahead(self) -> None:
        """Make the environment, with nothing in it yet, and the wheel of a tag."""
        self._own  # noqa: B018 - made when it is asked for

    def resolve(self, kept: Sequence[str]) -> list[str]:
        """Return `name==version` of all that would be in the environment, but for the plugin and this package.

        Args:
            kept: Versions that stay as they are where that is possible, as `name==version`.

        Raises:
            DependencyConflictError: The requirements cannot be met together.
            InstallError: uv failed otherwise.
        """
        try:
            pins = self._resolved(kept)
        # A kept version may be gone from the index, or not fit any more: keeping is a wish.
        except (DependencyConflictError, DependencyNotFoundError):
            if not kept:
                raise
            pins = self._resolved(())
        own = {self._distribution, *host_wheels.names()}
        names = sorted({needed_name(pin): pin for pin in pins}.items())
        return [self._addresses.get(name, pin) for name, pin in names if name not in own]

    def what(self) -> str:
        """Return which Python the environment has."""
        return f"an environment with Python {host_wheels.python_version(self.declared)}"

    def found(self, choice: Choice | None, key: str) -> Environment | None:  # the folder says it all
        """Return the environment of this Python, this package and these versions."""
        return usable_environment(host_wheels.environment_folder(self.place, self.declared, choice), self.store)

    def make(self, choice: Choice | None, key: str) -> tuple[Environment, Path]:
        """Install the plugin, this package and what was chosen; where nothing was, uv chooses."""
        self._install(choice)
        if self._distribution and self.declared.extras:
            for built in distributions(name=self._distribution, path=[str(packages_of(self._folder))]):
                refuse_unknown_extras(self.building.folder, extras_of(built), self.declared.extras)
        editable = self.building.is_editable
        made = described(self._folder, self._distribution)._replace(
            paths=self._search_path(),
            editable=str(self.building.folder) if editable else "",
            core=host_wheels.edited_folder(),
        )
        write_environment(made)
        return made, host_wheels.environment_folder(self.place, self.declared, choice)

    def outdated(self, present: Environment) -> list[Path]:
        """Return the environments of the same content from before this package was edited."""
        folders = listed(present.folder.parent) if present.core else []
        others = {folder: read_environment(folder) for folder in folders if folder != present.folder}
        return [folder for folder, other in others.items() if other is not None and other.core == present.core]

    @property
    def _distribution(self) -> str:
        """Name of the plugin's distribution; empty where it has no project file."""
        return self.building.distribution if self.building.project else ""

    @property
    def _folder(self) -> Path:
        """The temporary folder that becomes the environment."""
        return self.uv.folder / "environment"

    @cached_property
    def _python(self) -> Path:
        python = self.uv.make_environment(self._folder, self.declared.python)
        for leftover in packages_of(self._folder).glob("_virtualenv.*"):  # of old installers, and no record knows it
            leftover.unlink()
        return python

    @property
    def _addresses(self) -> Mapping[str, str]:
        """The direct requirements that name an address, by the names of their distributions."""
        return {needed_name(each): each for each in self.needs()[1] if " @ " in each}

    @property
    def _builds(self) -> bool:
        """Whether what has no wheel is built: only where a repository is named."""
        return any("git+" in each for each in self._addresses.values())

    def _resolved(self, kept: Sequence[str]) -> list[str]:
        own = [*self._hosts(), *self.needs()[1]] if self.uv.dry else self._own
        requirements = [*own, host_wheels.schemas()]
        return self.uv.missing(requirements, kept, python=self._python, build=self._builds)

    def _hosts(self) -> list[str]:
        """Return this package, and what plugins import of it, as requirements."""
        wheels = host_wheels.wheels_in(self.store, self.uv.folder / "host wheels", dry=self.uv.dry)
        return [f"{name} @ {path.as_uri()}" for name, path in wheels.items()]

    @cached_property
    def _own(self) -> list[str]:
        """This package and the plugin as requirements: the plugin is a wheel, or a folder that stays where it is."""
        python = self._python
        found = self._hosts()
        if self.building.project is None:
            return found
        extras = f"[{','.join(self.declared.extras)}]" if self.declared.extras else ""
        name = f"{self.building.title}{extras}"
        if self.building.is_editable:
            return [*found, *self.uv.editable(self.building.folder, name)]
        return [*found, f"{name} @ {self.building.wheel(python).as_uri()}"]

    def _install(self, choice: Choice | None) -> None:
        own, packages = self._own, packages_of(self._folder)
        if choice is None:
            requirements = [*own, host_wheels.schemas()]
            # The schemas exactly as here: values of their classes cross between the two processes.
            self.uv.install_with_needs(self._python, packages, requirements, build=self._builds)
            return
        self.uv.install(packages, own, self._python)
        # Before installing: a lock file could have any file fetched and its build run.
        refuse_addresses(self.name, choice.pins, list(self._addresses.values()))
        extras = f"[{','.join(self.declared.extras)}]" if self.declared.extras else ""
        needed = [f"{self._distribution}{extras}", *host_wheels.names(), host_wheels.schemas()]
        self.install_locked(packages, choice, needed, self._python)
        # A lock file may be whole for another version of the plugin; `uv pip check` asks the installed metadata.
        problems = self.uv.problems(self._python)
        if problems:
            raise LockError(
                f"What is locked for plugin '{self.name}' is not all that it needs: {problems}",
                hint="Write the lock file anew: cuvis-ai plugins lock",
                plugin=self.name,
            )

    def _search_path(self) -> tuple[str, ...]:
        """Return where modules lie that are not in the environment, as far as that can be read.

        An import hook may need a package that only the back-end knows of, and Python reads a path line by line.
        """
        if self.building.project is None:
            return (str(self.building.search_path()),)
        try:
            places = editable_code(packages_of(self._folder), self.building.tops).values()
        except UnclearEditableError:  # the hook is at work in that environment
            return ()
        return tuple(sorted(set(map(str, places))))

    def _refuse_other_host(self, requirements: Sequence[str]) -> None:
        """Refuse requirements on this package that its own version does not meet: a worker has the host's."""
        for text in requirements:
            shared = needed_name(text) in (*host_wheels.names(), "cuvis-ai-schemas")
            found = host_version(needed_name(text)) if shared else None
            if found is not None and not satisfies(found, text):
                raise DependencyConflictError(
                    f"Dependency conflict: package {self.building.distribution} requires {text}, but {found} is "
                    "installed; the worker process of a plugin has that version too, because values cross between "
                    "the two.",
                    hint="Let the plugin accept that version, or install a version that suits it.",
                    requirement=text,
                    installed=found,
                )
