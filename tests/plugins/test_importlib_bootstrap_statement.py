"""What each form of an import means in a plugin's code."""

import builtins
import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

from cuvis_ai_core.plugins.isolation.scope import Scope
from cuvis_ai_core.plugins.isolation.stdlib_overrides import StandIn

OpenScope = Callable[..., Scope]

FILES = {
    "stated/__init__.py": "def __getattr__(name):\n    raise AttributeError('asked for ' + name)\n",
    "stated/part.py": "THING = 'thing'\n",
    "stated/deep/__init__.py": "",
    "stated/deep/leaf.py": "from .. import part\nfrom ..part import THING\n",
    "stated/broken.py": "1 / 0\n",
    "stated/placed.py": "import sys\n\n\nclass Own:\n    PLACED = True\n\n\nsys.modules[__name__] = Own()\n",
    "stated/run.py": "def run(text):\n    names = {'__name__': __name__, '__package__': __package__}\n"
    "    exec(text, globals() | names, names)\n    return names\n",
}


@pytest.fixture
def scope(scope_of: OpenScope) -> Scope:
    """Return a plugin."""
    return scope_of(FILES)


def run(scope: Scope, text: str) -> dict[str, Any]:
    """Run a statement in a module of a plugin, and return what it binds."""
    module: Any = scope.import_module("stated.run")
    found: dict[str, Any] = module.run(text)
    return found


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize(
    ("text", "name", "module"),
    [
        ("import stated", "stated", "stated"),
        ("import stated.part", "stated", "stated"),
        ("import stated.part as a", "a", "stated.part"),
        ("from stated import part", "part", "stated.part"),
        ("from stated import part as a", "a", "stated.part"),
        ("from . import part", "part", "stated.part"),
        ("from .deep import leaf", "leaf", "stated.deep.leaf"),
        ("from stated.deep import leaf", "leaf", "stated.deep.leaf"),
        ("import stated.deep.leaf", "stated", "stated"),
        ("import stated.deep.leaf as a", "a", "stated.deep.leaf"),
        ("a = __import__('stated.part')", "a", "stated"),
        ("a = __import__('stated.part', fromlist=('THING',))", "a", "stated.part"),
    ],
)
def test_a_statement_binds_the_plugins_own(scope: Scope, text: str, name: str, module: str, *, loaded: bool) -> None:
    """As it would in a program, whether it was imported before or not."""
    if loaded:
        for each in ("stated.part", "stated.deep.leaf"):
            scope.import_module(each)
    assert run(scope, text)[name] is scope.import_module(module)
    assert scope.import_module("stated.run").__builtins__["__import__"] is not builtins.__import__


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("from stated import never", ImportError, "cannot import name 'never'"),
        ("import stated.never", ModuleNotFoundError, "stated.never"),
        ("import stated.broken", ZeroDivisionError, "by zero"),
        ("from .part import never", ImportError, "cannot import name 'never'"),
        ("import otherstated", ModuleNotFoundError, "No module named 'otherstated'"),
    ],
)
@pytest.mark.parametrize("held", [True, False])
def test_an_import_that_fails_leaves_nothing(
    scope: Scope, scope_of: OpenScope, text: str, error: type[Exception], message: str, *, held: bool
) -> None:
    """It says what is missing; another plugin's name is missing too; of an unloaded plugin no module stays."""
    stands = "import pickle\nfound = pickle.loads(b'cotherstated\\n__name__\\n.')"
    run(scope_of({**FILES, "otherstated.py": ""}), stands)  # from then on the name is in `sys.modules`
    assert "otherstated" in sys.modules
    asking: Any = scope.import_module("stated.run")
    if not held:
        scope.release()
    with pytest.raises(error, match=message):
        asking.run(text)
    assert scope.is_unloaded is not held
    assert (f"{scope.name}.stated" in sys.modules) is held


def test_what_a_module_put_in_its_place_is_what_is_imported(scope: Scope) -> None:
    """In the first import and in those after it."""
    for text in ("import stated.placed as a", "from stated import placed as a") * 2:
        assert run(scope, text)["a"].PLACED is True


@pytest.mark.parametrize("name", ["importlib", "logging", "subprocess", "sys", "warnings"])
def test_some_standard_modules_are_the_plugins(scope: Scope, name: str) -> None:
    """One for each plugin, however it is imported; all others are what they are."""
    found = run(
        scope,
        f"import {name}\nimport {name} as a\nimport json\nimport json.tool as b\nfrom json import tool\n"
        "from os.path import join",
    )
    assert type(found[name]) is StandIn
    assert found["a"] is found[name] is run(scope, f"import {name}")[name]
    assert found["json"] is importlib.import_module("json")
    assert found["b"] is found["tool"] is importlib.import_module("json.tool")
    assert found["join"] is os.path.join


def test_c_code_that_imports_for_a_plugin_finds_its_module(scope: Scope) -> None:
    """By the public name, which it reads in `sys.modules` afterwards."""
    text = "import ctypes\nasked = ctypes.pythonapi.PyImport_Import\nasked.restype = ctypes.py_object\n"
    found = run(scope, f"{text}a = asked(ctypes.py_object('stated.part')).THING")
    assert found["a"] == "thing"
