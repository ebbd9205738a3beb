"""Private imports: the modules of one plugin version under names of their own.

A scope is a package of its own (see `private_names`); the plugin's modules are ordinary submodules of it, found by the
standard `PathFinder` and run by the standard loaders, so that relative imports, pickle, dataclasses and type hints
work as they are. What is not standard:

- Absolute imports inside the plugin are mapped to the private names by an `__import__` of the scope. It lies in a
  `__builtins__` dictionary that every module of the scope gets before it runs (a plain dict: a subclass with live
  lookups costs several times as much). Nothing global is patched and other code pays nothing.
- A few standard modules know the scope (`stdlib_overrides`).
- An import of a public name that comes from elsewhere is answered by the nearest scoped frame (`public_module_lookup`).

A scope is shared by everyone who loads the same content and leaves `sys.modules` with the last of them. Objects
that live on keep it, so that their late imports go on working, and the next load of that content revives it.
"""

import builtins
import importlib.util
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final, NamedTuple

from cuvis_ai_core.plugins.dependencies.search_path import added_below
from cuvis_ai_core.plugins.isolation.importlib_bootstrap_loaders import PackageLoader
from cuvis_ai_core.plugins.isolation.importlib_bootstrap_statement import import_leaf, is_initializing, scoped_import
from cuvis_ai_core.plugins.isolation.private_names import (
    PREFIX,
    private_name,
    private_package,
    public_name,
    second_name,
)
from cuvis_ai_core.plugins.isolation.unloaded_modules import UnloadedModules, forget_package
from cuvis_ai_core.plugins.sys_modules_owners import claim, give_up, is_owned

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.isolation.stdlib_overrides import StandIns

MARK: Final = "__cuvis_scope__"
"""The key under which a scope's builtins hold the scope: code finds its scope through its frame."""

# Reentrant: the collector may call `_forget` at any moment, in a thread that holds this.
_lock = threading.RLock()
_stale_folders: Final[list[str]] = []
# Weak: a scope lives for as long as somebody holds it, or an object of one of its classes.
_by_key: weakref.WeakValueDictionary[str, "Scope"] = weakref.WeakValueDictionary()
_by_name: weakref.WeakValueDictionary[str, "Scope"] = weakref.WeakValueDictionary()


class Code(NamedTuple):
    """What a scope makes private.

    Attributes:
        search_path: Directories that hold the modules.
        tops: Top-level module names: the plugin's own, and those of its private dependencies.
        lent: Those of them that only dependencies have: code elsewhere may be given these, never the plugin's own.
        shared: Dotted names of the packages and modules beside them that are everybody's.
        distributions: Their distributions by normalised name, the plugin's own first, and the directory that holds
            each one's metadata.
        editable: Whether somebody may be editing the code.
    """

    search_path: Sequence[str]
    tops: frozenset[str]
    lent: frozenset[str]
    shared: frozenset[str]
    distributions: Mapping[str, Path]
    editable: bool


