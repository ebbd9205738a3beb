"""One tag of a Git repository, fetched into a folder."""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import Final, cast

from cuvis_ai_core._process import Finished, environment, run
from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core.errors import (
    AuthenticationError,
    NetworkError,
    RepositoryNotFoundError,
    SourceError,
    TagNotFoundError,
    ToolNotFoundError,
)
from cuvis_ai_core.plugins.cache.integrity import checkout_files
from cuvis_ai_core.plugins.cache.offline import refuse_offline
from cuvis_ai_core.plugins.cache.store import refuse_full_disk

_CONFIGURATION: Final = (
    "core.hooksPath=/dev/null",
    "protocol.ext.allow=never",
    "core.autocrlf=false",
    # Folders of a cache may be shared with systems that take .GIT or git~1 for .git.
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "core.fsmonitor=false",
    "fetch.recurseSubmodules=false",
    "submodule.recurse=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "advice.detachedHead=false",
)

_NO_QUESTIONS: Final = {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "", "SSH_ASKPASS": "", "LC_ALL": "C"}

# What git says, in the C locale, and what it means.
_FAILURES: Final[tuple[tuple[str, type[SourceError], str], ...]] = (
    (r"couldn't find remote ref", TagNotFoundError, "There is no such tag"),
    (
        (
            r"could not read (Username|Password)|Authentication failed|terminal prompts disabled|Permission denied"
            r"|error: 40[13]|Host key verification failed"
        ),
        AuthenticationError,
        "The repository asks for credentials that git does not have",
    ),
    (
        (
            r"[Cc]ould not (resolve|connect)|Failed to connect|Connection|timed out|unreachable|SSL|gnutls"
            r"|RPC failed|early EOF|hung up|unexpected disconnect|transfer closed|Empty reply"
        ),
        NetworkError,
        "The host cannot be reached, or broke off",
    ),
    (
        r"bad line length|protocol error|info/refs not valid|invalid server response|bad pack|expected '?ack",
        SourceError,
        "What the host answers is not what Git hosts answer",
    ),
    (
        r"not found|does not appear to be a git repository|Could not read from remote|error: 404",
        RepositoryNotFoundError,
        "There is no such repository",
    ),
)


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


def fetch(url: str, tag: str, folder: Path, meanwhile: Callable[[], object] = lambda: None) -> str:
    """Check out one tag without history, whatever branches have that name, and return its commit.

    Args:
        url: Address of the repository; credentials in it are used, never stored.
        tag: Name of the tag.
        folder: Folder to make.
        meanwhile: What to do while git waits for the network.

    Raises:
        SourceError: The tag cannot be had.
        StoreError: The disk is full.
        TimeLimitError: git took longer than it may.
    """
    refuse_offline(url)
    reference = f"refs/tags/{tag}"
    folder.mkdir()

    for git, arguments in (
        (_git, ("init", "--quiet", "--template=")),
        (
            partial(_git, meanwhile=meanwhile),
            ("fetch", "--quiet", "--depth=1", "--no-tags", "--", url, f"+{reference}:{reference}"),
        ),
        (_git, ("checkout", "--quiet", "--detach", reference)),
    ):
        finished = git(folder, *arguments)
        if finished.returncode:
            raise _failure(finished, folder, url, tag)
    _refuse_links(folder, url)
    _refuse_pointers(folder, url)
    return (folder / ".git" / "HEAD").read_text(encoding="utf-8").strip()


def remote_commit(url: str, tag: str) -> str:
    """Ask the repository which commit a tag names now, whether the tag has a message of its own or not.

    Args:
        url: Address of the repository.
        tag: Name of the tag.

    Raises:
        SourceError: The tag is not there, or the repository does not answer.
        TimeLimitError: git took longer than it may.
    """
    refuse_offline(url)
    reference = f"refs/tags/{tag}"
    with tempfile.TemporaryDirectory() as folder:
        finished = _ls_remote(Path(folder), "--", url, reference, f"{reference}^{{}}")
        commit = _tags_in(finished.stdout).get(tag)
        if finished.returncode or commit is None:
            raise _failure(finished, Path(folder), url, tag)
        return commit


def remote_tags(url: str) -> dict[str, str]:
    """Ask the repository for its tags, and which commit each names.

    Args:
        url: Address of the repository.

    Raises:
        SourceError: The repository does not answer.
        TimeLimitError: git took longer than it may.
    """
    refuse_offline(url)
    with tempfile.TemporaryDirectory() as folder:
        finished = _ls_remote(Path(folder), "--tags", "--", url)
        if finished.returncode:
            raise _failure(finished, Path(folder), url, "")
        return _tags_in(finished.stdout)


