"""A plugin's code as it is written: its modules, classes and imports, read and never run."""

import ast
import sys
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

from cuvis_ai_core._untrusted_files import read_file

_BASES: Final = ("cuvis_ai_core", "cuvis_ai")
"""Packages whose classes named like nodes are bases of nodes."""

_NO_CODE: Final = frozenset({"tests", "test", "docs", "examples", "build", "dist", "setup", "conftest", "noxfile", ""})
_MOST_BYTES: Final = 8 * 2**20
"""Of a module, which takes a hundred times as much to be read."""

_TESTS: Final = frozenset({"tests", "test", "_tests"})


def is_test(module: str) -> bool:
    """Tell whether a module, by its full name, is one of the tests of a package."""
    parts = module.split(".")
    return not _TESTS.isdisjoint(parts[1:]) or parts[-1] == "conftest" or parts[-1].startswith("test_")


class Class(NamedTuple):
    """A class in its module.

    Attributes:
        module: The module that it is in.
        node: Its syntax.
    """

    module: "Module"
    node: ast.ClassDef

    @property
    def name(self) -> str:
        """Name of the class."""
        return self.node.name

    def member(self, name: str) -> ast.stmt | None:
        """Return what the class itself has under a name."""
        found: ast.stmt | None = None
        for each in self.node.body:
            match each:
                case ast.FunctionDef() | ast.AsyncFunctionDef() if each.name == name:
                    found = each
                case ast.Assign(targets=[ast.Name(id=target)]) if target == name:
                    found = each
                # An annotation alone gives no value.
                case ast.AnnAssign(target=ast.Name(id=target), value=value) if target == name and value is not None:
                    found = each
        return found


class Module:
    """One file of Python.

    Args:
        name: Its full name.
        file: The file.

    Raises:
        SyntaxError: It is no Python.
        OSError, ValueError, RecursionError, MemoryError: It cannot be read, is too large or nested too deeply.
    """

    def __init__(self, name: str, file: Path) -> None:
        self.name = name
        self.file = file
        self.tree = ast.parse(read_file(file, _MOST_BYTES), str(file))

    @cached_property
    def classes(self) -> Mapping[str, ast.ClassDef]:
        """The classes at its top."""
        return {each.name: each for each in self.tree.body if isinstance(each, ast.ClassDef)}

    @cached_property
    def names(self) -> frozenset[str]:
        """All that it has at its top, also below `if` and `try`."""
        found = set(self.imported)
        for each in _top(self.tree):
            match each:
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                    found.add(each.name)
                case ast.Assign():
                    found |= {
                        name.id for target in each.targets for name in ast.walk(target) if isinstance(name, ast.Name)
                    }
                case ast.AnnAssign(target=ast.Name(id=name)):
                    found.add(name)
        return frozenset(found)

    @cached_property
    def imported(self) -> Mapping[str, str]:
        """Names that imports at its top give, to what they stand for: `Node` to `cuvis_ai_core.node.Node`."""
        found: dict[str, str] = {}
        for each in _top(self.tree):
            match each:
                case ast.Import():
                    found |= {
                        a.asname or a.name.partition(".")[0]: a.name if a.asname else a.name.partition(".")[0]
                        for a in each.names
                    }
                case ast.ImportFrom():
                    base = self._base(each)
                    found |= {a.asname or a.name: f"{base}.{a.name}" for a in each.names}
        return found

    def needed(self) -> Iterator[tuple[str, int]]:
        """Yield the top-level packages that an import of this module needs, each with its line."""
        for each in _top(self.tree, trying=False):
            match each:
                case ast.Import():
                    yield from ((a.name.partition(".")[0], each.lineno) for a in each.names)
                case ast.ImportFrom(level=0):
                    yield str(each.module).partition(".")[0], each.lineno

    @property
    def is_test(self) -> bool:
        """Whether it is one of the tests that some have within their package: no pipeline imports it."""
        return is_test(self.name)

    @property
    def takes_all(self) -> bool:
        """Whether some of its names cannot be known: `from x import *`, or `__getattr__`."""
        return "*" in self.imported or "__getattr__" in self.names

    def _base(self, statement: ast.ImportFrom) -> str:
        if not statement.level:
            return statement.module or ""
        parts = self.name.split(".")
        # The first dot is the package itself (PEP 328).
        kept = parts[: len(parts) - statement.level + (self.file.name == "__init__.py")]
        return ".".join([*kept, *([statement.module] if statement.module else [])])


