"""What a project says of itself: project file, entry points, `provides`, packages, requirements."""

import re
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, distributions
from itertools import islice
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core._nearest import nearest
from cuvis_ai_core.cli.plugins.check.findings import ERROR, WARNING, Finding, line_of
from cuvis_ai_core.cli.plugins.check.source_code import Code, Module, is_test
from cuvis_ai_core.cli.plugins.check.subject import MANIFEST, Named, Subject, broken_manifest
from cuvis_ai_core.errors import CuvisError, DependencyConflictError
from cuvis_ai_core.plugins.dependencies.distribution import normalised
from cuvis_ai_core.plugins.dependencies.host_environment import EXCHANGE
from cuvis_ai_core.plugins.hooks.discovery import ENTRY_POINT_GROUP

_NEAR: Final = 0.7
_GROUP: Final = f'[project.entry-points."{ENTRY_POINT_GROUP}"]'


def look_at(subject: Subject) -> Iterator[Finding]:
    """Yield what is wrong with what a project says of itself."""
    yield from _project_file(subject)
    yield from _groups(subject)
    error = broken_manifest(subject.folder)
    if error is not None:
        manifest = subject.folder / MANIFEST
        yield Finding("manifest", ERROR, manifest, error.line or 1, error.message, error.hint or "Correct it.")
    for each in subject.entry_points:
        yield from _named(
            subject.code, each, each.path.partition("[")[0].replace(":", ".").replace(" ", ""), "entry point"
        )
    for each in subject.provides:
        yield from _named(subject.code, each, each.path, "'provides'")
    yield from _packages(subject)
    yield from _taken_names(subject)
    yield from _requirements(subject)
    yield from _imports(subject)


def _taken_names(subject: Subject) -> Iterator[Finding]:
    """Say which top-level packages are called like a module of Python."""
    for module in subject.code.modules():
        if "." not in module.name and module.name in sys.stdlib_module_names:
            yield Finding(
                "taken-name",
                ERROR,
                module.file,
                1,
                f"package '{module.name}' is called like a module of Python, which is found in its place",
                f"Rename its folder, as to my_{module.name}.",
            )


def _project_file(subject: Subject) -> Iterator[Finding]:
    from cuvis_ai_core.plugins.installing.pyproject import read_project

    file = subject.project_file
    try:
        read = read_project(subject.folder)
    except CuvisError as error:
        # tomllib has the line in its words alone.
        numbers = re.findall(r"at line (\d+)", error.message)
        marks = re.findall(r"'([^']+)'", error.message)
        line = int(numbers[0]) if numbers else line_of(subject.text, *marks, "[project]")
        yield Finding("project-file", ERROR, file, line, _without(file, error.message), error.hint or "")
        return
    if not read.name:
        said = "there is no [project] table: only a build can tell its name and what it needs"
        cure = "Move the metadata of setup.py, setup.cfg or [tool.…] into [project]; every back-end reads it there."
        yield Finding("project-file", WARNING, file, 1, said, cure)
    elif "version" not in subject.table and "version" not in (subject.table.get("dynamic") or ()):
        cure = 'Write below [project]:\nversion = "0.1.0"'
        yield Finding("project-file", ERROR, file, line_of(subject.text, "[project]"), "[project] has no version", cure)
    if "build-system" not in subject.data:
        cure = 'Write at the top:\n[build-system]\nrequires = ["hatchling>=1.27"]\nbuild-backend = "hatchling.build"'
        said = "there is no [build-system]: what builds it is left to each tool"
        yield Finding("build-system", WARNING, file, 1, said, cure)
    if read.requires_python:
        import platform

        from packaging.specifiers import SpecifierSet

        # Else a release candidate of Python fits no bound (PEP 440).
        if not SpecifierSet(read.requires_python).contains(platform.python_version(), prereleases=True):
            yield Finding(
                "requires-python",
                ERROR,
                file,
                line_of(subject.text, "requires-python"),
                f"it needs Python {read.requires_python}, but this is Python {platform.python_version()}",
                "Widen requires-python, or check it with such a Python.",
            )


