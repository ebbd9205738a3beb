"""How uv is run for a plugin, with which variables and settings, and what its failures mean."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import tomli_w

from cuvis_ai_core._environment_variables import uv_variables
from cuvis_ai_core._subprocess import Finished
from cuvis_ai_core._subprocess import run as run_program
from cuvis_ai_core.errors import (
    BuildError,
    DependencyConflictError,
    InstallError,
    NetworkError,
    OfflineError,
    ToolNotFoundError,
)
from cuvis_ai_core.plugins.cache import policy_checks
from cuvis_ai_core.plugins.cache.wheelhouse import Wheelhouse
from cuvis_ai_core.plugins.cancellable_threads import Meanwhile
from cuvis_ai_core.plugins.dependencies.distribution import normalised
from cuvis_ai_core.plugins.disk.full_disk import refuse_full_disk
from cuvis_ai_core.plugins.installing.index_credentials import hidden, offered
from cuvis_ai_core.plugins.installing.index_settings import default_cache, pip_settings, uv_settings
from cuvis_ai_core.plugins.installing.uv_errors import CHECK_NETWORK, meaning, source_only, telling_lines
from cuvis_ai_core.plugins.offline import WAY_OUT as OFFLINE_WAY_OUT

_NAMING: Final = ("pyproject.toml", "setup.cfg", "setup.py", "requirements.txt")
"""Files of a project that may name a repository that it needs."""


# A wheel of 1.5 MB took 2 GB in a dry run: its METADATA unpacked to that.
_MEMORY: Final = 4 * 2**30
"""Bytes that uv may have where it builds nothing: it reads the metadata of a package whole, which may unpack to any."""


@dataclass(frozen=True, slots=True)
class UvProgram:
    """Runs uv for one plugin.

    Attributes:
        plugin: Name of the plugin, for errors.
        folder: Temporary folder to work in; no project configuration is picked up from it.
        offline: Whether uv may only use what it has, and what lies in `wheelhouse`.
        wheelhouse: The wheels that were carried along for this plugin, if there are any.
        allowed: Names of dependencies that may be built from source; of all others only wheels are taken.
        dry: Whether nothing is built, for no code but uv's own is to run: what only a build can tell is an error.
        meanwhile: What to do in the thread that runs uv, while it runs.
    """

    plugin: str
    folder: Path
    offline: bool = False
    wheelhouse: Wheelhouse | None = None
    allowed: frozenset[str] = frozenset()
    dry: bool = False
    meanwhile: Meanwhile = field(default_factory=Meanwhile)

    def run(
        self, command: list[str], task: str, by_hand: str, told: Mapping[str, str] | None = None
    ) -> tuple[str, str]:
        """Run uv, and return what it printed and what it noted.

        Args:
            command: What follows `uv`.
            task: What it is for: "uv could not ...".
            by_hand: What a user can try instead.
            told: Variables for a build.

        Raises:
            InstallError: uv failed; of the kind that its words mean.
        """
        options = ["--offline"] if self.offline else []
        # Those that look for packages: `uv build …` and `uv pip install …`.
        words = {"build": 1, "pip": 2}.get(command[0], 0)
        if self.offline and self.wheelhouse and words:
            command = [*command[:words], *self._find_links(), *command[words:]]
        # Options that let some be built stand there also for what a lock file alone has as built.
        builds = command[0] == "build" or bool({"-e", "--only-binary"} & {*command}) or bool(self._built())
        if (
            (command[0] == "build" or "-e" in command)
            and "--no-build" not in command
            and policy_checks.asks_for_wheels()
        ):
            # What builds the plugin is no dependency of it, and its code runs all the same.
            command = [*command[:words], "--no-build", *command[words:]]
        fetches = _names_a_repository(command)
        builds = builds or (fetches and "--no-build" not in command)
        command, folder = self._beside_number_sign(command)
        finished = self.call([*options, *command], folder, told or {}, builds=builds, fetches=fetches)
        if finished.returncode:
            refuse_full_disk(finished.stderr, self.folder)
            raise self._failure(task, finished.stderr, by_hand)
        return finished.stdout, finished.stderr

    def call(
        self, command: Sequence[str], folder: Path, told: Mapping[str, str], *, builds: bool, fetches: bool
    ) -> Finished:
        """Run uv in a folder, whatever it answers.

        Args:
            command: What follows `uv`.
            folder: The folder.
            told: Variables for a build.
            builds: Whether something may be built.
            fetches: Whether something may come from a repository.
        """
        # A dependency from a private repository needs the user's ssh and credentials, which builds else do not get.
        variables, settings = uv_environment(self.folder, builds=builds and not fetches)
        with offered(settings, self.folder) as (place, handles):
            variables |= {"UV_CONFIG_FILE": place, **told}
            words = [_program(), *command]
            # A compiler may need any amount, and the limit would be inherited by it.
            memory = 0 if builds else _MEMORY
            return run_program(
                words, cwd=folder, env=variables, handles=handles, meanwhile=self.meanwhile, memory=memory
            )

    def run_backend(
        self, cmd: Sequence[str], cwd: str | None = None, extra_environ: Mapping[str, str] | None = None
    ) -> None:
        """Run a build back-end as `pyproject_hooks` asks for it, in the environment of a build.

        Raises:
            BuildError: It failed.
        """
        variables, _ = uv_environment(self.folder, builds=True)
        finished = run_program(list(cmd), cwd=Path(cwd or self.folder), env=variables | dict(extra_environ or {}))
        if finished.returncode:
            words = "\n".join(f"  {line}" for line in telling_lines(finished.stderr))
            raise BuildError(f"The build back-end failed:\n{words}", plugin=self.plugin, output=finished.stderr)

    def wheels_only(self) -> list[str]:
        """Return the options with which only that is built from source for which somebody allowed it."""
        return ["--no-build"] if self.dry else wheels_but(self._built())

    def needs_building(self, what: str) -> BuildError:
        """Return the error for what only a build can tell, where nothing is built."""
        return BuildError(
            f"{what} needs building: only its build back-end, which is code of its own, can tell what it needs. A dry "
            "run runs none.",
            hint="If you trust it, do it without --dry-run.",
            plugin=self.plugin,
        )

    def _built(self) -> frozenset[str]:
        return self.allowed | set(map(normalised, policy_checks.allowed_builds()))

    def _beside_number_sign(self, command: list[str]) -> tuple[list[str], Path]:
        """Return a command and the folder to run it in: uv takes `#` in an address for its end, however it is written.

        So it is run in the folder of the project, where it needs no address.
        """
        for place, word in enumerate(command):
            # Quoted or not: uv decodes the address first and cuts it at '#' then.
            if command[place - 1] == "-e" and "%23" in word:
                name, _, address = word.rpartition(" @ ")
                folder = Path(unquote(urlsplit(address).path))
                extras = f"[{name.partition('[')[2]}" if "[" in name else ""
                return [*command[:place], f".{extras}", *command[place + 1 :]], folder
        return command, self.folder

    def _find_links(self) -> list[str]:
        """Return the option for what builds need and was carried along; it would hide the user's own variable.

        Dependencies are not among it: they are named, each with its file and its hash.
        """
        assert self.wheelhouse is not None
        own = filter(None, os.environ.get("UV_FIND_LINKS", "").split(","))
        return [f"--find-links={place}" for place in (*own, self.wheelhouse.builds)]

    def _failure(self, task: str, output: str, by_hand: str) -> InstallError | NetworkError:
        kind, hint = meaning(output, dry=self.dry)
        policy_checks.refuse_built(self.plugin, source_only(output))
        if kind is OfflineError and self.offline:
            hint = OFFLINE_WAY_OUT
        hint = hint or f"Try it by hand: {by_hand}\nIf that fails too, take another version of the plugin."
        words = "\n".join(f"  {line}" for line in telling_lines(output))
        if issubclass(kind, NetworkError):
            address = re.search(r"(?:https?|ssh)://[^\s'`\")]+", output)
            place, what = address[0] if address else "the package index", ""
            if kind is OfflineError:
                what = f" {place} may not be asked: no connection may be opened."
            elif hint == CHECK_NETWORK:
                what = f" {place} cannot be reached."
            location = place.removeprefix("the ")
            return kind(f"uv could not {task}:{what}\n{words}", hint=hint, plugin=self.plugin, location=location)
        prefix = "Dependency conflict: " if kind is DependencyConflictError else ""
        message = f"{prefix}uv could not {task}:\n{words}"
        return kind(message, hint=hint, plugin=self.plugin, output=output, requirement=words.strip())


def uv_environment(folder: Path, *, builds: bool) -> tuple[dict[str, str], str]:
    """Return what uv, and a build, gets to see of the user's environment, and uv's settings.

    Args:
        folder: Where uv works.
        builds: Whether code of a plugin runs, which has no business with the user's repositories.
    """
    kept = uv_variables(builds=builds)
    own = uv_settings()
    from_pip, variables = pip_settings(own)
    for name in ("UV_CACHE_DIR", "UV_CREDENTIALS_DIR"):  # uv works in a temporary folder, where paths must hold
        # Relative ones meant the user's working folder, not ours.
        if kept.get(name):
            kept[name] = str(Path(kept[name]).absolute())
    # A home that is read-only, as in containers: uv would fail, and a cache for this once is slower, not wrong.
    if not ({"cache-dir"} & own.keys() or kept.get("UV_CACHE_DIR") or _can_be_used(default_cache())):
        kept["UV_CACHE_DIR"] = str(folder / "uv cache")
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    # The user's folder for temporary files may be full, missing or too small for a build.
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    shown, settings = hidden(kept | variables | places, from_pip | own)
    return shown, tomli_w.dumps(settings)


def _can_be_used(folder: Path) -> bool:
    """Tell whether a folder can be written; it is made if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    # mkdir says nothing of a folder that is there already.
    return os.access(folder, os.W_OK)


