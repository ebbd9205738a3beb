"""Private modules of one content: where they lie, who holds them, and what is left of them when nobody does."""

import gc
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cuvis_ai_core.plugins.isolation import scope as scopes
from cuvis_ai_core.plugins.isolation.finder import install_finder
from cuvis_ai_core.plugins.isolation.private_names import (
    first_name,
    private_name,
    private_package,
    public_name,
    second_name,
    without_private_names,
)
from cuvis_ai_core.plugins.isolation.scope import (
    Code,
    Scope,
    drop_idle,
    is_kept,
    living_scopes,
    open_scope,
    scope_named,
)
from cuvis_ai_core.plugins.sys_modules_owners import is_owned

TOPS = frozenset({"pkg", "single", "space"})

Files = dict[str, str]
Write = Callable[[Path, Files], Path]

FILES = {
    "pkg/__init__.py": "from . import part\n",
    "pkg/part.py": "class Thing: ...\n\n\ndef late():\n    import pkg.after\n    return pkg.after\n",
    "pkg/after.py": "",
    "space/own/__init__.py": "",
    "space/deep/leaf.py": "",
    "single.py": "from pkg.part import Thing\n",
}


class Opener:
    """Opens scopes of a small plugin, whose keys are this test's own."""

    def __init__(self, folder: Path) -> None:
        self._code = Code([str(folder)], TOPS, frozenset(), frozenset(), {}, editable=False)
        self._held: list[Scope] = []
        self._keys: dict[str, str] = {}
        self.title = f"scopes@{uuid4().hex}"

    def __call__(self, key: str = "a", name: str | None = None, **more: Any) -> Scope:
        """Return a scope, held once more."""
        code = self._code._replace(**more)
        self._held.append(open_scope(self._keys.setdefault(key, uuid4().hex), self.title, code, name))
        return self._held[-1]

    def forget(self) -> None:
        """Let go of all: afterwards a scope lives for as long as the test has it."""
        while self._held:
            _let_go(self._held.pop())
        gc.collect()


def _let_go(scope: Scope) -> None:
    while scope.held:
        scope.release()


@pytest.fixture
def opened(tmp_path: Path, write_files: Write) -> Iterator[Opener]:
    """Return what opens scopes; all is let go of in the end."""
    install_finder()
    opener = Opener(write_files(tmp_path / "code", FILES))
    yield opener
    opener.forget()


def loaded(scope: Scope) -> list[str]:
    """Return the public names of the modules of a scope that are in `sys.modules`."""
    start = f"{scope.name}."
    names = [name for name in sys.modules.copy() if f"{name}.".startswith(start)]
    return sorted(name.removeprefix(start) for name in names)


def test_names_are_made_and_read_back() -> None:
    """People see the public ones; a second content of a title has a hash in its name."""
    name = private_name("adäclip@v0.1.2")
    assert name == "cuvis_ai_core.scoped.ad_clip_v0_1_2"
    second = second_name(name, "key")
    assert (second.partition("_x")[0], len(second) - len(name)) == (name, 10)
    assert second != second_name(name, "other")
    assert [first_name(each) for each in (name, second, f"{name}_x123")] == [name, name, f"{name}_x123"]
    assert [private_package(each) for each in (f"{name}.a.b", name, "a.b")] == [name, name, None]
    assert [public_name(each) for each in (f"{name}.a.b", name, "a.b")] == ["a.b", "", "a.b"]
    assert without_private_names(f"<{name}.a.B> and {name}") == "<a.B> and "


def test_a_module_is_loaded_once_under_its_private_name(opened: Opener) -> None:
    """Imports of its own names mean it, whatever the public names are."""
    scope = opened()
    package = scope.import_module("pkg")
    assert scope.import_module("pkg") is package is sys.modules[f"{scope.name}.pkg"]
    assert scope.import_module("single").Thing is package.part.Thing
    assert scope.import_by_name("single") is scope.import_module("single")
    assert scope.import_by_name("collections") is importlib.import_module("collections")
    assert scope.import_by_name(".abc", "collections") is importlib.import_module("collections.abc")
    assert loaded(scope) == [scope.name, "pkg", "pkg.part", "single"]
    assert importlib.util.find_spec(scope.name) is scope.package.__spec__
    located = scope.locate("pkg.part")
    assert located is not None
    assert (located.origin, scope.keeps("pkg.part")) == (package.part.__file__, True)
    assert "pkg" not in sys.modules or not sys.modules["pkg"].__name__.startswith(scope.name)


