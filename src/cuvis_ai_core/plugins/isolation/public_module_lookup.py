"""Public names of plugin modules, where code from elsewhere asks for them.

`mock.patch("plugin.mod.f")`, `importlib.resources` or the C code of pickle import a plugin's module by its public name.
Such a name is in `sys.modules` as a proxy only, which decides at every access: by the nearest scoped frame on the
stack, else by what everybody else has under that name. So it never means one version for everybody, whoever imported
it first.

The proxy is in `sys.modules` before the module behind it is imported: whoever waits for the one while he holds the
import lock of the other is let through by the import system, as with circular imports.
"""

import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader
from importlib.machinery import FileFinder, ModuleSpec, PathFinder
from types import CodeType, ModuleType
from typing import Any, Final
from zipimport import zipimporter

from cuvis_ai_core.plugins.dependencies.live_versions import find_dependency
from cuvis_ai_core.plugins.dependencies.search_path import entries
from cuvis_ai_core.plugins.isolation.calling_plugin import answering_scope, lending_scope
from cuvis_ai_core.plugins.isolation.scope import Scope, is_kept, living_scopes
from cuvis_ai_core.plugins.isolation.unloaded_modules import somebody_imports
from cuvis_ai_core.plugins.sys_modules_owners import PublicName, tell_of_the_last, tell_of_unloads

_host_modules: dict[str, ModuleType] = {}

_absent: dict[str, tuple[object, ...]] = {}
"""Top-level names that nobody here has, each with the state of the path in which it was looked for."""


