"""One commit of a Git repository: fetched without history into a folder, and checked out there."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cuvis_ai_core._folder_removal import remove_tree
from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core._subprocess import Finished, pause
from cuvis_ai_core.errors import SourceError
from cuvis_ai_core.plugins.disk.full_disk import refuse_full_disk
from cuvis_ai_core.plugins.git import lfs
from cuvis_ai_core.plugins.git.commit_size import refuse_too_much
from cuvis_ai_core.plugins.git.git_command import git, hash_function
from cuvis_ai_core.plugins.git.git_errors import unreachable, words

# Words of git 2.29 (which brought SHA-256) and later, in the C locale: fetch has no status of its own for these.
_OTHER_HASHES: Final = r"mismatched (object format|algorithms)|not support algorithm|bad revision '[0-9a-f]{64}'"
_NO_SHALLOW: Final = r"does not support shallow"
_NOT_OFFERED: Final = r"unadvertised object|not our ref|couldn't find remote ref [0-9a-f]{40}"

# What a host breaks off is there a moment later, as a rule: uv asks for a package as often.
_BROKEN_OFF: Final = (
    r"early EOF|RPC failed|hung up|unexpected disconnect|transfer closed|Empty reply|reset by peer"
    r"|Connection closed by|Recv failure|SSL_read|GnuTLS recv error"
)
# git says "RPC failed" of these too; a host that has too much to do (429) asks for just the opposite.
_REFUSED: Final = r"HTTP 4\d\d|returned error: 4\d\d"
_PAUSES: Final = (1.0, 3.0)
"""Seconds before the host is asked again, each time: one that begins anew needs some."""

_NO_COMMIT: Final = r"to a non-commit|reference is not a tree"

_ALL: Final = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")

logger = logging.getLogger(__name__)


class NoSuchReferenceError(Exception):
    """The repository does not have what is asked for."""


def check_out(url: str, wanted: str, folder: Path, task: str, meanwhile: Callable[[], object] = lambda: None) -> str:
    """Make a folder with what a reference or a commit names, its large files (LFS) included, and return the commit.

    Args:
        url: Address of the repository; credentials in it are used, never stored.
        wanted: `refs/tags/…`, or the hash of a commit.
        folder: Folder to make.
        task: What that is, for errors, as `fetch tag v1.0.0 of`.
        meanwhile: What to do while git waits for the network.

    Raises:
        NoSuchReferenceError: There is no such reference.
        SourceError: It cannot be had.
        StoreError: The disk is full.
        TimeLimitError: git took longer than it may.
    """
    _fetch(url, wanted, folder, task, meanwhile)
    refuse_too_much(folder, wanted, url)
    commit = show_commit(folder, wanted, task, url)
    lfs.replace_pointers(folder, url)
    return commit


def show_commit(folder: Path, wanted: str, task: str, url: str) -> str:
    """Have the files of what a reference or a commit names, large files as pointers, and return the commit.

    Args:
        folder: A repository that has it.
        wanted: `refs/tags/…`, or the hash of a commit.
        task: What that is, for errors.
        url: Address of the repository.

    Raises:
        SourceError: It cannot be had as files here.
        StoreError: The disk is full.
    """
    # Pointers are noticed, and replaced, afterwards: a filter that is set up, but not installed, ends git.
    finished = git(folder, "checkout", "--quiet", "--detach", wanted, settings=lfs.OFF)
    if finished.returncode:
        raise _broken(finished, folder, task, url)
    _refuse_colliding(folder, url)
    return (folder / ".git" / "HEAD").read_text(encoding="utf-8").strip()


def _fetch(url: str, wanted: str, folder: Path, task: str, meanwhile: Callable[[], object]) -> None:
    is_commit = "/" not in wanted
    hashes = hash_function(wanted) if is_commit else "sha1"
    # By the whole name of the reference: a branch may be called like the tag, and git would take either.
    options, references = ["--depth=1"], [wanted if is_commit else f"+{wanted}:{wanted}"]
    pauses = iter(_PAUSES)
    while True:
        folder.mkdir()
        # Without the user's template, which may bring hooks and a configuration.
        finished = git(folder, "init", "--quiet", "--template=", hashes=hashes)
        if finished.returncode:
            raise _broken(finished, folder, task, url)
        # '--' ends the options: an address that begins with '-' would be one, such as --upload-pack=PROGRAM.
        command = ("fetch", "--quiet", *options, "--no-tags", "--", url, *references)
        finished = git(folder, *command, meanwhile=meanwhile)
        if not finished.returncode:
            return
        refuse_full_disk(finished.stderr, folder)
        if re.search(_OTHER_HASHES, finished.stderr) and hashes == "sha1":
            hashes = "sha256"
        # A plain web server runs no git that could leave history out ("dumb http").
        elif re.search(_NO_SHALLOW, finished.stderr) and options:
            options = []
            logger.warning(
                "%s is a plain web server, which gives out whole repositories only: all of the history is fetched, "
                "which is slow",
                without_credentials(url),
            )
        # Hosts may refuse a bare commit (uploadpack.allowReachableSHA1InWant is off by default): all branches and tags
        # have it then.
        elif re.search(_NOT_OFFERED, finished.stderr) and is_commit and references[0] == wanted:
            options, references = [], list(_ALL)
        elif (seconds := next(pauses, None) if _is_broken_off(finished) else None) is not None:
            logger.warning("%s broke off; it is asked again in %g s", without_credentials(url), seconds)
            pause(seconds)
        else:
            break
        # The format of hashes of a repository cannot be changed later, nor is half a fetch worth keeping.
        remove_tree(folder)
    if "couldn't find remote ref" in finished.stderr:
        raise NoSuchReferenceError
    raise unreachable(finished, task, url)


def _is_broken_off(finished: Finished) -> bool:
    return bool(re.search(_BROKEN_OFF, finished.stderr)) and not re.search(_REFUSED, finished.stderr)


def _broken(finished: Finished, folder: Path, task: str, url: str) -> SourceError:
    """Return the error for a step that needs no network."""
    refuse_full_disk(finished.stderr, folder)
    address = without_credentials(url)
    what = "It was fetched, but cannot be written as files here."
    hint = "Where a name is too long or not allowed, choose another folder for the plugin cache, with a short path, "
    hint += f"with CUVIS_PLUGINS_DIR; by hand: git clone {address}"
    if re.search(_NO_COMMIT, finished.stderr):
        what = "The tag is there, but it is no tag of a commit: it names a folder or a file of the repository."
        hint = "Ask the author for a tag of a commit."
    elif "invalid path" in finished.stderr:
        what = (
            "Some systems take a file of that name for Git's own folder, or have no such names: it is written nowhere."
        )
        hint = "Ask the author for a tag in which it has another name."
    return SourceError(f"git could not {task} {address}:\n{words(finished)}\n{what}", hint=hint, location=address)


def _refuse_colliding(folder: Path, url: str) -> None:
    """Refuse files whose names are one where case does not count: git would write one over the other."""
    # The cheapest question to a file system whether case counts: `.git` is there for sure.
    if not (folder / ".GIT").exists():
        return
    seen: dict[str, str] = {}
    for name in git(folder, "ls-files").stdout.splitlines():
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise SourceError(
                f"{without_credentials(url)}: the files {other} and {name} are one file here, where case does "
                "not count in names.",
                hint="Choose a folder for the plugin cache on a disk where case counts, with CUVIS_PLUGINS_DIR.",
                location=without_credentials(url),
            )