def test_what_is_the_plugins_is_told_without_an_import(opened: Opener, tmp_path: Path) -> None:
    """Of a namespace only what lies there; of what is shared nothing; a file by the folder in which it lies."""
    scope = opened(shared=frozenset({"space.shared", "pkg.shared"}))
    asked = ["pkg.part", "pkg", "space", "space.own", "space.own.x", "space.deep", "space.deep.leaf", "space.shared.x"]
    assert [name for name in asked if not scope.keeps(name)] == ["space.shared.x"]
    assert [scope.owns(name) for name in ("pkg.x", "pkgs", "x.pkg")] == [True, False, False]
    assert [scope.answers(name) for name in ("pkg.x", "space.shared", "space.shared.x", "other")] == [
        True,
        False,
        False,
        False,
    ]
    assert not any(scope.keeps(name) for name in ("other", "space.gone", "gone"))
    found = {name: spec.origin for name in asked if (spec := scope.locate(name)) is not None and spec.origin}
    code = tmp_path / "code"
    assert found == {
        "pkg.part": str(code / "pkg/part.py"),
        "pkg": str(code / "pkg/__init__.py"),
        "space.own": str(code / "space/own/__init__.py"),
        "space.deep.leaf": str(code / "space/deep/leaf.py"),
    }
    assert scope.locate("pkg.gone.more") is None
    assert loaded(scope) == [scope.name]
    assert is_kept("pkg.part")
    assert not is_kept("collections.abc")
    assert [scope.holds_file(str(each)) for each in (code / "pkg/x.py", tmp_path / "x.py", tmp_path / "code2")] == [
        True,
        False,
        False,
    ]


