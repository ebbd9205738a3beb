"""The code of an installed plugin: what of it becomes private, the node classes in it, and who is told of it."""

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from cuvis_ai_core.errors import InvalidNodeError
from cuvis_ai_core.node.base import is_node_class
from cuvis_ai_core.plugins.cache.store import short_hash
from cuvis_ai_core.plugins.cache.target_entry import Target
from cuvis_ai_core.plugins.dependencies import live_versions
from cuvis_ai_core.plugins.dependencies.distribution import Distribution
from cuvis_ai_core.plugins.dependencies.search_path import interpreter, top_level_modules, without_standard_library
from cuvis_ai_core.plugins.isolation.private_names import LIVE_PLUGINS, public_name
from cuvis_ai_core.plugins.isolation.scope import Code, Scope, living_scopes, open_scope


def open_code(target: Target, private: Sequence[Distribution], name: str | None = None) -> Scope:
    """Open the scope of a plugin's content; of a local plugin, the code as it is on disk now.

    Args:
        target: What was installed.
        private: The dependencies that it has for itself.
        name: The private name that it has in another process.
    """
    places = _places(target)
    key = _key(target, places)
    lent = frozenset(root.partition(".")[0] for each in private for root in each.roots) - frozenset(places)
    tops = frozenset(places) | lent
    code = Code(
        search_path=tuple(dict.fromkeys(map(str, [*places.values(), target.folder]))),
        tops=tops,
        lent=lent,
        shared=frozenset(root for each in target.needed if each not in private for root in each.roots),
        distributions=dict.fromkeys([target.plugin.name, *(each.name for each in private)], target.folder),
        editable=target.editable,
    )
    scope = open_scope(" ".join([key, *sorted(each.name for each in private)]), target.title, code, name)
    if not sys.modules.keys().isdisjoint(tops):
        from cuvis_ai_core.plugins.isolation.public_module_lookup import stand_before

        stand_before(scope)
    return scope


def is_edited(target: Target, scope: Scope) -> bool:
    """Tell whether the code of a local plugin is another one by now than the one whose scope was opened."""
    return target.editable and not f"{scope.key} ".startswith(f"{_key(target, _places(target))} ")


def import_node(name: str, scope: Scope, path: str) -> type:
    """Import a node class of a plugin by its public path.

    Raises:
        InvalidNodeError: There is no such module or class, or it is no node.
    """
    module_name, _, class_name = path.rpartition(".")
    try:
        module = scope.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = public_name(error.name or "")
        # Metadata that is not there is a ModuleNotFoundError too.
        own = type(error) is ModuleNotFoundError and missing != error.name
        if not own or not f"{module_name}.".startswith(f"{missing}."):
            raise
        raise _no_module(name, scope, path, missing) from error
    found = getattr(module, class_name, None)
    if is_node_class(found):
        assert isinstance(found, type)
        return found
    from cuvis_ai_core.plugins.missing_plugin_classes import no_class

    raise no_class(name, path, vars(module), scope.import_module)


_publishing = threading.RLock()
"""Whoever looks last writes last; and `os.environ.pop` of two threads at once raises in one of them."""


def publish() -> None:
    """Tell the processes that are started from now on what is loaded here now."""
    with _publishing:
        # Let go of below this lock: the last reference to a scope takes that of all scopes.
        scopes = living_scopes()
        plugins = [[scope.name, *_owner_and_private(scope)] for scope in scopes if scope.held]
        served = live_versions.served(idle=False)
        if plugins or served:
            os.environ[LIVE_PLUGINS] = repr([interpreter(), plugins, served])  # JSON takes 2 ms to import
        else:
            os.environ.pop(LIVE_PLUGINS, None)


def _owner_and_private(scope: Scope) -> tuple[str, list[str]]:
    (_, folder), *private = scope.distributions.items()
    return str(folder), [name for name, _ in private]


def _no_module(name: str, scope: Scope, path: str, missing: str) -> InvalidNodeError:
    import pkgutil

    from cuvis_ai_core.plugins.missing_plugin_classes import no_module

    parent = missing.rpartition(".")[0]
    if parent:
        package = scope.import_module(parent)
        known = [module.name for module in pkgutil.iter_modules(getattr(package, "__path__", []))]
    else:
        known = sorted(scope.tops)
    return no_module(name, path, missing, known)


def _places(target: Target) -> dict[str, Path]:
    """Return where each of a plugin's own top-level modules lies now."""
    places = {top: Path(place or target.folder) for top, place in target.code.items()}
    return {**places, **_new_modules(target)} if target.editable else places


def _key(target: Target, places: dict[str, Path]) -> str:
    """Return what tells one content of a plugin from another."""
    return f"{target.folder} {_state(places)}" if target.editable else str(target.folder)


def _new_modules(target: Target) -> dict[str, Path]:
    """Find modules that were added to a local plugin since it was installed."""
    folders = {Path(place) for place in target.code.values() if place}
    return {top: folder for folder in folders for top in without_standard_library(top_level_modules(folder))}


def _state(places: dict[str, Path]) -> str:
    """Return a hash of names, sizes and times of a local plugin's files."""
    files: list[str] = []
    for top, place in places.items():
        folder = os.path.join(place, top)
        files += _files_below(folder) if os.path.isdir(folder) else [_file_state(f"{folder}.py")]
    return short_hash(*sorted(files))


def _files_below(folder: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            # Links to folders are not followed: they may lead round in a circle, or to a disk full of data.
            if not entry.is_dir(follow_symlinks=False):
                yield _file_state(entry.path)
            elif entry.name != "__pycache__":
                yield from _files_below(entry.path)


def _file_state(path: str) -> str:
    try:
        state = os.stat(path)
    except OSError:
        return f"{path} is gone"
    # The time of the last change of its data may be set at will, as copying programs do; this one not.
    return f"{path} {state.st_mtime_ns} {state.st_size} {state.st_ctime_ns}"
