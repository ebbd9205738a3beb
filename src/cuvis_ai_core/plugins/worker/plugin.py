"""From a manifest entry to classes that stand for the node classes of a plugin in a process of its own."""

import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from cuvis_ai_core.errors import PluginError, PluginLoadError, RemoteError
from cuvis_ai_core.plugins import host
from cuvis_ai_core.plugins.environment import (
    Environment,
    code_stamp,
    read_environment,
    write_environment,
)
from cuvis_ai_core.plugins.failing import Enter
from cuvis_ai_core.plugins.manager import PluginState
from cuvis_ai_core.plugins.manifest import GitPlugin, LocalPlugin
from cuvis_ai_core.plugins.ready import Request, source_on_disk
from cuvis_ai_core.plugins.sources import Source, content_of
from cuvis_ai_core.plugins.worker.faces import make_class
from cuvis_ai_core.plugins.worker.installing import Wanted, environment_for
from cuvis_ai_core.plugins.worker.logs import Logs
from cuvis_ai_core.plugins.worker.worker import Worker

logger = logging.getLogger(__name__)


class Opened(NamedTuple):
    """A plugin in a process of its own.

    Attributes:
        source: Its code.
        environment: Its environment.
        worker: Its process, which need not have been started.
        classes: Classes that stand for its node classes, by the path under which they were declared.
        config_dirs: Folders in which it keeps pipeline files.
    """

    source: Source
    environment: Environment
    worker: Worker
    classes: Mapping[str, type]
    config_dirs: tuple[Path, ...]


def open_plugin(name: str, request: Request, enter: Enter, why: BaseException | None) -> Opened:
    """Have the environment of a plugin, and classes for its node classes.

    Args:
        name: Name of the plugin in its manifest.
        request: What is wanted.
        enter: Told of the states that it enters.
        why: Why it cannot live in this process, where that was found out just now.

    Raises:
        CuvisError: A step failed; no process is left.
    """
    if sys.platform == "win32":
        raise PluginError(
            f"Plugin '{name}' asks for a process of its own, which is available on Linux and macOS only.",
            hint="Use isolation: scoped (the default).",
            plugin=name,
        )
    declared = request.plugins[name]
    source = source_of(name, declared, request)
    enter(PluginState.INSTALLING, None)
    wanted = wanted_for(name, declared, source, request)
    environment = environment_for(wanted, request.store, offline=request.offline, enter=enter)
    if why is not None and host.fingerprint() not in environment.refused:
        environment = _kept(environment._replace(refused=(*environment.refused, host.fingerprint())))
    enter(PluginState.IMPORTING, environment.distribution or name)
    worker = Worker(name, environment.python, environment.paths, Logs(request.store.logs))
    try:
        environment = _with_faces(name, declared, environment, worker)
        assert environment.faces is not None
        faces = environment.faces["classes"]
        classes = {path: make_class(path, face, worker) for path, face in faces.items()}
    except BaseException:
        worker.close()
        raise
    return Opened(source, environment, worker, classes, tuple(map(Path, environment.faces["config_dirs"])))


def known_environment(
    name: str, declared: GitPlugin | LocalPlugin, source: Source, request: Request
) -> Environment | None:
    """Return the environment of a plugin that is there already, as its marker describes it; None where there is none.

    Raises:
        CuvisError: The plugin's code is not what is meant.
    """
    return read_environment(wanted_for(name, declared, source, request).folder)


def wanted_for(name: str, declared: GitPlugin | LocalPlugin, source: Source, request: Request) -> Wanted:
    """Return which environment a plugin is to have.

    Raises:
        CuvisError: The plugin's code, or what is locked of it, is not what is meant.
    """
    place = request.store.environments(name, content_of(declared, source))
    return Wanted(name, declared, source, place, request.plan.environment(name))


def source_of(name: str, declared: GitPlugin | LocalPlugin, request: Request) -> Source:
    """Return the code of a plugin, fetched where it is not there.

    Raises:
        SourceError: It cannot be had.
        LockError: It is not what is locked.
    """
    found = source_on_disk(name, declared, request.store)
    if found is not None:
        request.plan.check(name, found)
        return found
    from cuvis_ai_core.plugins.preparation import Preparation

    quiet = partial(_tell_all_but_failure, request)
    preparation = Preparation(request._replace(plugins={name: declared}, announce=quiet))
    preparation.fetch()
    failed = preparation.results().get(name)
    if isinstance(failed, PluginLoadError):
        raise failed.__cause__ or failed
    return preparation.source(name)


def _tell_all_but_failure(request: Request, name: str, state: PluginState, detail: str) -> None:
    if state is not PluginState.FAILED:  # which whoever asked says
        request.announce(name, state, detail)


def _with_faces(name: str, declared: GitPlugin | LocalPlugin, environment: Environment, worker: Worker) -> Environment:
    """Return an environment that says what the node classes look like; the worker is asked where it does not."""
    stamp = code_stamp(environment)
    known = environment.faces
    if known is not None and environment.stamp == stamp and known["provides"] == list(declared.provides):
        return environment
    asked = {"plugin": name, "distribution": environment.distribution, "provides": list(declared.provides)}
    try:
        faces: dict[str, Any] = worker.connection().request("describe", asked)
    except RemoteError as error:
        error.message = f"{error.kind}: {error.words}"
        raise
    for hook in faces["not_served"]:
        logger.warning("plugin '%s': hook %s is not served by a process of its own", name, hook)
    return _kept(environment._replace(faces={**faces, "provides": list(declared.provides)}, stamp=stamp))


def _kept(environment: Environment) -> Environment:
    """Note what was found out about an environment in its marker, where that can be written."""
    with suppress(OSError):
        write_environment(environment)
    return environment
