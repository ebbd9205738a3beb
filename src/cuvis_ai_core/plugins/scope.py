"""Private imports: the modules of one plugin version under names of their own.

A scope is a package of its own (see `private_names`); the plugin's modules are ordinary submodules of it, found by the
standard `PathFinder` and run by the standard loaders, so that relative imports, pickle, dataclasses and type hints
work as they are. What is not standard:

- Absolute imports inside the plugin are mapped to the private names by an `__import__` of the scope. It lies in a
  `__builtins__` dictionary that every module of the scope gets before it runs (a plain dict: a subclass with live
  lookups costs several times as much). Nothing global is patched and other code pays nothing.
- A few standard modules know the scope (`stand_ins`).
- An import of a public name that comes from elsewhere is answered by the nearest scoped frame (`public_names`).

A scope is shared by everyone who loads the same content and leaves `sys.modules` with the last of them. Objects
that live on keep it, so that their late imports go on working, and the next load of that content revives it.
"""

import builtins
import importlib
import importlib.util
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple

from cuvis_ai_core.plugins.loaders import PackageLoader
from cuvis_ai_core.plugins.parking import Parking, forget_package
from cuvis_ai_core.plugins.private_names import PREFIX, private_name, second_name
from cuvis_ai_core.plugins.stand_ins import STAND_INS, StandIn, stand_in

MARK: Final = "__cuvis_scope__"
"""The key under which a scope's builtins hold the scope: code finds its scope through its frame."""

