"""Torch operators: there is one of each name in a process, so that a plugin's may not replace another's.

Torch lets a second `torch.library.custom_op` of one name take the place of the first, in all code that has it. So the
functions of `torch.library` that register are watched, as soon as somebody has imported it; torch itself is never
imported from here. What is refused fails the plugin that is loading, even if its code goes on without.
"""

import sys
import weakref
from collections.abc import Callable, Sequence
from functools import wraps
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Final

from cuvis_ai_core.errors import OperatorConflictError
from cuvis_ai_core.plugins.isolation.calling_plugin import nearest_scope
from cuvis_ai_core.plugins.isolation.private_names import PREFIX, TORCH_LIBRARY
from cuvis_ai_core.plugins.isolation.scope import Scope

_WATCHED: Final = "__cuvis_watched__"
_TAKEN_IN_TORCHS_WORDS: Final = ("multiple times", "Only a single", "already")
"""By which torch says that a name is taken; it refuses for other reasons too, as for an operator that is not there."""

_owners: Final[dict[str, weakref.ref[Scope]]] = {}
_refused: Final[weakref.WeakKeyDictionary[Scope, OperatorConflictError]] = weakref.WeakKeyDictionary()


def watch_operators() -> None:
    """Watch `torch.library` if it is imported; if not, `find_watched` does when it is."""
    library = sys.modules.get(TORCH_LIBRARY)
    if library is not None and hasattr(library, "Library"):
        _watch(library)


def find_watched(fullname: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """Answer the first import of `torch.library`: it is watched from its first use on."""
    spec = PathFinder.find_spec(fullname, path)
    if spec is not None and spec.loader is not None:
        spec.loader = _WatchingLoader(spec.loader)
    return spec


def refuse_taken_operators(scope: Scope) -> None:
    """Fail a plugin that tried to register an operator of a name that is taken, though its code went on.

    Raises:
        OperatorConflictError: It did.
    """
    error = _refused.pop(scope, None)
    if error is not None:
        raise error


class _WatchingLoader(Loader):
    """Runs the module as its own loader does, then watches it."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Run the module and watch what it defines."""
        self._loader.exec_module(module)
        _watch(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def _watch(library: Any) -> None:
    if hasattr(library, _WATCHED):
        return
    # Once: `find_watched` and `watch_operators` may both come to a module, and a wrapper around a wrapper asks twice.
    setattr(library, _WATCHED, True)
    # `triton_op` came with torch 2.6.
    for name in ("custom_op", "triton_op"):
        if hasattr(library, name):
            setattr(library, name, _asking_first(getattr(library, name)))
    # These refuse a second operator by themselves (in C++), and need only be told apart: no look before is needed.
    for name in ("__init__", "define", "impl"):
        setattr(library.Library, name, _explaining(getattr(library.Library, name)))


def _asking_first(register: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function that replaces an operator of the same name."""

    @wraps(register)
    def registering(name: str, *args: Any, **options: Any) -> Any:
        scope = nearest_scope()
        if scope is not None and _exists(name):
            owner = _owner(name)
            # An unloaded plugin's operator may be replaced: torch has no way to take one out.
            if owner is None or (owner is not scope and owner.held):
                raise _taken(scope, f"Torch operator '{name}' is registered already, by {_called(owner)}")
        if scope is not None:
            _owners[name] = weakref.ref(scope)
        return register(name, *args, **options)

    return registering


def _explaining(register: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a method by which torch itself refuses what is registered already."""

    @wraps(register)
    def registering(library: Any, *args: Any, **options: Any) -> Any:
        try:
            return register(library, *args, **options)
        # Errors of torch's C++ code (`c10::Error`) come as RuntimeError, and have nothing but their text to go by.
        except RuntimeError as error:
            scope = nearest_scope()
            if scope is None or not any(words in str(error) for words in _TAKEN_IN_TORCHS_WORDS):
                raise
            # Behind the first line come torch's C++ frames.
            words = str(error).partition("\n")[0]
            raise _taken(scope, f"Torch refuses to register an operator: {words}") from error

    return registering


def _exists(name: str) -> bool:
    space, _, operator = name.partition("::")
    # `torch.ops` makes a namespace for any name that it is asked for; only the operator tells.
    return hasattr(getattr(sys.modules["torch"].ops, space), operator)


def _owner(name: str) -> Scope | None:
    owner = _owners.get(name)
    return owner() if owner is not None else None


def _called(owner: Scope | None) -> str:
    return "this program or one of its libraries" if owner is None else f"plugin {owner.name.removeprefix(PREFIX)}"


def _taken(scope: Scope, what: str) -> OperatorConflictError:
    # Kept as well as raised: code of plugins catches what registering raises, and would run with another's operator.
    _refused[scope] = OperatorConflictError(
        f"{what}. There is one operator of each name in a process: a second one would change what the first computes.",
        hint="Unload the plugin that has it first, if it is one. A plugin that must run beside it runs in a process "
        "of its own: write isolation: process (or auto) in its manifest entry.",
    )
    return _refused[scope]
