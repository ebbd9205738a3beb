"""What stands in `sys.modules` for the modules of a plugin that nobody has loaded, and for how long."""

import gc
import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from cuvis_ai_core.plugins.isolation.private_names import second_name
from cuvis_ai_core.plugins.isolation.public_module_lookup import give_back, stand_before
from cuvis_ai_core.plugins.isolation.scope import Scope
from cuvis_ai_core.plugins.isolation.unloaded_modules import UnloadedModules, forget_package, somebody_imports

OpenScope = Callable[..., Scope]

FILES = {"standing/__init__.py": "NUMBER = 1\n", "standing/part.py": ""}


@pytest.fixture
def running() -> Callable[..., AbstractContextManager[None]]:
    """Return a context in which another thread is within the code of a module of some name, which called on."""

    @contextmanager
    def within(name: str) -> Iterator[None]:
        names: dict[str, Any] = {"__name__": name}
        exec("def run(call):\n    call()\n", names)
        begun, done = threading.Event(), threading.Event()

        def wait() -> None:
            begun.set()
            done.wait(60)

        thread = threading.Thread(target=names["run"], args=(wait,))
        thread.start()
        assert begun.wait(60)
        try:
            yield
        finally:
            done.set()
            thread.join()

    return within


def loaded(scope: Scope) -> list[str]:
    """Return the public names of the modules of a scope that are in `sys.modules`."""
    start = f"{scope.name}."
    return sorted(name.removeprefix(start) for name in sys.modules.copy() if f"{name}.".startswith(start))


@pytest.mark.parametrize(
    ("name", "imports"),
    [
        ("importlib", True),
        ("importlib._bootstrap", True),
        ("pickle", True),
        ("cuvis_ai_core.plugins.isolation.public_module_lookup", True),
        ("somebody", False),
    ],
)
def test_another_thread_that_may_read_a_module_next_is_seen(
    running: Callable[..., AbstractContextManager[None]], name: str, *, imports: bool
) -> None:
    """However deep it is in what it called; this thread itself does not count."""
    with running(name):
        assert somebody_imports() is imports
    names: dict[str, Any] = {"__name__": name}
    exec("def run(call):\n    return call()\n", names)
    assert names["run"](somebody_imports) is False


def test_who_found_a_module_a_moment_ago_finds_what_stands_for_it(
    scope_of: OpenScope, running: Callable[..., AbstractContextManager[None]]
) -> None:
    """All of them stay then; without anybody, only those that were asked for by their names."""
    scope = scope_of(FILES)
    scope.import_module("standing")
    assert loaded(scope) == [scope.name, "standing"]
    with running("pickle"):
        scope.release()
        assert loaded(scope) == [scope.name, "standing"]
        assert sys.modules[f"{scope.name}.standing"] is not scope.unloaded.parked[f"{scope.name}.standing"]
    scope.hold()
    assert scope.unloaded.parked == {}
    scope.import_module("standing.part")
    scope.release()
    assert loaded(scope) == [scope.name, "standing"]
    stand_in: Any = sys.modules[f"{scope.name}.standing"]
    assert stand_in.NUMBER == 1


def test_a_name_of_the_host_waits_for_who_is_about_to_read_it(
    scope_of: OpenScope,
    running: Callable[..., AbstractContextManager[None]],
    tmp_path: Any,
    write_files: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before it is given back."""
    monkeypatch.syspath_prepend(write_files(tmp_path / "host", {"standhost.py": ""}))
    before = importlib.import_module("standhost")
    scope = scope_of({"standhost.py": ""})
    stand_before(scope)
    scope.release()
    with running("importlib"):
        give_back()
        assert sys.modules["standhost"] is not before
    give_back()
    assert sys.modules.pop("standhost") is before


def test_other_names_of_a_plugin_go_with_it(scope_of: OpenScope) -> None:
    """From `sys.modules`, and from the package above."""
    scope = scope_of(FILES)
    above = importlib.import_module("cuvis_ai_core.scoped")
    other = second_name(scope.name, "other")
    importlib.import_module(f"{other}.standing.part")
    importlib.import_module(f"{scope.name}.standing")
    short = other.rpartition(".")[2]
    assert short in vars(above)
    scope.release()
    assert [name for name in sys.modules if name.startswith((scope.name, other))] == []
    assert short not in vars(above)


def test_what_stands_for_a_module_that_is_gone_says_so(scope_of: OpenScope) -> None:
    """But who only looks through all modules is answered; what nobody stands for is taken out."""
    scope = scope_of(FILES)
    scope.import_module("standing")
    scope.release()
    name = f"{scope.name}.standing"
    stand_in: Any = scope.unloaded_module(name)
    forget_package(scope.name)
    assert sys.modules[name] is stand_in
    package = scope.name
    del scope
    gc.collect()
    for looked_at in ("__class__", "__dict__", "__doc__", "__loader__", "__name__", "__package__"):
        getattr(stand_in, looked_at)
    assert not hasattr(stand_in, "__file__")
    for action in (lambda: stand_in.NUMBER, lambda: dir(stand_in), lambda: setattr(stand_in, "a", 1)):
        with pytest.raises(ModuleNotFoundError, match="its plugin was unloaded, and nobody holds it") as caught:
            action()
        assert caught.value.name == name
    sys.modules[name] = stand_in
    forget_package(package)
    assert name not in sys.modules


def test_a_module_that_was_never_there_is_missing() -> None:
    """Though something stands for it."""
    unloaded = UnloadedModules(type(sys)("cuvis_ai_core.scoped.never"))
    stand_in: Any = unloaded.stand_in("cuvis_ai_core.scoped.never.module")
    assert unloaded.stand_in("cuvis_ai_core.scoped.never.module") is stand_in
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'cuvis_ai_core\.scoped\.never\.module'"):
        stand_in.anything  # noqa: B018
    sys.modules["cuvis_ai_core.scoped.never.module"] = stand_in
    try:
        with pytest.raises(ModuleNotFoundError):
            stand_in.anything  # noqa: B018
    finally:
        del sys.modules["cuvis_ai_core.scoped.never.module"]
