"""The plugin's own part of a target directory: which project it is, what it needs, and how it gets installed."""

import logging
import platform
import shutil
import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from importlib.metadata import PathDistribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from cuvis_ai_core._files import remove_tree
from cuvis_ai_core.errors import ProjectFileError
from cuvis_ai_core.plugins.cache.integrity import NO_SOURCE, source_stamp
from cuvis_ai_core.plugins.cache.sources import Source, project_folder, refuse_altered
from cuvis_ai_core.plugins.dependencies.distribution import normalised
from cuvis_ai_core.plugins.dependencies.search_path import top_level_modules
from cuvis_ai_core.plugins.installing.editables import UnclearEditableError, editable_code
from cuvis_ai_core.plugins.installing.project import Project, read_project, version_in
from cuvis_ai_core.plugins.installing.request import Choice
from cuvis_ai_core.plugins.installing.uv import Uv
from cuvis_ai_core.plugins.manifest import GitPlugin, LocalPlugin

logger = logging.getLogger(__name__)


def building_of(name: str, declared: GitPlugin | LocalPlugin, source: Source, uv: Uv) -> "Building":
    """Return how a plugin is built.

    Args:
        name: Name of the plugin in its manifest.
        declared: Its entry there.
        source: Its code.
        uv: Runs uv for this plugin, in a temporary folder on the file system of the store.

    Raises:
        CacheMismatchError: Its checkout was altered.
        ProjectFileError: pyproject.toml is missing or breaks a rule.
    """
    refuse_altered(name, source)
    folder = project_folder(declared, source)
    if isinstance(declared, GitPlugin):
        return _WheelBuilding(declared, source, _checked(read_project(folder, declared.extras), folder), uv)
    if (folder / "pyproject.toml").is_file():
        return _EditableBuilding(declared, folder, _checked(read_project(folder, declared.extras), folder), uv)
    return _BareBuilding(name, declared, folder, uv)


class Building(ABC):
    """One plugin that is built into `target`, a folder of its own.

    Attributes:
        distribution: Name of its distribution.
        target: The folder.
        stamp: What a local project was like that had to be built (see `source_stamp`); nothing where its code stays.
    """

    stamp = ""

    def __init__(self, distribution: str, uv: Uv) -> None:
        self.distribution = normalised(distribution)
        self.target = uv.folder / "target"
        self.target.mkdir()
        self._uv = uv

    def requirements(self) -> tuple[str, ...]:
        """Return its requirements; where its project file leaves them to the build, it is built now.

        Raises:
            BuildError: The build failed.
        """
        return ()

    def build(self) -> None:  # noqa: B027 - most have nothing to do ahead
        """Do what needs no dependencies, ahead of `install`.

        Raises:
            BuildError: The build failed.
        """

    @abstractmethod
    def install(self, choice: Choice) -> Mapping[str, Path]:
        """Install the plugin and what was chosen for it, and return where those of its modules lie that stay elsewhere.

        Raises:
            InstallError: Something cannot be installed.
        """


class _BareBuilding(Building):
    """A local folder without a project file: code without dependencies."""

    def __init__(self, name: str, declared: LocalPlugin, folder: Path, uv: Uv) -> None:
        warnings.warn(
            f"Plugin '{name}': {folder} has no pyproject.toml; it is loaded as having no dependencies.", stacklevel=2
        )
        super().__init__(name, uv)
        self._folder = folder
        self._tops = _tops(declared.provides)

    def install(self, choice: Choice) -> Mapping[str, Path]:
        assert not choice.pins
        folder, tops = self._folder, self._tops
        if folder.name in tops and not (folder / folder.name).exists() and not (folder / f"{folder.name}.py").exists():
            return {folder.name: folder.parent}
        base = folder / "src" if any((folder / "src" / top).exists() for top in tops) else folder
        return dict.fromkeys(top_level_modules(base) | {top for top in tops if (base / top).is_dir()}, base)


