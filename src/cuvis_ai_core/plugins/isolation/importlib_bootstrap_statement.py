"""What `import` means in a plugin's code: its own modules by their private names, everything else as anywhere.

Python's `warnings` looks past frames of files with `importlib` and `_bootstrap` in their names, so that a module that
warns about its import (`stacklevel=2`) names the line that imports it: that of a plugin, not one of these.
"""

import builtins
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Final, Protocol

from cuvis_ai_core.plugins.isolation.private_names import PREFIX
from cuvis_ai_core.plugins.sys_modules_owners import PublicName, is_owned

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.isolation.stdlib_overrides import StandIns

_import = builtins.__import__

STOOD_FOR: Final = frozenset({"importlib", "logging", "subprocess", "sys", "warnings"})
"""Standard modules of which a plugin has stand-ins (see `stdlib_overrides`), made when it first imports one."""


_OF_ALL: Final = ("__class__",)
"""What a module is asked for, so that it is returned itself: an object that stands in a module's place has that too."""


class ImportingScope(Protocol):
    """What is needed of a scope (see `scope.Scope`)."""

    name: str
    tops: frozenset[str]
    holders: int

    @property
    def stand_ins(self) -> "StandIns":
        """Standard modules as the plugin's code sees them."""

    def enter(self, visit: object) -> None:
        """Have the modules in `sys.modules` until `leave`."""

    def leave(self, visit: object) -> None:
        """End a visit."""


def scoped_import(scope: ImportingScope) -> Callable[..., ModuleType]:
    """Return the `__import__` of a plugin's code."""
    start = f"{scope.name}."

    def import_(
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level == 0:
            # An empty list comes from C (PyImport_Import), which then reads the public name in `sys.modules`.
            if top not in scope.tops or fromlist == []:
                return _foreign(scope, name, top, globals, locals, fromlist)
            loaded = scope.holders and _loaded(start, name, top, fromlist)
            if loaded:
                return loaded
        # Each import is a visit of its own: one thread's late import may run another one, and both end by themselves.
        visit = object()
        scope.enter(visit)
        try:
            if level:
                return _import(name, globals, locals, fromlist or (), level)
            module = import_leaf(start + name, fromlist)
            # `import a.b` binds `a`: what stands in `sys.modules`, since a module may have put something else in its
            # place.
            return module if fromlist else sys.modules[start + top]
        finally:
            scope.leave(visit)

    return import_


def import_leaf(name: str, fromlist: Sequence[str] | None = None) -> ModuleType:
    """Import a module by its whole name, as the import statement does: two threads in a circle let each other through.

    `importlib.import_module` raises there.
    """
    return _import(name, None, None, fromlist or _OF_ALL, 0)


def _loaded(start: str, name: str, top: str, fromlist: Sequence[str] | None) -> ModuleType | None:
    """Return what importing a module of the plugin comes to where there is nothing left to load: the usual case."""
    module = sys.modules.get(start + name)
    # A module that still runs in another thread is waited for by the import system, under its lock.
    if module is None or is_initializing(module):
        return None
    if not fromlist:
        return sys.modules.get(start + top)
    # Not `hasattr`: that calls a package's own `__getattr__`, which may import or load a model.
    known = getattr(module, "__dict__", ())
    for each in fromlist:
        if each not in known:
            return None
    return module


def is_initializing(module: ModuleType) -> bool:
    """Tell whether a module in `sys.modules` still runs; what a module put there in its own place does not."""
    # Private to importlib, which decides by the same attribute (CPython 3.11 to 3.14, `_find_and_load`).
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def _foreign(
    scope: ImportingScope,
    name: str,
    top: str,
    globals_: Mapping[str, object] | None,
    locals_: Mapping[str, object] | None,
    fromlist: Sequence[str] | None,
) -> ModuleType:
    module = _import(name, globals_, locals_, fromlist or (), 0)
    if top in STOOD_FOR:
        return scope.stand_ins.of(module)
    if is_owned(top) and not name.startswith(PREFIX):
        found = sys.modules.get(name)
        if isinstance(found, PublicName):
            type(found).require(found)
    return module
