"""The folder of the plugin cache: which one it is, that its user can write to it, and that nobody else may."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from cuvis_ai_core.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT_VARIABLE: Final = "CUVIS_PLUGINS_DIR"

SHARED_VARIABLE: Final = "CUVIS_SHARED_STORE"
"""Names the folder of a plugin cache that others filled: it is looked into after the user's own, and never written."""

_BELIEVED: Final = ("", "/.targets", "/.envs", "/.records")
"""Folders of a plugin cache of which every load believes what lies in them."""

_OTHERS_WRITE: Final = 0o022
_OTHERS_ENTER: Final = 0o011


def default_root() -> Path:
    """Return the folder of the cache: `CUVIS_PLUGINS_DIR`, else `~/.cuvis_plugins`.

    Raises:
        StoreError: There is no such home.
    """
    return chosen_root(os.environ.get(ENVIRONMENT_VARIABLE) or "~/.cuvis_plugins")


def chosen_root(path: str | os.PathLike[str]) -> Path:
    """Return the absolute folder that somebody means by a path; `~` is a home.

    Raises:
        StoreError: The path is empty, holds a null character, or names the home of nobody.
    """
    from pathlib import Path

    # `Path` would take an empty text for the working folder.
    text = os.fspath(path)
    why = "it is empty" if not text.strip() else "it holds a null character" if "\0" in text else ""
    try:
        folder = Path(text).expanduser().absolute()
    except RuntimeError as error:
        why, folder = str(error).rstrip("."), Path(text)
    if why:
        raise StoreError(
            f"{text!r} cannot be the folder of the plugin cache: {why}.",
            hint=f"Give the path of a folder: {ENVIRONMENT_VARIABLE}=FOLDER or NodeRegistry.set_cache_dir(path).",
            path=folder,
        )
    return folder


def refuse_foreign(root: str, owner: int | None) -> None:
    """Raise if others may write to a plugin cache, and so have its user run what they like.

    Args:
        root: Its folder.
        owner: The number of the user whose it must be; None where anybody may keep it for others.

    Raises:
        StoreError: They may.
    """
    for name in _BELIEVED:
        try:
            state = os.stat(root + name)
        except OSError:
            continue
        # Root may write anyhow.
        foreign = owner is not None and state.st_uid not in {owner, 0}
        if foreign or state.st_mode & _OTHERS_WRITE:
            raise _foreign(root + name, root, state.st_uid if foreign else None)
        # Nobody else comes into the folder, so the rights below do not matter.
        if not name and not state.st_mode & _OTHERS_ENTER:
            return


def _foreign(folder: str, root: str, owner: int | None) -> StoreError:
    from pathlib import Path

    if owner is None:
        what, step = "can be written by other users", f"Take that away: chmod -R go-w '{root}'"
    else:
        what = f"belongs to another user (number {owner})"
        step = f"If the files are yours, make them so: chown -R {os.geteuid()} '{root}'; to use what somebody else "
        step += f"keeps, name it with {SHARED_VARIABLE}"
    return StoreError(
        f"The plugin cache {root} is not used: {folder} {what}, who could have you run anything.",
        hint=f"{step}. Or empty the cache, if you do not know what happened to it: it is filled again.",
        path=Path(root),
    )


def unusable(root: Path, error: OSError) -> StoreError:
    """Return the error for what the file system refuses in a plugin cache: a disk that is read-only, say, or full."""
    from cuvis_ai_core._file_lock import LOCKLESS
    from cuvis_ai_core.plugins.disk.full_disk import free_space

    if error.errno in LOCKLESS:
        return StoreError(
            f"The plugin cache {root} cannot be used: its file system has no locks, by which programs that "
            "build the same plugin wait for each other.",
            hint=f"Have the cache on a disk of this machine, {ENVIRONMENT_VARIABLE}=FOLDER or "
            "NodeRegistry.set_cache_dir(path); or have the network file system mounted with locks.",
            path=root,
        )
    space = f" ({free_space(root)})" if root.is_dir() else ""
    return StoreError(
        f"The plugin cache {root} cannot be used: {error.strerror or error}"
        f"{f': {error.filename}' if error.filename else ''}{space}.",
        hint=f"Make the folder writable, or choose another one with {ENVIRONMENT_VARIABLE} "
        "or NodeRegistry.set_cache_dir(path).",
        path=root,
    )
