"""What plugins contribute beside nodes: directories of pipeline files, node defaults, and cube readers."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvis_ai_core.plugins.hooks.hook_answers import wrong_answer
from cuvis_ai_core.plugins.isolation.private_names import without_private_names
from cuvis_ai_core.plugins.loading.registered_plugins import Members

if TYPE_CHECKING:
    from cuvis_ai_core.data import Cube
    from cuvis_ai_core.data.readers import Reader
    from cuvis_ai_core.plugins.configs_folder import Defaults


def config_owners(members: Members) -> dict[Path, str]:
    """Return the directories of pipeline files, each with the name of its plugin: those of hooks, then of packages.

    Raises:
        HookError: A plugin answered something else.
    """
    owners: dict[Path, str] = {}
    seen: set[Path] = set()
    for plugin, folder in (*_answered_dirs(members), *_package_dirs(members)):
        # A hook and a package may name one folder, by different links.
        real = folder.resolve()
        if real not in seen:
            owners.setdefault(folder, plugin)
        seen.add(real)
    return owners


def node_defaults(members: Members, name: str) -> "Defaults | None":
    """Return the parameters that a plugin gives to a node in its `default.yaml`, if it does.

    Raises:
        AmbiguousNodeError: Several plugins provide the node.
        HookError: A plugin answered something else.
        PipelineError: The file is broken.
    """
    from cuvis_ai_core.plugins.configs_folder import DEFAULTS, read_defaults

    members.complete()
    nodes = members.catalogue()
    entry = nodes.find(name)
    if entry is None or entry.plugin is None:
        return None
    owner = members.owner(entry.plugin)
    plugins = {each.plugin for each in nodes.entries() if each.plugin and members.owner(each.plugin) == owner}
    known = set().union(*map(nodes.names_of, plugins))
    for folder, plugin in config_owners(members).items():
        file = folder / DEFAULTS
        if plugin == owner and file.is_file():
            found = read_defaults(file, owner, {entry.name, entry.path}, known)
            if found is not None:
                return found
    return None


def _package_dirs(members: Members) -> Iterator[tuple[str, Path]]:
    from cuvis_ai_core.plugins.configs_folder import folders_of

    for name, plugin in list(members.declared.items()):
        yield from ((name, folder) for folder in plugin.config_folders())
    for discovered in members.discovered.values():
        module = discovered.value.partition(":")[0].strip()
        yield from ((discovered.distribution, folder) for folder in folders_of([module], _installed_folders))


def _installed_folders(top: str) -> list[Path]:
    """Return the folders of a package of the host environment, without importing it."""
    from importlib.util import find_spec

    # `find_spec` raises ValueError where a module in `sys.modules` has no spec.
    with suppress(ImportError, ValueError, AttributeError):
        spec = find_spec(top)
        return list(map(Path, (spec and spec.submodule_search_locations) or ()))
    return []


def _answered_dirs(members: Members) -> Iterator[tuple[str, Path]]:
    hook = "cuvis_ai_config_dirs"
    for plugin, answer in members.answers(hook):
        if not isinstance(answer, Iterable) or isinstance(answer, str | bytes | Mapping):
            raise wrong_answer(plugin, hook, answer, "a list of paths")
        for folder in answer:
            if not isinstance(folder, str | os.PathLike):
                raise wrong_answer(plugin, hook, folder, "a list of paths")
            yield members.owner(plugin), Path(folder)


def cube_readers(members: Members) -> "dict[str, Reader]":
    """Return reader by file suffix, as the hook `cuvis_ai_cube_readers` answers; the first answer for a suffix counts.

    The built-in readers answer last, but for plugins that ask to be the last.

    Raises:
        HookError: A plugin answered something else.
    """
    readers: dict[str, Reader] = {}
    for plugin, suffix, reader in _readers(members):
        if suffix not in readers:
            readers[suffix] = _importing(members, plugin, reader) if isinstance(reader, str) else reader
    return readers


def reader_names(members: Members) -> list[tuple[str, str, str]]:
    """Return suffix, plugin and import path of each reader; the first answer for a suffix counts.

    Raises:
        HookError: A plugin answered something else.
    """
    found: dict[str, tuple[str, str, str]] = {}
    for plugin, suffix, reader in _readers(members):
        path = reader if isinstance(reader, str) else f"{reader.__module__}.{getattr(reader, '__qualname__', '?')}"
        found.setdefault(suffix, (suffix, plugin, without_private_names(path)))
    return list(found.values())


def _readers(members: Members) -> Iterator[tuple[str, str, Any]]:
    hook = "cuvis_ai_cube_readers"
    for plugin, answer in members.answers(hook):
        if not isinstance(answer, Mapping):
            raise wrong_answer(plugin, hook, answer, "a mapping of file suffix to reader")
        for suffix, reader in answer.items():
            if not isinstance(suffix, str) or not suffix.startswith("."):
                raise wrong_answer(plugin, hook, suffix, "suffixes such as '.hdr'")
            if not isinstance(reader, str) and not callable(reader):
                raise wrong_answer(plugin, hook, reader, "readers: callables or their import paths")
            yield plugin, suffix.lower(), reader


def _importing(members: Members, plugin: str, reader: str) -> "Reader":
    """Return a reader that is imported when it is first used."""
    module, _, name = reader.rpartition(".")
    declared = members.declared.get(plugin.partition(":")[0])
    importer: Callable[[str], Any] = declared.import_module if declared else import_module

    def read(path: Path, **options: object) -> "Cube | Sequence[Cube]":
        function: Reader = getattr(importer(module), name)
        return function(path, **options)

    return read
