"""What the environment of a plugin would consist of, for a lock file; and having it as the lock file says."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from cuvis_ai_core.errors import DependencyConflictError, DependencyNotFoundError
from cuvis_ai_core.plugins.cache.sources import Source, project_folder
from cuvis_ai_core.plugins.installing.installed import first_step
from cuvis_ai_core.plugins.installing.project import read_project
from cuvis_ai_core.plugins.installing.request import InstallRequest
from cuvis_ai_core.plugins.installing.uv import Uv
from cuvis_ai_core.plugins.installing.virtual_environment import Wanted, environment_for, pins_for
from cuvis_ai_core.plugins.installing.wheels import Wheels
from cuvis_ai_core.plugins.load_errors import failing
from cuvis_ai_core.plugins.manager import PluginState
from cuvis_ai_core.plugins.worker.wanted import source_of, wanted_for


class Surveyed(NamedTuple):
    """What was found out about a plugin.

    Attributes:
        source: Its code.
        requirements: What its project file says that it needs.
        wheels: The wheels of everything in its environment, but for the plugin and this package.
    """

    source: Source
    requirements: Sequence[str]
    wheels: Sequence[Wheels]


def survey(name: str, request: InstallRequest, kept: Sequence[str]) -> Surveyed:
    """Find out what is to be in the environment of a plugin, and install nothing.

    Args:
        name: Name of the plugin.
        request: What is wanted.
        kept: Versions that stay as they are where that is possible, as `name==version`.

    Raises:
        PluginLoadError: A step failed.
    """
    declared = request.plugins[name]
    with failing(name, partial(request.announce, name), first_step(declared)) as enter:
        source = source_of(name, declared, request)
        enter(PluginState.RESOLVING, "an environment of its own")
        wanted = wanted_for(name, declared, source, request)
        try:
            wheels = _wheels(wanted, request, kept)
        except (DependencyConflictError, DependencyNotFoundError):
            if not kept:
                raise
            wheels = _wheels(wanted, request, ())
        project = project_folder(declared, source)
        found = read_project(project, declared.extras) if (project / "pyproject.toml").is_file() else None
        return Surveyed(source, (found.dependencies or ()) if found else (), wheels)


def _wheels(wanted: Wanted, request: InstallRequest, kept: Sequence[str]) -> Sequence[Wheels]:
    with request.store.workspace() as folder:
        builds = frozenset(wanted.declared.build)
        uv = Uv(wanted.name, folder, request.offline, request.store.wheels, builds)
        python, pins = pins_for(wanted, folder, uv, kept)
        return uv.wheels(pins, python) if pins else ()


def install(name: str, request: InstallRequest) -> None:
    """Have the environment of a plugin in the plugin cache.

    Raises:
        PluginLoadError: It cannot be had.
    """
    with failing(name, partial(request.announce, name), PluginState.INSTALLING) as enter:
        declared = request.plugins[name]
        wanted = wanted_for(name, declared, source_of(name, declared, request), request)
        environment_for(wanted, request.store, offline=request.offline, enter=enter)
