"""A Git repository that a test or a demonstration writes, the same on every machine."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cuvis_ai_core._subprocess import run
from cuvis_ai_core.errors import CuvisError

Files = Path | Mapping[str, str]
"""A folder to copy, a patch file (`git diff` format) to apply, or the texts of files by relative path."""

_NOT_SOURCE: Final = shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__", "*.egg-info", "build", "dist")
_FIRST_COMMIT: Final = 1_767_225_600  # 2026-01-01 00:00 UTC: fixed dates make commit hashes repeatable


def git_environment() -> dict[str, str]:
    """Return an environment in which git heeds neither the user's configuration nor an outer repository."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return kept | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }


class GitRepository:
    """A bare repository and the folder from which it is written.

    Author and dates are fixed, so that the same calls give the same commit hashes.

    Args:
        git_dir: Where the bare repository comes to lie.
        work_tree: Where its files are written before they are committed.
    """

    def __init__(self, git_dir: Path, work_tree: Path) -> None:
        self._work_tree = work_tree
        self._commits = 0
        self._environment = git_environment() | {
            "GIT_DIR": str(git_dir),
            "GIT_WORK_TREE": str(work_tree),
            "GIT_AUTHOR_NAME": "Plugin Author",
            "GIT_AUTHOR_EMAIL": "author@example.org",
            "GIT_COMMITTER_NAME": "Plugin Author",
            "GIT_COMMITTER_EMAIL": "author@example.org",
        }
        git_dir.mkdir(parents=True)
        work_tree.mkdir(parents=True)
        # Without a template, which may bring the user's hooks (git-init(1)).
        self._git("init", "--quiet", "--template=", "--initial-branch=main")
        # Where Git changes line ends, as on Windows, commits would have other hashes.
        self._git("config", "core.autocrlf", "false")
        self._git("config", "--unset", "core.worktree")  # served by itself, and from where it may be moved

    def commit(self, files: Files, message: str) -> str:
        """Write or patch files, commit the whole work tree, and return the commit's hash.

        Raises:
            ToolNotFoundError: git is not installed.
            CuvisError: git refused; the message has its words.
        """
        self._write(files)
        # What a .gitignore names is asked for all the same.
        self._git("add", "--all", "--force")
        self._commits += 1
        self._git("commit", "--quiet", "--allow-empty", "--no-verify", "--message", message)
        return self._git("rev-parse", "HEAD")

    def tag(self, tag: str, *, force: bool = False, annotated: bool = False) -> None:
        """Name the last commit; `force` moves a tag that exists already."""
        options = ["--force"] * force + ["--annotate", "--message", tag] * annotated
        self._git("tag", *options, tag)

    def branch(self, branch: str) -> None:
        """Start a branch at the last commit."""
        self._git("branch", branch)

    def _write(self, files: Files) -> None:
        if isinstance(files, Mapping):
            for name, text in files.items():
                path = self._work_tree / name
                path.parent.mkdir(parents=True, exist_ok=True)
                # The same bytes on every system, so that commits have the same hashes.
                path.write_text(text, encoding="utf-8", newline="\n")
        elif files.is_dir():
            shutil.copytree(files, self._work_tree, dirs_exist_ok=True, ignore=_NOT_SOURCE)
        else:
            self._git("apply", "--whitespace=nowarn", str(files.resolve()))

    def _git(self, *arguments: str) -> str:
        date = f"{_FIRST_COMMIT + self._commits} +0000"
        done = run(
            ["git", *arguments],
            cwd=self._work_tree,
            env=self._environment | {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date},
        )
        if done.returncode:
            raise CuvisError(f"git {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done.stdout.strip()
