"""From a Git tag or a local path to a folder with the plugin's code."""

import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from cuvis_ai_core._files import read_json, write_json
from cuvis_ai_core._process import Finished, finish, popen_arguments
from cuvis_ai_core.errors import (
    AuthenticationError,
    CacheMismatchError,
    LocalPathError,
    NetworkError,
    RepositoryNotFoundError,
    SourceError,
    TagNotFoundError,
    ToolNotFoundError,
)
from cuvis_ai_core.plugins.store import Store

if TYPE_CHECKING:
    import subprocess

MARKER: Final = "cuvis-checkout.json"
"""Completion marker of a checkout; it lies in `.git/`."""

# What git says, in the C locale, and what it means.
_FAILURES: Final[tuple[tuple[re.Pattern[str], type[SourceError], str], ...]] = (
    (re.compile(r"couldn't find remote ref"), TagNotFoundError, "There is no such tag"),
    (
        re.compile(
            r"could not read (Username|Password)|Authentication failed|terminal prompts disabled|Permission denied"
            r"|error: 40[13]|Host key verification failed"
        ),
        AuthenticationError,
        "The repository asks for credentials that git does not have",
    ),
    (
        re.compile(r"[Cc]ould not (resolve|connect)|Failed to connect|Connection|timed out|unreachable|SSL|gnutls"),
        NetworkError,
        "The host cannot be reached",
    ),
    (
        re.compile(r"not found|does not appear to be a git repository|Could not read from remote|error: 404"),
        RepositoryNotFoundError,
        "There is no such repository",
    ),
)


@dataclass(frozen=True, slots=True)
class Source:
    """The code of a plugin on disk.

    Attributes:
        folder: The checkout, or the local path.
        commit: Commit of the tag; None for a local path.
    """

    folder: Path
    commit: str | None = None


def local_source(path: Path) -> Source:
    """Return the source at a local path.

    Raises:
        LocalPathError: Nothing is there, or it is no folder.
    """
    if not path.is_dir():
        what = "is a file, not a folder" if path.exists() else "does not exist"
        raise LocalPathError(
            f"The path {path} {what}.",
            hint="Give the folder of the plugin's project; a relative path counts from the manifest's folder.",
            location=str(path),
        )
    return Source(path)


def git_source(name: str, url: str, tag: str, store: Store, announce: Callable[[str], None]) -> Source:
    """Return the checkout of a tag, from the store or fetched into it.

    Args:
        name: Name of the plugin in its manifest.
        url: Address of the repository; credentials in it are used, never stored.
        tag: Name of the tag.
        store: Where checkouts lie.
        announce: Called with the address before the network is used.

    Raises:
        SourceError: The tag cannot be had, or its checkout in the store was altered.
        ToolNotFoundError: git is not installed.
        TimeLimitError: git took longer than it may.
        StoreError: The store cannot be written.
    """
    address = public_address(url)
    wanted = {"name": name, "repo": address, "tag": tag}
    places = store.checkouts(name, tag, address)
    found = _published(places, wanted)
    if found is not None:
        return found
    with store.lock(places[0].name):
        found = _published(places, wanted)
        if found is None:
            announce(f"{address} {tag}")
            with store.workspace() as folder:
                commit = _fetch(url, tag, folder / "checkout")
                write_json(folder / "checkout" / ".git" / MARKER, {**wanted, "commit": commit})
                # The plain place belongs to whoever came first; another repository gets a name of its own.
                taken = _read_marker(places[0]) is not None
                place = places[1] if taken else places[0]
                store.publish(folder / "checkout", place)
            found = Source(place, commit)
    return found


def _published(places: tuple[Path, Path], wanted: Mapping[str, str]) -> Source | None:
    for place in places:
        marker = _read_marker(place)
        if marker is not None and wanted.items() <= marker.items():
            _check_head(place, marker)
            return Source(place, marker["commit"])
    return None


