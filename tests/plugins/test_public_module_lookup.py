"""Public names of two plugins' modules and of the host's own, as those are told apart who ask for them."""

import builtins
import gc
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest

from cuvis_ai_core.plugins.isolation.calling_plugin import LENT
from cuvis_ai_core.plugins.isolation.public_module_lookup import give_back, stand_before
from cuvis_ai_core.plugins.isolation.scope import Scope
from cuvis_ai_core.plugins.sys_modules_owners import everybodys_module, import_for_everybody, unloaded

Library = Callable[[str], Any]

PLUGIN = {
    "askname/__init__.py": "def call(function, *words):\n    return function(*words)\n",
    "askname/late.py": "",
    "askname/deep/__init__.py": "",
    "askname/data.txt": "",
    "asklent/__init__.py": "",
}
HOST = {
    "askname/__init__.py": "VERSION = 'host'\nimport builtins\nbuiltins.askname_runs.append(__name__)\n",
    "askname/late.py": "VERSION = 'host late'\n",
    "askname/circle.py": "import askname.round\nVERSION = 'circle'\n",
    "askname/round.py": "from askname import circle\nCIRCLE = circle\n",
    "askname/broken.py": "import builtins\nbuiltins.askname_runs.append(__name__)\nraise ValueError('broken')\n",
    "askname/data.txt": "of the host",
}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names under which modules of the host ran."""
    monkeypatch.setattr(builtins, "askname_runs", [], raising=False)
    found: list[str] = vars(builtins)["askname_runs"]
    return found


@pytest.fixture
def two(scope_of: Callable[..., Scope]) -> Iterator[tuple[Any, Any]]:
    """Return the package `askname` of two plugins."""
    scopes = []
    for version in ("one", "two"):
        files = {**PLUGIN, "askname/data.txt": f"of {version}"}
        files = {name: text + f"VERSION = '{version}'\n" * name.endswith(".py") for name, text in files.items()}
        scopes.append(scope_of(files, lent=frozenset({"asklent"})))
    first, second = (scope.import_module("askname") for scope in scopes)
    yield first, second
    for name in [name for name in sys.modules if name.partition(".")[0] in {"askname", "asklent"}]:
        del sys.modules[name]
    give_back()


@pytest.fixture
def host(tmp_path: Path, write_files: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, runs: list[str]) -> Path:
    """Have the host have modules of that name, too."""
    folder = write_files(tmp_path / "host", HOST)
    monkeypatch.syspath_prepend(folder)
    return folder


def library(text: str) -> Library:
    """Return the function `load` of a library: code that is nobody's plugin."""
    names: dict[str, Any] = {"__builtins__": {**vars(builtins)}, "__name__": "somelibrary"}
    exec(compile(text, "somelibrary.py", "exec"), names)
    load: Library = names["load"]
    return load


by_name = library("import sys\ndef load(name):\n    __import__(name)\n    return sys.modules[name]\n")
"""Imports what it is told, and returns what `sys.modules` has then."""


def test_a_name_means_the_version_whose_code_asks(two: tuple[Any, Any]) -> None:
    """One object in `sys.modules`, for nobody else a module with anything in it."""
    first, second = two
    found = first.call(by_name, "askname")
    assert second.call(by_name, "askname") is found is sys.modules["askname"]
    assert [each.call(getattr, found, "VERSION") for each in two] == ["one", "two"]
    assert [each.call(dir, found) for each in two] == [dir(first), dir(second)]
    assert first.call(by_name, "askname.late") is sys.modules["askname.late"]
    assert [each.call(getattr, sys.modules["askname.late"], "VERSION") for each in two] == ["one", "two"]
    assert dir(found) == []
    assert repr(found) == "<public name 'askname' of a plugin's module>"
    for attribute in ("VERSION", "__path__"):
        assert not hasattr(found, attribute)
    with pytest.raises(ModuleNotFoundError, match="No module named 'askname'") as caught:
        importlib.import_module("askname")
    assert caught.value.name == "askname"


def test_what_is_set_by_a_name_is_set_on_the_version_of_who_sets_it(two: tuple[Any, Any]) -> None:
    """And what is deleted is that version's; what the import system sets on it is nobody's."""
    first, second = two
    found: Any = first.call(by_name, "askname")
    first.call(setattr, found, "new", 1)
    assert (first.new, hasattr(second, "new")) == (1, False)
    first.call(delattr, found, "new")
    assert not hasattr(first, "new")
    spec = first.__spec__
    first.call(setattr, found, "__spec__", importlib.util.find_spec("json"))
    first.call(setattr, found, "child", found)
    assert (first.__spec__, hasattr(first, "child")) == (spec, False)


def test_data_and_code_are_those_of_the_version_that_asks(two: tuple[Any, Any], host: Path) -> None:
    """Or of the host."""
    first, second = two

    def code_of(name: str) -> str:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        found: Any = spec.loader
        return str(found.get_code(name).co_filename)

    assert [each.call(pkgutil.get_data, "askname", "data.txt") for each in two] == [b"of one", b"of two"]
    importlib.import_module("askname")
    assert pkgutil.get_data("askname", "data.txt") == b"of the host"
    assert first.call(code_of, "askname.late") == str(Path(first.__file__).with_name("late.py"))
    assert code_of("askname.late") == str(host / "askname/late.py")
    spec, folder = second.call(importlib.util.find_spec, "askname.deep"), Path(second.__file__).with_name("deep")
    assert (spec.origin, spec.submodule_search_locations) == (str(folder / "__init__.py"), [str(folder)])


