"""What packages do with the import system: it works where they are shared, and where a plugin has its own copy."""

import gc
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core import NodeRegistry, Pipeline
from cuvis_ai_core.errors import NodeRunError

Files = dict[str, str]
MakeWheel = Callable[..., None]
LoadUser = Callable[..., Any]
HostInstall = Callable[[str, str], Path]

NAME = "cuvis_test_dep"

TRICKS: dict[str, Files] = {
    "imports itself again from a folder that it puts on the path, as OpenCV does": {
        "__init__.py": """
            import importlib, os, sys
            if hasattr(sys, "cuvis_test_loading"):
                raise ImportError("recursion is detected")
            sys.cuvis_test_loading = True
            saved = list(sys.path)
            sys.path.insert(1, os.path.join(os.path.dirname(os.path.realpath(__file__)), "native"))
            module = sys.modules.pop(__name__)
            native = importlib.import_module(__name__)
            sys.modules[__name__] = module
            sys.path = saved
            del sys.cuvis_test_loading
            VERSION = native.MADE
        """,
        f"native/{NAME}.py": "MADE = 'good'",
    },
    "puts a folder behind all others": {
        "__init__.py": """
            import os, sys
            sys.path.append(os.path.join(os.path.dirname(__file__), "vendor"))
            from cuvis_test_dep import late
            sys.path.pop()
            VERSION = late.MADE
        """,
        "late.py": "MADE = 'good'",
        f"vendor/{NAME}.py": "",
    },
    "takes itself out of the modules and is imported anew": {
        "__init__.py": """
            import importlib, sys
            if not hasattr(sys, "cuvis_test_again"):
                sys.cuvis_test_again = True
                module = sys.modules.pop(__name__)
                again = importlib.import_module(__name__)
                del sys.cuvis_test_again
            VERSION = "good"
        """,
    },
    "names itself in the modules": {
        "__init__.py": """
            import importlib, sys
            from sys import modules
            from . import late
            assert "cuvis_test_dep.late" in sys.modules and "cuvis_test_dep.never" not in modules
            first = late
            assert modules.pop("cuvis_test_dep.late") is first
            again = importlib.import_module("cuvis_test_dep.late")
            assert again is not first
            sys.modules["cuvis_test_dep.late"] = first
            from cuvis_test_dep.late import itself
            VERSION = "good" if itself is sys.modules["cuvis_test_dep"] else "other"
        """,
        "late.py": """
            import sys
            itself = sys.modules["cuvis_test_dep"]
        """,
    },
    "puts an object in its place": {
        "__init__.py": """
            import sys
            class Answers:
                VERSION = "good"
                __path__ = __path__
                def __bool__(self):
                    raise ValueError("neither true nor false")
            sys.modules[__name__] = Answers()
        """,
    },
    "puts a module of a class of its own in its place": {
        "__init__.py": """
            import importlib, sys, types
            class Lazy(types.ModuleType):
                def __getattr__(self, name):
                    if name == "VERSION":
                        return importlib.import_module("." + "late", self.__name__).MADE
                    raise AttributeError(name)
            lazy = Lazy(__name__)
            lazy.__dict__.update(__path__=__path__, __file__=__file__, __spec__=__spec__)
            sys.modules[__name__] = lazy
        """,
        "late.py": "MADE = 'good'",
    },
    "loads its parts at the first access": {
        "__init__.py": """
            import importlib
            def __getattr__(name):
                if name == "VERSION":
                    return importlib.import_module(__name__ + ".late").MADE
                raise AttributeError(name)
        """,
        "late.py": "MADE = 'good'",
    },
    "finds packages by the beginning of their names": {
        "__init__.py": """
            import pkgutil
            found = {each.name: each for each in pkgutil.iter_modules() if each.name.startswith("cuvis_test_")}
            mine = found["cuvis_test_dep"]
            VERSION = "good" if mine.ispkg and mine.module_finder.find_spec("cuvis_test_dep") else "not found"
        """,
    },
    "extends its path": {
        "__init__.py": """
            import os, pkgutil
            __path__ = pkgutil.extend_path(__path__, __name__)
            __path__.append(os.path.join(os.path.dirname(__file__), "more"))
            from .late import MADE as VERSION
        """,
        "more/late.py": "MADE = 'good'",
    },
    "walks from its top to a module by attributes": {
        "__init__.py": """
            from . import late
            class Version:
                def __eq__(self, other):
                    return other == late.look()
            VERSION = Version()
        """,
        "late.py": """
            import functools
            def look():
                top, *rest = __name__.split(".")
                return functools.reduce(getattr, rest, __import__(top)).GOOD
            GOOD = "good"
        """,
    },
    "reads its data by every way": {
        "__init__.py": """
            import importlib.resources, os, pkgutil
            here = os.path.dirname(__file__)
            from pathlib import Path
            read = {
                importlib.resources.files(__name__).joinpath("data.txt").read_text(),
                importlib.resources.files("cuvis_test_dep").joinpath("data.txt").read_text(),
                pkgutil.get_data(__name__, "data.txt").decode(),
                pkgutil.get_data("cuvis_test_dep", "data.txt").decode(),
                Path(here, "data.txt").read_text(),
                __spec__.loader.get_data(os.path.join(here, "data.txt")).decode(),
            }
            (VERSION,) = read
        """,
        "data.txt": "good",
    },
    "writes data beside its code": {
        "__init__.py": """
            from pathlib import Path
            path = Path(__file__).with_name("cache.txt")
            path.write_text("good")
            VERSION = path.read_text()
        """,
    },
    "brings an import hook along": {
        "__init__.py": """
            import importlib.abc, importlib.util, sys
            class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
                def find_spec(self, name, path, target=None):
                    if name.endswith("cuvis_test_dep.made_up"):
                        return importlib.util.spec_from_loader(name, self)
                def exec_module(self, module):
                    module.MADE = "good"
            sys.meta_path.insert(0, Finder())
            try:
                from cuvis_test_dep.made_up import MADE as VERSION
            finally:
                del sys.meta_path[0]
        """,
    },
}