def _groups(subject: Subject) -> Iterator[Finding]:
    table = subject.table.get("entry-points")
    groups: Mapping[str, Any] = table if isinstance(table, dict) else {}
    for group, points in groups.items():
        inner = points if isinstance(points, dict) else {}
        # TOML reads `[project.entry-points.cuvis_ai.nodes]` as a table in a table.
        dotted = next((f"{group}.{key}" for key, value in inner.items() if isinstance(value, dict)), group)
        if dotted != ENTRY_POINT_GROUP and nearest(dotted.lower(), [ENTRY_POINT_GROUP], cutoff=_NEAR):
            yield Finding(
                "entry-point-group",
                ERROR,
                subject.project_file,
                line_of(subject.text, f'"{group}"', f".{group}]", group),
                f"the entry-point group '{dotted}' is one that nobody reads; that of plugins is '{ENTRY_POINT_GROUP}'",
                f"Write:\n{_GROUP}",
            )
        elif dotted == ENTRY_POINT_GROUP != group:
            yield Finding(
                "entry-point-group",
                ERROR,
                subject.project_file,
                line_of(subject.text, "entry-points"),
                "the name of the entry-point group has a dot, and no quotes: it is no group then",
                f"Write:\n{_GROUP}",
            )


def _named(code: Code, named: Named, path: str, where: str) -> Iterator[Finding]:
    """See that what is named is there."""
    said, cure = _missing(code, path, where)
    if said:
        yield Finding(
            "names",
            ERROR,
            named.file,
            named.line,
            f"{where} {named.key} names '{path}', {said}"
            if where == "entry point"
            else f"{where} names '{path}', {said}",
            cure,
        )


def _meant(code: Code, module: Module, name: str, where: str) -> str:
    """Say where a class is that a module has not."""
    for each in code.modules():
        if name in each.classes:
            spelled = f"{each.name}:{name}" if where == "entry point" else f"{each.name}.{name}"
            return f"Write: {spelled}\nOr in {module.file.name}: from {each.name} import {name}"
    near = nearest(name, module.names)
    return f"Write: {module.name}.{near}" if near else f"It has: {', '.join(sorted(module.classes)) or 'no class'}."


def _missing(code: Code, path: str, where: str) -> tuple[str, str]:
    parts = path.split(".")
    if where == "entry point" and code.has_module(path):
        return "", ""  # a module with hook implementations
    if (module := code.module(path)) is not None:
        classes = [f"{path}.{name}" for name in module.classes if not name.startswith("_")]
        return "which is a module, no class", f"Write one of: {', '.join(classes) or f'{path}.TheClass'}"
    for depth in range(1, len(parts)):
        if not code.has_module(".".join(parts[:depth])):
            missing = ".".join(parts[:depth])
            parent = code.root.joinpath(*parts[: depth - 1])
            beside = (
                sorted({each.stem for each in parent.iterdir() if each.suffix == ".py" or each.is_dir()})
                if parent.is_dir()
                else []
            )
            beside = [each for each in beside if each.isidentifier() and each != "__init__"]
            if depth > 1 and _top_has(code, parts[: depth - 1], parts[depth - 1]):
                return "", ""  # an attribute of an attribute
            near = nearest(parts[depth - 1], beside)
            meant = ".".join([*parts[: depth - 1], near, *parts[depth:]]) if near else ""
            return (
                f"but there is no module '{missing}'",
                f"Write: {meant}" if meant else f"It has: {', '.join(beside) or 'none'}.",
            )
    module = code.module(".".join(parts[:-1]))
    if module is None or module.takes_all or parts[-1] in module.names:
        return "", ""
    return f"but module '{module.name}' has no '{parts[-1]}'", _meant(code, module, parts[-1], where)


def _top_has(code: Code, parts: list[str], name: str) -> bool:
    module = code.module(".".join(parts))
    return module is not None and (name in module.names or module.takes_all)


def _packages(subject: Subject) -> Iterator[Finding]:
    """See that folders with modules are packages: what builds wheels leaves others out."""
    code = subject.code
    if not code.tops and not subject.entry_points and not subject.provides:
        yield Finding(
            "no-code",
            ERROR,
            subject.project_file,
            1,
            "there is no package with code, neither in 'src' nor at the top",
            f"Put it into src/{subject.name.replace('-', '_')}, with an __init__.py.",
        )
    seen: set[Path] = set()
    for file in code.files():
        folder = file.parent
        if file.suffix != ".py" or folder == code.root or folder in seen or (folder / "__init__.py").exists():
            continue
        seen.add(folder)
        name = ".".join(folder.relative_to(code.root).parts)
        if is_test(name):
            continue
        yield Finding(
            "init-missing",
            ERROR,
            file,
            1,
            f"the folder of '{name}' has no __init__.py: it is no package, and what builds the wheel may leave it out",
            f"touch {(folder / '__init__.py').relative_to(subject.folder)}",
        )
    for error in code.broken:
        yield Finding(
            "syntax",
            ERROR,
            Path(error.filename or ""),
            error.lineno or 1,
            f"it is no Python: {error.msg}",
            "Correct it.",
        )


