"""What a project's wheel has: it is built, and compared with the code."""

import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from cuvis_ai_core._printable_text import shown_size
from cuvis_ai_core.cli.plugins.check.findings import ERROR, WARNING, Finding, line_of
from cuvis_ai_core.cli.plugins.check.source_code import is_test
from cuvis_ai_core.cli.plugins.check.subject import Subject
from cuvis_ai_core.errors import CuvisError

_NOT_OURS: Final = frozenset({"tests", "test", "docs", "doc", "examples", "scripts", "benchmarks", "tools", "src"})
_SRC: Final = (
    'Code lies below src. Write, in place of a list of packages:\n[tool.setuptools.packages.find]\nwhere = ["src"]'
)
_LARGE: Final = 10 * 2**20
_SOURCES: Final = frozenset(
    {".c", ".cpp", ".cu", ".h", ".hpp", ".pyc", ".pyx", ".pyi", ".md", ".rst", ".rs", ".so", ".pyd", ".orig"}
)
"""Kinds of files of which nobody is surprised that they are left out."""


def look_at(subject: Subject) -> tuple[list[Finding], int | None]:
    """Return what is wrong with the wheel of a project, and its size in bytes; None where none can be built."""
    with tempfile.TemporaryDirectory(prefix="cuvis-check-") as folder:
        try:
            wheel = _built(subject, Path(folder))
        except CuvisError as error:
            line = line_of(subject.text, "[build-system]")
            cure = _SRC if re.search(r"package directory '\S+' does not exist", error.message) else error.hint or ""
            return [Finding("build", ERROR, subject.project_file, line, error.message, cure)], None
        with zipfile.ZipFile(wheel) as archive:
            sizes = {each.filename: each.file_size for each in archive.infolist()}
        size = wheel.stat().st_size
    return compared(subject, sizes, size), size


def compared(subject: Subject, sizes: Mapping[str, int], size: int) -> list[Finding]:
    """Return what a wheel lacks of the code of its project, has too much, or is too large by.

    Args:
        subject: The project.
        sizes: How large each file in the wheel is.
        size: How large the wheel is.
    """
    return [*_left_out(subject, set(sizes)), *_put_in(subject, set(sizes)), *_large(subject, sizes, size)]


def _built(subject: Subject, folder: Path) -> Path:
    from cuvis_ai_core.plugins.cache import policy_checks
    from cuvis_ai_core.plugins.disk.altered_files import NO_SOURCE
    from cuvis_ai_core.plugins.installing.pyproject import version_in
    from cuvis_ai_core.plugins.installing.source_copy import copy_project
    from cuvis_ai_core.plugins.installing.uv_commands import Uv
    from cuvis_ai_core.plugins.manifest.manifest_schema import parse_plugin
    from cuvis_ai_core.plugins.offline import is_offline

    if subject.repo is None:  # of a tag the policy was asked when it was fetched; a build runs code
        entry = {"path": str(subject.folder), "provides": ["any.Node"]}
        policy_checks.judged(subject.plugin, parse_plugin(subject.plugin, entry, base=Path()), own_process=True)
    # Not in place: a build of setuptools leaves `build` and `*.egg-info` beside the project file.
    copy = folder / "source"
    copy_project(subject.folder, copy, NO_SOURCE)
    version = version_in(subject.repo[1]) if subject.repo else None
    return Uv(subject.plugin, folder, is_offline()).build_wheel(copy, version=version)


def _left_out(subject: Subject, there: set[str]) -> Iterator[Finding]:
    ignored = _ignored(subject)
    for file in subject.code.files():
        place = file.relative_to(subject.code.root)
        name = place.as_posix()
        of_tests = is_test(".".join(place.with_suffix("").parts))
        if name in there or file.suffix in _SOURCES or file in ignored or of_tests:
            continue
        code = file.suffix in {".py", ".yaml", ".yml"}
        what = "pipeline or defaults" if file.suffix != ".py" and code else "module" if code else "file"
        yield Finding(
            "wheel",
            ERROR if code else WARNING,
            file,
            1,
            f"this {what} is left out of the wheel: whoever installs the plugin does not have it",
            _cure(subject, name),
        )


def _put_in(subject: Subject, there: set[str]) -> Iterator[Finding]:
    """Say which folders become packages that many projects have."""
    for top in sorted({name.partition("/")[0] for name in there if name.endswith(".py") and "/" in name} & _NOT_OURS):
        backend = str(subject.data.get("build-system", {}).get("build-backend", ""))
        tops = {each.partition("/")[0] for each in there} - _NOT_OURS
        package = min((name for name in tops if name.isidentifier()), default=subject.plugin)
        yield Finding(
            "wheel-top",
            WARNING,
            subject.project_file,
            line_of(subject.text, "[tool.setuptools", "[tool.hatch.build", "[build-system]"),
            f"the wheel installs the folder '{top}' as a package of its own: pip-installed, it meets those of others",
            f'Write:\n[tool.setuptools.packages.find]\ninclude = ["{package}*"]'
            if "setuptools" in backend
            else "Let your build back end take the plugin's package alone.",
        )


def _cure(subject: Subject, name: str) -> str:
    backend = str(subject.data.get("build-system", {}).get("build-backend", ""))
    top, _, below = name.partition("/")
    if "setuptools" in backend and not name.endswith(".py"):
        return f'Write:\n[tool.setuptools.package-data]\n{top} = ["{below}"]'
    if "setuptools" in backend:
        return "Give its folder an __init__.py, or list the package below [tool.setuptools]."
    if "hatchling" in backend:
        place = (subject.code.root / top).relative_to(subject.folder).as_posix()
        return f'Write:\n[tool.hatch.build.targets.wheel]\npackages = ["{place}"]'
    if "uv_build" in backend:
        return "See 'source-exclude', 'wheel-exclude' and 'module-name' below [tool.uv.build-backend]."
    return "See which files your build back end takes."


def _ignored(subject: Subject) -> set[Path]:
    """Return the files that Git is told to ignore: they are no part of the project."""
    from cuvis_ai_core.plugins.git.untrusted_folder import look

    files = [str(file) for file in subject.code.files()]
    # Separated by null characters: between line ends Git would quote names with unusual characters (core.quotePath).
    told = look(subject.folder, "check-ignore", "--stdin", "-z", told="\0".join(files)) or ""
    # What the user's own settings of a whole machine ignore is no matter of the project, but rarely code either.
    return {Path(name) for name in told.split("\0") if name}


def _large(subject: Subject, sizes: Mapping[str, int], size: int) -> Iterator[Finding]:
    if size > _LARGE:
        name = max(sizes, key=lambda each: sizes[each])
        file = subject.code.root / name
        yield Finding(
            "size",
            WARNING,
            file if file.exists() else subject.project_file,
            1,
            f"the wheel has {shown_size(size)}, of which this file is {shown_size(sizes[name])}: each user fetches it",
            "Publish weights and data elsewhere, and let the node fetch or be given them.",
        )
