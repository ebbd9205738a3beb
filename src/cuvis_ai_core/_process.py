"""The one way in which this package runs other programs (git and uv)."""

import contextlib
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cuvis_ai_core._environment import CALLING_PLUGIN, LIVE_PLUGINS
from cuvis_ai_core._redact import redact
from cuvis_ai_core.errors import TimeLimitError, ToolNotFoundError

TIMEOUT_VARIABLE: Final = "CUVIS_INSTALL_TIMEOUT"

_GIT_KEPT: Final = re.compile(
    r"GIT_(CONFIG_(COUNT|KEY_\d+|VALUE_\d+|GLOBAL|SYSTEM|NOSYSTEM)|SSH(_\w+)?|ASKPASS|SSL_\w+|HTTP_\w+|PROXY_\w+"
    r"|TERMINAL_PROMPT|ALLOW_PROTOCOL|EXEC_PATH|LFS_\w+)$"
)
"""Git's variables that say how a user reaches hosts and configures git; all others say which repository, or trace."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Finished:
    """What a program left behind: exit status and texts, credentials removed."""

    returncode: int
    stdout: str
    stderr: str


def environment() -> dict[str, str]:
    """Return this process's environment without what ties git to one repository, and without what is loaded here.

    Inside a git hook, `GIT_DIR`, `GIT_INDEX_FILE` and others name the user's repository: no program that is started
    for a plugin may take that for its own. Of some variables the mere presence counts, so they are left out.
    """
    return {name: value for name, value in os.environ.items() if _is_kept(name)}


def _is_kept(name: str) -> bool:
    # What this process has loaded concerns no interpreter that builds a plugin.
    return name not in {LIVE_PLUGINS, CALLING_PLUGIN} and (not name.startswith("GIT_") or bool(_GIT_KEPT.match(name)))


def run(command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Finished:
    """Run a program to its end, without a terminal, in a process group that ends with it.

    Raises:
        ToolNotFoundError: There is no such program.
        TimeLimitError: It took longer than `time_limit`; its whole process group was ended.
    """
    logger.debug("running %s", redact(" ".join(command)))
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=sys.platform != "win32",
        )
    except FileNotFoundError as error:
        raise ToolNotFoundError(
            f"The program '{command[0]}' was not found.", hint="Install it and try again.", tool=command[0]
        ) from error
    return _finish(process, command)


def time_limit() -> float:
    """Return how many seconds a program may take: `CUVIS_INSTALL_TIMEOUT`, else 300."""
    chosen = os.environ.get(TIMEOUT_VARIABLE, "")
    return float(chosen) if re.fullmatch(r"\d+(\.\d+)?", chosen) and float(chosen) else 300.0


def _finish(process: "subprocess.Popen[bytes]", command: Sequence[str]) -> Finished:
    seconds = time_limit()
    try:
        stdout, stderr = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        _end_group(process)
        shown = redact(" ".join(command))
        raise TimeLimitError(
            f"'{shown}' took longer than {seconds:g} s and was stopped.",
            hint=f"Raise the limit with the environment variable {TIMEOUT_VARIABLE} (seconds), and try again.",
            command=shown,
            seconds=seconds,
        ) from error
    except BaseException:
        _end_group(process)
        raise
    return Finished(
        process.returncode, redact(stdout.decode(errors="replace")), redact(stderr.decode(errors="replace"))
    )


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """End a program that still runs, its children included, and close the pipes."""
    with contextlib.suppress(ProcessLookupError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
