"""What plugins contribute beside nodes: directories of pipeline files, and cube readers."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvis_ai_core.errors import HookError
from cuvis_ai_core.plugins.isolation.private_names import without_private_names
from cuvis_ai_core.plugins.members import BUILTIN, Members

if TYPE_CHECKING:
    from cuvis_ai_core.data import Cube
    from cuvis_ai_core.data.readers import Reader


def config_dirs(members: Members) -> list[Path]:
    """Return the directories that the hook `cuvis_ai_config_dirs` answers.

    Raises:
        HookError: A plugin answered something else.
    """
    hook = "cuvis_ai_config_dirs"
    found: list[Path] = []
    for plugin, answer in members.answers(hook):
        if not isinstance(answer, Iterable) or isinstance(answer, str | bytes | Mapping):
            raise _wrong(plugin, hook, answer, "a list of paths")
        for folder in answer:
            if not isinstance(folder, str | os.PathLike):
                raise _wrong(plugin, hook, folder, "a list of paths")
            found.append(Path(folder))
    return found


def cube_readers(members: Members) -> "dict[str, Reader]":
    """Return reader by file suffix, as the hook `cuvis_ai_cube_readers` answers; a plugin's beats a built-in one.

    Raises:
        HookError: A plugin answered something else.
    """
    readers: dict[str, Reader] = {}
    for plugin, suffix, reader in _readers(members):
        if plugin != BUILTIN or suffix not in readers:
            readers[suffix] = _importing(members, plugin, reader) if isinstance(reader, str) else reader
    return readers


def _readers(members: Members) -> Iterator[tuple[str, str, Any]]:
    hook = "cuvis_ai_cube_readers"
    for plugin, answer in members.answers(hook):
        if not isinstance(answer, Mapping):
            raise _wrong(plugin, hook, answer, "a mapping of file suffix to reader")
        for suffix, reader in answer.items():
            if not isinstance(suffix, str) or not suffix.startswith("."):
                raise _wrong(plugin, hook, suffix, "suffixes such as '.hdr'")
            if not isinstance(reader, str) and not callable(reader):
                raise _wrong(plugin, hook, reader, "readers: callables or their import paths")
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


def _wrong(plugin: str, hook: str, answer: object, wanted: str) -> HookError:
    return HookError(
        f"Plugin '{plugin}': hook {hook} answered {without_private_names(repr(answer))}; it must return {wanted}.",
        hint="The hooks and what they return: docs/reference/hooks.md",
        plugin=plugin,
        hook=hook,
    )
