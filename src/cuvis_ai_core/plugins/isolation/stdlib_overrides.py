"""Standard modules as plugin code sees them: a few functions know the plugin, all else is the module's own.

- `importlib.import_module` takes a public name for the plugin's own version.
- `logging.getLogger` gives loggers their public names, which people configure.
- `warnings.filterwarnings` takes a public name for a module that runs under a private one.
- `sys.modules` has the plugin's modules under their public names too.
- `subprocess` tells a process which plugin started it, so that `python -m its_module` means this version.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from importlib import import_module
from types import ModuleType
from typing import Any, Final, Protocol, TypeAlias

from cuvis_ai_core.plugins.isolation.private_names import CALLING_PLUGIN, LIVE_PLUGINS, PREFIX, public_name

_Functions: TypeAlias = dict[str, Any]


class Caller(Protocol):
    """What a stand-in needs of a scope (see `scope.Scope`)."""

    name: str

    def answers(self, public: str) -> bool:
        """Tell whether a public module name may be the plugin's."""

    def keeps(self, public: str) -> bool:
        """Tell whether a public module name is the plugin's alone."""

    def import_by_name(self, name: str, package: str | None = None) -> ModuleType:
        """Import a module; a public name of the plugin means this version of it."""


class StandIn(ModuleType):
    """A standard module with some functions replaced; whoever sets an attribute sets it on the module itself."""

    def __init__(self, module: ModuleType, functions: _Functions) -> None:
        super().__init__(module.__name__, module.__doc__)
        vars(self).update(functions, _module=module, __spec__=module.__spec__)

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["_module"], name)

    def __setattr__(self, name: str, value: object) -> None:
        vars(self).pop(name, None)
        setattr(vars(self)["_module"], name, value)

    def __delattr__(self, name: str) -> None:
        vars(self).pop(name, None)
        delattr(vars(self)["_module"], name)

    def __dir__(self) -> list[str]:
        return dir(vars(self)["_module"])

    def __reduce__(self) -> tuple[Callable[[str], ModuleType], tuple[str]]:
        """Be the module itself wherever this is read: cloudpickle and dill write functions with what they use."""
        return import_module, (self.__name__,)


class StandIns:
    """The stand-ins of one plugin, each made when its code first imports the module."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._made: dict[str, StandIn] = {}

    def of(self, module: ModuleType) -> ModuleType:
        """Return a module as the plugin's code sees it: most are what they are."""
        # What stands in `sys.modules` may be any object, also one without a name.
        name: str = getattr(module, "__name__", "")
        if name not in STAND_INS:
            return module
        if name not in self._made:
            self._made[name] = StandIn(module, STAND_INS[name](module, self._caller))
        return self._made[name]


class _Modules(MutableMapping[str, ModuleType]):
    """`sys.modules` as a plugin's code sees it: a public name of the plugin means its own module."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def _key(self, name: str) -> str:
        own = f"{self._caller.name}.{name}"
        return own if own in sys.modules or self._caller.keeps(name) else name

    def __getitem__(self, name: str) -> ModuleType:
        return sys.modules[self._key(name)]

    def __setitem__(self, name: str, module: ModuleType) -> None:
        # Also a name that there is no file of, as people keep an old name of a module that was moved.
        sys.modules[f"{self._caller.name}.{name}" if self._caller.answers(name) else name] = module

    def __delitem__(self, name: str) -> None:
        del sys.modules[self._key(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(sys.modules)

    def __len__(self) -> int:
        return len(sys.modules)

    def __repr__(self) -> str:
        return repr(sys.modules)

    def clear(self) -> None:
        """Take all modules out, as `unittest.mock.patch.dict` does before it puts them back."""
        sys.modules.clear()

    def copy(self) -> dict[str, ModuleType]:
        """Return all modules by their names."""
        return sys.modules.copy()


def _logging(module: ModuleType, _: Caller) -> _Functions:
    # Now: a plugin may put a function of its own in its place, which calls this one.
    original = module.getLogger

    def getLogger(name: str | None = None) -> object:  # noqa: N802 - the name that it stands in for
        return original(public_name(name) if name else name)

    return {"getLogger": getLogger}


def _warnings(real: ModuleType, _: Caller) -> _Functions:
    original = real.filterwarnings

    def filterwarnings(
        action: str, message: str = "", category: Any = Warning, module: str = "", *more: Any, **options: Any
    ) -> None:
        if module:
            # Flags stand at the beginning of a pattern, or nowhere; a beginning is that of the public name.
            flags, rest = re.findall(r"(?s)^(\(\?[aiLmsux]+\)|)(?:\^|\\A)*(.*)", module)[0]
            # Of any plugin, as a filter of any program is about all that runs in it.
            module = rf"{flags}(?:{re.escape(PREFIX)}\w+\.)?(?:{rest})"
        original(action, message, category, module, *more, **options)

    return {"filterwarnings": filterwarnings}


def _subprocess(module: ModuleType, caller: Caller) -> _Functions:
    def told(args: tuple[object, ...], options: dict[str, object]) -> tuple[tuple[object, ...], dict[str, object]]:
        if len(args) > _ENV_POSITION:
            # Given by place, `env` must not be given by its name too.
            return (*args[:_ENV_POSITION], _told(args[_ENV_POSITION], caller), *args[_ENV_POSITION + 1 :]), options
        return args, {**options, "env": _told(options.get("env"), caller)}

    def function(name: str) -> Callable[..., object]:
        def call(*args: object, **options: object) -> object:
            args, options = told(args, options)
            return getattr(module, name)(*args, **options)

        call.__name__ = call.__qualname__ = name
        call.__doc__ = getattr(module, name).__doc__
        return call

    # A class, not a function as the others: code derives from it (psutil, asyncio's tests) and asks `isinstance`.
    class Popen(module.Popen):  # type: ignore[name-defined,misc]
        __doc__ = module.Popen.__doc__

        def __init__(self, *args: object, **options: object) -> None:
            args, options = told(args, options)
            super().__init__(*args, **options)

    Popen.__module__, Popen.__qualname__ = module.__name__, "Popen"
    # `run` and the others call `Popen` by a global of the real module, so that each needs a stand-in of its own.
    return {"Popen": Popen, **{name: function(name) for name in ("run", "call", "check_call", "check_output")}}


def _told(env: object, caller: Caller) -> dict[Any, Any]:
    """Return the environment of a process that a plugin starts; one that it chose keeps what it needs to be itself."""
    live = {LIVE_PLUGINS: os.environ[LIVE_PLUGINS]} if LIVE_PLUGINS in os.environ else {}
    chosen: Any = os.environ if env is None else env
    # Last, so that a plugin started by a plugin is told its own name, not that of the one above.
    return {**live, **chosen, CALLING_PLUGIN: caller.name}


_ENV_POSITION: Final = 10
"""Where `env` stands among the positional arguments of `subprocess.Popen`."""

STAND_INS: Final[Mapping[str, Callable[[ModuleType, Caller], _Functions]]] = {
    "importlib": lambda _, caller: {"import_module": caller.import_by_name},
    "logging": _logging,
    "subprocess": _subprocess,
    "sys": lambda _, caller: {"modules": _Modules(caller)},
    "warnings": _warnings,
}
"""What stands in for which module."""
