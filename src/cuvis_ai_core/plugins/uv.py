"""What is asked of uv: build a wheel, find what is missing, install into a target directory."""

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cuvis_ai_core._process import run
from cuvis_ai_core.errors import (
    BuildError,
    DependencyConflictError,
    DependencyNotFoundError,
    InstallError,
    NetworkError,
    ToolNotFoundError,
)
from cuvis_ai_core.plugins.dependencies import WAY_OUT

_NETWORK: Final = re.compile(r"[Ff]ailed to fetch|error sending request|dns error|Connection refused|network")
_NOT_FOUND: Final = re.compile(
    r"was not found in the package registry|there (?:is|are) no versions? of|only .* (?:is|are) available"
    r"|does not have an extra|no wheels? (?:with|are)|has no usable wheels"
)


@dataclass(frozen=True, slots=True)
class Uv:
    """Runs uv for one plugin.

    Attributes:
        plugin: Name of the plugin, for errors.
        folder: Temporary folder to work in; no project configuration is picked up from it.
    """

    plugin: str
    folder: Path

    def build_wheel(self, project: Path, *, version: str | None) -> Path:
        """Build the wheel of a project.

        Args:
            project: Folder with the pyproject.toml; the build may write into it.
            version: What projects that read their version from Git are told.

        Raises:
            BuildError: The build failed.
            InstallError: uv failed otherwise.
        """
        out = self.folder / "wheel"
        told = {"SETUPTOOLS_SCM_PRETEND_VERSION": version} if version else {}
        command = ["build", "--wheel", "--no-sources", "--python", sys.executable, "--out-dir", str(out), str(project)]
        self._run(command, "build the plugin's wheel", told)
        return next(out.glob("*.whl"))

    def missing(self, requirements: Sequence[str], constraints: Sequence[str]) -> list[str]:
        """Return `name==version` of everything that the host lacks for some requirements.

        Args:
            requirements: What is needed.
            constraints: Versions that must stay as they are.

        Raises:
            DependencyNotFoundError: A package or version does not exist.
            DependencyConflictError: The requirements cannot be met together.
            InstallError: uv failed otherwise.
        """
        limits = self.folder / "constraints.txt"
        limits.write_text("\n".join(constraints), encoding="utf-8")
        options = ["--dry-run", "--no-build", "--output-format", "json", "--preview-features", "json-output"]
        command = ["pip", "install", *options, "--python", sys.executable, "-c", str(limits), "--", *requirements]
        answer, notes = self._run(command, "resolve the plugin's dependencies")
        extra = re.search(r"The package `(\S+)` does not have an extra named `(\S+)`", notes)
        if extra:
            raise DependencyNotFoundError(
                f"Package {extra[1]} has no extra '{extra[2]}'.",
                hint="Correct the dependencies in the plugin's pyproject.toml.",
                plugin=self.plugin,
                output=notes,
            )
        changes = json.loads(answer or "{}").get("changes", [])
        return [f"{each['name']}=={each['version']}" for each in changes if each["action"] == "installed"]

    def install(self, target: Path, what: Sequence[str]) -> None:
        """Install wheels, editable projects (`-e`, path) and pins into a target directory, without dependencies.

        Raises:
            BuildError: An editable project cannot be built.
            InstallError: uv failed otherwise.
        """
        options = ["--no-deps", "--no-sources", "--target", str(target), "--python", sys.executable]
        self._run(["pip", "install", *options, *what], "install the plugin")

    def _run(self, command: list[str], task: str, told: Mapping[str, str] | None = None) -> tuple[str, str]:
        environment = {**os.environ, "UV_NO_PROGRESS": "1", "NO_COLOR": "1", **(told or {})}
        environment.pop("VIRTUAL_ENV", None)
        finished = run([_program(), *command], cwd=self.folder, env=environment)
        if finished.returncode:
            raise self._failure(task, finished.stderr)
        return finished.stdout, finished.stderr

    def _failure(self, task: str, output: str) -> InstallError | NetworkError:
        kind, hint = _meaning(output)
        words = "\n".join(f"  {line}" for line in _telling_lines(output))
        if kind is NetworkError:
            return NetworkError(
                f"uv could not {task}: the package index cannot be reached.\n{words}",
                hint=hint,
                plugin=self.plugin,
                location="package index",
            )
        prefix = "Dependency conflict: " if kind is DependencyConflictError else ""
        message = f"{prefix}uv could not {task}:\n{words}"
        return kind(message, hint=hint, plugin=self.plugin, output=output, requirement=words.strip())


def _program() -> str:
    try:
        from uv import find_uv_bin

        return find_uv_bin()
    except (ImportError, FileNotFoundError) as error:
        raise ToolNotFoundError(
            "The program 'uv' was not found; plugins are installed with it.",
            hint="Reinstall it into this environment: pip install --force-reinstall uv",
            tool="uv",
        ) from error


def _meaning(output: str) -> tuple[type[InstallError] | type[NetworkError], str]:
    output = " ".join(output.split())  # uv wraps its lines as the terminal is wide
    if "No solution found" in output:
        if _NOT_FOUND.search(output):
            return DependencyNotFoundError, "Correct the dependencies in the plugin's pyproject.toml."
        return DependencyConflictError, WAY_OUT
    if "Failed to build" in output or "Build backend" in output or "build_editable" in output:
        return BuildError, "Try it by hand in the plugin's folder: uv build"
    if _NETWORK.search(output):
        return NetworkError, "Check the network, the proxy and uv's index settings, and try again."
    return InstallError, "The lines above are uv's own words."


def _telling_lines(output: str) -> list[str]:
    """Return the end of what uv says, where the reason stands."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip() and not line.startswith("Using Python")]
    return lines[-20:]
