"""From a source tree to an installed target directory."""

import platform
import shutil
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PathDistribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from cuvis_ai_core.errors import ProjectFileError
from cuvis_ai_core.plugins import host
from cuvis_ai_core.plugins.contents import describe, editable_code, top_level_modules
from cuvis_ai_core.plugins.distribution import Distribution, normalised
from cuvis_ai_core.plugins.housekeeping import replace_older
from cuvis_ai_core.plugins.manager import PluginState
from cuvis_ai_core.plugins.manifest import GitPlugin, LocalPlugin
from cuvis_ai_core.plugins.project import Project, read_project, version_in
from cuvis_ai_core.plugins.sources import Source, project_folder, refuse_altered, title_of
from cuvis_ai_core.plugins.store import Store, short_hash
from cuvis_ai_core.plugins.target import Target, complete_targets, target_for_this_host, write_marker
from cuvis_ai_core.plugins.uv import Uv


@dataclass(frozen=True, slots=True)
class Installation:
    """One plugin on its way into a target directory.

    Attributes:
        name: Name of the plugin in its manifest.
        declared: Its entry there.
        source: Its code.
        store: Where target directories lie.
        announce: Told when resolving and installing begin; a detail, where there is one, is shown.
    """

    name: str
    declared: GitPlugin | LocalPlugin
    source: Source
    store: Store
    announce: Callable[[PluginState, str | None], None]

    def run(self, place: Path) -> Target:
        """Build the target directory below `place`, unless somebody else just did.

        Raises:
            ProjectFileError: pyproject.toml is missing or breaks a rule.
            InstallError: The build, the resolution or the installation failed.
            MissingExtraError: The plugin needs an optional part of the core.
            NetworkError: The package index cannot be reached.
            StoreError: The store cannot be written.
        """
        with self.store.lock(place.name, partial(self.announce, PluginState.INSTALLING)):
            found = target_for_this_host(place)
            if found is None:
                with self.store.workspace() as folder:
                    uv = Uv(self.name, folder)
                    found = self._adopt(place, uv) or self._build(place, uv)
            self.store.use(found.folder, locked=True)
        replace_older(self.store, place)
        return found

    @property
    def _project_folder(self) -> Path:
        return project_folder(self.declared, self.source)

    def _adopt(self, place: Path, uv: Uv) -> Target | None:
        """Use what was built for another host, or for this one before it changed, if it resolves to the same."""
        for target in complete_targets(place):
            pins = self._resolve(uv, target.plugin.name, target.plugin.requires)
            if _pins_hash(pins) == target.folder.name:
                adopted = target._replace(hosts=(*target.hosts, host.fingerprint()))
                write_marker(adopted)
                return adopted
        return None

    def _build(self, place: Path, uv: Uv) -> Target:
        refuse_altered(self.name, self.source)
        built = uv.folder / "target"
        built.mkdir()
        if self._bare():
            code = _bare_code(self._project_folder, self.declared.provides)
            plugin = Distribution(self.name, "0")
            pins: list[str] = []
        else:
            project = read_project(self._project_folder, self.declared.extras)
            _check_python(project, self._project_folder)
            install = self._install_local if self.source.commit is None else self._install_git
            needs, pins = install(uv, project, built)
            plugin = Distribution(normalised(project.name), "0", requires=needs)
            code = editable_code(built, _tops(self.declared.provides))
        target = describe(built, plugin, code, host.fingerprint())._replace(
            title=title_of(self.name, self.source), editable=self.source.commit is None
        )
        write_marker(target)
        final = place / _pins_hash(pins)
        self.store.publish(built, final)
        return target._replace(folder=final)

    def _install_local(self, uv: Uv, project: Project, built: Path) -> tuple[tuple[str, ...], list[str]]:
        editable = ["-e", str(self._project_folder)]
        if project.dependencies is None:
            self.announce(PluginState.INSTALLING, project.name)
            uv.install(built, editable)
            needs = _metadata_requirements(next(built.glob("*.dist-info")), self.declared.extras)
            pins = self._resolve(uv, project.name, needs)
            if pins:
                uv.install(built, pins)
            return needs, pins
        pins = self._resolve(uv, project.name, project.dependencies)
        self.announce(PluginState.INSTALLING, project.name)
        uv.install(built, [*editable, *pins])
        return project.dependencies, pins

    def _install_git(self, uv: Uv, project: Project, built: Path) -> tuple[tuple[str, ...], list[str]]:
        # The build computes, the resolution waits for the network: side by side they take the time of one.
        with ThreadPoolExecutor(1) as background:
            building = background.submit(self._wheel, uv)
            if project.dependencies is None:
                uv.install(built, [str(building.result())])
                needs = _metadata_requirements(next(built.glob("*.dist-info")), self.declared.extras)
            else:
                needs = project.dependencies
            pins = self._resolve(uv, project.name, needs)
            self.announce(PluginState.INSTALLING, project.name)
            wheel = building.result()
        uv.install(built, [str(wheel), *pins])
        return needs, pins

    def _wheel(self, uv: Uv) -> Path:
        # Back-ends write into the tree that they build; the checkout stays as it was fetched.
        copy = uv.folder / "source"
        shutil.copytree(self.source.folder, copy, symlinks=True, ignore=shutil.ignore_patterns(".git"))
        tag = self.declared.tag if isinstance(self.declared, GitPlugin) else ""
        return uv.build_wheel(copy / (self.declared.subdirectory or "."), version=version_in(tag))

    def _resolve(self, uv: Uv, distribution: str, needs: tuple[str, ...]) -> list[str]:
        self.announce(PluginState.RESOLVING, None)
        missing = host.missing_requirements(distribution, needs)
        if not missing:
            return []
        self.announce(PluginState.RESOLVING, ", ".join(missing))
        pins = uv.missing(host.without_exchange(needs), host.constraints())
        host.refuse_exchange(distribution, [pin.partition("==")[0] for pin in pins])
        return host.with_addresses(pins, needs)

    def _bare(self) -> bool:
        """Tell whether this is a local folder without a project file: code without dependencies."""
        if isinstance(self.declared, GitPlugin) or (self._project_folder / "pyproject.toml").is_file():
            return False
        warnings.warn(
            f"Plugin '{self.name}': {self._project_folder} has no pyproject.toml; "
            "it is loaded as having no dependencies.",
            stacklevel=2,
        )
        return True


