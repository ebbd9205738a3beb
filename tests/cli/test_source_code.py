"""What is known of a project's code without running it."""

from pathlib import Path

import pytest

from cuvis_ai_core.cli.plugins.check.source_code import Code, code_of, is_test


@pytest.mark.parametrize(
    ("lines", "line", "rooted"),
    [
        ("class A: ...", "A", False),
        ("class A(object): ...", "A", False),
        ("import enum\nclass A(enum.Enum): ...", "A", False),
        ("class A(dict[str, int]): ...", "A", False),
        ("import other\nclass A(other.Base): ...", "A", None),
        ("class A(make()): ...", "A", None),
        ("import enum, other\nclass A(other.Base, enum.Enum): ...", "A", None),
        ("from cuvis_ai_core.node import Node\nclass A(Node): ...", "A", True),
        (
            "from cuvis_ai_core.node import Node as N\nimport other\nclass B(N): ...\nclass A(B, x.X): ...",
            "AB",
            True,
        ),
        ("from .inner import C\nclass B(C): ...\nclass A(B, C): ...", "ABC", None),
        ("class A(A): ...", "A", False),
    ],
)
def test_whether_a_class_is_a_node_is_seen_by_its_bases(
    tmp_path: Path, lines: str, line: str, *, rooted: bool | None
) -> None:
    """Those of the project are gone through; of those of other packages nothing is known."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/__init__.py").write_text(lines, encoding="utf-8")
    (tmp_path / "mine/inner.py").write_text("from somewhere import Base\nclass C(Base): ...", encoding="utf-8")
    code = Code(tmp_path, frozenset({"mine"}))
    found = code.find("mine.A")
    assert found is not None
    classes, known = code.lineage(found)
    assert ([each.name for each in classes], known) == (list(line), rooted)


MODULE = """\
import os
import numpy.linalg
import scipy.signal as sig
from . import inner
from .deep.er import A as B
from ..up import C
from other import thing
if TYPE_CHECKING:
    import only_checkers
else:
    import run_time
try:
    import tried
except ImportError:
    from instead import tried_too
else:
    gone_well = 1
finally:
    in_the_end = 1
with context():
    import within
x, (y, *z) = 1, (2, 3)
w: int = 4
q: int
def f():
    import inside
