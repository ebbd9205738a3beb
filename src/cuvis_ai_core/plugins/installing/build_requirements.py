"""What it takes to build a plugin, found out by asking its back-end, as PEP 517 has it."""

import shutil
from pathlib import Path
from typing import Final

from pyproject_hooks import BackendUnavailable, BuildBackendHookCaller, UnsupportedOperation

from cuvis_ai_core._reading import read_toml
from cuvis_ai_core.errors import BuildError
from cuvis_ai_core.plugins.installing.uv import Uv

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
    stated = read_toml(file) if file.is_file() else {}
    system = stated.get("build-system", _LEGACY)
    environment = uv.folder / "build environment"
    python = uv.make_environment(environment, version)
    if system.get("requires"):
        uv.add_to_environment(python, system["requires"])
    # Back-ends may write where they are asked.
    copy = shutil.copytree(project, uv.folder / "asked", symlinks=True, ignore=shutil.ignore_patterns(".git", ".venv"))
    backend = system.get("build-backend", _LEGACY["build-backend"])
    hooks = BuildBackendHookCaller(
        str(copy), backend, system.get("backend-path"), runner=uv.run_backend, python_executable=str(python)
    )
    try:
        more = (hooks.get_requires_for_build_editable if editable else hooks.get_requires_for_build_wheel)(None)
    except (BackendUnavailable, UnsupportedOperation) as error:
        raise BuildError(
            f"The build back-end {backend} cannot be asked what it needs: {error}", plugin=uv.plugin
        ) from error
    if more:
        uv.add_to_environment(python, more)
    return uv.installed(python)
