"""Where a private module lies: in a living scope, or in one that is brought back for whoever asks by its name.

Pickles name classes by their private modules. A name that is not alive here is another name of a content that is
(two states of a local plugin were loaded where the file was written), or is looked up by those who know where
plugins lie: the parent process, the plugin cache.
"""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

from cuvis_ai_core.plugins.isolation.importlib_bootstrap_loaders import PackageLoader, scoped_spec
from cuvis_ai_core.plugins.isolation.private_names import PREFIX, first_name
from cuvis_ai_core.plugins.isolation.scope import Scope, living_scopes, scope_named
from cuvis_ai_core.plugins.sys_modules_owners import everybodys_module

_knowing: Final[list[Callable[[str], Scope | None]]] = []


def ask_for_missing(knowing: Callable[[str], Scope | None]) -> None:
    """Have a function asked for the scope of a private package that is not alive here, after those before it.

    Args:
        knowing: Takes the name of the package; returns a scope that it holds, or None.
    """
    _knowing.append(knowing)


def find_private(fullname: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """Answer the import of a private name.

    Raises:
        ImportError: The plugin that it belongs to cannot be brought back.
    """
    title, _, rest = fullname[len(PREFIX) :].partition(".")
    package = PREFIX + title
    scope = scope_named(package) or _living(package) or _brought_back(package)
    if scope is None:
        return None
    if scope.name != package:
        scope.unloaded.aliases.add(package)
        return ModuleSpec(fullname, _AliasLoader(f"{scope.name}.{rest}".rstrip(".")))
    if scope.is_unloaded:
        return ModuleSpec(fullname, _UnloadedLoader(scope))
    if not rest:
        return ModuleSpec(package, PackageLoader(scope), is_package=True)
    # What a package added to `sys.path` below its folder is looked in first, as OpenCV needs (its `cv2` lies in
    # `cv2/python-3`).
    if "." not in rest:
        path = scope.path_of_tops()
    return _shared_spec(scope, fullname, rest) or scoped_spec(scope, fullname, path) or _beside(fullname, rest)


def _shared_spec(scope: Scope, fullname: str, public: str) -> ModuleSpec | None:
    """Answer for what lies in a namespace package of the plugin, but belongs to a dependency that is shared."""
    parent = sys.modules.get(fullname.rpartition(".")[0])
    below = parent is not None and not parent.__name__.startswith(PREFIX)
    return ModuleSpec(fullname, _AliasLoader(public)) if below or public in scope.shared else None


def _beside(fullname: str, public: str) -> ModuleSpec | None:
    """Answer for what a namespace package of the plugin has elsewhere: in the host, in another target directory."""
    parent = sys.modules.get(fullname.rpartition(".")[0])
    # A package with a file is a regular one, whose parts lie in one place.
    if parent is None or "." not in public or getattr(parent, "__file__", None) or not hasattr(parent, "__path__"):
        return None
    try:
        _import(public)
    except ModuleNotFoundError as error:
        # Another module is missing within the one that is there: that is its fault, and must be seen.
        if error.name is None or not f"{public}.".startswith(f"{error.name}."):
            raise
        return None
    return ModuleSpec(fullname, _AliasLoader(public))


def _import(name: str) -> ModuleType:
    # Not by `import_module`: that asks on behalf of the plugin, this for what is everybody's (see `calling_plugin`).
    __import__(name)
    return everybodys_module(name) or sys.modules[name]


def _living(package: str) -> Scope | None:
    first = first_name(package)
    return next((scope for scope in living_scopes() if first_name(scope.name) == first), None)


def _brought_back(package: str) -> Scope | None:
    return next((scope for knows in _knowing if (scope := knows(package)) is not None), None)


class _UnloadedLoader(Loader):
    """Gives what stands for a module of an unloaded plugin; the module itself is with those who hold its objects."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Import the module behind."""
        return self._scope.unloaded_module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Run nothing: the module behind has run."""


class _AliasLoader(Loader):
    """Gives a module under one more name; it stays what it is."""

    def __init__(self, name: str) -> None:
        self._name = name

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module."""
        module = _import(self._name)
        # `module_from_spec` overwrites it, though the module keeps its own name; a reload would go wrong.
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Take back what the import system wrote on the module."""
        module.__spec__ = self._spec