def _tags_in(listing: str) -> dict[str, str]:
    """Return the commits of the tags that `git ls-remote` listed."""
    found = (line.partition("\trefs/tags/") for line in listing.splitlines())
    commits = {tag: commit for commit, _, tag in found if tag}
    # An annotated tag is an object of its own; what it names is listed with ^{}.
    return {tag: commits.get(f"{tag}^{{}}", commit) for tag, commit in commits.items() if not tag.endswith("^{}")}


def _git(folder: Path, *arguments: str, meanwhile: Callable[[], object] | None = None) -> Finished:
    """Run git as GitPython would, whose import takes as long as a small fetch and starts git twice."""
    configuration = (word for setting in _CONFIGURATION for word in ("-c", setting))
    command = ["git", *configuration, *arguments]
    return run(command, cwd=folder, env=_environment(folder), meanwhile=meanwhile)


def _ls_remote(folder: Path, *arguments: str) -> Finished:
    """Ask a repository for references, through GitPython: who asks does not wait for a plugin."""
    from git import Git

    class OwnGit(Git):
        """GitPython adds to the environment of the process, but takes nothing away: a variable of a hook stays."""

        def execute(self, command: Sequence[str], **_: object) -> Finished:  # type: ignore[override]
            return run(command, cwd=folder, env=_environment(folder))

    return cast("Finished", OwnGit(folder)(c=_CONFIGURATION).ls_remote(*arguments))


def _environment(folder: Path) -> dict[str, str]:
    # Nothing above the folder in which git works is its repository.
    return {**environment(), **_NO_QUESTIONS, "GIT_CEILING_DIRECTORIES": str(folder.resolve().parent)}


def _failure(finished: Finished, folder: Path, url: str, tag: str) -> SourceError:
    refuse_full_disk(finished.stderr, folder)
    address = without_credentials(url)
    # What succeeded and still is no answer does not have the tag.
    otherwise = (SourceError, "git failed") if finished.returncode else (TagNotFoundError, "")
    kind, meaning = next(
        ((kind, meaning) for pattern, kind, meaning in _FAILURES if re.search(pattern, finished.stderr)), otherwise
    )
    if kind is TagNotFoundError:
        branch = bool(_ls_remote(folder, "--heads", "--", url, f"refs/heads/{tag}").stdout)
        what = f"'{tag}' is a branch, not a tag, in" if branch else f"Tag '{tag}' does not exist in"
        return TagNotFoundError(
            f"{what} {address}. Plugins are loaded from tags only: no branch, no commit.",
            hint=f"See which tags there are: git ls-remote --tags {address}",
            location=address,
            tag=tag,
        )
    words = " ".join(finished.stderr.split())[-300:]
    return kind(f"{meaning}: {address} (git says: {words})", hint=_next_step(kind, address), location=address)


def _next_step(kind: type[SourceError], address: str) -> str:
    if kind is AuthenticationError:
        return (
            "Store credentials with a git credential helper or an ssh key, and check the address: "
            f"git ls-remote {address}"
        )
    if kind is NetworkError:
        return f"Check the network and the proxy settings: git ls-remote {address}"
    return f"Check the address: git ls-remote {address}"


def _refuse_links(folder: Path, url: str) -> None:
    """Refuse a checkout with a link that leads out of it, or into Git's own folder: who builds it would follow."""
    top = os.path.realpath(folder)
    for name in checkout_files(folder):
        path = os.path.join(folder, name)  # noqa: PTH118 - of every file
        if os.path.islink(path):  # noqa: PTH114
            inside = PurePath(os.path.realpath(path)).is_relative_to(top)
            if not inside or PurePath(os.path.realpath(path)).is_relative_to(f"{top}{os.sep}.git"):
                raise SourceError(
                    f"{without_credentials(url)}: {name} is a link that leads out of the checkout, to "
                    f"{os.readlink(path)}.",  # noqa: PTH115
                    hint="Plugins with such links are not loaded: ask the author for a tag without it.",
                    location=without_credentials(url),
                )


def _refuse_pointers(folder: Path, url: str) -> None:
    """Refuse a checkout in which Git LFS left pointers in place of files."""
    attributes = folder / ".gitattributes"
    if not attributes.is_file() or "filter=lfs" not in attributes.read_text(errors="replace"):
        return
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_size < 200 and path.read_bytes().startswith(b"version https://git-lfs"):  # noqa: PLR2004
            raise SourceError(
                f"{without_credentials(url)}: {path.relative_to(folder)} is a Git LFS pointer, not the file itself.",
                hint="Install git-lfs (git lfs install) and try again.",
                location=without_credentials(url),
            )
