"""What lies in an installed target directory: distributions, their modules, and where the plugin's code is.

Editable installs are read as data (`.pth` lines, the mapping of setuptools' finder), never executed.
"""

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution as InstalledDistribution
from importlib.metadata import DistributionFinder, MetadataPathFinder
from pathlib import Path, PurePosixPath
from typing import Any

from cuvis_ai_core.errors import ProjectFileError
from cuvis_ai_core.plugins.cache.target import Target
from cuvis_ai_core.plugins.dependencies.distribution import Distribution
from cuvis_ai_core.plugins.discovery import ENTRY_POINT_GROUP

_MODULE_SUFFIXES = (".py", ".pyc", ".so", ".pyd")

_STRAY = frozenset({"test", "tests", "docs", "doc", "examples", "benchmarks", "conftest", "setup"})
"""Top-level names that distributions ship by mistake; no two of them clash over these."""


def read_distributions(target: Path) -> list[Distribution]:
    """Return what is installed in a target directory, sorted by name."""
    found = [_read_distribution(installed) for installed in _installed(target)]
    return sorted(found, key=lambda distribution: distribution.name)


def editable_code(target: Path, wanted: set[str]) -> dict[str, Path]:
    """Return the top-level modules of an editable install in `target`: module name to the folder it lies in.

    Args:
        target: The target directory.
        wanted: Names that count even where they are plain folders (namespace packages).

    Raises:
        ProjectFileError: A package has another name than its folder.
    """
    code: dict[str, Path] = {}
    for pth in sorted(target.glob("*.pth")):
        for line in pth.read_text(encoding="utf-8").splitlines():
            if line.startswith("import "):
                code |= _setuptools_mapping(target, line)
            elif line.strip() and not line.startswith("#"):
                folder = (target / line.strip()).resolve()
                plain = {name for name in wanted if (folder / name).is_dir()}
                code |= dict.fromkeys(top_level_modules(folder) | plain, folder)
    return code


def top_level_modules(folder: Path) -> set[str]:
    """Return the names of the modules and regular packages that lie directly in a folder."""
    if not folder.is_dir():
        return set()
    names = {
        entry.name.partition(".")[0]
        for entry in folder.iterdir()
        if (entry.suffix in _MODULE_SUFFIXES and entry.is_file()) or (entry / "__init__.py").is_file()
    }
    return {name for name in names if _is_name(name)}


def _is_name(text: str) -> bool:
    """Tell whether code may import this; what is compiled imports names that begin with a digit too (mypyc)."""
    return text.replace("_", "a").isalnum()


def module_roots(files: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the outermost packages and modules among a distribution's files, and the namespaces above them."""
    paths = [PurePosixPath(file) for file in files if file.endswith(_MODULE_SUFFIXES)]
    paths = [path for path in paths if "__pycache__" not in path.parts and ".." not in path.parts]
    packages = {path.parent.parts for path in paths if path.name.partition(".")[0] == "__init__"}
    roots = {_root(path, packages) for path in paths}
    dotted = {".".join(root) for root in roots if all(map(_is_name, root))}
    spaces = {".".join(root[:depth]) for root in roots for depth in range(1, len(root))}
    return tuple(sorted(dotted)), tuple(sorted(space for space in spaces if all(map(_is_name, space.split(".")))))


def _root(path: PurePosixPath, packages: set[tuple[str, ...]]) -> tuple[str, ...]:
    for depth in range(1, len(path.parts)):
        if path.parts[:depth] in packages:
            return path.parts[:depth]
    return (*path.parent.parts, path.name.partition(".")[0])


def _installed(folder: Path) -> Iterable[InstalledDistribution]:
    # Not through all finders: what is live elsewhere does not lie here.
    return MetadataPathFinder.find_distributions(DistributionFinder.Context(path=[str(folder)]))


def _read_distribution(installed: InstalledDistribution) -> Distribution:
    from packaging.utils import canonicalize_name

    roots, namespaces = module_roots(str(file) for file in installed.files or ())
    roots = tuple(root for root in roots if root not in _STRAY) or roots
    # The standard library comes first on every `sys.path`: backports of it are never found.
    roots = tuple(root for root in roots if root.partition(".")[0] not in sys.stdlib_module_names)
    wheel = installed.read_text("WHEEL") or ""
    tags = [line.partition(":")[2].strip() for line in wheel.splitlines() if line.startswith("Tag:")]
    return Distribution(
        name=canonicalize_name(installed.metadata["Name"]),
        version=installed.version,
        requires=tuple(installed.requires or ()),
        roots=roots,
        namespaces=namespaces,
        pure=all(tag.endswith("-none-any") for tag in tags),
    )


def _setuptools_mapping(target: Path, line: str) -> dict[str, Path]:
    """Read the module mapping of setuptools' editable finder: `import __editable___x_finder; ...install()`."""
    finder = target / f"{line.removeprefix('import ').partition(';')[0].strip()}.py"
    if not finder.is_file():
        return {}
    tree = ast.parse(finder.read_text(encoding="utf-8"))
    code: dict[str, Path] = {}
    for name, location in _literal(tree, "MAPPING"):
        parts, place = tuple(name.split(".")), Path(location).with_suffix("")
        if place.parts[-len(parts) :] != parts:
            raise _renamed(name, place)
        code[parts[0]] = place.parents[len(parts) - 1]
    return code


def _renamed(name: str, place: Path) -> ProjectFileError:
    folder = "/".join(name.split("."))
    return ProjectFileError(
        f"The package '{name}' lies in the folder {place}: 'package-dir' of setuptools gives it another name than "
        "its folder has, which a plugin at a local path must not do.",
        hint=f"Rename the folder to {folder} and correct 'package-dir', or load the plugin from a Git tag.",
        path=place,
    )


def _literal(tree: ast.Module, name: str) -> Iterator[tuple[str, Any]]:
    for statement in tree.body:
        targets = [statement.target] if isinstance(statement, ast.AnnAssign) else getattr(statement, "targets", [])
        if any(isinstance(each, ast.Name) and each.id == name for each in targets):
            yield from ast.literal_eval(statement.value).items()  # type: ignore[attr-defined]


def without_standard_library(names: Iterable[str]) -> frozenset[str]:
    """Drop names that the standard library owns: they come first on every `sys.path`, so no plugin means its own."""
    return frozenset(names) - sys.stdlib_module_names


def describe(folder: Path, plugin: Distribution, code: Mapping[str, Path], host: str) -> Target:
    """Look at what was installed in a folder.

    Args:
        folder: The target directory.
        plugin: The plugin's distribution as far as it is known: name and requirements.
        code: Top-level modules that lie elsewhere (editable installs).
        host: Fingerprint of the host.
    """
    found = {each.name: each for each in read_distributions(folder)}
    own = found.pop(plugin.name, plugin)._replace(requires=plugin.requires)
    here = dict.fromkeys((root.partition(".")[0] for root in own.roots), "")
    places = here | {top: str(place) for top, place in code.items()}
    return Target(
        folder=folder,
        plugin=own,
        needed=tuple(found.values()),
        code={top: places[top] for top in sorted(without_standard_library(places))},
        entry_points=_entry_points(folder, own.name),
        hosts=(host,),
    )


def _entry_points(folder: Path, name: str) -> dict[str, str]:
    from packaging.utils import canonicalize_name

    return {
        point.name: point.value
        for installed in _installed(folder)
        if canonicalize_name(installed.metadata["Name"]) == name
        for point in installed.entry_points
        if point.group == ENTRY_POINT_GROUP
    }