class K: ...
"""
NAMES = {
    "os",
    "numpy",
    "sig",
    "inner",
    "B",
    "C",
    "thing",
    "only_checkers",
    "run_time",
    "tried",
    "tried_too",
    "gone_well",
}


def test_what_a_module_has_at_its_top(tmp_path: Path) -> None:
    """Whatever it stands below; and what it imports from where, by the place of the module."""
    for name, base, above in (("mine/sub/__init__.py", "mine.sub", "mine"), ("mine/sub/mod.py", "mine.sub", "mine")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(MODULE, encoding="utf-8")
        module = Code(tmp_path, frozenset({"mine"})).module(
            ".".join(Path(name).with_suffix("").parts).removesuffix(".__init__")
        )
        assert module is not None
        assert module.names == NAMES | {"in_the_end", "within", "x", "y", "z", "w", "q", "f", "K"}
        assert {key: module.imported[key] for key in ("numpy", "sig", "inner", "B", "C", "thing")} == {
            "numpy": "numpy",
            "sig": "scipy.signal",
            "inner": f"{base}.inner",
            "B": f"{base}.deep.er.A",
            "C": f"{above}.up.C",
            "thing": "other.thing",
        }
        assert list(module.needed()) == [("os", 1), ("numpy", 2), ("scipy", 3), ("other", 7), ("run_time", 11)]
        assert not module.takes_all
        assert set(module.classes) == {"K"}


@pytest.mark.parametrize("line", ["from other import *", "def __getattr__(name): ...", "if yes:\n    from .a import *"])
def test_names_that_cannot_be_known(tmp_path: Path, line: str) -> None:
    """Of a module that takes all of another one, or makes its names."""
    (tmp_path / "mine.py").write_text(line, encoding="utf-8")
    module = Code(tmp_path, frozenset({"mine"})).module("mine")
    assert module is not None
    assert module.takes_all


def test_what_a_class_has_itself(tmp_path: Path) -> None:
    """The last of a name; an annotation alone gives no value."""
    lines = (
        "class A:\n a: int\n b: int = 1\n c = 2\n c = 3\n def d(self): ...\n async def e(self): ...\n (f, g) = 1, 2\n"
    )
    (tmp_path / "mine.py").write_text(lines, encoding="utf-8")
    found = Code(tmp_path, frozenset({"mine"})).find("mine.A")
    assert found is not None
    members = {name: found.member(name) for name in "abcdefg"}
    assert {name: each and each.lineno for name, each in members.items()} == {
        "a": None, "b": 3, "c": 5, "d": 6, "e": 7, "f": None, "g": None
    }  # fmt: skip


def test_files_and_modules_of_a_project(tmp_path: Path) -> None:
    """All of its packages but caches and hidden ones; what cannot be read is told; links in a circle end."""
    for name, text in {
        "mine/__init__.py": "from .a import A\n",
        "mine/a.py": "from .b import A\n",
        "mine/b.py": "from .a import A\nfrom .c import D\n",
        "mine/c.py": "class D: ...\n",
        "mine/broken.py": "def\n",
        "mine/data.csv": "",
        "mine/native.cpython-311.so": "",
        "mine/.hidden/x.py": "",
        "mine/__pycache__/a.pyc": "",
        "mine/space/x.txt": "",
        "one.py": "",
        "other/__init__.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    code = Code(tmp_path, frozenset({"mine", "one"}))
    inner = ["__init__.py", "a.py", "b.py", "broken.py", "c.py", "data.csv", "native.cpython-311.so", "space/x.txt"]
    assert [file.relative_to(tmp_path).as_posix() for file in code.files()] == [
        *(f"mine/{each}" for each in inner),
        "one.py",
    ]
    assert [module.name for module in code.modules()] == ["mine", "mine.a", "mine.b", "mine.c", "one"]
    assert [Path(str(error.filename)).name for error in code.broken] == ["broken.py"]
    names = [
        "mine",
        "mine.a",
        "mine.broken",
        "mine.native",
        "mine.space",
        "one",
        "other",
        "mine.none",
        "none.x",
        "..mine",
    ]
    assert [name for name in names if code.has_module(name)] == names[:7]
    assert code.find("mine.A") is None
    found = code.find("mine.b.D")
    assert found is not None
    assert (found.module.name, found.name) == ("mine.c", "D")


@pytest.mark.parametrize(
    ("files", "wanted", "root", "tops"),
    [
        (["src/a/x.py", "b/x.py"], {"a", "b"}, "src", {"a"}),
        (["a/x.py", "other/a/x.py"], {"a"}, ".", {"a"}),
        (["python/a/x.py", ".venv/a/x.py"], {"a"}, "python", {"a"}),
        (["src/a.py"], {"a"}, "src", {"a"}),
        (["src/my_plugin_x/y.py", "src/b/__init__.py"], set(), "src", {"my_plugin_x"}),
        (["src/my_plugin_x/y.py"], {"../src"}, "src", {"my_plugin_x"}),
        (["src/a/__init__.py", "src/b.py", "src/tests/__init__.py", "src/data/x"], set(), "src", {"a", "b"}),
        (["a/__init__.py", "setup.py", "docs/conf.py", "tests/__init__.py"], set(), ".", {"a"}),
        (["README.md"], {"a"}, ".", set()),
    ],
)
def test_where_the_packages_of_a_project_lie(
    tmp_path: Path, files: list[str], wanted: set[str], root: str, tops: set[str]
) -> None:
    """In `src`, at the top or elsewhere: those that it names, the one that is called as it is, or all."""
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    code = code_of(tmp_path, frozenset(wanted), "My-Plugin.x")
    assert (code.root, code.tops) == (tmp_path / root, frozenset(tops))


@pytest.mark.parametrize(
    ("module", "tests"),
    [
        ("mine.tests.x", True),
        ("mine.test", True),
        ("mine._tests", True),
        ("mine.conftest", True),
        ("conftest", True),
        ("mine.test_x", True),
        ("tests.x", False),
        ("mine.testing", False),
        ("mine.latest", False),
        ("mine.test_x.y", False),
    ],
)
def test_which_modules_are_tests(module: str, *, tests: bool) -> None:
    """Those in folders of tests within a package, and files that pytest looks for."""
    assert is_test(module) == tests