def _pins_hash(pins: Iterable[str]) -> str:
    return short_hash(*sorted(pins))


def _tops(provides: Iterable[str]) -> set[str]:
    return {path.partition(".")[0] for path in provides}


def _bare_code(folder: Path, provides: Iterable[str]) -> dict[str, Path]:
    """Find the modules of a local folder without a project file: it holds them, or is the package itself."""
    tops = _tops(provides)
    if folder.name in tops and not (folder / folder.name).exists() and not (folder / f"{folder.name}.py").exists():
        return {folder.name: folder.parent}
    base = folder / "src" if any((folder / "src" / top).exists() for top in tops) else folder
    return dict.fromkeys(top_level_modules(base) | {top for top in tops if (base / top).is_dir()}, base)


def _check_python(project: Project, folder: Path) -> None:
    version = platform.python_version()
    if project.requires_python and not SpecifierSet(project.requires_python).contains(version, prereleases=True):
        raise ProjectFileError(
            f"{project.name} needs Python {project.requires_python}, but this is Python {version}.",
            hint="Run this program with such a Python, or use a version of the plugin that accepts this one.",
            path=folder / "pyproject.toml",
        )


def _metadata_requirements(dist_info: Path, extras: tuple[str, ...]) -> tuple[str, ...]:
    """Return the requirements in installed metadata that apply for some extras, markers of extras resolved."""
    applying = []
    for text in PathDistribution(dist_info).requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            requirement.marker = None
            applying.append(str(requirement))
    return tuple(applying)
