"""Whether files on disk are what was put there: a cheap look at every load, all contents where that finds a change.

The cheap look compares size and time of a bounded number of files with what the completion marker recorded. Copies of
a cache have other times than the original: a difference is only a reason to read the contents, which decide.
"""

import csv
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path, PurePath
from typing import Final, TypeAlias

Watched: TypeAlias = Mapping[str, list[int]]
"""Relative path of a file, with `/`, to its size in bytes and its time of change in nanoseconds."""

_MOST: Final = 64
"""Files that are looked at on every load; each costs two microseconds."""

NO_SOURCE: Final = (".venv", "venv", "__pycache__", ".*_cache", "build", "dist", "node_modules")
"""Folders of a local project that its code is not in."""

PROJECT_FILES: Final = ("pyproject.toml", "setup.cfg", "setup.py")
"""Files that say what a project is called, and what it needs."""

_SECOND: Final = 10**9

_MODULES: Final = (".py", ".pyc", ".so", ".pyd", ".pth")
"""Suffixes of files that nobody may add to a target directory; data that a plugin keeps beside its code it may."""


def watch(folder: Path, files: Iterable[str]) -> dict[str, list[int]]:
    """Return size and time of the outermost of some files, at most 64, relative to their folder.

    Raises:
        OSError: A file cannot be looked at.
    """
    # The outermost first: what people edit in a checkout lies there; a thousand files would take 2 ms of each load.
    chosen = sorted(files, key=lambda file: (file.count("/"), file))[:_MOST]
    # The link itself: one that was put in a file's place is a change.
    states = {file: (folder / file).lstat() for file in chosen}
    return {file: [state.st_size, state.st_mtime_ns] for file, state in states.items()}


def looks_unchanged(folder: Path, watched: Watched) -> bool:
    """Tell whether the watched files have the size and the time that they had."""
    base = os.fspath(folder)
    try:
        # Texts, not paths: pathlib takes more time than the system call.
        return all(_same(os.lstat(f"{base}/{file}"), *known) for file, known in watched.items())
    except (OSError, TypeError):  # gone, or not what we write into markers
        return False


def _same(found: os.stat_result, size: int, time: int) -> bool:
    if found.st_size != size:
        return False
    # Archives and some file systems keep whole seconds only.
    whole = found.st_mtime_ns % _SECOND == 0
    return found.st_mtime_ns == time or (whole and found.st_mtime_ns // _SECOND == time // _SECOND)


def source_stamp(folder: Path) -> str:
    """Return what changes when somebody edits a local project."""
    import hashlib

    states = hashlib.sha256()
    for parent, folders, files in os.walk(folder):
        ignored = {name for name in folders for each in (".git", *NO_SOURCE) if fnmatch(name, each)}
        # In place: `os.walk` goes on with what is left in its list; sorted, as the order of a folder is the file
        # system's.
        folders[:] = sorted(set(folders) - ignored)
        for name in sorted(files):
            with suppress(OSError):  # gone in this moment
                state = os.lstat(f"{parent}/{name}")
                states.update(os.fsencode(f"{parent}/{name}\0{state.st_size}\0{state.st_mtime_ns}\0"))
    return states.hexdigest()[:16]


def checkout_files(folder: Path) -> list[str]:
    """Return all files and links in a checkout, Git's own folder aside, sorted, with `/`."""
    found: list[str] = []
    for parent, folders, files in os.walk(folder):
        # At the top alone: a folder of that name further down is part of what was fetched.
        if parent == str(folder) and ".git" in folders:
            folders.remove(".git")
        # `os.walk` counts a link to a folder among the folders, and does not follow it.
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        prefix = PurePath(parent).relative_to(folder).as_posix()
        found += [name if prefix == "." else f"{prefix}/{name}" for name in (*files, *links)]
    return sorted(found)


def checkout_digest(folder: Path, files: Iterable[str]) -> str:
    """Return a hash of the names and contents of all files of a checkout.

    Not `git status`: that calls some fresh checkouts modified (line endings), and obeys configuration.
    """
    import hashlib

    whole = hashlib.sha256()
    for name in files:
        path = folder / name
        if path.is_symlink():
            content = os.fsencode(path.readlink())
        else:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
        # Neither a name nor the separator can hold a zero byte; hashes that hold one have a fixed length.
        whole.update(b"%s\0%s\0" % (os.fsencode(name), content))
    return whole.hexdigest()


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    import hashlib

    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def installed_files(folder: Path) -> dict[str, str]:
    """Return the files that installers recorded below a target directory, each with its hash (PEP 376 and 427).

    A `RECORD` is in the answer with its own hash, so that the whole says what was installed.
    """
    import hashlib

    recorded: dict[str, str] = {}
    for record in sorted(folder.glob("*.dist-info/RECORD")):
        with record.open(encoding="utf-8", newline="") as lines:
            # csv, as PEP 376 has it: a name with a comma is quoted.
            recorded |= {row[0]: row[1] for row in csv.reader(lines) if len(row) > 1 and row[1] and _inside(row[0])}
        recorded[f"{record.parent.name}/RECORD"] = f"sha256={_urlsafe(hashlib.sha256(record.read_bytes()).digest())}"
    return recorded


def digest_of(recorded: Mapping[str, str]) -> str:
    """Return a hash that stands for all that installers recorded."""
    import hashlib

    return hashlib.sha256(
        "".join(f"{name}\0{content}\0" for name, content in sorted(recorded.items())).encode()
    ).hexdigest()


def altered_files(folder: Path, recorded: Mapping[str, str]) -> Iterator[str]:
    """Return the files of a target directory that are not as they were recorded, and modules that nobody recorded."""
    for name, expected in recorded.items():
        if _content(folder / name, expected.partition("=")[0]) != expected:
            yield name
    yield from sorted(set(_modules(folder)) - recorded.keys())


def _content(path: Path, algorithm: str) -> str:
    import hashlib

    try:
        with path.open("rb") as file:
            # The algorithm as RECORD names it; one that hashlib lacks is a ValueError, and the file counts as altered.
            return f"{algorithm}={_urlsafe(hashlib.file_digest(file, algorithm).digest())}"
    except (OSError, ValueError):
        return ""


def _urlsafe(digest: bytes) -> str:
    from base64 import urlsafe_b64encode

    return urlsafe_b64encode(digest).decode().rstrip("=")


def _inside(name: str) -> bool:
    # Scripts are recorded as `../../bin/x`; a wheel of a stranger could name any file of the user's, which would be
    # read.
    return not name.startswith("/") and ".." not in name.split("/")


def _modules(folder: Path) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        # Python writes bytecode there, when something is imported for the first time.
        folders[:] = [name for name in folders if name != "__pycache__"]
        prefix = PurePath(parent).relative_to(folder).as_posix()
        yield from (name if prefix == "." else f"{prefix}/{name}" for name in files if name.endswith(_MODULES))