def find_public(fullname: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """Answer the import of a name below a top-level one that plugin code owns, whoever asks for it."""
    scope = answering_scope(fullname)
    found = None
    if scope is not None:
        found = scope.locate(fullname)
    elif is_kept(fullname):
        lender = _lender(fullname)
        found = _host_spec(fullname, path) if lender is None else lender.locate(fullname)
    if found is None:
        return None
    spec = ModuleSpec(fullname, _ProxyLoader(fullname), origin=found.origin)
    spec.submodule_search_locations = found.submodule_search_locations
    return spec


def stand_before(scope: Scope) -> None:
    """Have proxies stand in `sys.modules` before what everybody has under the names that a plugin has for itself."""
    # A copy is made in one step; another thread's import changes the size of `sys.modules` while it is walked through.
    for name, module in sys.modules.copy().items():
        # Not `isinstance`: it asks for `__class__` too, which has the proxy import what lies behind.
        if type(module) is not _Proxy and scope.keeps(name):
            _host_modules[name] = module
            sys.modules[name] = _Proxy(name)


def give_back() -> None:
    """Give the host's own modules their names back that no loaded plugin owns any more.

    A name that the host has no module of goes with the last living object of the plugin: until then somebody may be
    importing it. So may somebody here, and then the name waits for that too.
    """
    used = {top for scope in living_scopes() if scope.held for top in scope.tops}
    idle = [name for name in _host_modules if _top(name) not in used and type(sys.modules.get(name)) is _Proxy]
    if idle and not somebody_imports():
        for name in idle:
            sys.modules[name] = _host_modules.pop(name)


def _withdraw(top: str) -> None:
    """Take the names below a top-level one out of `sys.modules`, or leave them to the host's own modules."""
    proxies = {name for name, module in sys.modules.copy().items() if type(module) is _Proxy and _top(name) == top}
    for name in proxies:
        del sys.modules[name]
    for name in [name for name in _host_modules if _top(name) == top]:
        module = _host_modules.pop(name)
        if name in proxies:
            sys.modules[name] = module


tell_of_the_last(_withdraw)
tell_of_unloads(give_back)


class _Proxy(PublicName):
    """Every access is answered by the version whose code asks; to all others the name is an empty module."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__spec__" and not _is_new(self) and sys._getframe(1).f_globals.get("__name__") == _IMPORT_SYSTEM:
            # `import_module` looks whether the module is complete: for whoever has no such module it is not there.
            _Proxy.require(self)
        module = _answering(self, name)
        return ModuleType.__getattribute__(self, name) if module is None else getattr(module, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if _is_new(self):
            # A path would lead everybody to the modules of the version that asked first.
            if name == "__spec__":
                ModuleType.__setattr__(self, name, value)
            # `importlib.util.LazyLoader` makes modules lazy by their class. A proxy is lazy as it is.
            elif name == "__class__":
                del _own(self)[_NEW]
        # The import system files submodules and specs on the module it just loaded; the real one has them.
        elif not isinstance(value, (_Proxy, ModuleSpec)):
            setattr(_answering(self, name), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_answering(self, name), name)

    def __dir__(self) -> list[str]:
        module = _answering(self, "__path__")
        return [] if module is None else dir(module)

    def __repr__(self) -> str:
        return f"<public name {_own(self)['__name__']!r} of a plugin's module>"

    @staticmethod
    def everybodys(module: ModuleType) -> ModuleType | None:
        """Return the module that everybody else has under that name, if it is imported."""
        return _imported_host_module(_own(module)["__name__"])

    @staticmethod
    def require(module: ModuleType) -> None:
        """Let an import succeed only where somebody has that module.

        Raises:
            ModuleNotFoundError: Neither the code that asks nor the host has it.
        """
        if _answering(module, "__path__") is None:
            public = _own(module)["__name__"]
            raise ModuleNotFoundError(f"No module named {public!r}", name=public)


class _ProxyLoader(Loader):
    """Makes a proxy; `python -m` asks it for the code of the module behind, `pkgutil.get_data` for data beside it."""

    def __init__(self, public: str) -> None:
        self._public = public

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        # Where the name was not in `sys.modules`, whoever had it there wants it anew.
        _host_modules.pop(spec.name, None)
        proxy = _Proxy(spec.name)
        _own(proxy)[_NEW] = True
        return proxy

    def exec_module(self, module: ModuleType) -> None:
        """Import the module behind; at a reload, run it again."""
        behind = None if _own(module).pop(_NEW, False) else _host_module(self._public)
        if behind is None:
            _answering(module, "__path__")
            return
        # Whoever reloads a module looks for it in `sys.modules` first, so that only everybody's is found by this name.
        spec = self._found()
        behind.__spec__, behind.__loader__ = spec, spec.loader
        spec.loader.exec_module(behind)

    def get_code(self, fullname: str) -> CodeType | None:
        """Return the code of the module behind."""
        found = self._found()
        code: CodeType | None = found and found.loader.get_code(found.name)
        return code

    def get_data(self, path: str) -> bytes:
        """Return what is in a file beside the module behind, as its own loader reads it."""
        data: bytes = self._found().loader.get_data(path)
        return data

    def _found(self) -> Any:
        scope = answering_scope(self._public)
        above = sys.modules.get(self._public.rpartition(".")[0])
        return scope.locate(self._public) if scope else _host_spec(self._public, getattr(above, "__path__", None))


_IMPORT_SYSTEM: Final = "importlib._bootstrap"

_BY_TIME: Final = (FileFinder, zipimporter)
"""What finds nothing new in a folder or an archive whose time is the same."""

_NEW: Final = "__cuvis_new__"
"""Marks a proxy that the import system still fills in: it looks at the proxy's own attributes then."""


def _top(name: str) -> str:
    return name.partition(".")[0]


def _own(proxy: ModuleType) -> dict[str, Any]:
    # Not `vars`: that asks the proxy for `__dict__`, and would get that of the module behind.
    own: dict[str, Any] = object.__getattribute__(proxy, "__dict__")
    return own


def _is_new(proxy: ModuleType) -> bool:
    return _NEW in _own(proxy)


def _answering(proxy: ModuleType, attribute: str) -> ModuleType | None:
    """Return the module that answers for a public name: the asking plugin's, else the host's, if it has one."""
    own = _own(proxy)
    if _NEW in own:
        return None
    public: str = own["__name__"]
    scope = answering_scope(public, attribute)
    if scope is not None:
        return scope.import_module(public)
    # Whoever looks through all of `sys.modules` reads `__file__` and the like, and means no import.
    # `inspect`, `warnings` and `unittest` do so at any moment; each would import the host's module of that name.
    looks_around = attribute.startswith("__") and attribute != "__path__"
    if not looks_around and _is_absent(public):
        scope = lending_scope(public)
        return None if scope is None else scope.import_module(public)
    found = _imported_host_module(public) if looks_around else _host_module(public)
    # A folder of that name on the path, of logs perhaps, is found as a namespace package, which any other goes before.
    lender = _lender(public) if found is None or getattr(found, "__file__", None) is None else None
    return found if lender is None else lender.import_module(public)


def _lender(public: str) -> Scope | None:
    """Return the plugin whose private dependency is given to code that means its own, since nobody has another."""
    scope = lending_scope(public)
    if scope is None:
        return None
    found = _host_spec(_top(public), None)
    # Any folder of that name on the path is found as a namespace package, of logs among them: that has no loader.
    return scope if found is None or found.loader is None else None


def _imported_host_module(public: str) -> ModuleType | None:
    module = _host_modules.get(public) or sys.modules.get(public)
    return None if type(module) is _Proxy else module


def _host_module(public: str) -> ModuleType | None:
    """Return the host's own module of a name that a proxy occupies, or None where it has none."""
    found = _imported_host_module(public)
    if found is not None:
        return found
    # No lock: the module's own imports take the import system's locks, and two orders of locks can meet.
    parent, _, child = public.rpartition(".")
    package = _host_module(parent) if parent else None
    spec = None if parent and package is None else _host_spec(public, getattr(package, "__path__", None))
    if spec is None:
        return None
    # Known before it runs, as in `sys.modules`: modules that import each other meet it half made.
    module = _host_modules.setdefault(public, importlib.util.module_from_spec(spec))
    name = sys.modules.get(public)
    try:
        if spec.loader is not None:
            spec.loader.exec_module(module)
        if sys.modules.get(public) is name:
            # One that imported itself again from elsewhere, and put itself back, as OpenCV does.
            _host_modules[public] = module
    # Also Ctrl-C: a module that ran in part would be taken for whole by the next import.
    except BaseException:
        _host_modules.pop(public, None)
        raise
    if package is not None:
        setattr(package, child, module)
    return module


def _host_spec(public: str, path: Sequence[str] | None) -> ModuleSpec | None:
    state = _path_state() if path is None else None
    found = find_dependency(public, path) or PathFinder.find_spec(public, path)
    if found is None and state is not None:
        _absent[public] = state
    return found


def _is_absent(public: str) -> bool:
    """Tell whether it is known that nobody here has a module, or the top-level one above it.

    A library that uses a lent module asks at each access, and the standard finder looks through all folders.
    """
    top = _top(public)
    known = _absent.get(top)
    if known is None or _imported_host_module(public) is not None or _imported_host_module(top) is not None:
        return False
    return find_dependency(top, None) is None and known == _path_state()


def _path_state() -> tuple[object, ...] | None:
    """Return all by which the standard finder knows whether to look at a folder again; None where others look."""
    state: list[object] = []
    for entry in entries():
        try:
            folder = entry or os.getcwd()
            about = os.stat(folder)
        except (OSError, ValueError):  # the working directory may have been removed
            state.append(entry)
            continue
        importer = sys.path_importer_cache.get(folder, os)
        if importer is not None and type(importer) not in _BY_TIME:  # or nobody has asked yet
            return None
        state.append((entry, about.st_mtime_ns, about.st_ino))
    return tuple(state)