def test_what_code_put_before_its_folder_is_looked_in_first(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As OpenCV does; folders of others do not count."""
    scope = opened()
    monkeypatch.syspath_prepend(tmp_path / "code/pkg/inner")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    assert scope.path_of_tops() == [str(tmp_path / "code/pkg/inner"), str(tmp_path / "code")]


def test_a_library_has_a_lent_module_until_the_path_has_one(
    opened: Opener, tmp_path: Path, write_files: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it asked before; what was just installed is everybody's."""
    write_files(
        tmp_path / "code", {"cuvis_test_lent.py": "WHO = 'plugin'\n", "pkg/asks.py": "import cuvis_test_asking\n"}
    )
    library = "import cuvis_test_lent\n\ndef who():\n    return cuvis_test_lent.WHO\n"
    host = write_files(tmp_path / "host", {"cuvis_test_asking.py": library})
    monkeypatch.syspath_prepend(host)
    scope = opened(tops=TOPS | {"cuvis_test_lent"}, lent=frozenset({"cuvis_test_lent"}))
    who = scope.import_module("pkg.asks").cuvis_test_asking.who
    assert {who() for _ in range(4)} == {"plugin"}
    (host / "cuvis_test_lent.py").write_text("WHO = 'host'\n")
    os.utime(host, (0, 0))  # another time, by which the import system sees that there is something new
    assert {who() for _ in range(2)} == {"host"}


def test_modules_leave_with_the_last_holder_and_come_back(opened: Opener) -> None:
    """The same content is the same scope, whoever loads it; its modules are those that ran."""
    scope = opened()
    package = scope.import_module("pkg")
    assert opened() is scope
    scope.release()
    assert (scope.held, scope.holders, scope.is_unloaded, "pkg" in loaded(scope)) == (True, 1, False, True)
    scope.release()
    assert (scope.held, scope.is_unloaded, loaded(scope)) == (False, True, [])
    assert sorted(scope.unloaded.parked) == [scope.name, f"{scope.name}.pkg", f"{scope.name}.pkg.part"]
    assert scope.name.rpartition(".")[2] not in vars(importlib.import_module("cuvis_ai_core.scoped"))
    assert opened() is scope
    assert (scope.import_module("pkg"), scope.unloaded.parked) == (package, {})


def test_living_objects_import_late(opened: Opener) -> None:
    """Their modules are there meanwhile, and gone after; a visit of another thread is not this one's."""
    scope = opened()
    late = scope.import_module("pkg.part").late
    scope.release()
    assert late().__name__ == f"{scope.name}.pkg.after"
    assert loaded(scope) == []
    with scope.awake():
        assert not scope.is_unloaded
        with scope.awake():
            pass
        assert loaded(scope) == [scope.name, "pkg", "pkg.after", "pkg.part"]
    assert (loaded(scope), scope.is_unloaded) == ([], True)
    assert scope.import_module("pkg").part.late is late
    assert loaded(scope) == []


def test_a_module_that_is_asked_for_by_its_name_stands_there(opened: Opener) -> None:
    """What stands for it answers as it does, and goes with it."""
    scope = opened()
    part = scope.import_module("pkg.part")
    scope.release()
    name = part.__name__
    stand_in = scope.unloaded_module(name)
    assert (loaded(scope), sys.modules[name]) == (["pkg.part"], stand_in)
    assert scope.unloaded_module(name) is stand_in is not part
    assert (stand_in.Thing, stand_in.__class__, dir(stand_in)) == (part.Thing, part.__class__, dir(part))
    assert repr(stand_in) == f"<module of an unloaded plugin, {name!r}>"
    stand_in.new = 1  # type: ignore[attr-defined]
    assert part.new == 1
    del stand_in.new
    assert not hasattr(part, "new")
    stand_in.__spec__ = None
    stand_in.child = stand_in  # type: ignore[attr-defined]
    assert part.__spec__ is not None
    assert not hasattr(part, "child")
    scope.hold()
    assert sys.modules[name] is part
    scope.release()
    assert sys.modules[name] is stand_in
    drop_idle(scope.tops)
    key = scope.name
    del scope, part
    opened.forget()
    assert scope_named(key) is None
    assert name not in sys.modules
    assert stand_in.__name__ == name
    with pytest.raises(ModuleNotFoundError, match="its plugin was unloaded, and nobody holds it") as caught:
        stand_in.Thing  # noqa: B018
    assert caught.value.name == name


def test_two_contents_of_a_title_have_two_names(opened: Opener) -> None:
    """The first keeps the plain one; a name from another process is kept where it is free."""
    first, second = opened("a"), opened("b")
    assert (first.name, first_name(second.name)) == (private_name(opened.title), first.name)
    third = opened("c", name="cuvis_ai_core.scoped.scopes_elsewhere")
    assert third.name == "cuvis_ai_core.scoped.scopes_elsewhere"
    assert [scope_named(each.name) for each in (first, second, third)] == [first, second, third]
    first.release()
    found = [each for each in living_scopes() if each in (first, second, third)]
    assert (found[-1], set(found[:2])) == (first, {second, third})


def test_what_is_abandoned_or_idle_is_loaded_anew(opened: Opener) -> None:
    """Not what somebody holds, nor what owns other names."""
    scope = opened("a")
    assert opened("a") is scope
    scope.abandon()
    assert opened("a") is scope
    scope.release()
    scope.abandon()
    fresh = opened("a")
    assert fresh is not scope
    drop_idle(frozenset({"pkg"}))
    assert opened("a") is fresh
    fresh.release()
    fresh.release()
    drop_idle(frozenset({"other"}))
    assert opened("a") is fresh
    fresh.release()
    drop_idle(frozenset({"pkg", "other"}))
    assert opened("a") is not fresh


def test_a_scope_that_is_gone_leaves_nothing(opened: Opener, tmp_path: Path) -> None:
    """Neither the names that it owned nor what the import system kept of its folders."""
    scope = opened(tops=frozenset({"pkg", "scopes_only"}))
    scope.import_module("pkg")
    folder = str(tmp_path / "code/pkg")
    assert is_owned("scopes_only")
    assert folder in sys.path_importer_cache
    name = scope.name
    del scope
    opened.forget()
    assert not is_owned("scopes_only")
    assert scope_named(name) is None
    scopes.drop_idle(frozenset())
    assert folder not in sys.path_importer_cache
    assert opened().name == name