class Scope:
    """The private modules of one plugin content; made by `open_scope`.

    Attributes:
        key: Identity of the content.
        name: Private name of the package.
        tops: Top-level module names that belong to it.
        lent: Those of its private dependencies (see `Code`).
        shared: Names of what lies in its namespace packages and is everybody's (see `Code`).
        distributions: Its distributions (see `Code`).
        editable: Whether somebody may be editing the code.
        package: The package itself.
        unloaded: Its modules while they are not in `sys.modules`.
        holders: How many loaded this content and have not let go.
    """

    def __init__(self, key: str, name: str, code: Code) -> None:
        self.key = key
        self.name = name
        self.tops = code.tops
        self.lent = code.lent
        self.shared = code.shared
        self.distributions = code.distributions
        self.editable = code.editable
        self.holders = 0
        self.builtins = {**vars(builtins), "__import__": scoped_import(self), MARK: self}
        # The imports that run right now, and their threads; adding and removing need no lock.
        self._visitors: dict[object, int] = {}
        self._search_path = list(code.search_path)
        self._start = f"{name}."
        self.package = ModuleType(name, "The modules of one plugin version.")
        self.package.__path__ = self._search_path
        self.package.__spec__ = ModuleSpec(name, PackageLoader(self), is_package=True)
        self.unloaded = UnloadedModules(self.package)

    def import_module(self, public: str) -> ModuleType:
        """Import a module of the plugin by its public name.

        Raises:
            ImportError: As a plain import would; whatever the module itself raises passes through.
        """
        private = self._start + public
        loaded = sys.modules.get(private)
        if loaded is not None and not is_initializing(loaded):
            return loaded
        with self.awake():
            return import_leaf(private)

    def import_by_name(self, name: str, package: str | None = None) -> ModuleType:
        """Import a module as the plugin's code does; a public name of the plugin means this version of it."""
        if name.startswith(".") and package and self.owns(package):
            name = importlib.util.resolve_name(name, package)
        if self.owns(name):
            return self.import_module(name)
        with self.awake():
            module = importlib.import_module(name, package)
        return self.stand_ins.of(module)

    @cached_property
    def stand_ins(self) -> "StandIns":
        """Standard modules as the plugin's code sees them."""
        from cuvis_ai_core.plugins.isolation.stdlib_overrides import StandIns

        return StandIns(self)

    @property
    def held(self) -> bool:
        """Whether somebody loaded this content and has not let go."""
        return self.holders > 0

    def owns(self, public: str) -> bool:
        """Tell whether the module of that public name belongs to the plugin."""
        return public.partition(".")[0] in self.tops

    def holds_file(self, path: str) -> bool:
        """Tell whether a file lies among the plugin's modules."""
        place = Path(path).resolve()
        return any(place.is_relative_to(Path(folder).resolve()) for folder in self._search_path)

    def path_of_tops(self) -> list[str]:
        """Return the folders in which a top-level module is looked for, those first that the code put on `sys.path`."""
        return [*(added for folder in self._search_path for added in added_below(folder)), *self._search_path]

    def answers(self, public: str) -> bool:
        """Tell whether a name may be the plugin's: what lies in its namespace packages may be everybody's."""
        return self.owns(public) and (not self.shared or self.shared.isdisjoint(_with_parents(public)))

    def locate(self, public: str) -> ModuleSpec | None:
        """Return where a module of the plugin lies, or None; nothing is imported, not even the packages above it."""
        *_, spec = self._levels(public)
        return spec

    def keeps(self, public: str) -> bool:
        """Tell whether a name is the plugin's alone: in a namespace package, only some of what lies there is."""
        if not self.answers(public):
            return False
        spec = None
        for spec in self._levels(public):
            if spec is None or spec.origin is not None:
                break
        return spec is not None

    def _levels(self, public: str) -> Iterator[ModuleSpec | None]:
        """Return where each package above a module lies, then the module; None for the first that is not there."""
        path = self._search_path
        for name in reversed(_with_parents(public)):
            private = self._start + name
            module = self.unloaded.parked.get(private, sys.modules.get(private))
            found = _spec_of(module)
            if found is None:
                # By its last part: below a namespace package the path finder answers a full name only if that is
                # imported.
                found = PathFinder.find_spec(name.rpartition(".")[2], path)
            if found is None and module is not None:
                found = ModuleSpec(private, None)  # made by the code itself, as `types.ModuleType("plugin.compat")`
            if module is not None and _is_everybodys(module):
                found = None  # everybody's, in a namespace package of the plugin
            yield found
            if found is None:
                return
            path = found.submodule_search_locations or []

    def unloaded_module(self, name: str) -> ModuleType:
        """Return what stands in `sys.modules` for a module while nobody holds the scope: somebody asked by its name.

        Args:
            name: Private name of the module, which is imported if it was not yet.
        """
        with self.awake():
            import_leaf(name)
            return self.unloaded.stand_in(name)

    @property
    def is_unloaded(self) -> bool:
        """Whether nobody holds the scope, and this thread is not within one of its own imports."""
        # From a list: other threads begin and end imports without a lock, which changes the dictionary's size.
        return not self.holders and threading.get_ident() not in list(self._visitors.values())

    def hold(self) -> None:
        """Take the scope once more; its modules are in `sys.modules` until every holder let go."""
        with _lock:
            self.holders += 1
            self.unloaded.unpark()

    def release(self) -> None:
        """Let go of the scope once; with the last holder its modules leave `sys.modules`."""
        with _lock:
            self.holders -= 1
            if not self.holders:
                self._park()

    def abandon(self) -> None:
        """Let go after a failed load: the next one starts afresh, whatever still refers to this."""
        with _lock:
            self.release()
            # Looked at before the lock is taken: while the plugin is loaded, which is the usual case, imports take
            # none.
            if not self.holders:
                # The object may live on in a traceback; found by its key, it would bring half-run modules into the next
                # load.
                _by_key.pop(self.key, None)

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Have the modules in `sys.modules` for a moment."""
        visit = object()
        self.enter(visit)
        try:
            yield
        finally:
            self.leave(visit)

    def enter(self, visit: object) -> None:
        """Have the modules in `sys.modules` until `leave`: living objects of an unloaded plugin import late."""
        self._visitors[visit] = threading.get_ident()
        if not self.holders:
            with _lock:
                self.unloaded.unpark()

    def leave(self, visit: object) -> None:
        """End a visit."""
        del self._visitors[visit]
        if not self.holders:
            with _lock:
                self._park()

    def _park(self) -> None:
        if not self.holders and not self._visitors:
            self.unloaded.park()


def _spec_of(module: object) -> ModuleSpec | None:
    """Return what the import system wrote on a module; some put another object into `sys.modules`, which has none."""
    try:
        spec = object.__getattribute__(module, "__spec__")  # a lazy module would be loaded by the question
    except AttributeError:
        return None
    return spec if isinstance(spec, ModuleSpec) else None


def _is_everybodys(module: object) -> bool:
    spec = _spec_of(module)
    return spec is not None and not spec.name.startswith(PREFIX)


def _with_parents(public: str) -> list[str]:
    parts = public.split(".")
    return [".".join(parts[:depth]) for depth in range(len(parts), 0, -1)]


def open_scope(key: str, title: str, code: Code, name: str | None = None) -> Scope:
    """Return the scope of a content, held once more; the same content is the same scope.

    Args:
        key: Identity of the content: equal keys share one loaded copy.
        title: What the private name is derived from, such as `adaclip@v0.1.2`.
        code: What becomes private.
        name: The private name that the scope has in another process.
    """
    with _lock:
        _drop_stale_importers()
        scope = _by_key.get(key)
        if scope is None:
            name = name or private_name(title)
            scope = Scope(key, second_name(name, key) if name in _by_name else name, code)
            forget_package(scope.name)  # of the last of that name, which may be gone since a moment
            _by_key[key] = _by_name[scope.name] = scope
            claim(code.tops)
            # At the end of the interpreter there is nothing to forget, and half of what would be called is gone.
            weakref.finalize(scope, _forget, scope.name, code).atexit = False
        scope.hold()
        return scope


def drop_idle(tops: frozenset[str]) -> None:
    """Forget the unloaded scopes that own one of these top-level names: the next load runs the code anew."""
    with _lock:
        _drop_stale_importers()
        for scope in list(_by_key.values()):
            if scope.tops & tops and not scope.held:
                del _by_key[scope.key]


def scope_named(name: str) -> Scope | None:
    """Return the living scope of a private package name."""
    return _by_name.get(name)


def own_copy(module: str) -> str | None:
    """Return the top-level module of a dependency that a plugin has for itself, where a private module is of one."""
    scope = scope_named(private_package(module) or "")
    top = public_name(module).partition(".")[0]
    return top if scope is not None and top in scope.lent else None


def living_scopes() -> list[Scope]:
    """Return the scopes that are alive, those that somebody holds first."""
    # Sorting is stable: among those that are held, the order stays that of their loading.
    return sorted(_by_name.values(), key=lambda scope: not scope.held)


def is_kept(public: str) -> bool:
    """Tell whether a public module name is some living plugin's alone."""
    return is_owned(public.partition(".")[0]) and any(scope.keeps(public) for scope in living_scopes())


def _drop_stale_importers() -> None:
    """Remove what the import system remembers of the folders of scopes that are gone."""
    stale = tuple(_stale_folders)
    _stale_folders.clear()
    # As a list: entries go while it is walked through, here and by other threads' imports.
    for folder in list(sys.path_importer_cache) if stale else ():
        # A cache: whoever still needs an entry makes it anew.
        if folder.startswith(stale):
            sys.path_importer_cache.pop(folder, None)


def _forget(package: str, code: Code) -> None:
    """Remove what the process still knows of a scope that is gone: none of its code runs, or imports, any more."""
    with _lock:
        forget_package(package)
        give_up(code.tops)
    # Not here: the collector calls this at any moment, and the import system may be walking through its cache.
    _stale_folders.extend(code.search_path)
