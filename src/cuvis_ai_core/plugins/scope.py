"""Private imports: the modules of one plugin version under names of their own.

A scope is a parent package of its own (`_cuvis_adaclip_v0_1_2`); the plugin's modules are ordinary submodules of it,
found by the standard `PathFinder` and run by the standard loaders, so that relative imports, pickle, dataclasses and
type hints work as they are. What is not standard:

- Absolute imports inside the plugin are mapped to the private names by an `__import__` of the scope. It lies in a
  `__builtins__` dictionary that every module of the scope gets before it runs (a plain dict: a subclass with live
  lookups costs several times as much). Nothing global is patched and other code pays nothing.
- `importlib.import_module` inside the plugin knows the scope, and `logging.getLogger` gives public names.
- An import of a public name that comes from elsewhere is answered by the nearest scoped frame (`public_names`).

A scope is shared by everyone who loads the same content and leaves `sys.modules` with the last of them. Objects
that live on keep it, so that their late imports go on working, and the next load of that content revives it.
"""

import builtins
import importlib
import importlib.util
import logging
import re
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple, cast

from cuvis_ai_core.plugins.loaders import PackageLoader, scoped_spec

PREFIX: Final = "_cuvis_"
"""Every private parent package starts with this."""

MARK: Final = "__cuvis_scope__"
"""The key under which a scope's builtins hold the scope: code finds its scope through its frame."""

_plain_import = builtins.__import__
_lock = threading.RLock()
_by_key: weakref.WeakValueDictionary[str, "Scope"] = weakref.WeakValueDictionary()
_by_name: weakref.WeakValueDictionary[str, "Scope"] = weakref.WeakValueDictionary()
_known_tops: Counter[str] = Counter()


class PublicName(ModuleType):
    """A public module name in `sys.modules` that stands for no version of its own (see `public_names`)."""

    @staticmethod
    def require(module: ModuleType) -> None:
        """Let an import succeed only where somebody has that module."""


class Code(NamedTuple):
    """What a scope makes private.

    Attributes:
        search_path: Directories that hold the modules.
        tops: Top-level module names: the plugin's own, and those of its private dependencies.
        distributions: Their distributions by normalised name, and the directory that holds each one's metadata.
        editable: Whether somebody may be editing the code.
    """

    search_path: Sequence[str]
    tops: frozenset[str]
    distributions: Mapping[str, Path]
    editable: bool


class Scope:
    """The private modules of one plugin content; made by `open_scope`.

    Attributes:
        key: Identity of the content.
        name: Private name of the parent package.
        tops: Top-level module names that belong to it.
        distributions: Its distributions (see `Code`).
        editable: Whether somebody may be editing the code.
        parked: Its modules while they are not in `sys.modules`.
    """

    def __init__(self, key: str, name: str, code: Code) -> None:
        self.key = key
        self.name = name
        self.tops = code.tops
        self.distributions = code.distributions
        self.editable = code.editable
        self.builtins = {**vars(builtins), "__import__": self._import, MARK: self}
        self._holders = 0
        self._visitors = 0
        package = ModuleType(name, "The modules of one plugin version.")
        package.__path__ = list(code.search_path)
        package.__spec__ = ModuleSpec(name, PackageLoader(self), is_package=True)
        self.parked: dict[str, ModuleType] = {name: package}
        self._stand_ins: dict[ModuleType, ModuleType] = {
            importlib: _StandIn(importlib, import_module=self._import_by_name),
            logging: _StandIn(logging, getLogger=_public_logger),
        }

    def import_module(self, public: str) -> ModuleType:
        """Import a module of the plugin by its public name.

        Raises:
            ImportError: As a plain import would; whatever the module itself raises passes through.
        """
        with self._awake():
            return importlib.import_module(f"{self.name}.{public}")

    @property
    def held(self) -> bool:
        """Whether somebody loaded this content and has not let go."""
        return self._holders > 0

    def owns(self, public: str) -> bool:
        """Tell whether the module of that public name belongs to the plugin."""
        return public.partition(".")[0] in self.tops

    def find_spec(self, public: str) -> ModuleSpec | None:
        """Return where a module of the plugin lies, or None."""
        with self._awake():
            return importlib.util.find_spec(f"{self.name}.{public}")

    def release(self) -> None:
        """Let go of the scope once; with the last holder its modules leave `sys.modules`."""
        with _lock:
            self._holders -= 1
            if not self._holders:
                # Those of other unloaded plugins too: a pickle may have brought their modules back for a moment.
                for scope in _by_name.values():
                    scope._park()  # noqa: SLF001

    def abandon(self) -> None:
        """Let go after a failed load: the next one starts afresh, whatever still refers to this."""
        with _lock:
            self.release()
            if not self._holders:
                _by_key.pop(self.key, None)

    def hold(self) -> None:
        """Take the scope once more; its modules are in `sys.modules` until every holder let go."""
        with _lock:
            self._holders += 1
            self._unpark()

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002 - the signature of builtins.__import__
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        # Who asks by a private name (pickle does) reads it in `sys.modules` next: the finder brings it back to stay.
        if self._holders or name.startswith(PREFIX):
            return self._mapped(name, globals, locals, fromlist, level)
        with self._awake():
            return self._mapped(name, globals, locals, fromlist, level)

    def _mapped(
        self,
        name: str,
        globals_: Mapping[str, object] | None,
        locals_: Mapping[str, object] | None,
        fromlist: Sequence[str] | None,
        level: int,
    ) -> ModuleType:
        if level:
            return _plain_import(name, globals_, locals_, fromlist or (), level)
        top = name.partition(".")[0]
        if top not in self.tops or fromlist == []:
            if _known_tops.get(top) and isinstance(foreign := sys.modules.get(name), PublicName):
                type(foreign).require(foreign)
            # An empty list comes from C (PyImport_Import), which then reads the public name in `sys.modules`.
            module = _plain_import(name, globals_, locals_, fromlist or (), 0)
            return self._stand_ins.get(module, module)
        private = f"{self.name}.{name}"
        if fromlist:
            return _plain_import(private, globals_, locals_, fromlist, 0)
        importlib.import_module(private)
        return sys.modules[f"{self.name}.{top}"]

    def _import_by_name(self, name: str, package: str | None = None) -> ModuleType:
        """Import a module; a public name of the plugin means this version of it."""
        if self.owns(name):
            return self.import_module(name)
        with self._awake():
            return importlib.import_module(name, package)

    @contextmanager
    def _awake(self) -> Iterator[None]:
        """Have the modules in `sys.modules` for a moment: living objects of an unloaded plugin import late."""
        with _lock:
            self._visitors += 1
            self._unpark()
        try:
            yield
        finally:
            with _lock:
                self._visitors -= 1
                self._park()

    def _unpark(self) -> None:
        sys.modules.update(self.parked)
        self.parked.clear()

    def _park(self) -> None:
        if self._holders or self._visitors:
            return
        start = f"{self.name}."
        for name in [name for name in list(sys.modules) if name == self.name or name.startswith(start)]:
            self.parked[name] = sys.modules.pop(name)


