"""Asking git about a folder that somebody else may have made: nothing that its configuration names is run.

A folder may be a repository that came in an archive, configuration and all: programs that watch it, or filter files,
would run with the user's rights, and with the user's tokens, wherever git only looks at it.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cuvis_ai_core._environment_variables import worker_variables

# A record of a run is not worth more: on a network drive git reads every file of the tree.
_SECONDS: Final = 20

_NOTHING: Final = {
    "core.fsmonitor": "false",
    "core.hooksPath": os.devnull,
    "safe.bareRepository": "explicit",
}

_VARIABLES: Final = {
    "GIT_ALLOW_PROTOCOL": "none",  # objects that are missing are fetched by whatever way it names
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",  # whoever commits there now is not kept from it
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}


def look(folder: Path, *arguments: str, told: str | None = None) -> str | None:
    """Return what git says of a folder; None where it cannot tell.

    Args:
        folder: The folder, in a repository or none.
        arguments: What follows `git`.
        told: What it reads.
    """
    filters = dict.fromkeys(_filters(folder), "")
    return _run(folder, {**_NOTHING, **filters}, *arguments, told=told)


def _filters(folder: Path) -> Iterator[str]:
    """Yield the keys of the filters that the repository itself has set up; those of the user stay."""
    said = _run(folder, _NOTHING, "config", "--includes", "--show-scope", "--name-only", "-z", "--list") or ""
    words = said.split("\0")
    for scope, key in zip(words[::2], words[1::2], strict=False):
        # By key: an empty value switches a filter off, and there is no option for "no filters".
        if scope in {"local", "worktree"} and key.startswith("filter."):
            yield key


def _run(folder: Path, settings: dict[str, str], *arguments: str, told: str | None = None) -> str | None:
    # Not as options: a key may have a '=' in it.
    # Those of a worker: no tokens, and nothing of what a hook or an editor has set for its own repository.
    env = {**worker_variables(), **_VARIABLES, "GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        env |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            env=env,
            input=told,
            stdin=subprocess.DEVNULL if told is None else None,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
            timeout=_SECONDS,
        )
    # Without git, or where it takes too long, a run goes on without this line in its record.
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
