"""Which code a local plugin had: the commit that it is at, whether files differ from it, a hash of what was loaded."""

import hashlib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core.plugins.disk.altered_files import NO_SOURCE
from cuvis_ai_core.plugins.git.untrusted_folder import look

_CODE: Final = frozenset({".py", ".pyd", ".so", ".toml", ".yaml", ".yml"})
"""Kinds of files that say what runs; a project's data may be large."""


def local_code(folder: Path, *, edited: bool | None) -> dict[str, Any]:
    """Return what a record says of a local plugin.

    Args:
        folder: Folder of its project.
        edited: Whether its files were changed since it was loaded; None where nobody knows.

    Returns:
        `commit` of the repository that it is in, `changed` files in it, seen from there (None for both where it is in
        none), `edited`, and `sha256` over its code; None where that is no more what was loaded.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    # With -z names are written as they are, without quotes and escapes (git-status(1)).
    told = _git(folder, "status", "--porcelain", "-z", "--", ".") if commit else None
    changed = None if told is None else sorted(each[3:] for each in told.split("\0") if each[3:])
    return {"commit": commit, "changed": changed, "edited": edited, "sha256": None if edited else code_hash(folder)}


def _git(folder: Path, *command: str) -> str | None:
    told = look(folder, *command)
    return None if told is None else told.encode(errors="surrogateescape").decode(errors="replace").strip("\n")


def code_hash(folder: Path) -> str | None:
    """Return a hash over the code of a project, None where a file went meanwhile.

    Args:
        folder: Folder of the project.
    """
    digest = hashlib.sha256()
    try:
        for file in sorted(_files(folder)):
            # With its size: else the end of one file could pass for the name of the next.
            digest.update(f"{file.relative_to(folder).as_posix()}\0{file.stat().st_size}\0".encode(errors="replace"))
            digest.update(file.read_bytes())
    except OSError:  # gone in this moment
        return None
    return digest.hexdigest()


def _files(folder: Path) -> list[Path]:
    found: list[Path] = []
    for each in folder.iterdir():
        # A link may lead back up, or out of the project.
        if each.is_dir() and not each.is_symlink():
            if each.name[:1] != "." and not any(fnmatch(each.name, ignored) for ignored in NO_SOURCE):
                found += _files(each)
        elif each.suffix in _CODE and each.is_file():
            found.append(each)
    return found