def _names_a_repository(command: Sequence[str]) -> bool:
    """Tell whether a command may have to do with a repository: named in it, or by a project that is built."""
    folders = [Path(command[-1])] if command[0] == "build" else []
    folders += [Path(unquote(urlsplit(word.rpartition(" @ ")[2]).path)) for word in command if "file:" in word]
    files = [folder / name for folder in folders for name in _NAMING]
    texts = (file.read_bytes() for file in files if file.is_file())
    return any("git+" in word for word in command) or any(b"git+" in text for text in texts)


def _program() -> str:
    try:
        # The wheel's own program before any on PATH: its words and options are what is known here.
        from uv import find_uv_bin

        return find_uv_bin()
    except (ImportError, FileNotFoundError) as error:
        raise ToolNotFoundError(
            "The program 'uv' was not found; plugins are installed with it.",
            hint="Reinstall it into this environment: pip install --force-reinstall uv",
            tool="uv",
        ) from error


def wheels_but(built: frozenset[str]) -> list[str]:
    """Return the options with which only these distributions are built from source, and of all others wheels taken."""
    if not built:
        return ["--no-build"]
    # `--no-build-package` cannot say "all but": uv takes the most special of these two.
    return ["--only-binary", ":all:", *(f"--no-binary={name}" for name in sorted(built))]
