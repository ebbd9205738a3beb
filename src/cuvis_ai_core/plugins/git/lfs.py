"""Large files (Git LFS): what lies in the repository is a pointer; the program git-lfs fetches what it points to."""

import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cuvis_ai_core._folder_removal import remove_tree
from cuvis_ai_core._redact import redact, without_credentials
from cuvis_ai_core.errors import SourceError
from cuvis_ai_core.plugins.disk.altered_files import checkout_files
from cuvis_ai_core.plugins.disk.full_disk import refuse_full_disk
from cuvis_ai_core.plugins.git.git_command import git
from cuvis_ai_core.plugins.git.git_errors import words

OFF: Final = ("filter.lfs.smudge=", "filter.lfs.process=", "filter.lfs.clean=", "filter.lfs.required=false")
"""Leaves pointers where they are, whatever a user has set up."""

_ON: Final = (
    "filter.lfs.smudge=git-lfs smudge -- %f",
    "filter.lfs.process=git-lfs filter-process",
    "filter.lfs.required=true",
    # Everything: a user who works on the repository may leave out what is large.
    "lfs.fetchinclude=",
    "lfs.fetchexclude=",
)

_PLACES: Final = r"(^lfs|\.lfs)(\.|push)*url$"
_WAY: Final = re.compile(r"(https?|ssh)://[^-\s]\S*|\w[\w.+-]*@\w[\w.-]*:[^-\s]\S*", re.IGNORECASE)
"""How large files may come: as plugins do, and never from a folder of this machine."""

# The format's own bound is 1024; the shortest has a version, an oid and a size.
_SIZES: Final = range(80, 1025)
"""Bytes that a pointer may have."""

_POINTER: Final = re.compile(
    rb"version https://(?:git-lfs\.github|hawser\.github)\.com/spec/.*\noid sha256:([0-9a-f]{64})\n", re.DOTALL
)


def replace_pointers(folder: Path, url: str) -> None:
    """Have the files themselves in place of pointers, wherever in a checkout they lie.

    Raises:
        SourceError: They cannot be had, or git-lfs is not installed.
        StoreError: The disk is full.
        TimeLimitError: git took longer than it may.
    """
    # By content, not by .gitattributes: a file that was committed as a pointer without the attribute is one as well.
    found = list(pointers(folder))
    if not found:
        return
    if shutil.which("git-lfs") is None:
        raise _refused(folder, found, url, "and the program git-lfs is not installed here", "Install git-lfs")
    _refuse_places(folder, found, url)
    # git writes again only what is not there; an unchanged pointer would stay.
    for path in found:
        path.unlink()
    settings = (*_ON, f"remote.origin.url={url}")
    finished = git(folder, "checkout", "--quiet", "--", ".", settings=settings)
    if finished.returncode:
        refuse_full_disk(finished.stderr, folder)
        raise _refused(folder, found, url, f"which git-lfs could not fetch:\n{words(finished)}\n", "Ask the author")
    left = list(pointers(folder))
    if left:
        why = "but no .gitattributes says so: git-lfs leaves it as it is"
        raise _refused(folder, left, url, why, "Ask the author for a tag that has the file or its attribute")
    # What was fetched lies there a second time.
    remove_tree(folder / ".git" / "lfs")


def _refuse_places(folder: Path, found: list[Path], url: str) -> None:
    """Refuse what the repository says about where its large files are, unless plugins may come from there."""
    file = folder / ".lfsconfig"
    if not os.path.lexists(file):
        return
    # git-lfs would read what it leads to, which nobody looked at.
    if file.is_symlink():
        raise _refused(folder, found, url, "and .lfsconfig is a link", "Ask the author for a tag without it")
    # Read by git itself: who takes the file apart otherwise will differ from git-lfs in some quoting or include.
    told = git(folder, "config", "--file", ".lfsconfig", "--get-regexp", _PLACES).stdout
    for line in filter(None, told.split("\n")):
        if not _WAY.fullmatch(line.partition(" ")[2]):
            why = f"and .lfsconfig has an address from which nothing is fetched ({redact(line)})"
            raise _refused(folder, found, url, why, "Ask the author for a tag with an https address")


def pointers(folder: Path) -> Iterator[Path]:
    """Return the files of a checkout that are pointers."""
    for name in checkout_files(folder):
        # Cheap, and nearly all there is to look at: no pointer is code.
        if not name.endswith(".py"):
            path = folder / name
            state = path.lstat()
            if state.st_size in _SIZES and stat.S_ISREG(state.st_mode) and _POINTER.match(path.read_bytes()):
                yield path


def hash_in(pointer: Path) -> str:
    """Return the hash (SHA-256) of the file that a pointer stands for."""
    found = _POINTER.match(pointer.read_bytes())
    assert found is not None
    return found[1].decode()


def _refused(folder: Path, found: list[Path], url: str, why: str, step: str) -> SourceError:
    address = without_credentials(url)
    more = f" (and {len(found) - 1} more)" if found[1:] else ""
    return SourceError(
        f"{address}: {found[0].relative_to(folder)}{more} is a Git LFS pointer, not the file itself, {why}.",
        hint=f"{step}, and try again. What there is to fetch: git lfs ls-files",
        location=address,
    )
