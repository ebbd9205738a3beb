"""Have uv's cache hold bytecode beside the modules that tests install again and again.

python tools/bytecode.py      done by tools/check.py before tests; once for each Python and version of these libraries

uv links what its cache has unpacked into each new environment, and what lies beside a module goes along. Without
bytecode there, the first start of each plugin's process compiles NumPy and pydantic anew, and each build its back-end:
about half of what either costs.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from cuvis_ai_core.errors import CuvisError
from cuvis_ai_core.plugins.installing.host_wheels import schemas
from cuvis_ai_core.plugins.installing.uv_commands import Uv

BACK_ENDS: Final = (
    *("hatchling.build", "hatchling.builders.wheel", "hatchling.metadata.core", "hatchling.plugin.manager"),
    *("setuptools.command.bdist_wheel", "setuptools.command.editable_wheel"),
)
WORKER: Final = ("numpy", "pluggy", "cuvis_ai_schemas.pipeline")

_PROJECT: Final = """\
[build-system]
requires = [{required}]
build-backend = "backend"
backend-path = ["."]
[project]
name = "bytecode"
version = "1.0"
"""

# Imported from where the links lead, not from the environment of this build, which is removed: Python writes bytecode
# beside the module that it finds.
_BACK_END: Final = """\
import os, sys
links = [os.path.join(folder, name, "__init__.py") for folder in sys.path if "site-packages" in folder
         for name in sorted(os.listdir(folder))]
sys.path[:0] = {{os.path.dirname(os.path.dirname(os.path.realpath(link))): 0 for link in links if os.path.islink(link)}}

import {modules}
from setuptools.build_meta import *
"""


def main() -> int:
    """Return 1 if it cannot be done, without which tests are only slower."""
    try:
        write(("hatchling", "numpy", "pluggy", schemas()), (*BACK_ENDS, *WORKER))
    except CuvisError as error:
        print(error)
        return 1
    return 0


def write(required: Sequence[str], modules: Sequence[str]) -> None:
    """Build a project that needs some distributions, and imports modules of them from uv's cache.

    Raises:
        CuvisError: uv could not.
    """
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV_LINK_MODE", "symlink")  # so that the build can tell where the cache is
        project = Path(folder, "project")
        project.mkdir()
        needs = ", ".join(f'"{each}"' for each in ("setuptools", *required))
        (project / "pyproject.toml").write_text(_PROJECT.format(required=needs), encoding="utf-8")
        (project / "backend.py").write_text(_BACK_END.format(modules=", ".join(modules)), encoding="utf-8")
        Uv("bytecode", Path(folder)).build_wheel(project, version=None)


if __name__ == "__main__":
    sys.exit(main())
