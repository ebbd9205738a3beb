"""A plugin's project: what it is called and what it needs, as far as `pyproject.toml` says it."""

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_core._untrusted_files import read_toml
from cuvis_ai_core.errors import ProjectFileError
from cuvis_ai_core.plugins.disk.altered_files import PROJECT_FILES
from cuvis_ai_core.plugins.manifest.field_checks import show

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from importlib.metadata import Distribution

    from packaging.requirements import Requirement
    from packaging.utils import NormalizedName

# A stranger's 60,000 dependencies were parsed without end.
MOST: Final = 1000
"""Dependencies of a project, those of its extras included."""

LONGEST: Final = 4000
"""Characters of a dependency: a parser takes time and stack for each."""

_EXAMPLE = """\
A plugin's pyproject.toml needs at least:
  [project]
  name = "my-plugin"
  version = "0.1.0"
  dependencies = []"""


# PEP 508's rule, with an end: the name becomes part of file names, which have 255 bytes.
_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,198}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Project:
    """The part of a project file that loading needs.

    Attributes:
        name: Name of the distribution; empty where only a build can tell.
        requires_python: Its `requires-python`, if any.
        dependencies: Requirements, those of the chosen extras included; None where only a build can tell.
    """

    name: str
    requires_python: str | None
    dependencies: tuple[str, ...] | None


def is_project(folder: Path) -> bool:
    """Tell whether a folder holds what pip would install, whether or not it would succeed."""
    return any((folder / name).is_file() for name in ("pyproject.toml", "setup.py"))


def read_project(folder: Path, extras: tuple[str, ...] = ()) -> Project:
    """Read the `[project]` table (PEP 621) of the project in a folder.

    Where a back-end has it elsewhere, as in `setup.py`, `setup.cfg` or `[tool.poetry]`, only a build can tell.

    Raises:
        ProjectFileError: The file is missing, is no TOML, breaks a rule, or has no such extra.
    """
    path = folder / "pyproject.toml"
    if not path.is_file() and is_project(folder):
        return Project("", None, None)
    try:
        data = read_toml(path)
    except FileNotFoundError as error:
        raise broken(path, "is missing; plugins from Git must have one") from error
    except (OSError, ValueError) as error:
        raise broken(path, f"cannot be read: {error}") from error
    table = data.get("project")
    if table is None and _tells_its_back_end(folder, data):
        return Project("", None, None)
    if not isinstance(table, dict):
        raise broken(path, "has no [project] table")
    name = table.get("name")
    if not isinstance(name, str) or not name:
        raise broken(path, "has no name in its [project] table")
    if not _NAME.fullmatch(name):
        raise broken(path, f"has a name that is none of a package: {show(name)}")
    dynamic = table.get("dynamic", [])
    if not isinstance(dynamic, list):
        raise broken(path, "has a 'dynamic' that is no list")
    dependencies: tuple[str, ...] | None = None
    if not {"dependencies", "optional-dependencies"} & set(map(str, dynamic)):
        dependencies = _requirements(path, table, extras)
    return Project(name, _requires_python(path, table), dependencies)


def _tells_its_back_end(folder: Path, data: "Mapping[str, Any]") -> bool:
    """Tell whether a project has its metadata where only its back-end looks: setuptools in files, others in a table."""
    if any((folder / name).is_file() for name in PROJECT_FILES[1:]):
        return True
    system = data.get("build-system")
    backend = system.get("build-backend") if isinstance(system, dict) else None
    return isinstance(backend, str) and not backend.startswith("setuptools")


def _requires_python(path: Path, table: dict[str, Any]) -> str | None:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    value = table.get("requires-python")
    if value is None:
        return None
    if isinstance(value, str) and len(value) > LONGEST:
        raise broken(path, f"has a requires-python of more than {LONGEST} characters")
    # Lists are specifiers to newer versions of packaging.
    if isinstance(value, str):
        with contextlib.suppress(InvalidSpecifier):
            return str(SpecifierSet(value))
    raise broken(path, f"has an invalid requires-python: {show(value)}")