def open_scope(key: str, title: str, code: Code) -> Scope:
    """Return the scope of a content, held once more; the same content is the same scope.

    Args:
        key: Identity of the content: equal keys share one loaded copy.
        title: What the private name is derived from, such as `adaclip_v0.1.2`.
        code: What becomes private.
    """
    with _lock:
        scope = _by_key.get(key)
        if scope is None:
            scope = Scope(key, _free_name(title, key), code)
            _by_key[key] = _by_name[scope.name] = scope
            _known_tops.update(code.tops)
            weakref.finalize(scope, _known_tops.subtract, code.tops).atexit = False
        scope.hold()
        return scope


def drop_idle(tops: frozenset[str]) -> None:
    """Forget the unloaded scopes that own one of these top-level names: the next load runs the code anew."""
    with _lock:
        for scope in list(_by_key.values()):
            if scope.tops & tops and not scope.held:
                del _by_key[scope.key]


def public_name(module: str) -> str:
    """Return a module name as people know it: without the private parent package."""
    return module.partition(".")[2] if module.startswith(PREFIX) else module


def nearest_scope() -> Scope | None:
    """Return the scope of the nearest frame on the stack that runs plugin code."""
    frame = sys._getframe(1)  # noqa: SLF001 - the only way to ask who calls
    while frame is not None:
        scope = frame.f_builtins.get(MARK)
        if scope is not None:
            return cast("Scope", scope)
        frame = cast("Any", frame.f_back)
    return None


def owned(top: str) -> bool:
    """Tell whether some plugin that is alive owns a top-level module name."""
    return _known_tops[top] > 0


def used_tops() -> set[str]:
    """Return the top-level module names of the plugins that are loaded."""
    return {top for scope in list(_by_name.values()) if scope.held for top in scope.tops}


def find_private(fullname: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """Answer the import of a private name."""
    top, _, rest = fullname.partition(".")
    scope = _by_name.get(top)
    if scope is None:
        return None
    return scoped_spec(scope, fullname, path) if rest else ModuleSpec(top, PackageLoader(scope), is_package=True)


def _free_name(title: str, key: str) -> str:
    name = PREFIX + re.sub(r"\W", "_", title, flags=re.ASCII)
    if name not in _by_name:
        return name
    import hashlib

    return f"{name}_{hashlib.sha256(key.encode()).hexdigest()[:8]}"


class _StandIn(ModuleType):
    """A standard module as plugin code sees it: a few functions know the scope, all else is the module's."""

    def __init__(self, module: ModuleType, **functions: Callable[..., Any]) -> None:
        super().__init__(module.__name__, module.__doc__)
        vars(self).update(functions, _module=module, __spec__=module.__spec__)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - a module holds anything
        return getattr(vars(self)["_module"], name)


def _public_logger(name: str | None = None) -> logging.Logger:
    """Return the logger of a plugin's module under the name that people know and configure."""
    return logging.getLogger(public_name(name) if name else name)
