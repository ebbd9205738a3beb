"""From manifest entries to classes that stand for the node classes of plugins in processes of their own."""

import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from cuvis_ai_core.errors import PluginLoadError, RemoteError
from cuvis_ai_core.plugins.cache.environment_entry import Environment, code_stamp, write_environment
from cuvis_ai_core.plugins.cache.sources import Source
from cuvis_ai_core.plugins.cancellable_threads import Crew
from cuvis_ai_core.plugins.dependencies import host_environment
from cuvis_ai_core.plugins.installing.already_installed import Installed
from cuvis_ai_core.plugins.installing.install_request import InstallRequest
from cuvis_ai_core.plugins.load_failure_messages import Enter, failing
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin
from cuvis_ai_core.plugins.plugin_info import PluginState
from cuvis_ai_core.plugins.worker.proxy_classes import make_class
from cuvis_ai_core.plugins.worker.worker_process import Worker

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


def open_plugins(
    installed: Mapping[str, Installed | PluginLoadError], reasons: Mapping[str, BaseException], request: InstallRequest
) -> dict[str, Opened | PluginLoadError]:
    """Have classes for the node classes of plugins, several at once; each fails for itself.

    What is announced is announced in the thread of the caller.

    Args:
        installed: Their environments, or why a plugin has none.
        reasons: Why one cannot live in this process, where that was found out just now.
        request: What is wanted.
    """
    crew, opened = Crew(), dict[str, Opened | PluginLoadError]()
    opened |= {name: each for name, each in installed.items() if isinstance(each, PluginLoadError)}

    def open_one(name: str, plugin: Installed) -> None:
        announce = partial(request.announce, name)
        try:
            with failing(name, lambda *words: crew.say(partial(announce, *words)), PluginState.INSTALLING) as enter:
                opened[name] = _open(name, plugin, request, enter, reasons.get(name))
        except PluginLoadError as error:
            opened[name] = error

    try:
        crew.run([partial(open_one, name, each) for name, each in installed.items() if isinstance(each, Installed)])
    # Ctrl-C as well: a worker that nobody has any more would live until the interpreter ends.
    except BaseException:
        for each in opened.values():
            if isinstance(each, Opened):
                each.worker.close()
        raise
    return opened


def _open(name: str, plugin: Installed, request: InstallRequest, enter: Enter, why: BaseException | None) -> Opened:
    """Have classes for the node classes of a plugin; if a step fails, no process is left."""
    declared, environment = request.plugins[name], plugin.place
    assert isinstance(environment, Environment)
    if why is not None and host_environment.fingerprint() not in environment.refused:
        # So that the next load of an `auto` plugin does not fail first.
        environment = _kept(environment._replace(refused=(*environment.refused, host_environment.fingerprint())))
    enter(PluginState.IMPORTING, environment.distribution or name)
    worker = Worker(name, environment.python, environment.paths, request.store.logs)
    try:
        environment = _with_faces(name, declared, environment, worker)
        assert environment.faces is not None
        faces = environment.faces["classes"]
        classes = {path: make_class(path, face, worker) for path, face in faces.items()}
    except BaseException:
        worker.close()
        raise
    directories = tuple(environment.folder / each for each in environment.faces["config_dirs"])
    return Opened(plugin.source, environment, worker, classes, directories)


def _with_faces(name: str, declared: GitPlugin | LocalPlugin, environment: Environment, worker: Worker) -> Environment:
    """Return an environment that says what the node classes look like; the worker is asked where it does not."""
    stamp = code_stamp(environment)
    known = environment.faces
    # Remembered in the marker: to ask starts a process, which takes tenths of a second of each load.
    if known is not None and environment.stamp == stamp and known["provides"] == list(declared.provides):
        return environment
    asked = {"plugin": name, "distribution": environment.distribution, "provides": list(declared.provides)}
    try:
        faces: dict[str, Any] = worker.connection().request("describe", asked)
    except RemoteError as error:
        error.message = f"{error.kind}: {error.words}"
        if error.kind == "ModuleNotFoundError":
            need = "If that is a package of its own, add it to the dependencies in the plugin's pyproject.toml."
            error.hint = f"{need}\n{error.hint}"
        raise
    for hook in faces["not_served"]:
        logger.warning("plugin '%s': hook %s is not served by a process of its own", name, hook)
    # The plugin cache may be moved.
    directories = [each.removeprefix(f"{environment.folder}{os.sep}") for each in faces["config_dirs"]]
    noted = {**faces, "config_dirs": directories, "provides": list(declared.provides)}
    return _kept(environment._replace(faces=noted, stamp=stamp))


def _kept(environment: Environment) -> Environment:
    """Note what was found out about an environment in its marker, where that can be written."""
    with suppress(OSError):
        write_environment(environment)
    return environment
