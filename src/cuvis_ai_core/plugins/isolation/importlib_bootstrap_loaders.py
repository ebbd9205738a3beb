"""The standard loaders, with one thing more: a module gets the builtins of its scope before it runs.

For its name see `importlib_bootstrap_statement`.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader, SourcelessFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from cuvis_ai_core.plugins.isolation.unloaded_modules import UnloadedModules

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_SHARED: Final = "CUVIS_SHARED_STORE"
"""Names a plugin cache that others filled (see `cache.store`, of which nothing here may know)."""

_PKG_RESOURCES: Final = "pkg_resources"

_EDIT_RESOLUTION: Final = 2.0
"""Seconds after an edit in which cached bytecode is not trusted."""


class LoadingScope(Protocol):
    """What a loader needs of a scope (see `scope.Scope`)."""

    builtins: dict[str, Any]
    unloaded: UnloadedModules
    editable: bool
    package: ModuleType
    name: str
    distributions: Mapping[str, Path]

    def owns(self, public: str) -> bool:
        """Tell whether a module of that public name is private."""


class ScopedLoader:
    """Gives a module the builtins of its scope before it runs; one that was parked comes back as it was."""

    scope: LoadingScope
    _has_run = False

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Make the module, or bring back the parked one."""
        parked = self.scope.unloaded.parked.get(spec.name)
        if parked is not None:
            self._has_run = True
            return parked
        module = ModuleType(spec.name)
        # Before the module runs: `exec` writes builtins only where there are none.
        vars(module)["__builtins__"] = self.scope.builtins
        return module

    def get_code(self, fullname: str) -> CodeType | None:
        """Return the code of the module, in which public names of private modules are equal to their own."""
        code: CodeType | None = super().get_code(fullname)  # type: ignore[misc]
        if code is None or not _may_compare_names(code, self.scope.owns):
            return code
        # Few modules do: a load does not wait for this.
        from cuvis_ai_core.plugins.isolation.name_comparisons import with_private_names

        return with_private_names(code, f"{self.scope.name}.", self.scope.owns)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, unless it was parked and has run."""
        self.scope.unloaded.parked.pop(module.__name__, None)
        if not self._has_run:
            super().exec_module(module)  # type: ignore[misc]
            if module.__name__ == f"{self.scope.name}.{_PKG_RESOURCES}":
                from cuvis_ai_core.plugins.isolation.pkg_resources_set import add_own

                add_own(module, self.scope.distributions)


def _may_compare_names(code: CodeType, owns: Callable[[str], bool]) -> bool:
    """Tell whether code asks for names of modules, to compare them with those of private ones, to join or part them."""
    asked = "__name__" in code.co_names or "__package__" in code.co_names
    if asked and ("split" in code.co_names or "partition" in code.co_names):
        return True
    joints = {".", ":"} if "__module__" in code.co_names else ()
    if joints or "__name__" in code.co_names:
        # Constants only: a name that is joined at run time from parts is not seen (see `name_comparisons`).
        for each in code.co_consts:
            texts = each if isinstance(each, tuple | frozenset) else (each,)
            if any(isinstance(text, str) and (text in joints or owns(text)) for text in texts):
                return True
    return any(isinstance(each, CodeType) and _may_compare_names(each, owns) for each in code.co_consts)


class PackageLoader(ScopedLoader, Loader):
    """Loads the parent package of a scope, which has no code."""

    def __init__(self, scope: LoadingScope) -> None:
        self.scope = scope

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the package; there is one, parked or not."""
        return self.scope.package

    def exec_module(self, module: ModuleType) -> None:
        """Run nothing."""
        self.scope.unloaded.parked.pop(module.__name__, None)


class _SourceLoader(ScopedLoader, SourceFileLoader):  # type: ignore[misc]  # typeshed's own bases disagree
    def path_stats(self, path: str) -> Mapping[str, Any]:
        """Return time and size of a source file, for the check of its cached bytecode.

        Bytecode is filed under whole seconds: what was edited a moment ago cannot be told from the edit before it,
        so that cached bytecode is neither read nor written then.
        """
        stats = super().path_stats(path)
        if self.scope.editable and time.time() - stats["mtime"] < _EDIT_RESOLUTION:
            # `SourceLoader.get_code` takes an OSError from here for "no bytecode", and compiles the source.
            raise OSError("edited a moment ago")
        return stats

    def set_data(self, path: str, data: "ReadableBuffer", *, _mode: int = 0o666) -> None:
        """Write bytecode, but not into a plugin cache that others filled."""
        shared = os.environ.get(_SHARED)
        if shared is None or not path.startswith(os.path.abspath(os.path.expanduser(shared)) + os.sep):
            super().set_data(path, data, _mode=_mode)


class _SourcelessLoader(ScopedLoader, SourcelessFileLoader):
    pass


_SCOPED_LOADERS: Final[dict[type, Any]] = {
    SourceFileLoader: _SourceLoader,
    SourcelessFileLoader: _SourcelessLoader,
}


class _NamespacePath(list[str]):
    """The folders of a namespace package of a plugin.

    The standard path asks `sys.modules` for the package above at every look, where that is not while the plugin is
    unloaded. `importlib.resources` tells such a path by the name of its class.
    """

    def __repr__(self) -> str:
        return f"_NamespacePath({super().__repr__()})"


def scoped_spec(scope: LoadingScope, fullname: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """Return where a private module lies, found as any module is and loaded by a loader of this file."""
    spec = PathFinder.find_spec(fullname, path)
    if spec is not None and spec.loader is None:
        spec.submodule_search_locations = _NamespacePath(spec.submodule_search_locations or ())
    # By exact type: extension modules, and loaders that somebody else derived, run as they are.
    elif spec is not None and type(spec.loader) in _SCOPED_LOADERS:
        # The loader that was found becomes one of ours: making another costs a tenth of an import.
        found = cast("Any", spec.loader)
        found.__class__ = _SCOPED_LOADERS[type(found)]
        found.scope = scope
    return spec