class Code:
    """All modules of a project.

    Args:
        root: Folder on the search path, in which the top-level packages lie.
        tops: Names of the plugin's own top-level packages and modules.
    """

    def __init__(self, root: Path, tops: frozenset[str]) -> None:
        self.root = root
        self.tops = tops
        self.broken: list[SyntaxError] = []
        self._modules: dict[str, Module | None] = {}

    def files(self) -> Iterator[Path]:
        """Yield the files of the packages, sorted; caches and hidden ones left out."""
        for top in sorted(self.tops):
            if (file := self.root / f"{top}.py").is_file():
                yield file
            if (folder := self.root / top).is_dir():
                yield from (
                    file
                    for file in sorted(folder.rglob("*"))
                    if file.is_file()
                    and not any(
                        part.startswith(".") or part == "__pycache__" for part in file.relative_to(folder).parts
                    )
                )

    def modules(self) -> Iterator[Module]:
        """Yield all modules that can be read."""
        for file in self.files():
            if file.suffix == ".py":
                parts = file.relative_to(self.root).with_suffix("").parts
                module = self.module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
                if module is not None:
                    yield module

    def module(self, name: str) -> Module | None:
        """Return a module by its full name; None where there is none, or it cannot be read."""
        if not _are_names(name):
            return None
        if name not in self._modules:
            self._modules[name] = None
            place = self.root.joinpath(*name.split("."))
            for file in (place / "__init__.py", place.with_name(f"{place.name}.py")):
                if file.is_file():
                    try:
                        self._modules[name] = Module(name, file)
                    except (SyntaxError, ValueError, OSError, RecursionError, MemoryError) as error:
                        self.broken.append(error if isinstance(error, SyntaxError) else _unread(file, error))
                    break
        return self._modules[name]

    def has_module(self, name: str) -> bool:
        """Tell whether there is a module, or a folder, of a name."""
        if not _are_names(name):
            return False
        place = self.root.joinpath(*name.split("."))
        return (
            place.is_dir()
            or place.with_name(f"{place.name}.py").is_file()
            # A compiled module, as `name.cpython-311-x86_64-linux-gnu.so`.
            or bool(list(place.parent.glob(f"{place.name}.*so")) if place.parent.is_dir() else ())
        )

    def find(self, path: str, depth: int = 0) -> Class | None:
        """Return a class by its full path, through what modules import of each other; None for what is elsewhere."""
        module_name, _, name = path.rpartition(".")
        module = self.module(module_name)
        # Modules may import each other in a circle.
        if module is None or depth > 20:  # noqa: PLR2004
            return None
        if name in module.classes:
            return Class(module, module.classes[name])
        return self.find(module.imported[name], depth + 1) if name in module.imported else None

    def lineage(self, found: Class) -> tuple[list[Class], bool | None]:
        """Return a class with its bases of this project, and whether they lead to a base of nodes; None: unknown."""
        line, waiting, rooted = [found], [found], False
        unknown = False
        while waiting:
            each = waiting.pop(0)
            for base in each.node.bases:
                path = self._path(each.module, base)
                own = self.find(path) if path else None
                if own is not None and own not in line:
                    line.append(own)
                    waiting.append(own)
                elif path and path.partition(".")[0] in _BASES:
                    rooted = True
                elif own is None and path != "object":
                    unknown = unknown or not (path and self.is_standard(path))
        return line, True if rooted else None if unknown else False

    @staticmethod
    def is_standard(path: str) -> bool:
        """Tell whether something is of Python itself."""
        import builtins

        return path.partition(".")[0] in sys.stdlib_module_names or hasattr(builtins, path)

    @staticmethod
    def _path(module: Module, base: ast.expr) -> str | None:
        while isinstance(base, ast.Subscript):
            base = base.value
        parts: list[str] = []
        while isinstance(base, ast.Attribute):
            parts.insert(0, base.attr)
            base = base.value
        if not isinstance(base, ast.Name):
            return None
        first = module.imported.get(base.id) or (f"{module.name}.{base.id}" if base.id in module.names else base.id)
        return ".".join([first, *parts])


def code_of(folder: Path, wanted: frozenset[str], distribution: str) -> Code:
    """Find where the packages of a project lie: in `src`, at its top, or in another folder that has them.

    Args:
        folder: Folder of the project.
        wanted: Top-level names that its manifest and entry points name.
        distribution: Its name, after which its package is called where nothing else says so.
    """
    folders = [
        folder / "src",
        folder,
        *(each for each in sorted(folder.iterdir()) if each.is_dir() and each.name[:1] != "."),
    ]
    wanted = frozenset(filter(_are_names, wanted))  # others would lead out of the folder
    named = frozenset({distribution.replace("-", "_").replace(".", "_").lower()})
    for names in filter(None, (wanted, frozenset(filter(_are_names, named)))):
        for place in folders:
            there = frozenset(name for name in names if (place / name).is_dir() or (place / f"{name}.py").is_file())
            if there:
                return Code(place, there)
    for place in folders[:2]:
        there = frozenset(map(_top_in, place.iterdir())) - _NO_CODE if place.is_dir() else frozenset()
        if there:
            return Code(place, there)
    return Code(folder, frozenset())


def _top_in(path: Path) -> str:
    """Return the name of a package or module at a path; nothing for all else."""
    return path.stem if path.suffix == ".py" or (path / "__init__.py").is_file() else ""


def _top(tree: ast.Module, *, trying: bool = True) -> Iterator[ast.stmt]:
    """Yield the statements that are run at an import; without those that may fail, if asked, and those for checkers."""
    waiting = list(tree.body)
    while waiting:
        each = waiting.pop(0)
        match each:
            case ast.If():
                # Also `typing.TYPE_CHECKING`.
                checked = "TYPE_CHECKING" in ast.dump(each.test)
                waiting = [*([] if checked and not trying else each.body), *each.orelse, *waiting]
            case ast.Try() if trying:
                waiting = [
                    *each.body,
                    *each.orelse,
                    *each.finalbody,
                    *(s for h in each.handlers for s in h.body),
                    *waiting,
                ]
            case ast.With():
                waiting = [*(each.body if trying else []), *waiting]
            case _:
                yield each


def _are_names(text: str) -> bool:
    """Tell whether a text is a dotted name; any other would be a path to somewhere else."""
    return all(part.isidentifier() for part in text.split("."))


def _unread(file: Path, error: Exception) -> SyntaxError:
    found = SyntaxError(str(error) or "it is nested too deeply")
    found.filename, found.lineno = str(file), 1
    return found