_plain_import = builtins.__import__
_lock = threading.RLock()
_by_key: weakref.WeakValueDictionary[str, "Scope"] = weakref.WeakValueDictionary()
_by_name: weakref.WeakValueDictionary[str, "Scope"] = weakref.WeakValueDictionary()
_known_tops: Counter[str] = Counter()
_told_of_the_last: Final[list[Callable[[str], None]]] = []


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
        distributions: Their distributions by normalised name, the plugin's own first, and the directory that holds
            each one's metadata.
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
        name: Private name of the package.
        tops: Top-level module names that belong to it.
        distributions: Its distributions (see `Code`).
        editable: Whether somebody may be editing the code.
        package: The package itself.
        parking: Its modules while they are not in `sys.modules`.
    """

    def __init__(self, key: str, name: str, code: Code) -> None:
        self.key = key
        self.name = name
        self.tops = code.tops
        self.distributions = code.distributions
        self.editable = code.editable
        self.builtins = {**vars(builtins), "__import__": self._import, MARK: self}
        self._holders = 0
        # The imports that run right now, and their threads; adding and removing need no lock.
        self._visitors: dict[object, int] = {}
        self._search_path = list(code.search_path)
        self._start = f"{name}."
        self.package = ModuleType(name, "The modules of one plugin version.")
        self.package.__path__ = self._search_path
        self.package.__spec__ = ModuleSpec(name, PackageLoader(self), is_package=True)
        self.parking = Parking(self.package)
        self._stand_ins: dict[str, StandIn] = {}

    def import_module(self, public: str) -> ModuleType:
        """Import a module of the plugin by its public name.

        Raises:
            ImportError: As a plain import would; whatever the module itself raises passes through.
        """
        private = self._start + public
        loaded = sys.modules.get(private)
        if loaded is not None and not getattr(loaded.__spec__, "_initializing", False):
            return loaded
        with self.awake():
            return _import_leaf(private)

    def import_by_name(self, name: str, package: str | None = None) -> ModuleType:
        """Import a module as the plugin's code does; a public name of the plugin means this version of it."""
        if self.owns(name):
            return self.import_module(name)
        with self.awake():
            module = importlib.import_module(name, package)
        return self._stand_in(module) if name in STAND_INS else module

    @property
    def held(self) -> bool:
        """Whether somebody loaded this content and has not let go."""
        return self._holders > 0

    def owns(self, public: str) -> bool:
        """Tell whether the module of that public name belongs to the plugin."""
        return public.partition(".")[0] in self.tops

    def holds_file(self, path: str) -> bool:
        """Tell whether a file lies among the plugin's modules."""
        place = Path(path).resolve()
        return any(place.is_relative_to(Path(folder).resolve()) for folder in self._search_path)

    def locate(self, public: str) -> ModuleSpec | None:
        """Return where a module of the plugin lies, or None; nothing is imported, not even the packages above it."""
        spec, path = None, self._search_path
        parts = public.split(".")
        for depth in range(1, len(parts) + 1):
            name = self._start + ".".join(parts[:depth])
            module = sys.modules.get(name) or self.parking.parked.get(name)
            spec = PathFinder.find_spec(name, path) if module is None else module.__spec__
            if spec is None:
                return None
            path = spec.submodule_search_locations or []
        return spec

    def unloaded_module(self, name: str) -> ModuleType:
        """Return what stands in `sys.modules` for a module while nobody holds the scope: somebody asked by its name.

        Args:
            name: Private name of the module, which is imported if it was not yet.
        """
        with self.awake():
            _import_leaf(name)
            return self.parking.stand_in(name)

    @property
    def is_unloaded(self) -> bool:
        """Whether nobody holds the scope, and this thread is not within one of its own imports."""
        return not self._holders and threading.get_ident() not in list(self._visitors.values())

    def hold(self) -> None:
        """Take the scope once more; its modules are in `sys.modules` until every holder let go."""
        with _lock:
            self._holders += 1
            self.parking.unpark()

    def release(self) -> None:
        """Let go of the scope once; with the last holder its modules leave `sys.modules`."""
        with _lock:
            self._holders -= 1
            if not self._holders:
                self._park()

    def abandon(self) -> None:
        """Let go after a failed load: the next one starts afresh, whatever still refers to this."""
        with _lock:
            self.release()
            if not self._holders:
                _by_key.pop(self.key, None)

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Have the modules in `sys.modules` for a moment: living objects of an unloaded plugin import late."""
        visit = object()
        self._enter(visit)
        try:
            yield
        finally:
            self._leave(visit)

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002 - the signature of builtins.__import__
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        if self._holders and not level:
            loaded = self._loaded(name, fromlist)
            if loaded is not None:
                return loaded
        if name.startswith(PREFIX):
            # Who asks by a private name (pickle does) reads it in `sys.modules` next: the finder sees to that.
            return _plain_import(name, globals, locals, fromlist or (), level)
        visit = object()
        self._enter(visit)
        try:
            return self._mapped(name, globals, locals, fromlist, level)
        finally:
            self._leave(visit)

    def _loaded(self, name: str, fromlist: Sequence[str] | None) -> ModuleType | None:
        """Return what importing a module of the plugin comes to where there is nothing left to load: the usual case."""
        module = sys.modules.get(self._start + name)
        if module is None or getattr(module.__spec__, "_initializing", True):
            return None
        if fromlist:
            known = module.__dict__
            for each in fromlist:
                if each not in known:
                    return None
            return module
        # An empty list comes from C, which means the public name.
        return None if fromlist == [] else sys.modules.get(self._start + name.partition(".")[0])

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
            # An empty list comes from C (PyImport_Import), which then reads the public name in `sys.modules`.
            module = _plain_import(name, globals_, locals_, fromlist or (), 0)
            if top in _known_tops and isinstance(foreign := sys.modules.get(name), PublicName):
                type(foreign).require(foreign)
            return self._stand_in(module) if top in STAND_INS else module
        private = self._start + name
        if fromlist:
            return _plain_import(private, globals_, locals_, fromlist, 0)
        _import_leaf(private)
        return sys.modules[self._start + top]

    def _stand_in(self, module: ModuleType) -> ModuleType:
        name = module.__name__
        if name not in STAND_INS:
            return module
        if name not in self._stand_ins:
            self._stand_ins[name] = stand_in(module, self)
        return self._stand_ins[name]

    def _enter(self, visit: object) -> None:
        self._visitors[visit] = threading.get_ident()
        if not self._holders:
            with _lock:
                self.parking.unpark()

    def _leave(self, visit: object) -> None:
        del self._visitors[visit]
        if not self._holders:
            with _lock:
                self._park()

    def _park(self) -> None:
        if not self._holders and not self._visitors:
            self.parking.park()


def open_scope(key: str, title: str, code: Code, name: str | None = None) -> Scope:
    """Return the scope of a content, held once more; the same content is the same scope.

    Args:
        key: Identity of the content: equal keys share one loaded copy.
        title: What the private name is derived from, such as `adaclip@v0.1.2`.
        code: What becomes private.
        name: The private name that the scope has in another process.
    """
    with _lock:
        scope = _by_key.get(key)
        if scope is None:
            scope = Scope(key, _free_name(name or private_name(title), key), code)
            _by_key[key] = _by_name[scope.name] = scope
            _known_tops.update(code.tops)
            weakref.finalize(scope, _forget, scope.name, code).atexit = False
        scope.hold()
        return scope


def drop_idle(tops: frozenset[str]) -> None:
    """Forget the unloaded scopes that own one of these top-level names: the next load runs the code anew."""
    with _lock:
        for scope in list(_by_key.values()):
            if scope.tops & tops and not scope.held:
                del _by_key[scope.key]


def scope_named(name: str) -> Scope | None:
    """Return the living scope of a private package name."""
    return _by_name.get(name)


def living_scopes() -> list[Scope]:
    """Return the scopes that are alive, those that somebody holds first."""
    return sorted(_by_name.values(), key=lambda scope: not scope.held)


def tell_of_the_last(told: Callable[[str], None]) -> None:
    """Have a function called with each top-level module name whose last owner is gone."""
    _told_of_the_last.append(told)


def is_owned(top: str) -> bool:
    """Tell whether some plugin that is alive owns a top-level module name."""
    return top in _known_tops


def _import_leaf(name: str) -> ModuleType:
    """Import a module by its whole name, as the import statement does: two threads in a circle let each other through.

    `importlib.import_module` raises there.
    """
    return _plain_import(name, None, None, ("__name__",), 0)


def _forget(package: str, code: Code) -> None:
    """Remove what the process still knows of a scope that is gone: none of its code runs, or imports, any more."""
    with _lock:
        forget_package(package)
        for top in code.tops:
            _known_tops[top] -= 1
            if not _known_tops[top]:
                del _known_tops[top]
                for told in _told_of_the_last:
                    told(top)
    for folder in list(sys.path_importer_cache):
        # A cache: whoever still needs an entry makes it anew.
        if folder.startswith(tuple(code.search_path)):
            sys.path_importer_cache.pop(folder, None)


def _free_name(name: str, key: str) -> str:
    return second_name(name, key) if name in _by_name else name
