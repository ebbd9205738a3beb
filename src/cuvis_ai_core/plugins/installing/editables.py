"""Where the code of an editable install lies: read as data, never executed.

Back-ends write lines with folders into `.pth` files, or lines that start an import hook. Two kinds of hooks say
literally which module lies where, and are understood; a project with any other is installed by a build.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_core.plugins.dependencies.search_path import top_level_modules

if TYPE_CHECKING:
    import ast

_NAMESPACES: Final = "-nspkg.pth"
"""End of the names of files with which setuptools makes namespaces; Python knows these by itself now."""


class UnclearEditableError(Exception):
    """An editable install is made in a way that cannot be read."""


def editable_code(target: Path, wanted: set[str]) -> dict[str, Path]:
    """Return the top-level modules of an editable install in `target`: module name to the folder it lies in.

    Args:
        target: The target directory.
        wanted: Names that count even where they are plain folders (namespace packages).

    Raises:
        UnclearEditableError: That cannot be told, or a package has another name than its folder.
    """
    code: dict[str, Path] = {}
    # A dependency may bring a `.pth` file of its own (setuptools: `distutils-precedence.pth`), which says nothing of
    # code.
    others = set(_of_dependencies(target))
    for pth in sorted(path for path in target.glob("*.pth") if path.name not in others):
        for line in () if pth.name.endswith(_NAMESPACES) else _lines(pth):
            # As `site` decides: such a line is run by Python at its start, any other names a folder.
            if line.startswith(("import ", "import\t")):
                found = _hook(target, line)
            else:
                folder = (target / line).resolve()
                plain = {name for name in wanted if (folder / name).is_dir()}
                found = dict.fromkeys(top_level_modules(folder) | plain, folder)
            for name, folder in found.items():
                if code.setdefault(name, folder) != folder and line.startswith("import"):
                    raise UnclearEditableError(f"parts of '{name}' lie in {code[name]} and in {folder}")
    return code


def _of_dependencies(target: Path) -> Iterator[str]:
    """Return the `.pth` files of what is not editable (PEP 610): they have other purposes."""
    for record in target.glob("*.dist-info/RECORD"):
        told = record.with_name("direct_url.json")
        if not (told.is_file() and '"editable"' in told.read_text(encoding="utf-8")):
            lines = record.read_text(encoding="utf-8").splitlines()
            yield from (name for line in lines if (name := line.partition(",")[0]).endswith(".pth"))


def _lines(pth: Path) -> Iterator[str]:
    """Return the lines of a `.pth` file; a folder whose name has a line break in it is one line."""
    # Paths are bytes on Linux: a folder whose name is no UTF-8 comes through as the system has it.
    text = pth.read_bytes().decode(errors="surrogateescape").removesuffix("\n")
    if text.startswith("/") and Path(text).is_dir():
        yield text
        return
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            yield line if (pth.parent / line).is_dir() else line.strip()


def _hook(target: Path, line: str) -> dict[str, Path]:
    """Return what the module says that a line imports, as `import __editable___x_finder; ….install()` does."""
    import ast

    name = line.removeprefix("import").partition(";")[0].strip()
    module = target / f"{name}.py"
    if not module.is_file():
        raise UnclearEditableError(f"a .pth file has the line '{line}'")
    # Parsed, not imported: the hook is code that a build wrote, and would run in this process.
    tree = ast.parse(module.read_bytes())
    places = dict([*_mapping(tree, "MAPPING"), *_mapped(tree)])
    if not places:
        raise UnclearEditableError(f"its import hook {module.name} decides where modules lie")
    code: dict[str, Path] = {}
    for dotted, location in places.items():
        parts, place = tuple(dotted.split(".")), Path(location)
        # setuptools names the folder of a package, the library `editables` its `__init__.py`.
        place = place.parent if place.stem == "__init__" else place.with_suffix("")
        # A search path says nothing but the folder above: `pkg` from a folder `src` could not be found that way.
        if place.parts[-len(parts) :] != parts:
            raise UnclearEditableError(f"the package '{dotted}' has another name than its folder {place}")
        top = place.parents[len(parts) - 1]
        if code.setdefault(parts[0], top) != top:
            raise UnclearEditableError(f"parts of '{parts[0]}' lie in {code[parts[0]]} and in {top}")
    return code


def _mapping(tree: "ast.Module", name: str) -> Iterator[tuple[str, str]]:
    """Read the mapping of setuptools' finder."""
    import ast

    for statement in tree.body:
        # setuptools writes `MAPPING = {...}`; newer ones put a type behind the name.
        if not isinstance(statement, ast.Assign | ast.AnnAssign):
            continue
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        if any(isinstance(each, ast.Name) and each.id == name for each in targets):
            value: Any = statement.value
            yield from ast.literal_eval(value).items()


def _mapped(tree: "ast.Module") -> Iterator[tuple[str, str]]:
    """Read the calls of the package `editables`: `F.map_module('name', '/path/name/__init__.py')`."""
    import ast

    for statement in tree.body:
        match statement:
            case ast.Expr(ast.Call(ast.Attribute(attr="map_module"), [ast.Constant(name), ast.Constant(place)])):
                yield str(name), str(place)