def test_the_hosts_own_module_is_everybody_elses(two: tuple[Any, Any], host: Path, runs: list[str]) -> None:
    """It runs once, when it is first asked for; so do those that lie in it, and those that import each other."""
    first, _ = two
    found: Any = first.call(by_name, "askname")
    assert runs == []
    assert [hasattr(found, name) for name in ("__file__", "__doc__")] == [False, True]
    assert runs == []
    assert everybodys_module("askname") is None
    assert importlib.import_module("askname").VERSION == "host"
    host_module = import_for_everybody("askname")
    assert (host_module is everybodys_module("askname"), type(host_module)) == (True, ModuleType)
    assert [each.call(getattr, found, "VERSION") for each in two] == ["one", "two"]
    assert found.VERSION == "host"
    assert found.__file__ == str(host / "askname/__init__.py")
    assert importlib.import_module("askname.late").VERSION == "host late"
    assert found.late.VERSION == "host late"
    assert importlib.import_module("askname.circle").VERSION == "circle"
    assert found.round.CIRCLE.VERSION == "circle"
    assert runs == ["askname"]
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            importlib.import_module("askname.broken")
    assert runs == ["askname", "askname.broken", "askname.broken"]
    importlib.reload(importlib.import_module("askname"))
    assert runs[3:] == ["askname"]


def test_what_the_host_imported_before_is_given_back(
    scope_of: Callable[..., Scope], tmp_path: Path, write_files: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the last plugin that has the name; nothing of it is the plugin's, nor runs again, meanwhile."""
    top = f"asked{uuid4().hex}"
    files = {f"{top}/__init__.py": "VERSION = 'host'\n", f"{top}/late.py": "VERSION = 'host late'\n"}
    monkeypatch.syspath_prepend(write_files(tmp_path / "host", files))
    names = (top, f"{top}.late", f"{top}.other")
    before = [importlib.import_module(name) for name in names[:2]]
    scope = scope_of({f"{top}/__init__.py": PLUGIN["askname/__init__.py"], f"{top}/late.py": "", f"{top}/other.py": ""})
    another = scope_of({f"another{top}/__init__.py": PLUGIN["askname/__init__.py"]})
    names_of_another = vars(another.import_module(f"another{top}"))["call"](by_name, f"another{top}")
    stand_before(scope)
    stood = [sys.modules[name] for name in names[:2]]
    assert [each is module for each, module in zip(stood, before, strict=True)] == [False, False]
    assert [vars(each)["VERSION"] for each in stood] == ["host", "host late"]
    assert importlib.import_module(top) is stood[0]
    stand_before(scope)
    give_back()
    assert [sys.modules[name] for name in names[:2]] == stood
    scope.release()
    unloaded()
    assert [sys.modules[name] for name in names[:2]] == before
    scope.hold()
    stand_before(scope)
    stood.append(vars(scope.import_module(top))["call"](by_name, names[2]))
    assert sys.modules[names[2]] is stood[2]
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(names[2])
    stood[2:] = [vars(scope.import_module(top))["call"](by_name, names[2])]
    scope.release()
    del scope, stood
    gc.collect()
    assert [sys.modules.get(name) for name in names] == [*before, None]
    assert sys.modules[f"another{top}"] is names_of_another


STATES = "def load(name):\n    import asklent\n    return asklent.VERSION\n"


def test_a_library_is_lent_what_nobody_else_has(two: tuple[Any, Any]) -> None:
    """By the plugin that calls it; what it keeps of the first is the first's, also where no plugin calls it."""
    first, second = two
    states, other = library(STATES), library(STATES)
    with pytest.raises(ModuleNotFoundError):
        other("")
    assert [first.call(states, ""), second.call(states, ""), states("")] == ["one", "two", "one"]
    assert second.call(other, "") == "two"
    own = library("def load(name):\n    import askname\n    return askname.VERSION\n")
    with pytest.raises(ModuleNotFoundError):
        first.call(own, "")
    kept: dict[str, Scope] = other.__globals__[LENT]
    assert list(kept) == ["asklent"]


@pytest.mark.parametrize(("files", "version"), [({"asklent/log.txt": ""}, "one"), ({"asklent.py": "VERSION = 0"}, 0)])
def test_what_the_host_has_goes_before_what_is_lent(
    two: tuple[Any, Any],
    tmp_path: Path,
    write_files: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, str],
    version: object,
) -> None:
    """Not any folder of that name."""
    monkeypatch.syspath_prepend(write_files(tmp_path / "host", files))
    assert two[0].call(library(STATES), "") == version


def test_a_module_that_puts_another_in_its_place_is_kept_as_it_made_itself(
    two: tuple[Any, Any], tmp_path: Path, write_files: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here no name is the host's yet, and one that is lazy runs when it is first used."""
    monkeypatch.syspath_prepend(write_files(tmp_path / "host", {"askname/__init__.py": "VERSION = 'lazy'\n"}))
    spec = importlib.util.find_spec("askname")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "askname", module)
    spec.loader.exec_module(module)
    assert module.VERSION == "lazy"
    assert two[1].call(getattr, module, "VERSION") == "two"
