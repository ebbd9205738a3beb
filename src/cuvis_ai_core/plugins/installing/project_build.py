"""A plugin's project in its source: what it is called, what it needs, and what uv is given of it."""

import platform
import threading
import warnings
from pathlib import Path

from packaging.specifiers import SpecifierSet

from cuvis_ai_core.errors import ProjectFileError
from cuvis_ai_core.plugins.cache import policy_checks
from cuvis_ai_core.plugins.cache.checkout_entry import refuse_altered
from cuvis_ai_core.plugins.cache.sources import Source, project_folder
from cuvis_ai_core.plugins.dependencies.distribution import normalised
from cuvis_ai_core.plugins.disk.altered_files import NO_SOURCE
from cuvis_ai_core.plugins.installing.pyproject import Project, is_project, read_project, version_in
from cuvis_ai_core.plugins.installing.source_copy import copy_project
from cuvis_ai_core.plugins.installing.uv_commands import Uv
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin


class Building:
    """A plugin's project, on its way to something that uv installs.

    That of a Git tag is built into a wheel. A local one stays where it is, so that edits are seen without a
    reinstall; a local folder without project files is code without dependencies, of which uv installs nothing.

    Args:
        name: Name of the plugin in its manifest.
        declared: Its entry there.
        source: Its code.
        uv: Runs uv for this plugin, in a temporary folder on the file system of the store.
        own_process: Whether it is built for a process of its own.

    Attributes:
        folder: Folder of the project.
        project: What its project file says; None for a folder without one.

    Raises:
        CacheMismatchError: Its checkout was altered.
        NotAllowedError: The policy does not allow the folder that a link in a local one leads to now.
        ProjectFileError: pyproject.toml is missing or breaks a rule, or refuses the Python.
    """

    def __init__(
        self, name: str, declared: GitPlugin | LocalPlugin, source: Source, uv: Uv, *, own_process: bool
    ) -> None:
        # Before anything of it is read: a checkout that was altered would be built, and kept as if it were the tag.
        if source.commit is not None:
            refuse_altered(name, source.folder, source.commit)
        self.folder = project_folder(declared, source)
        if isinstance(declared, LocalPlugin):
            # A link in a folder of somebody else's may lead elsewhere since the policy looked at it.
            placed = declared.model_copy(update={"path": self.folder, "subdirectory": None})
            policy_checks.judged(name, placed, own_process=own_process)
        self.project: Project | None = None
        self._name = name
        self._declared = declared
        self._source = source
        self._uv = uv
        # Built ahead in one thread, asked for by another that chooses versions: one build serves both.
        self._building = threading.Lock()
        self._wheel: Path | None = None
        if isinstance(declared, GitPlugin) or is_project(self.folder):
            self.project = read_project(self.folder, declared.extras)
            self._refuse_python(self.project, own_process=own_process)
        else:
            warnings.warn(
                f"Plugin '{name}': {self.folder} has no pyproject.toml and no setup.py; it is loaded as having no "
                "dependencies.",
                stacklevel=2,
            )

    @property
    def distribution(self) -> str:
        """Normalised name of the plugin's distribution."""
        return normalised(self.title if self.project else self._name)

    @property
    def title(self) -> str:
        """Name of the distribution as its author writes it; empty where there is no project.

        Raises:
            BuildError: Only a build can tell, and it failed.
        """
        if self.project is None or self.project.name:
            return self.project.name if self.project else ""
        return self.wheel().name.partition("-")[0]

    def refuse_looking(self) -> None:
        """Refuse to look only, where only a build can tell what the project needs.

        Raises:
            BuildError: That is so.
        """
        if self.project and self.project.dependencies is None and self._uv.dry:
            called = self.project.name or "no [project] table"
            raise self._uv.needs_building(f"Plugin '{self._name}' has dynamic metadata ({called}) and")

    @property
    def is_editable(self) -> bool:
        """Whether the code stays where it is."""
        return not isinstance(self._declared, GitPlugin)

    @property
    def tops(self) -> set[str]:
        """Top-level modules of the declared node classes and data modules."""
        declared = (*self._declared.provides, *self._declared.data_modules.values())
        return {path.partition(".")[0] for path in declared}

    def wheel(self, python: Path | None = None) -> Path:
        """Return a wheel of the project as it is now, built from a copy: back-ends write into the tree that they build.

        Args:
            python: The Python to build for; by default this interpreter.

        Raises:
            BuildError: The build failed.
        """
        with self._building:
            if self._wheel is None:
                copy = self._uv.folder / "source"
                git = isinstance(self._declared, GitPlugin)
                # The whole checkout, not the subdirectory: builds read a LICENSE or shared files above it.
                tree, ignored = (self._source.folder, (".git",)) if git else (self.folder, NO_SOURCE)
                copy_project(tree, copy, ignored)
                folder = copy / self.folder.relative_to(tree)
                # The copy has no history that setuptools-scm and its kin could read a version from.
                version = version_in(self._declared.tag) if isinstance(self._declared, GitPlugin) else None
                self._wheel = self._uv.build_wheel(folder, version=version, python=python)
            return self._wheel

    def search_path(self) -> Path:
        """Return where the modules of a folder without a project file lie: in it or its `src`, or it is one itself."""
        folder, tops = self.folder, self.tops
        if folder.name in tops and not any((folder / f"{folder.name}{end}").exists() for end in ("", ".py")):
            return folder.parent
        return folder / "src" if any((folder / "src" / top).exists() for top in tops) else folder

    def _refuse_python(self, project: Project, *, own_process: bool) -> None:
        """Refuse a Python that the project does not accept, of a chosen one in any of its patch versions."""
        if not project.requires_python:
            return
        accepted, chosen = SpecifierSet(project.requires_python), self._declared.python if own_process else None
        version = chosen or platform.python_version()
        # A hundred are enough: no minor version of Python has had more than thirty.
        patches = [f"{chosen}.{patch}" for patch in range(100)] if chosen else [version]
        # A manifest names 3.12, not 3.12.4: `>=3.12.2` must not refuse it; pre-releases of Python count as that Python.
        if not any(accepted.contains(each, prereleases=True) for each in patches):
            here = f"its environment would have Python {version}" if own_process else f"this is Python {version}"
            raise ProjectFileError(
                f"{project.name} needs Python {project.requires_python}, but {here}.",
                hint='Name such a Python in the manifest, beside isolation: process, as python: "3.12".'
                if own_process
                else "Run this program with such a Python, or use a version of the plugin that accepts this one.",
                path=self.folder / "pyproject.toml",
            )