def _read_marker(place: Path) -> dict[str, Any] | None:
    marker = read_json(place / ".git" / MARKER)
    return marker if marker is not None and isinstance(marker.get("commit"), str) else None


def _check_head(place: Path, marker: Mapping[str, str]) -> None:
    try:
        head = (place / ".git" / "HEAD").read_text(encoding="utf-8").strip()
    except OSError:
        head = "nothing"
    if head != marker["commit"]:
        raise CacheMismatchError(
            f"Tag mismatch in cache for plugin '{marker['name']}': {place} is at {head}, "
            f"but tag {marker['tag']} was fetched at commit {marker['commit']}.",
            hint=f'Somebody changed the checkout. Fetch it anew: NodeRegistry.clear_plugin_cache("{marker["name"]}").',
            plugin=marker["name"],
            location=marker["repo"],
            path=place,
        )


def _fetch(url: str, tag: str, folder: Path) -> str:
    """Fetch one tag without history, whatever branches have that name, and return its commit."""
    if shutil.which("git") is None:
        raise ToolNotFoundError(
            "The program 'git' was not found on PATH; plugins from repositories need it.",
            hint="Install git, or use the plugin from a local path.",
            tool="git",
        )
    reference = f"refs/tags/{tag}"
    folder.mkdir()
    for arguments in (
        ("init", "--quiet", "--template="),
        ("fetch", "--quiet", "--depth=1", "--no-tags", "--", url, f"+{reference}:{reference}"),
        ("checkout", "--quiet", "--detach", reference),
    ):
        finished = _git(folder, *arguments)
        if finished.returncode:
            raise _failure(finished, folder, url, tag)
    _refuse_pointers(folder, url)
    return (folder / ".git" / "HEAD").read_text(encoding="utf-8").strip()


def _git(folder: Path, *arguments: str) -> Finished:
    # GitPython starts git twice when it is imported: only a fetch pays for that.
    from git import Git

    command = [
        "git",
        *("-c", "core.hooksPath=/dev/null"),
        *("-c", "protocol.ext.allow=never"),
        *("-c", "core.autocrlf=false"),
        *("-c", "gc.auto=0"),
        *("-c", "maintenance.auto=false"),
        *("-c", "advice.detachedHead=false"),
        *arguments,
    ]
    # GitPython sets up the pipes itself; the process group is ours to ask for.
    group = {"start_new_session": popen_arguments()["start_new_session"]}
    started = Git(folder).execute(command, as_process=True, env=_environment(), **cast("Any", group))
    process = cast("subprocess.Popen[bytes]", cast("Any", started).proc)
    return finish(process, command)


def _environment() -> dict[str, str]:
    return {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS": "",
        "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes"),
        "LC_ALL": "C",
    }


def _failure(finished: Finished, folder: Path, url: str, tag: str) -> SourceError:
    address = public_address(url)
    kind, meaning = next(
        ((kind, meaning) for pattern, kind, meaning in _FAILURES if pattern.search(finished.stderr)),
        (SourceError, "git failed"),
    )
    if kind is TagNotFoundError:
        branch = bool(_git(folder, "ls-remote", "--heads", "--", url, f"refs/heads/{tag}").stdout)
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


def _refuse_pointers(folder: Path, url: str) -> None:
    """Refuse a checkout in which Git LFS left pointers in place of files."""
    attributes = folder / ".gitattributes"
    if not attributes.is_file() or "filter=lfs" not in attributes.read_text(errors="replace"):
        return
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_size < 200 and path.read_bytes().startswith(b"version https://git-lfs"):  # noqa: PLR2004
            raise SourceError(
                f"{public_address(url)}: {path.relative_to(folder)} is a Git LFS pointer, not the file itself.",
                hint="Install git-lfs (git lfs install) and try again.",
                location=public_address(url),
            )


def public_address(url: str) -> str:
    """Return the address of a repository without credentials."""
    return re.sub(r"^(https?://)[^/@]*@", r"\1", url)
