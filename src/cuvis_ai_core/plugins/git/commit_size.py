"""What a commit is on disk, found out before git writes it: a small pack may hold one folder many times.

A few hundred bytes can stand for more files than any disk has, and a folder may lie deeper than Python can walk.
"""

import re
from typing import TYPE_CHECKING, Final

from cuvis_ai_core._printable_text import shown_size
from cuvis_ai_core._redact import redact, without_credentials
from cuvis_ai_core.errors import SourceError
from cuvis_ai_core.plugins.git.git_command import git

if TYPE_CHECKING:
    from pathlib import Path

# A tag of some hundred bytes can be as many files as a disk has room for: one tree, named many times.
_MOST_FILES: Final = 200_000
_MOST_BYTES: Final = 20 * 10**9
_DEEPEST: Final = 100
_RATIO: Final = 200
_FREE: Final = 256 * 2**20
"""Bytes that files may have, however well they are packed."""

_ENTRY: Final = re.compile(r"\d+ \w+ \w+ +(\d+|-)\t(.*)")

_CUT: Final = "it wrote more than"
_BROKEN: Final = "was ended by signal"


def refuse_too_much(folder: "Path", wanted: str, url: str) -> None:
    """Refuse a commit that is more on disk than a plugin is.

    Args:
        folder: A repository that has it, without files.
        wanted: `refs/tags/…`, or the hash of a commit.
        url: Address of the repository.

    Raises:
        SourceError: It has more files, or bytes, or deeper folders.
    """
    found = files_of(folder, wanted, url)
    if len(found) > _MOST_FILES:
        raise _too_much(url, f"more than {_MOST_FILES} files")
    size = sum(size for _, size in found)
    # zlib packs 1:1000 at most, deltas without bound: text and weights stay far below 1:200.
    most = min(_MOST_BYTES, max(_FREE, _RATIO * _packed(folder)))
    if size > most:
        raise _too_much(url, f"{shown_size(size)}, where at most {shown_size(most)} may come out of it")
    deep = next((path for path, _ in found if path.count("/") > _DEEPEST), None)
    if deep is not None:
        raise _too_much(url, f"more than {_DEEPEST} folders in each other ({redact(deep[:60])}…)")


def files_of(folder: "Path", wanted: str, url: str) -> list[tuple[str, int]]:
    """Return the files of a commit by their paths, with their sizes; a submodule has none.

    Raises:
        SourceError: They are too many, or lie too deep, to be listed.
    """
    # Sizes come from the objects' headers: nothing is unpacked, and nothing written.
    listed = git(folder, "ls-tree", "-r", "-l", "--full-tree", wanted, settings=("core.quotePath=false",))
    if _CUT in listed.stderr:
        raise _too_much(url, f"more than {_MOST_FILES} files")
    # git walks folders by calls within calls: deep enough, they end its stack.
    if _BROKEN in listed.stderr:
        raise _too_much(url, "folders that git itself cannot list")
    found = (match.groups() for line in listed.stdout.split("\n") if (match := _ENTRY.fullmatch(line)))
    return [(path, 0 if size == "-" else int(size)) for size, path in found]


def _packed(folder: "Path") -> int:
    """Return how many bytes the objects of a repository have as they came."""
    return sum(file.stat().st_size for file in (folder / ".git/objects").rglob("*") if file.is_file())


def _too_much(url: str, what: str) -> SourceError:
    address = without_credentials(url)
    return SourceError(
        f"{address}: it would be {what}. No plugin is that; nothing was written.",
        hint="Ask the author for a tag without them; weights and data belong elsewhere.",
        location=address,
    )
