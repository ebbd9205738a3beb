"""What is asked of uv: build a wheel, find what is missing, install into a target directory."""

import json
import re
import shlex
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cuvis_ai_core._redact import redact
from cuvis_ai_core.errors import (
    DependencyNotFoundError,
    InstallError,
)
from cuvis_ai_core.plugins.cache.store import listed
from cuvis_ai_core.plugins.cache.wheelhouse import is_of
from cuvis_ai_core.plugins.disk.altered_files import altered_files, installed_files, sha256_of
from cuvis_ai_core.plugins.installing.compatible_wheels import Wheels
from cuvis_ai_core.plugins.installing.uv_errors import telling_lines
from cuvis_ai_core.plugins.installing.uv_process import UvProgram, wheels_but

_TOLD_VERSION: Final = (
    "SETUPTOOLS_SCM_PRETEND_VERSION",  # hatch-vcs and flit-scm ask setuptools-scm
    "PDM_BUILD_SCM_VERSION",
    "PBR_VERSION",
    "POETRY_DYNAMIC_VERSIONING_BYPASS",
    "UV_DYNAMIC_VERSIONING_BYPASS",
)
"""By which variables tools that read a version from Git are told it, each by its documents."""


class Uv(UvProgram):
    """What is asked of uv for one plugin."""

    def build_wheel(self, project: Path, *, version: str | None, python: Path | None = None) -> Path:
        """Build the wheel of a project.

        Args:
            project: Folder with the pyproject.toml; the build may write into it.
            version: What projects that read their version from Git are told.
            python: The Python to build for; by default this interpreter.

        Raises:
            BuildError: The build failed.
            InstallError: uv failed otherwise.
        """
        if self.dry:
            raise self.needs_building(f"Plugin '{self.plugin}'")
        out = self.folder / "wheel"
        told = dict.fromkeys(_TOLD_VERSION, version) if version else {}
        interpreter = str(python or sys.executable)
        # `[tool.uv.sources]` names an author's own folders and forks; pip would not see them either.
        command = ["build", "--wheel", "--no-sources", "--python", interpreter, "--out-dir", str(out), str(project)]
        self.run(command, "build the plugin's wheel", "uv build, in the plugin's folder", told)
        return next(out.glob("*.whl"))

    def missing(
        self,
        requirements: Sequence[str],
        constraints: Sequence[str],
        *,
        installed: Path | None = None,
        python: Path | None = None,
        build: bool = False,
    ) -> list[str]:
        """Return `name==version` of everything that the host, or an environment, lacks for some requirements.

        Of what comes from an address it is `name @ address`, with the commit of a repository.

        Args:
            requirements: What is needed; for an environment also editable projects (`-e`, path).
            constraints: Versions that must stay as they are.
            installed: Folder that says what is installed, instead of the host.
            python: The Python of a virtual environment, instead of the host.
            build: Whether what has no wheel may be built.

        Raises:
            DependencyNotFoundError: A package or version does not exist, or has no wheel.
            DependencyConflictError: The requirements cannot be met together.
            InstallError: uv failed otherwise.
        """
        limits = self.folder / "constraints.txt"
        limits.write_text("\n".join(constraints), encoding="utf-8")
        # JSON is a preview of uv's; its lines for people are no contract.
        options = ["--dry-run", "--no-sources", "--output-format", "json", "--preview-features", "json-output"]
        options += [] if build and not self.dry else self.wheels_only()
        options += ["--target", str(installed)] if installed else []
        # '--' ends the options, since requirements are a stranger's texts; `-e` of environments has to stand before it.
        options += ["--python", str(python or sys.executable), "-c", str(limits), *([] if python else ["--"])]
        by_hand = f"uv pip install --dry-run {_shown(requirements)}"
        answer, notes = self.run(
            ["pip", "install", *options, *requirements], "resolve the plugin's dependencies", by_hand
        )
        # uv succeeds there, with a warning: what the extra asks for would be missing without a word.
        extra = re.search(r"The package `(\S+)` does not have an extra named `(\S+)`", notes)
        if extra:
            raise DependencyNotFoundError(
                f"Package {extra[1]} has no extra '{extra[2]}'.",
                hint="Correct the dependencies in the plugin's pyproject.toml.",
                plugin=self.plugin,
                output=notes,
            )
        changes = json.loads(answer or "{}").get("changes", [])
        # Addresses stand in the lines for people alone; what was not built yet has no version.
        lines = re.findall(r"(?m)^ *\+ ([^\s=]+)(?: @ (\S+)|==\S+ \(from (\S+)\))$", notes)
        addresses = {name: unbuilt or built for name, unbuilt, built in lines}
        pins = {each["name"]: each.get("version") for each in changes if each["action"] == "installed"}
        return [
            f"{name} @ {addresses[name]}" if name in addresses else f"{name}=={version}"
            for name, version in pins.items()
            if name in addresses or version
        ]

    def wheels(self, pins: Sequence[str], python: Path | str | None = None) -> list[Wheels]:
        """Return where the wheels of some pins are, as the package index says.

        Args:
            pins: `name==version`, or `name @ address`; of each name one.
            python: The Python that they are for, or its version; by default this interpreter.

        Raises:
            DependencyNotFoundError: There are no wheels of one of them.
            InstallError: uv failed otherwise.
        """
        asked = self.folder / "pins.txt"
        asked.write_text("\n".join(pins), encoding="utf-8")
        options = ["--no-deps", *self.wheels_only(), "--no-sources", "--no-header", "--quiet"]
        # Of all formats the one with addresses and hashes of every wheel (PEP 751).
        options += ["--format", "pylock.toml"]
        command = ["pip", "compile", *options, "--python", str(python or sys.executable), str(asked)]
        answer, _ = self.run(command, "find the wheels of the dependencies", f"uv pip compile {_shown(pins)}")
        return [Wheels.from_pylock(package) for package in tomllib.loads(answer).get("packages", [])]

    def yanked(self, pins: Sequence[str]) -> dict[str, str]:
        """Return which pins their authors took back, with what they say about it, as the package index tells.

        Raises:
            DependencyNotFoundError: One of them is not there any more.
            InstallError: uv failed otherwise.
        """
        found: dict[str, str] = {}
        left = list(dict.fromkeys(pins))
        while left:  # two versions of one package cannot be asked for together
            together = {pin.partition("==")[0]: pin for pin in left}
            left = [pin for pin in left if pin not in together.values()]
            asked = self.folder / "asked.txt"
            asked.write_text("\n".join(together.values()), encoding="utf-8")
            command = ["pip", "compile", "--no-deps", *self.wheels_only(), "--no-sources", "--no-header", str(asked)]
            _, notes = self.run(command, "ask whether dependencies were yanked", f"uv pip compile {_shown(pins)}")
            # No format of uv has it as data; it is said as a warning on standard error.
            for pin, reason in re.findall(r"`(\S+)` is yanked(?: \(reason: \"(.*)\"\))?", notes):
                found[pin] = reason or "without a reason"
        return found

    def install_locked(
        self,
        target: Path,
        hashes: Mapping[str, tuple[str, ...]],
        python: Path | None = None,
        *,
        built: frozenset[str] = frozenset(),
    ) -> None:
        """Install pins into a target directory, without dependencies, where files have the hashes that are given.

        Args:
            target: The target directory, or the folder of packages of a virtual environment.
            hashes: Hashes by pin; of none for a pin that names a commit, which says as much.
            python: The Python of that environment.
            built: Names of those that are built from source, as a lock file says.

        Raises:
            InstallError: A file is not there, or has another hash.
        """
        locked = [
            " ".join([self._place_of(pin, found), *(f"--hash={each}" for each in found)])
            for pin, found in hashes.items()
            if found
        ]
        if locked:
            listed = self.folder / "locked.txt"
            listed.write_text("\n".join(locked), encoding="utf-8")
            # uv demands hashes of all or of none in one call: pins of commits, which have none, go apart.
            self.install(target, ["--require-hashes", *wheels_but(built), "-r", str(listed)], python)
        commits = [pin for pin, found in hashes.items() if not found]
        if commits:
            self.install(target, commits, python)

    def _place_of(self, pin: str, hashes: Sequence[str]) -> str:
        """Return a pin with the wheel, or the source, that was carried along for it, if there is one."""
        name = re.split(r"==| @ ", pin)[0]
        for path in listed(self.wheelhouse.dependencies) if self.wheelhouse else ():
            # By content as well as by name: a carried file with another hash is not what is locked.
            if is_of(pin, path.name) and f"sha256:{sha256_of(path)}" in hashes:
                return f"{name} @ {path.as_uri()}"
        return pin

    def install(self, target: Path, what: Sequence[str], python: Path | None = None) -> None:
        """Install wheels, editable projects (`-e`, path) and pins into a target directory, without dependencies.

        Args:
            target: The target directory, or the folder of packages of a virtual environment.
            what: What to install.
            python: The Python of that environment.

        Raises:
            BuildError: An editable project cannot be built.
            InstallError: uv failed otherwise.
        """
        place = ["--target", str(target), "--python", sys.executable] if python is None else ["--python", str(python)]
        self._install(target, ["--no-deps", *place], what)

    def _install(self, target: Path, options: Sequence[str], what: Sequence[str]) -> None:
        # What a person is told to try must not name a temporary folder that is gone by then.
        lasting = [each for each in what if str(self.folder) not in each]
        by_hand = f"uv pip install --no-deps --target EMPTY_FOLDER {_shown(lasting) or '.'}"
        self.run(["pip", "install", "--no-sources", *options, *what], "install the plugin", by_hand)
        # Compared at once, while it is new: later nobody could tell an edit from what uv's cache held.
        if any(altered_files(target, installed_files(target))):
            # uv links files from its cache: who edits an installed file edits that of all, until uv asks for a new one.
            again = ["--reinstall", "--no-cache" if self.offline else "--refresh", "--no-sources", *options, *what]
            self.run(["pip", "install", *again], "install the plugin", by_hand)

    @staticmethod
    def editable(project: Path, name: str = "") -> list[str]:
        """Return what is installed of a project that stays where it is.

        Args:
            project: Its folder, whatever characters are in its path.
            name: Its name and extras.
        """
        return ["-e", f"{name} @ {project.as_uri()}" if name else project.as_uri()]

    def make_environment(self, folder: Path, version: str | None = None) -> Path:
        """Make a virtual environment that can be moved, and return its Python.

        Args:
            folder: Where.
            version: Version of Python, as `3.12`; by default this interpreter.

        Raises:
            InstallError: uv failed, or there is no such Python; none is downloaded.
        """
        # It is moved into place when it is whole; absolute paths in its scripts would name the temporary folder.
        options = ["--relocatable", "--no-project", "--no-python-downloads"]
        command = ["venv", *options, "--python", version or sys.executable, str(folder)]
        try:
            self.run(command, "make a virtual environment", "uv venv")
        except InstallError as error:
            if version is None:
                raise
            # A shim of pyenv is found and then fails: that is another cure than installing one.
            if "No interpreter found" not in error.output:
                raise InstallError(
                    f"Python {version} cannot be used: uv could not make a virtual environment with it:\n"
                    + "\n".join(f"  {line}" for line in telling_lines(error.output)),
                    hint=f"Make it one that runs (a pyenv version has to be active), or install it: uv python install "
                    f"{version}.",
                    plugin=self.plugin,
                    output=error.output,
                ) from error
            raise InstallError(
                f"Python {version} is not installed here. Installed are: {', '.join(self._pythons()) or 'none'}.",
                hint=f"Install it (uv python install {version}), or name one of these in the manifest: python.",
                plugin=self.plugin,
                output=error.output,
            ) from error
        # The layouts of `venv` on the two kinds of systems.
        return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")

    def _pythons(self) -> list[str]:
        """Return the versions of Python that uv finds here."""
        command = ["python", "list", "--only-installed", "--no-python-downloads", "--output-format", "json"]
        answer, _ = self.run(command, "list the installed Pythons", "uv python list --only-installed")
        found = {(each["version_parts"]["major"], each["version_parts"]["minor"]) for each in json.loads(answer)}
        return [f"{major}.{minor}" for major, minor in sorted(found)]

    def install_with_needs(
        self, python: Path, packages: Path, requirements: Sequence[str], *, build: bool = False
    ) -> None:
        """Install requirements and all that they need into a virtual environment.

        Args:
            python: Its Python.
            packages: Its folder of packages.
            requirements: Requirements and editable projects (`-e`, path).
            build: Whether what has no wheel is built.

        Raises:
            BuildError: An editable project cannot be built.
            DependencyNotFoundError: A package or version does not exist, or has no wheel.
            DependencyConflictError: The requirements cannot be met together.
            InstallError: uv failed otherwise.
        """
        options = ["--python", str(python)]
        self._install(packages, options if build else [*self.wheels_only(), *options], requirements)

    def problems(self, python: Path) -> str:
        """Return what is missing in a virtual environment, or does not fit; nothing where all is well."""
        command = ["pip", "check", "--python", str(python)]
        finished = self.call(command, self.folder, {}, builds=False, fetches=False)
        lines = [line for line in finished.stderr.splitlines() if line.startswith("The package")]
        # uv notes the environment and the number of packages on standard error too.
        return " ".join(lines) if finished.returncode else ""

    def add_to_environment(self, python: Path, requirements: Sequence[str]) -> None:
        """Install requirements into a virtual environment, wheels only.

        Raises:
            InstallError: They cannot be had.
        """
        command = ["pip", "install", *self.wheels_only(), "--python", str(python), "--", *requirements]
        self.run(command, "install what a build needs", f"uv pip install {_shown(requirements)}")

    def installed(self, python: Path) -> list[str]:
        """Return `name==version` of everything in a virtual environment.

        Raises:
            InstallError: uv failed.
        """
        command = ["pip", "list", "--format", "json", "--python", str(python)]
        answer, _ = self.run(command, "list what a build needs", "uv pip list")
        return [f"{each['name']}=={each['version']}" for each in json.loads(answer)]


def _shown(requirements: Sequence[str]) -> str:
    return redact(shlex.join(requirements))
