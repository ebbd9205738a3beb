"""Namespace packages (PEP 420) that are filled by the host and by several target directories at once."""

import sys
from collections.abc import Iterator, Mapping, MutableSequence, Sequence
from importlib.machinery import ModuleSpec, NamespaceLoader, PathFinder
from types import ModuleType
from typing import Any, Final, cast, overload

_portions: Final[dict[str, tuple[str, ...]]] = {}


def set_portions(portions: Mapping[str, Sequence[str]]) -> None:
    """Set the folders that live targets add to namespace packages; also to those that are imported already."""
    _portions.clear()
    _portions.update({name: tuple(folders) for name, folders in portions.items()})
    for name in sorted(_portions):
        module = sys.modules.get(name)
        # A regular package has one folder; `pkg_resources` namespaces are filled by their own code.
        if module is not None and isinstance(getattr(module, "__loader__", None), NamespaceLoader):
            _widen(name, module)


def find_namespace(fullname: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """Answer the import of a namespace package that live targets have portions of; a regular package goes first."""
    if fullname not in _portions:
        return None
    elsewhere = PathFinder.find_spec(fullname, path)
    if elsewhere is not None and elsewhere.loader is not None:
        return None
    spec = ModuleSpec(fullname, None, is_package=True)
    _set_path(spec, NamespacePath(fullname, (elsewhere and elsewhere.submodule_search_locations) or []))
    return spec


class NamespacePath(MutableSequence[str]):
    """The folders of a namespace package: those that the host has, and the portions that are live now.

    `importlib.resources` tells such a path by the name of its class.

    Args:
        name: Name of the package.
        elsewhere: The folders that the standard path finder knows; it keeps them up to date.
    """

    def __init__(self, name: str, elsewhere: Sequence[str]) -> None:
        self._name = name
        self._elsewhere = cast("MutableSequence[str]", elsewhere)

    def _folders(self) -> list[str]:
        # Computed at each look, as the standard path is: a portion that went must not be found.
        return list(dict.fromkeys([*self._elsewhere, *_portions.get(self._name, ())]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._folders())

    def __len__(self) -> int:
        return len(self._folders())

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> MutableSequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | MutableSequence[str]:
        return self._folders()[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._elsewhere[index] = value

    def __delitem__(self, index: Any) -> None:
        del self._elsewhere[index]

    def insert(self, index: int, value: str) -> None:
        """Add a folder, as `pkgutil.extend_path` does by `append`; it stays when the live portions go."""
        # The standard path can only append.
        self._elsewhere.insert(index, value) if isinstance(self._elsewhere, list) else self._elsewhere.append(value)

    def __repr__(self) -> str:
        return f"NamespacePath({self._folders()!r})"


def _widen(name: str, module: ModuleType) -> None:
    spec = module.__spec__
    # Once: a path around a path would be asked twice for each import.
    if spec is None or isinstance(module.__path__, NamespacePath):
        return
    path = NamespacePath(name, module.__path__)
    module.__path__ = path
    _set_path(spec, path)
    cast("Any", spec.loader)._path = path  # noqa: SLF001 - where `importlib.resources` looks


def _set_path(spec: ModuleSpec, path: NamespacePath) -> None:
    # importlib copies it to `__path__` as it is: it stays alive, and grows with what is loaded later.
    spec.submodule_search_locations = cast("list[str]", path)
