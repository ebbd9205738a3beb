"""What it takes to build a plugin, found out by asking its back-end, as PEP 517 has it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pyproject_hooks import BackendUnavailable, BuildBackendHookCaller, UnsupportedOperation

from cuvis_ai_core._untrusted_files import read_toml
from cuvis_ai_core.errors import BuildError
from cuvis_ai_core.plugins.installing.pyproject import broken
from cuvis_ai_core.plugins.installing.source_copy import copy_project
from cuvis_ai_core.plugins.installing.uv_commands import Uv

# What PEP 517 and 518 have a front end take where the file or the table is missing.
_LEGACY: Final = {"requires": ["setuptools>=40.8.0"], "build-backend": "setuptools.build_meta:__legacy__"}


def build_requirements(project: Path, uv: Uv, *, editable: bool, version: str | None = None) -> list[str]:
    """Return `name==version` of everything that building a project needs, on this platform.

    Args:
        project: Folder with the pyproject.toml; an old source distribution has none.
        uv: Runs uv for this plugin.
        editable: Whether it is built to be used where it lies.
        version: Version of Python, as `3.12`; by default this interpreter.

    Raises:
        InstallError: They cannot be had, or the back-end fails.
    """
    file = project / "pyproject.toml"
    system = _build_system(file)
    # An environment for the question alone: what the back-end imports must be what a build would find, not what is
    # here.
    environment = uv.folder / "build environment"
    python = uv.make_environment(environment, version)
    if system.get("requires"):
        uv.add_to_environment(python, system["requires"])
    # Back-ends may write where they are asked.
    copy = uv.folder / "asked"
    copy_project(project, copy, (".git", ".venv"))
    backend = system.get("build-backend", _LEGACY["build-backend"])
    try:
        hooks = BuildBackendHookCaller(
            # The library's own runner would hand the user's whole environment, with its tokens, to the back-end.
            str(copy),
            backend,
            system.get("backend-path"),
            runner=uv.run_backend,
            python_executable=str(python),
        )
    except ValueError as error:
        raise broken(file, f"has a backend-path that leads out of the project: {error}") from error
    try:
        more = (hooks.get_requires_for_build_editable if editable else hooks.get_requires_for_build_wheel)(None)
    except (BackendUnavailable, UnsupportedOperation) as error:
        raise BuildError(
            f"The build back-end {backend} cannot be asked what it needs: {error}", plugin=uv.plugin
        ) from error
    # What the back-end asks for beside `requires` (wheel, cython) is installed too: its versions are what is locked.
    if more:
        uv.add_to_environment(python, more)
    return uv.installed(python)


def _build_system(file: Path) -> dict[str, Any]:
    """Return the table `[build-system]`, or what holds where there is none.

    Raises:
        ProjectFileError: It is none.
    """
    try:
        system = read_toml(file).get("build-system", _LEGACY) if file.is_file() else _LEGACY
    except (OSError, ValueError) as error:
        raise broken(file, f"cannot be read: {error}") from error
    if not isinstance(system, dict) or not _is_sound(system):
        raise broken(file, "has a [build-system] that is none")
    return dict(system)


def _is_sound(system: Mapping[str, Any]) -> bool:
    lists = (system.get("requires", []), system.get("backend-path", []))
    texts = [each for found in lists if isinstance(found, list) for each in found]
    return all(isinstance(found, list) for found in lists) and all(
        isinstance(each, str) for each in (*texts, system.get("build-backend", ""))
    )
