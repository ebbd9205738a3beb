"""What it takes to build a plugin, found out by asking its back-end, as PEP 517 has it."""

import json
import shutil
import tomllib
from pathlib import Path
from typing import Final

from cuvis_ai_core.plugins.installing.uv import Uv

_ASK: Final = """\
import importlib, json, os, sys
kind, backend, paths = sys.argv[1], sys.argv[2], sys.argv[3:]
sys.path[:0] = [os.path.abspath(path) for path in paths]
module, _, attribute = backend.partition(":")
found = importlib.import_module(module)
for name in filter(None, attribute.split(".")):
    found = getattr(found, name)
ask = getattr(found, f"get_requires_for_build_{kind}", lambda settings: [])
real = os.dup(1)
os.dup2(2, 1)
needs = ask(None)
os.write(real, json.dumps(list(needs)).encode())
"""

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
    stated = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    system = stated.get("build-system", _LEGACY)
    environment = uv.folder / "build environment"
    python = uv.make_environment(environment, version)
    if system.get("requires"):
        uv.add_to_environment(python, system["requires"])
    # Back-ends may write where they are asked.
    copy = shutil.copytree(project, uv.folder / "asked", symlinks=True, ignore=shutil.ignore_patterns(".git", ".venv"))
    kind = "editable" if editable else "wheel"
    backend = system.get("build-backend", _LEGACY["build-backend"])
    answer = uv.run_python(python, ["-c", _ASK, kind, backend, *system.get("backend-path", [])], copy)
    more = json.loads(answer or "[]")
    if more:
        uv.add_to_environment(python, more)
    return uv.installed(python)
