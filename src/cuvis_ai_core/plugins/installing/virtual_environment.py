"""Making the virtual environment of a plugin: which Python, this package, the plugin, and what it needs."""

import platform
import shutil
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from packaging.specifiers import SpecifierSet

from cuvis_ai_core.errors import DependencyConflictError, LockError, ProjectFileError
from cuvis_ai_core.plugins.cache.environment import (
    Environment,
    described,
    packages_of,
    read_environment,
    usable_environment,
    write_environment,
)
from cuvis_ai_core.plugins.cache.housekeeping import Entry, replace_older
from cuvis_ai_core.plugins.cache.sources import Source, project_folder, refuse_altered
from cuvis_ai_core.plugins.cache.store import Store, listed, short_hash
from cuvis_ai_core.plugins.dependencies.distribution import normalised
from cuvis_ai_core.plugins.dependencies.requirements import host_version, needed_name, satisfies
from cuvis_ai_core.plugins.installing import host_wheels
from cuvis_ai_core.plugins.installing.editables import UnclearEditableError, editable_code
from cuvis_ai_core.plugins.installing.project import read_project, version_in
from cuvis_ai_core.plugins.installing.request import Choice
from cuvis_ai_core.plugins.installing.uv import Uv
from cuvis_ai_core.plugins.load_errors import Enter
from cuvis_ai_core.plugins.manager import PluginState
from cuvis_ai_core.plugins.manifest import GitPlugin, LocalPlugin


class Wanted(NamedTuple):
    """Which environment is wanted.

    Attributes:
        name: Name of the plugin in its manifest.
        declared: Its entry there.
        source: Its code.
        place: The folder below which the environments of this content lie.
        locked: The pins of a lock file, with hashes; None without one.
    """

    name: str
    declared: GitPlugin | LocalPlugin
    source: Source
    place: Path
    locked: Choice | None

    @property
    def python(self) -> str:
        """The version of Python, as `3.12`."""
        return self.declared.python or ".".join(platform.python_version_tuple()[:2])

    @property
    def folder(self) -> Path:
        """Where the environment lies, or comes to lie."""
        pins = () if self.locked is None else (*self.locked.pins, *sum(self.locked.hashes.values(), ()))
        return self.place / short_hash(self.python, host_wheels.fingerprint(), host_wheels.schemas(), *pins)


def environment_for(wanted: Wanted, store: Store, *, offline: bool, enter: Enter) -> Environment:
    """Return the environment of a plugin, from the store or made there; it counts as in use from now on.

    Raises:
        CacheMismatchError: It is there, but was altered.
        InstallError: It cannot be made.
        StoreError: The store cannot be written.
    """
    found = usable_environment(wanted.folder, store)
    if found is not None:
        return found
    with store.lock(wanted.place.name, partial(enter, PluginState.INSTALLING)):
        found = usable_environment(wanted.folder, store)
        if found is None:
            enter(PluginState.INSTALLING, f"an environment with Python {wanted.python}")
            with store.workspace() as folder:
                uv = Uv(wanted.name, folder, offline, store.wheels, frozenset(wanted.declared.build))
                found = _made(wanted, folder, uv)
                store.publish(found.folder, wanted.folder)
            found = found._replace(folder=wanted.folder)
        store.use(found.folder, locked=True)
    replace_older(store, wanted.place)
    _replace_same(store, found)
    return found


def _replace_same(store: Store, environment: Environment) -> None:
    """Remove the environments of the same plugin from before this package was edited."""
    for folder in listed(environment.folder.parent) if environment.core else ():
        other = read_environment(folder)
        if other is not None and folder != environment.folder and other.core == environment.core:
            Entry(store, folder).remove()  # which keeps what is in use, until the next replacement


class _Begun(NamedTuple):
    """An environment with nothing in it yet."""

    folder: Path
    python: Path
    distribution: str
    requirements: list[str]
    paths: tuple[str, ...]
    direct: Mapping[str, str]

    @property
    def build(self) -> bool:
        """Whether what has no wheel is built: only where a repository is named."""
        return any("git+" in each for each in self.direct.values())


def pins_for(wanted: Wanted, folder: Path, uv: Uv, kept: Sequence[str]) -> tuple[Path, list[str]]:
    """Find out what an environment would have in it, but for the plugin and this package; nothing is installed.

    Args:
        wanted: Which environment.
        folder: A temporary folder.
        uv: Runs uv for this plugin.
        kept: Versions that stay as they are, as `name==version`.

    Returns:
        A Python of that version, and `name==version` of everything.

    Raises:
        DependencyConflictError: The requirements cannot be met together, or not with what is to stay.
        InstallError: uv failed otherwise.
    """
    begun = _begin(wanted, folder, uv)
    requirements = [*begun.requirements, host_wheels.schemas()]
    pins = uv.would_install(begun.python, requirements, kept, build=begun.build)
    own = {normalised(begun.distribution), *host_wheels.names()}
    names = sorted({pin.partition("==")[0]: pin for pin in pins}.items())
    return begun.python, [begun.direct.get(name, pin) for name, pin in names if name not in own]


