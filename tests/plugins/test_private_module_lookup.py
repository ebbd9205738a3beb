"""Where a private module lies: the plugin's own, everybody's beside it, and what is brought back by its name."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.plugins.isolation import private_module_lookup
from cuvis_ai_core.plugins.isolation.private_module_lookup import ask_for_missing
from cuvis_ai_core.plugins.isolation.private_names import PARENT, private_name, second_name
from cuvis_ai_core.plugins.isolation.scope import Scope

OWN = {
    "lookspace/own/__init__.py": "",
    "lookpkg/__init__.py": "class Thing: ...\n",
    "lookpkg/part.py": "",
    "looksingle.py": "",
}
HOST = {
    "lookspace/lib/__init__.py": "",
    "lookspace/lib/inner.py": "",
    "lookspace/mine.py": "",
    "lookspace/lacking.py": "import looks_for_nothing\n",
    "lookspace/refusing.py": "raise ModuleNotFoundError('not here')\n",
    "lookspace/own/more.py": "",
    "lookpkg/more.py": "",
    "lookhost.py": "",
}


@pytest.fixture
def own(
    scope_of: Callable[..., Scope], tmp_path: Path, write_files: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Scope:
    """Return a plugin, beside whose modules the host has some."""
    monkeypatch.syspath_prepend(write_files(tmp_path / "host", HOST))
    return scope_of(OWN, shared=frozenset({"lookspace.lib"}))


@pytest.mark.parametrize("name", ["lookspace.lib", "lookspace.lib.inner", "lookspace.mine"])
def test_what_is_everybodys_is_the_same_within_a_plugin(own: Scope, name: str) -> None:
    """In a namespace of the plugin's: shared, below that, or only elsewhere; it stays what it is."""
    module = own.import_module(name)
    assert module is importlib.import_module(name)
    assert module.__name__ == name
    assert module.__spec__ is not None
    assert module.__spec__.name == name
    assert own.import_module("lookspace.own").__name__ == f"{own.name}.lookspace.own"


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("lookspace.never", "lookspace.never"),
        ("lookspace.own.more", "lookspace.own.more"),
        ("lookpkg.more", "lookpkg.more"),
        ("looksingle.part", "looksingle.part"),
        ("lookhost", "lookhost"),
        ("lookspace.lacking", None),
        ("lookspace.refusing", None),
    ],
)
def test_what_is_missing_is_named(own: Scope, name: str, missing: str | None) -> None:
    """A package with a file is whole, and at the top all is the plugin's; what another's module lacks is its fault."""
    with pytest.raises(ModuleNotFoundError) as caught:
        own.import_module(name)
    private = missing and f"{own.name}.{missing}"
    assert caught.value.name == (private or {"lookspace.lacking": "looks_for_nothing"}.get(name))


def test_what_code_put_before_its_folder_is_imported_from_there(
    own: Scope, tmp_path: Path, write_files: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the top only: what lies in a package is looked for in it."""
    inner = write_files(tmp_path / "code0/lookpkg/inner", {"looksingle.py": "", "part.py": ""})
    monkeypatch.syspath_prepend(inner)
    assert own.import_module("looksingle").__file__ == str(inner / "looksingle.py")
    assert own.import_module("lookpkg.part").__file__ == str(tmp_path / "code0/lookpkg/part.py")


def test_another_name_of_a_content_means_the_same_modules(own: Scope) -> None:
    """As a pickle has it from a process in which the plain one was taken; it is gone with the plugin."""
    other = second_name(own.name, "elsewhere")
    package = own.import_module("lookpkg")
    assert importlib.import_module(f"{other}.lookpkg") is package
    assert importlib.import_module(other) is own.package
    assert importlib.import_module(f"{other}.lookpkg.part") is own.import_module("lookpkg.part")
    assert package.__spec__ is not None
    assert package.__spec__.name == f"{own.name}.lookpkg"
    own.release()
    assert [name for name in sys.modules if f"{name}.".startswith((f"{own.name}.", f"{other}."))] == []
    stand_in: Any = importlib.import_module(f"{own.name}.lookpkg")
    assert stand_in is not package
    assert stand_in.Thing is package.Thing


def test_who_knows_where_a_plugin_lies_is_asked_for_it(own: Scope, monkeypatch: pytest.MonkeyPatch) -> None:
    """In turn, by the name of the package; who knows nothing of it leaves it to the next."""
    importlib.import_module(PARENT)  # which has one asked that looks into the cache
    monkeypatch.setattr(private_module_lookup, "_knowing", [])
    gone = private_name("looked-for@v1")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"{gone}.lookpkg")
    asked: list[str] = []
    ask_for_missing(asked.append)
    ask_for_missing(lambda name: own if name == gone else None)
    assert importlib.import_module(f"{gone}.lookpkg") is own.import_module("lookpkg")
    assert set(asked) == {gone}
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(private_name("never@v1"))