def _requirements(path: Path, table: dict[str, Any], extras: tuple[str, ...]) -> tuple[str, ...]:
    from packaging.utils import canonicalize_name

    optional = table.get("optional-dependencies", {})
    if not isinstance(optional, dict):
        raise broken(path, "has an 'optional-dependencies' that is no table")
    known = {canonicalize_name(extra): needs for extra, needs in optional.items()}
    waiting = [table.get("dependencies", []), *(_extra(path, known, extra) for extra in extras)]
    seen = set(map(canonicalize_name, extras))
    found: list[str] = []
    # Grows while it is read: projects name their own extras too, as in `all = ["my-plugin[images,video]"]`.
    for needs in waiting:
        for requirement in (_checked(path, each) for each in _as_list(path, needs)):
            if canonicalize_name(requirement.name) != canonicalize_name(table["name"]):
                found.append(str(requirement))
                if len(found) > MOST:
                    raise broken(path, f"has more than {MOST} dependencies")
            # Of a project's own extras the marker is asked at once: nobody else looks at this line again.
            elif requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                # Less those that were seen: extras may name each other in a circle.
                own = sorted(set(map(canonicalize_name, requirement.extras)) - seen)
                seen.update(own)
                waiting += [_extra(path, known, extra) for extra in own]
    return tuple(dict.fromkeys(found))


def _extra(path: Path, known: "Mapping[NormalizedName, object]", extra: str) -> object:
    from packaging.utils import canonicalize_name

    refuse_unknown_extras(path, known, [extra])
    return known[canonicalize_name(extra)]


def refuse_unknown_extras(path: Path, known: "Collection[str]", asked: "Iterable[str]") -> None:
    """Raise if a project has not all extras that are asked for: installers leave out what they do not know.

    Args:
        path: The project or its file, for the error.
        known: The extras that it has.
        asked: Those that are asked for.

    Raises:
        ProjectFileError: It lacks one.
    """
    from packaging.utils import canonicalize_name

    names = {canonicalize_name(each) for each in known}
    for extra in asked:
        if canonicalize_name(extra) not in names:
            raise ProjectFileError(
                f"{path} has no extra '{extra}'; it offers: {', '.join(sorted(names)) or 'none'}.",
                hint="Correct 'extras' in the manifest, or the extra in the project that refers to it.",
                path=path,
            )


def extras_of(installed: "Distribution") -> list[str]:
    """Return the extras that an installed project has."""
    return installed.metadata.get_all("Provides-Extra") or []


def _as_list(path: Path, needs: object) -> list[object]:
    if not isinstance(needs, list):
        raise broken(path, f"has dependencies that are no list: {show(needs)}")
    return needs


def _checked(path: Path, requirement: object) -> "Requirement":
    from packaging.requirements import InvalidRequirement, Requirement

    if len(str(requirement)) > LONGEST:
        raise broken(path, f"has a dependency of more than {LONGEST} characters: {show(requirement)}")
    try:
        return Requirement(str(requirement))
    except InvalidRequirement as error:
        raise broken(path, f"has an invalid dependency {show(requirement)}: {error}") from error
    # packaging parses markers by calls within calls: some thousand brackets end Python's stack.
    except RecursionError:
        raise broken(path, f"has a dependency that is nested too deeply: {show(requirement)}") from None


def version_in(tag: str) -> str | None:
    """Return the version that a tag states, as `v1.2.0`, `1.2.0`, `release/1.2.0` and `name-1.2.0` do, or None."""
    from packaging.version import InvalidVersion, Version

    last = tag.rpartition("/")[2]
    # Begins with a letter: `2024-01-15` is a date, of which no end is the version.
    named = re.fullmatch(r"[^\W\d].*?[-_@](v?\d.*)", last)
    for text in (last, named[1] if named else ""):
        with contextlib.suppress(InvalidVersion):
            return str(Version(text))
    return None


def broken(path: Path, what: str) -> ProjectFileError:
    """Return the error for a project file that breaks a rule."""
    return ProjectFileError(f"{path} {what}.", hint=_EXAMPLE, path=path)
