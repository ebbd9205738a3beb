"""The modules of a plugin while they are not in `sys.modules`: nobody has it loaded, but some of its objects live.

Whoever pickles such an object looks its class up in `sys.modules`. The module itself must not lie there, or it would
never go; what stands for it there only knows where it is.
"""

import sys
import threading
import weakref
from types import ModuleType
from typing import Any, Final

from cuvis_ai_core.plugins.isolation.private_names import PARENT, PREFIX

_READERS: Final = frozenset(
    {"importlib", "importlib._bootstrap", "pickle", f"{__name__.rpartition('.')[0]}.public_module_lookup"}
)
"""Modules whose code runs while somebody imports a module, to read it in `sys.modules` next."""

_LOOKED_AT: Final = frozenset({"__class__", "__dict__", "__doc__", "__file__", "__loader__", "__name__", "__package__"})
"""What those ask for who look through all of `sys.modules`, and mean no import: they are answered when all is gone."""


class UnloadedModules:
    """The modules of one package while they are not in `sys.modules`.

    Attributes:
        parked: The modules by name.
        aliases: Other names of the package, by which files of other processes know it.
    """

    def __init__(self, package: ModuleType) -> None:
        self.parked: dict[str, ModuleType] = {package.__name__: package}
        self.aliases: set[str] = set()
        self._package = package.__name__
        self._stand_ins: dict[str, _UnloadedModule] = {}

    def unpark(self) -> None:
        """Put the modules into `sys.modules`."""
        sys.modules.update(self.parked)
        self.parked.clear()

    def park(self) -> None:
        """Take the modules out of `sys.modules`; a stand-in is left for those that were asked for by their names."""
        # Between finding a name and reading it the import system holds no lock that could be waited for.
        keep_all = somebody_imports()
        for name, module in _below(self._package):
            if not _is_stand_in(module):
                self.parked[name] = module
                if keep_all or name in self._stand_ins:
                    sys.modules[name] = self.stand_in(name)
                else:
                    del sys.modules[name]
        for alias in self.aliases:
            for name, _ in _below(alias):
                del sys.modules[name]
        # The import system files what it imported by a private name on the package above.
        above = vars(sys.modules.get(PARENT, self))
        for package in (self._package, *self.aliases):
            above.pop(package.removeprefix(PREFIX), None)

    def stand_in(self, name: str) -> ModuleType:
        """Return what stands in `sys.modules` for a module."""
        return self._stand_ins.setdefault(name, _UnloadedModule(name, self))


class _UnloadedModule(ModuleType):
    """Answers as the module behind does, for as long as somebody keeps that."""

    def __init__(self, name: str, unloaded: UnloadedModules) -> None:
        super().__init__(name)
        _own(self)["unloaded"] = weakref.ref(unloaded)

    def __getattribute__(self, name: str) -> Any:
        if name in _LOOKED_AT and _own(self)["unloaded"]() is None:
            return super().__getattribute__(name)
        return getattr(_behind(self), name)

    def __setattr__(self, name: str, value: object) -> None:
        # The import system files what it just loaded on the package above it, which has the module itself.
        if not isinstance(value, _UnloadedModule) and name != "__spec__":
            setattr(_behind(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_behind(self), name)

    def __dir__(self) -> list[str]:
        return dir(_behind(self))

    def __repr__(self) -> str:
        return f"<module of an unloaded plugin, {_own(self)['__name__']!r}>"


def forget_package(package: str) -> None:
    """Remove the stand-ins for modules of a package that are gone."""
    for name, module in _below(package):
        if _is_stand_in(module) and _own(module)["unloaded"]() is None:
            sys.modules.pop(name, None)


def _is_stand_in(module: object) -> bool:
    # By its own type: a module may answer for its class, and be loaded by the question.
    return issubclass(type(module), _UnloadedModule)


def _below(package: str) -> list[tuple[str, ModuleType]]:
    start = f"{package}."
    # A copy is made in one step; imports of other threads go on meanwhile.
    return [each for each in sys.modules.copy().items() if each[0] == package or each[0].startswith(start)]


def somebody_imports() -> bool:
    """Tell whether another thread may be about to read a module that it found in `sys.modules` a moment ago."""
    # There is no other way to ask: `threading` knows its threads, not what they run, and not those that C code started.
    others = [frame for thread, frame in sys._current_frames().items() if thread != threading.get_ident()]
    while others:
        if any(frame.f_globals.get("__name__") in _READERS for frame in others):
            return True
        others = [frame.f_back for frame in others if frame.f_back is not None]
    return False


def _own(module: ModuleType) -> dict[str, Any]:
    own: dict[str, Any] = object.__getattribute__(module, "__dict__")
    return own


def _behind(module: ModuleType) -> ModuleType:
    name: str = _own(module)["__name__"]
    unloaded = _own(module)["unloaded"]()
    found = unloaded and (unloaded.parked.get(name) or sys.modules.get(name))
    if found is None or found is module:
        raise ModuleNotFoundError(f"No module named {name!r}: its plugin was unloaded, and nobody holds it", name=name)
    return found
