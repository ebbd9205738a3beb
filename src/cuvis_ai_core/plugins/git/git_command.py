"""Running git: without questions and hooks, and so that it writes the same files whatever a user has configured."""

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, cast

from cuvis_ai_core._environment_variables import git_variables
from cuvis_ai_core._subprocess import Finished, run
from cuvis_ai_core.errors import ToolNotFoundError
from cuvis_ai_core.plugins.git.url_credentials import hidden

_CONFIGURATION: Final = (
    f"core.hooksPath={os.devnull}",
    # No plugin comes by these ways. Of http, https and ssh the user's own git decides: what it forbids stays forbidden.
    *(f"protocol.{name}.allow=never" for name in ("ext", "fd", "ftp", "ftps", "git")),
    # Only where the user's own git has a folder for an address (insteadOf).
    "protocol.file.allow=user",
    # A replacement ref in the repository would show another commit than the one whose hash is recorded.
    "core.useReplaceRefs=false",
    # Line ends and links as the repository has them: the hash of a checkout must not depend on who fetched it.
    "core.autocrlf=false",
    "core.eol=lf",
    "core.safecrlf=false",
    f"core.attributesFile={os.devnull}",
    *(() if sys.platform == "win32" else ("core.symlinks=true",)),
    # Folders of a cache may be shared with systems that take .GIT or git~1 for .git.
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "core.longpaths=true",
    # Of the user's settings, those that start helpers or spread the index over files.
    "core.splitIndex=false",
    "core.fsmonitor=false",
    # A name that git refuses would have it refuse to make any repository.
    "init.defaultBranch=main",
    # Submodules are fetched by us, under the same rules (see `submodules`).
    "fetch.recurseSubmodules=false",
    "submodule.recurse=false",
    # Tidying goes on in the background after git has ended, in a folder that is about to be moved.
    "gc.auto=0",
    "maintenance.auto=false",
    "advice.detachedHead=false",
)

_SHA256_DIGITS: Final = 64

# A program for passwords that the user chose (`GIT_ASKPASS`) is asked; a terminal is not.
_OWN: Final = {"GIT_ATTR_NOSYSTEM": "1", "GIT_DEFAULT_REF_FORMAT": "files", "GIT_TERMINAL_PROMPT": "0"}


# As a limit of the data segment (`ulimit -d`): files that git maps do not count.
_MEMORY: Final = 4 * 2**30
"""Bytes that git may have: a host may send references, and folders in folders, without end."""


def require_git() -> None:
    """Raise if there is no git.

    Raises:
        ToolNotFoundError: It is not installed.
    """
    if shutil.which("git") is None:
        raise ToolNotFoundError(
            "The program 'git' was not found on PATH; plugins from repositories need it.",
            hint="Install git, or use the plugin from a local path.",
            tool="git",
        )


def git(
    folder: Path,
    *arguments: str,
    settings: Iterable[str] = (),
    hashes: str = "sha1",
    meanwhile: Callable[[], object] | None = None,
    variables: Mapping[str, str] | None = None,
    memory: int = _MEMORY,
) -> Finished:
    """Run git as GitPython would, whose import takes as long as a small fetch and starts git twice.

    Args:
        folder: Folder to run it in; nothing above it is its repository.
        arguments: What to do.
        settings: Further configuration, as `key=value`.
        hashes: Which kind of hashes a repository gets that is made now.
        meanwhile: What to do in this thread while git runs.
        variables: Further variables of the environment, which go before the user's.
        memory: Bytes that it may have.

    Raises:
        ToolNotFoundError: It is not installed.
        TimeLimitError: It took longer than it may.
    """
    # Else a folder that is no repository would be taken for part of one above it, such as a home under git.
    env = git_variables() | _OWN | {"GIT_CEILING_DIRECTORIES": str(folder.resolve().parent), "GIT_DEFAULT_HASH": hashes}
    options = (word for setting in (*_CONFIGURATION, *settings) for word in ("-c", setting))
    words, env = hidden([*options, *arguments], {**env, **(variables or {})})
    return run(["git", *words], cwd=folder, env=env, meanwhile=meanwhile, memory=memory)


def hash_function(commit: str) -> str:
    """Return by which function a repository names its objects that names a commit so: `sha1` or `sha256`."""
    return "sha256" if len(commit) == _SHA256_DIGITS else "sha1"


def ls_remote(*arguments: str) -> Finished:
    """Ask a repository for references, through GitPython: who asks does not wait for a plugin.

    It needs no folder: the one for temporary files may be missing, the working directory may have been removed.
    """
    # 180 ms, and two processes: a load never comes here.
    from git import Git

    class OwnGit(Git):
        """GitPython adds to the environment of the process, but takes nothing away: a variable of a hook stays."""

        def execute(self, command: Sequence[str], **_: object) -> Finished:  # type: ignore[override]
            # No repository's configuration takes part, wherever this is asked from.
            words, env = hidden(command[1:], git_variables() | _OWN | {"GIT_DIR": os.devnull})
            return run([command[0], *words], cwd=Path(__file__).parent, env=env, memory=_MEMORY // 4)

    return cast("Finished", OwnGit(Path(__file__).parent)(c=_CONFIGURATION).ls_remote(*arguments))


def rewritten(url: str, folder: Path) -> str:
    """Return from where git fetches if it is given an address: what `insteadOf` of the user makes of it."""
    return git(folder, "ls-remote", "--get-url", "--", url).stdout.strip()
