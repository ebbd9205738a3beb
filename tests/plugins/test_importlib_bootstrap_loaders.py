"""How a plugin's modules are loaded: from source, from bytecode alone, in namespaces, with files beside them."""

import importlib.resources
import os
import py_compile
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.plugins.isolation.scope import Scope

OpenScope = Callable[..., Scope]


@pytest.mark.parametrize(
    ("editable", "age", "store", "kept"),
    [
        (False, 0, None, True),
        (True, 0, None, False),
        (True, 60, None, True),
        (False, 60, "~/code0", False),
        (False, 60, "~/code", True),
        (True, 60, "~/elsewhere", True),
    ],
)
def test_bytecode_is_kept_beside_code_that_stays(
    scope_of: OpenScope,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    editable: bool,
    age: int,
    store: str | None,
    kept: bool,
) -> None:
    """Not of what somebody may edit again in the same second, nor in a store that others filled."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    if store is not None:
        monkeypatch.setenv("CUVIS_SHARED_STORE", store)
    scope = scope_of({"kept.py": ""}, editable=editable)
    moment = time.time() - age
    os.utime(tmp_path / "code0/kept.py", (moment, moment))
    scope.import_module("kept")
    assert (tmp_path / "code0/__pycache__").is_dir() is kept


def test_an_edit_is_seen_though_it_has_size_and_time_of_the_last(
    scope_of: OpenScope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytecode knows no more of its source than these."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    moment = time.time()
    for number in range(3):
        scope = scope_of({}, tops=frozenset({"edited"}), editable=True, search_path=[str(tmp_path)])
        (tmp_path / "edited.py").write_text(f"NUMBER = {number}\n")
        os.utime(tmp_path / "edited.py", (moment, moment))
        assert vars(scope.import_module("edited"))["NUMBER"] == number


def test_a_module_of_bytecode_alone_is_the_plugins_too(scope_of: OpenScope, tmp_path: Path) -> None:
    """It imports what the plugin has."""
    scope = scope_of({"bare.py": "import beside\n", "beside.py": ""})
    source = tmp_path / "code0/bare.py"
    py_compile.compile(str(source), str(source.with_suffix(".pyc")), doraise=True)
    source.unlink()
    module: Any = scope.import_module("bare")
    assert module.beside is scope.import_module("beside")
    assert module.__file__.endswith("bare.pyc")


def test_files_in_a_namespace_are_found_by_it(scope_of: OpenScope) -> None:
    """Also while nobody has the plugin loaded."""
    scope = scope_of({"spaced/data.txt": "found", "spaced/own/__init__.py": "", "spaced/own/late.py": ""})
    space = scope.import_module("spaced")
    own: Any = scope.import_module("spaced.own")
    assert importlib.resources.files(space).joinpath("data.txt").read_text() == "found"
    scope.release()
    assert importlib.resources.files(space).joinpath("data.txt").read_text() == "found"
    assert scope.import_module("spaced.own.late").__name__ == f"{own.__name__}.late"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("FOUND = Thing.__module__ == 'compared'", True),
        ("FOUND = __name__ == 'compared'", True),
        ("FOUND = (lambda: Thing.__module__ in ('a', 'compared'))()", True),
        ("FOUND = [Thing.__module__ in {'a', 'compared'} for _ in '1'][0]", True),
        ("FOUND = Thing.__module__ + '.' + Thing.__qualname__", "compared.Thing"),
        ("FOUND = (lambda: Thing.__module__ + ':' + Thing.__qualname__)()", "compared:Thing"),
        ("FOUND = Thing.__module__ == 'other'", False),
        ("FOUND = __name__.split('.')[0]", "compared"),
        ("FOUND = __name__.partition('.')[0]", "compared"),
        ("FOUND = (lambda: __name__.partition('.')[0])()", "compared"),
    ],
)
def test_a_module_knows_itself_by_its_public_name(scope_of: OpenScope, text: str, found: object) -> None:
    """Wherever in its code it asks."""
    scope = scope_of({"compared.py": f"class Thing: ...\n\n\n{text}\n"})
    module: Any = scope.import_module("compared")
    assert vars(module)["FOUND"] == found
    assert module.__name__ == f"{scope.name}.compared"


def test_a_module_that_ran_is_not_run_again(scope_of: OpenScope) -> None:
    """However often its plugin comes back; one that failed is run anew."""
    scope = scope_of(
        {"counted.py": "import sys\nsys.counted = getattr(sys, 'counted', 0) + 1\nif sys.counted < 2: 1 / 0\n"}
    )
    try:
        with pytest.raises(ZeroDivisionError):
            scope.import_module("counted")
        module = scope.import_module("counted")
        for _ in range(2):
            scope.release()
            assert scope.import_module("counted") is module
            scope.hold()
            assert scope.import_module("counted") is module
        assert vars(sys)["counted"] == 2
    finally:
        vars(sys).pop("counted", None)