@pytest.mark.parametrize("private", [False, True], ids=["shared", "private"])
@pytest.mark.parametrize(
    "trick", [pytest.param(name, marks=pytest.mark.slow if at else ()) for at, name in enumerate(TRICKS)]
)
def test_a_package_that(
    wheel: MakeWheel, load: LoadUser, host_install: HostInstall, trick: str, *, private: bool
) -> None:
    """It answers what it answers anywhere, is loaded a second time, and leaves `sys.path` as it was."""
    if trick == "names itself in the modules":
        # For whom no other plugin may have these names: they go with its last object, as in the log of a failed load.
        gc.collect()
    files = {f"{NAME}/{path}": dedent(text) for path, text in TRICKS[trick].items()}
    wheel("cuvis-test-dep", "2.0", files, pure=True)
    if private:
        wheel("cuvis-test-dep", "1.0", {f"{NAME}/__init__.py": "VERSION = 'other'"})
        host_install("cuvis-test-dep", "1.0")
    path = list(sys.path)
    answers = load("trick", "cuvis-test-dep==2.0")
    got = answers.direct(), answers.late()
    assert got == ("good", "good")
    assert sys.path == path


def test_a_path_object_among_the_folders_is_passed_over(
    wheel: MakeWheel, load: LoadUser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python passes over what is no text on `sys.path`, and so does a load."""
    wheel("cuvis-test-dep", "2.0", {f"{NAME}/__init__.py": "VERSION = 'good'"})
    monkeypatch.setattr(sys, "path", [tmp_path, *sys.path])
    assert load("trick", "cuvis-test-dep").late() == "good"


def test_what_a_plugin_uses_of_a_standard_module_is_pickled_as_the_module_itself(
    wheel: MakeWheel, load: LoadUser
) -> None:
    """`cloudpickle` and `dill` write a function with the modules that it uses, of which a plugin sees stand-ins."""
    wheel("cuvis-test-dep", "2.0", {f"{NAME}/__init__.py": "VERSION = 'good'"})
    answers = load("trick", "cuvis-test-dep")
    stand_in = vars(sys.modules[type(answers).__module__])["sys"]
    assert pickle.loads(pickle.dumps(stand_in)) is sys


LATE = """\
class Kind: pass

class Part:
    top = __name__.split(".")[0]

    def tops(self):
        try:
            return {__name__.partition(".")[0], *(__package__.split(".", 1)[0] for _ in range(2))}
        finally:
            self.last = __name__.split(".")[-1]

def name_of(kind):
    module = kind.__module__
    return module + "." + kind.__qualname__
"""
COMPARISONS = {
    "its own name": "__name__ == '{NAME}'",
    "turned": "'{NAME}' == __name__",
    "another": "__name__ != '{NAME}.late'",
    "among others": "late.Kind.__module__ in ('{NAME}.late', 'elsewhere')",
    "of a class": "late.Kind.__module__ == '{NAME}.late' and type(late.Kind()).__module__ == '{NAME}.late'",
    "beginning": "late.Kind.__module__.startswith('{NAME}.')",
    "in a function": "(lambda kind: kind.__module__ == '{NAME}.late')(late.Kind)",
    "joined": "late.Kind.__module__ + '.' + late.Kind.__qualname__ == '{NAME}.late.Kind'",
    "joined in a function": "(lambda kind: {{kind.__module__ + ':': 1}})(late.Kind)['{NAME}.late:'] == 1",
    "joined by way of a variable": "late.name_of(late.Kind) == '{NAME}.late.Kind'",
    "joined of others": "int.__module__ + '.' + int.__name__ == 'builtins.int' and 'a' + '.' + 'b' == 'a.b'",
    "taken apart": "(__name__.split('.')[0], __package__.split('.', 1)[0]) == ('{NAME}', '{NAME}')",
    "taken apart below": "late.Part.top == '{NAME}' and late.Part().tops() == {{'{NAME}'}}",
    "its own version": "importlib.metadata.version(__name__.split('.')[0].replace('_', '-')) == '2.0'",
    "nothing else": "{{'{NAME}': __name__}}['{NAME}'] == __name__ and '{NAME}' == 'x'.replace('x', '{NAME}')",
}


@pytest.mark.parametrize("what", COMPARISONS)
def test_a_private_copy_recognises_itself(
    wheel: MakeWheel, load: LoadUser, host_install: HostInstall, what: str
) -> None:
    """A comparison of `__name__` or `__module__` with a text holds, as of pythran's parser; other texts stay.

    The first part of a name is the public one: many libraries find their version, logger and data by it.
    """
    start = "import importlib.metadata\n"
    code = f"{start}from {NAME} import late\nVERSION = {COMPARISONS[what].format(NAME=NAME)}, __name__"
    wheel("cuvis-test-dep", "2.0", {f"{NAME}/__init__.py": code, f"{NAME}/late.py": LATE})
    wheel("cuvis-test-dep", "1.0", {f"{NAME}/__init__.py": "VERSION = 'other'"})
    host_install("cuvis-test-dep", "1.0")
    same, name = load("trick", "cuvis-test-dep==2.0").direct()
    assert same
    assert name.startswith("cuvis_ai_core.scoped.trick")


def test_a_private_copy_that_does_not_find_itself_in_a_run_is_told_with_the_way_out(
    wheel: MakeWheel,
    host_install: HostInstall,
    registry: NodeRegistry,
    tmp_path: Path,
    project_files: Callable[..., Files],
    write_files: Callable[[Path, Files], Path],
) -> None:
    """As kombu, which looks for the name of a module among those that it wrote down."""
    code = "def look():\n    return {'cuvis_test_dep': 'good'}[__name__]\n"
    wheel("cuvis-test-dep", "2.0", {f"{NAME}/__init__.py": code})
    wheel("cuvis-test-dep", "1.0", {f"{NAME}/__init__.py": "VERSION = 'other'"})
    host_install("cuvis-test-dep", "1.0")
    files = project_files(dependencies=("cuvis-test-dep==2.0",))
    nodes = files["src/echo_plugin/nodes.py"].replace(
        "        return {", "        cuvis_test_dep.look()\n        return {"
    )
    files["src/echo_plugin/nodes.py"] = f"import cuvis_test_dep\n{nodes}"
    config = {"path": str(write_files(tmp_path / "echo", files)), "provides": ["echo_plugin.nodes.Echo"]}
    registry.load_plugin("echo", config)
    pipeline = Pipeline.from_dict({"nodes": [{"name": "it", "class_name": "Echo"}]}, node_registry=registry)
    with pytest.raises(NodeRunError, match="KeyError") as caught:
        pipeline.forward({"cube": np.zeros((1, 1, 1, 1), np.float32)})
    assert "The plugin has 'cuvis_test_dep' for itself" in str(caught.value.hint)
    assert "isolation: process" in str(caught.value.hint)


def test_a_private_copy_that_takes_the_module_of_a_class_apart_sees_the_private_one(
    wheel: MakeWheel, load: LoadUser, host_install: HostInstall
) -> None:
    """A limit that the documents name."""
    code = f"class Kind: pass\nVERSION = Kind.__module__.split('.')[0] == '{NAME}'"
    wheel("cuvis-test-dep", "2.0", {f"{NAME}/__init__.py": code})
    wheel("cuvis-test-dep", "1.0", {f"{NAME}/__init__.py": "VERSION = 'other'"})
    host_install("cuvis-test-dep", "1.0")
    assert load("trick", "cuvis-test-dep==2.0").direct() is False
