"""What lies in an installed target directory: distributions and their modules."""

import sys
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from importlib.metadata import Distribution as InstalledDistribution
from importlib.metadata import DistributionFinder, MetadataPathFinder
from pathlib import Path, PurePosixPath
from typing import Final

from cuvis_ai_core.errors import DependencyConflictError
from cuvis_ai_core.plugins.cache.target_entry import Target
from cuvis_ai_core.plugins.dependencies.distribution import Distribution
from cuvis_ai_core.plugins.dependencies.search_path import without_standard_library
from cuvis_ai_core.plugins.hooks.discovery import ENTRY_POINT_GROUP

_MODULE_SUFFIXES = (".py", ".pyc", ".so", ".pyd")

_OURS: Final = {name.replace("-", "_"): name for name in ("cuvis-ai-core", "cuvis-ai-hookspecs", "cuvis-ai-schemas")}
"""Modules of which there is one, to the packages that have them."""

_STRAY = frozenset({"test", "tests", "docs", "doc", "examples", "benchmarks", "conftest", "setup"})
"""Top-level names that distributions ship by mistake; no two of them clash over these."""


def read_distributions(target: Path) -> list[Distribution]:
    """Return what is installed in a target directory, sorted by name."""
    found = [_read_distribution(installed) for installed in _installed(target)]
    return sorted(found, key=lambda distribution: distribution.name)


def _is_name(text: str) -> bool:
    """Tell whether code may import this; what is compiled imports names that begin with a digit too (mypyc)."""
    return text.replace("_", "a").isalnum()


def module_roots(files: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the outermost packages and modules among a distribution's files, and the namespaces above them."""
    paths = [PurePosixPath(file) for file in files if file.endswith(_MODULE_SUFFIXES)]
    # RECORD lists scripts as `../../../bin/x.py`: they lie outside of what is imported.
    paths = [path for path in paths if "__pycache__" not in path.parts and ".." not in path.parts]
    packages = {path.parent.parts for path in paths if path.name.partition(".")[0] == "__init__"}
    roots = {_root(path, packages) for path in paths}
    dotted = {".".join(root) for root in roots if all(map(_is_name, root))}
    spaces = {".".join(root[:depth]) for root in roots for depth in range(1, len(root))}
    return tuple(sorted(dotted)), tuple(sorted(space for space in spaces if all(map(_is_name, space.split(".")))))


def _root(path: PurePosixPath, packages: set[tuple[str, ...]]) -> tuple[str, ...]:
    # The outermost package counts: what lies below is found through it.
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
    # Not by suffixes: programs and ctypes libraries in a `py3-none-manylinux…` wheel have none that tells.
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


def target_of(
    folder: Path, plugin: Distribution, code: Mapping[str, Path], host: str, declared: Collection[str] = ()
) -> Target:
    """Look at what was installed in a folder.

    Args:
        folder: The target directory.
        plugin: The plugin's distribution as far as it is known: name and requirements.
        code: Top-level modules that lie elsewhere (editable installs).
        host: Fingerprint of the host.
        declared: Top-level modules of the classes that the plugin is to have.

    Raises:
        DependencyConflictError: Something brings modules that are not its own.
    """
    found = {each.name: each for each in read_distributions(folder)}
    # With the requirements as resolved for the chosen extras: the metadata that is installed has those of all extras.
    own = found.pop(plugin.name, plugin)._replace(requires=plugin.requires)
    here = dict.fromkeys((root.partition(".")[0] for root in own.roots), "")
    places = here | {top: str(place) for top, place in code.items()}
    _refuse_taken(own.name, places, found.values(), {top for top in declared if not _is_shared(folder / top)})
    return Target(
        folder=folder,
        plugin=own,
        needed=tuple(found.values()),
        code={top: places[top] for top in sorted(without_standard_library(places))},
        entry_points=_entry_points(folder, own.name),
        hosts=(host,),
    )


def _refuse_taken(
    plugin: str, places: Collection[str], needed: Collection[Distribution], declared: Collection[str]
) -> None:
    """Refuse modules that would take the place of this package, or, in a dependency, of the plugin itself."""
    namespaces = {name for each in needed for name in each.namespaces}
    brought = [(each.name, root.partition(".")[0]) for each in needed for root in each.roots]
    # A plugin may declare classes of what it needs, and then has no such module.
    whose = {top: f"the plugin '{plugin}' itself" for top in declared if top in places and top not in namespaces}
    found = [
        (name, top, f"'{_OURS[top]}'")
        for name, top in [*((plugin, top) for top in places), *brought]
        if _OURS.get(top, name) != name
    ]
    found += [(name, top, whose[top]) for name, top in brought if top in whose]
    for name, top, owner in found:
        raise DependencyConflictError(
            f"Dependency conflict: package {name} brings a module '{top}', which is that of {owner}.",
            hint="Ask its author: no other package may have it.",
            requirement=name,
            installed=top,
        )


def _is_shared(package: Path) -> bool:
    """Tell whether a package is a namespace of the old kinds, which each of its distributions brings whole."""
    with suppress(OSError):
        # Read, never imported: what it does when it runs is its plugin's, and nothing of that has been let in yet.
        code = (package / "__init__.py").read_bytes()
        return b"extend_path" in code or b"declare_namespace" in code
    return False


def _entry_points(folder: Path, name: str) -> dict[str, str]:
    from packaging.utils import canonicalize_name

    return {
        point.name: point.value
        for installed in _installed(folder)
        if canonicalize_name(installed.metadata["Name"]) == name
        for point in installed.entry_points
        if point.group == ENTRY_POINT_GROUP
    }