class _ProjectBuilding(Building):
    """A project; what it installs of itself is told by `_own`."""

    def __init__(self, declared: GitPlugin | LocalPlugin, project: Project, uv: Uv) -> None:
        super().__init__(project.name, uv)
        self._declared = declared
        self._static = project.dependencies
        self._installed = False

    def requirements(self) -> tuple[str, ...]:
        if self._static is not None:
            return self._static
        self._uv.install(self.target, self._own())
        self._installed = True
        return _metadata_requirements(next(self.target.glob("*.dist-info")), self._declared.extras)

    def install(self, choice: Choice) -> Mapping[str, Path]:
        own = [] if self._installed else self._own()
        if choice.hashes:
            self._uv.install_locked(self.target, choice.hashes, built=choice.built)
            pins: tuple[str, ...] = ()
        else:
            pins = choice.pins
        if own or pins:
            self._uv.install(self.target, [*own, *pins])
        return editable_code(self.target, _tops(self._declared.provides))

    @abstractmethod
    def _own(self) -> list[str]:
        """Return what uv installs of the project itself."""


class _EditableBuilding(_ProjectBuilding):
    """A project at a local path: its code stays where it is, so that edits are seen without a reinstall.

    Where its back-end makes that in a way that cannot be read, it is built, and built again after edits.
    """

    def __init__(self, declared: LocalPlugin, folder: Path, project: Project, uv: Uv) -> None:
        super().__init__(declared, project, uv)
        self._folder = folder

    def install(self, choice: Choice) -> Mapping[str, Path]:
        try:
            _refuse_bytes(self._folder)
            return super().install(choice)
        except UnclearEditableError as error:
            logger.warning(
                "plugin '%s': %s is installed by a build, because %s; an edit of its code is built at the next load",
                self._uv.plugin,
                self._folder,
                error,
            )
        self.stamp = source_stamp(self._folder)
        remove_tree(self.target)
        self.target.mkdir()
        self._installed = False
        return super().install(choice)

    def _own(self) -> list[str]:
        if not self.stamp:
            return self._uv.editable(self._folder)
        copy = self._uv.folder / "source"
        shutil.copytree(self._folder, copy, symlinks=True, ignore=shutil.ignore_patterns(*NO_SOURCE))
        return [str(self._uv.build_wheel(copy, version=None))]


class _WheelBuilding(_ProjectBuilding):
    """A project at a Git tag: a wheel is built from a copy of the checkout."""

    def __init__(self, declared: GitPlugin, source: Source, project: Project, uv: Uv) -> None:
        super().__init__(declared, project, uv)
        self._source = source
        self._version = version_in(declared.tag)
        self._lock = threading.Lock()
        self._wheel: Path | None = None

    def build(self) -> None:
        with self._lock:
            if self._wheel is None:
                # Back-ends write into the tree that they build; the checkout stays as it was fetched.
                copy = self._uv.folder / "source"
                shutil.copytree(self._source.folder, copy, symlinks=True, ignore=shutil.ignore_patterns(".git"))
                folder = copy / (self._declared.subdirectory or ".")
                self._wheel = self._uv.build_wheel(folder, version=self._version)

    def _own(self) -> list[str]:
        self.build()
        return [str(self._wheel)]


def _tops(provides: Iterable[str]) -> set[str]:
    return {path.partition(".")[0] for path in provides}


def _checked(project: Project, folder: Path) -> Project:
    version = platform.python_version()
    if project.requires_python and not SpecifierSet(project.requires_python).contains(version, prereleases=True):
        raise ProjectFileError(
            f"{project.name} needs Python {project.requires_python}, but this is Python {version}.",
            hint="Run this program with such a Python, or use a version of the plugin that accepts this one.",
            path=folder / "pyproject.toml",
        )
    return project


def _metadata_requirements(dist_info: Path, extras: tuple[str, ...]) -> tuple[str, ...]:
    """Return the requirements in installed metadata that apply for some extras, markers of extras resolved."""
    applying = []
    for text in PathDistribution(dist_info).requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            requirement.marker = None
            applying.append(str(requirement))
    return tuple(applying)


def _refuse_bytes(folder: Path) -> None:
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise UnclearEditableError("its path is no text that could be written into a file") from None