def _requirements(subject: Subject) -> Iterator[Finding]:
    from packaging.requirements import InvalidRequirement, Requirement

    from cuvis_ai_core.plugins.dependencies.host_environment import missing_requirements

    for text in _listed(subject):
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # of which the project file is told
        line = line_of(subject.text, f'"{text}"', f"'{text}'", requirement.name)
        try:
            missing_requirements(subject.name, (text,))
        except CuvisError as error:
            conflicting = isinstance(error, DependencyConflictError)
            yield Finding(
                "requirements",
                ERROR,
                subject.project_file,
                line,
                error.message,
                error.hint or "Widen it."
                if not conflicting
                else f"Widen its bounds, so that this version suits, too. {error.hint}",
            )
            continue
        # `==1.*` is a bound (PEP 440).
        pins = [each for each in requirement.specifier if each.operator in {"==", "==="} and "*" not in each.version]
        if pins:
            yield Finding(
                "pinned",
                WARNING,
                subject.project_file,
                line,
                f"'{text}' pins one version: it conflicts with every program that has another",
                f"Write bounds: {requirement.name}>={pins[0].version}",
            )


def _imports(subject: Subject) -> Iterator[Finding]:
    """See that what modules import is listed: what happens to be installed here need not be elsewhere."""
    table = subject.table
    if (
        not isinstance(table.get("dependencies", []), list)
        or "dependencies" in (table.get("dynamic") or ())
        or not table
    ):
        return
    listed = _closure(_listed(subject))
    needed: dict[str, tuple[Module, int]] = {}
    for module in (each for each in subject.code.modules() if not each.is_test):
        for top, line in module.needed():
            needed.setdefault(top, (module, line))
    # Most distributions are called as their package is; of the others the installed files are asked.
    known = {each.replace("-", "_") for each in listed} | subject.code.tops | {""}
    unknown = {top: place for top, place in needed.items() if top.lower() not in known and not Code.is_standard(top)}
    for top, (module, line) in unknown.items():
        found = {normalised(each.name) for each in distributions() if _has(each, top)}
        if found and not found & listed:
            yield _unlisted(module, top, line, min(found))


def _has(distribution: Distribution, top: str) -> bool:
    """Tell whether a distribution brings a module or package of some name.

    `packages_distributions` would make a path of every installed file: half a second, most of the time of a check.
    """
    declared = (distribution.read_text("top_level.txt") or "").split()
    if declared:
        return top in declared
    recorded = distribution.read_text("RECORD") or ""
    return re.search(rf"^{re.escape(top)}(/|\.([^/,]*\.)?(py|so|pyd),)", recorded, re.MULTILINE) is not None


def _unlisted(module: Module, top: str, line: int, name: str) -> Finding:
    always = name in EXCHANGE and name != "torch"  # where this core is, these are
    why = "a version that it cannot use is not refused" if always else "elsewhere it may not be there"
    return Finding(
        "unlisted",
        WARNING if always else ERROR,
        module.file,
        line,
        f"it imports '{top}', which the dependencies in pyproject.toml do not list: {why}",
        f'Write into dependencies: "{name}"',
    )


def _closure(requirements: list[str]) -> set[str]:
    """Return what requirements come to, with all that these need in turn, as far as it is installed here."""
    from importlib.metadata import PackageNotFoundError, requires

    from cuvis_ai_core.plugins.dependencies.requirements import applies, extras_in, needed_name

    waiting, found = list(requirements), dict[str, frozenset[str]]()
    while waiting:
        text = waiting.pop()
        name, extras = needed_name(text), extras_in(text)
        if not name or (found.get(name, frozenset()) >= extras and name in found):
            continue
        found[name] = found.get(name, frozenset()) | extras
        try:
            waiting += [each for each in requires(name) or () if applies(each, found[name])]
        except PackageNotFoundError:
            continue
    return set(found)


def _listed(subject: Subject) -> list[str]:
    """Return its dependencies, those of all extras with them: what they bring may be imported."""
    from cuvis_ai_core.plugins.installing.pyproject import LONGEST, MOST

    table = subject.table
    optional = table.get("optional-dependencies")
    groups = [table.get("dependencies"), *(optional.values() if isinstance(optional, dict) else ())]
    found = (each for group in groups if isinstance(group, list) for each in group if isinstance(each, str))
    return [each for each in islice(found, MOST) if len(each) <= LONGEST]  # of others the project file is told


def _without(file: Path, message: str) -> str:
    return message.removeprefix(f"{file} ").rstrip(".")