def _made(wanted: Wanted, folder: Path, uv: Uv) -> Environment:
    begun = _begin(wanted, folder, uv)
    _install(wanted, uv, begun)
    made = described(begun.folder, begun.distribution)._replace(
        paths=begun.paths or _editable_places(begun.folder, wanted),
        editable=str(project_folder(wanted.declared, wanted.source))
        if isinstance(wanted.declared, LocalPlugin)
        else "",
        core=host_wheels.edited_folder(),
    )
    write_environment(made)
    return made


def _begin(wanted: Wanted, folder: Path, uv: Uv) -> _Begun:
    refuse_altered(wanted.name, wanted.source)
    project = project_folder(wanted.declared, wanted.source)
    read = None
    if isinstance(wanted.declared, GitPlugin) or (project / "pyproject.toml").is_file():
        read = read_project(project, wanted.declared.extras)
        _refuse_python(read.requires_python, read.name, wanted.python, project)
        _refuse_other_core(read.name, read.dependencies or ())
    place = folder / "environment"
    python = uv.make_environment(place, wanted.declared.python)
    for leftover in packages_of(place).glob("_virtualenv.*"):  # serves old installers only, and no record knows it
        leftover.unlink()
    own = [f"{name} @ {path.as_uri()}" for name, path in host_wheels.write_wheels(folder / "own wheels").items()]
    if read is None:
        return _Begun(place, python, "", own, _bare(wanted, project), {})
    direct = {needed_name(each): each for each in read.dependencies or () if " @ " in each}
    return _Begun(place, python, read.name, [*own, *_plugin(wanted, project, read.name, python, uv)], (), direct)


def _install(wanted: Wanted, uv: Uv, begun: _Begun) -> None:
    packages = packages_of(begun.folder)
    if wanted.locked is None:
        requirements = [*begun.requirements, host_wheels.schemas()]
        uv.install_with_needs(begun.python, packages, requirements, build=begun.build)
        return
    uv.install_locked(packages, wanted.locked.hashes, begun.python, built=wanted.locked.built)
    uv.install(packages, begun.requirements, begun.python)
    problems = uv.problems(begun.python)
    if problems:
        raise LockError(
            f"What is locked for plugin '{wanted.name}' is not all that it needs: {problems}",
            hint="Write the lock file anew: cuvis-ai plugins lock",
            plugin=wanted.name,
        )


def _bare(wanted: Wanted, folder: Path) -> tuple[str, ...]:
    """Return where the modules of a local folder without a project file lie."""
    warnings.warn(
        f"Plugin '{wanted.name}': {folder} has no pyproject.toml; it is loaded as having no dependencies.", stacklevel=2
    )
    tops = {path.partition(".")[0] for path in wanted.declared.provides}
    if folder.name in tops and not any((folder / f"{folder.name}{end}").exists() for end in ("", ".py")):
        return (str(folder.parent),)
    return (str(folder / "src" if any((folder / "src" / top).exists() for top in tops) else folder),)


def _editable_places(folder: Path, wanted: Wanted) -> tuple[str, ...]:
    """Return where the modules of an editable install lie, as far as that can be read.

    An import hook may need a package that only the back-end knows of, and Python reads a path line by line.
    """
    tops = {path.partition(".")[0] for path in wanted.declared.provides}
    try:
        return tuple(sorted(set(map(str, editable_code(packages_of(folder), tops).values()))))
    except UnclearEditableError:  # the hook is at work in that environment
        return ()


def _plugin(wanted: Wanted, project: Path, name: str, python: Path, uv: Uv) -> list[str]:
    """Return a plugin as a requirement: the wheel of a tag, or a local folder that stays where it is."""
    declared = wanted.declared
    extras = f"[{','.join(declared.extras)}]" if declared.extras else ""
    if not isinstance(declared, GitPlugin):
        return uv.editable(project, f"{name}{extras}")
    copy = uv.folder / "source"
    shutil.copytree(wanted.source.folder, copy, symlinks=True, ignore=shutil.ignore_patterns(".git"))
    wheel = uv.build_wheel(copy / (declared.subdirectory or "."), version=version_in(declared.tag), python=python)
    return [f"{name}{extras} @ {wheel.as_uri()}"]


def _refuse_other_core(name: str, requirements: Iterable[str]) -> None:
    """Refuse requirements on this package that its own version does not meet: a worker has the host's."""
    for text in requirements:
        found = (
            host_version(needed_name(text)) if needed_name(text) in (*host_wheels.names(), "cuvis-ai-schemas") else None
        )
        if found is not None and not satisfies(found, text):
            raise DependencyConflictError(
                f"Dependency conflict: package {name} requires {text}, but {found} is installed; the worker process of "
                "a plugin has that version too, because values cross between the two.",
                hint="Let the plugin accept that version, or install a version that suits it.",
                requirement=text,
                installed=found,
            )


def _refuse_python(requires: str | None, name: str, version: str, project: Path) -> None:
    """Refuse a Python that the plugin does not accept in any of its patch versions."""
    if requires and not any(SpecifierSet(requires).contains(f"{version}.{patch}") for patch in range(100)):
        raise ProjectFileError(
            f"{name} needs Python {requires}, but its environment would have Python {version}.",
            hint='Name such a Python in the manifest, beside isolation: process, as python: "3.12".',
            path=project / "pyproject.toml",
        )
