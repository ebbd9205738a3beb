"""Unpacking a bundle: into a temporary folder, checked file by file, and then into place.

An archive is data from elsewhere. What it may hold is told by its listing, and what that may say by `carried`; only
plain files are written, each in a folder that was made for it, and links are made last, when nothing can be written
through them.
"""

import hashlib
import json
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, Self

from cuvis_ai_core.errors import BundleError, LockError
from cuvis_ai_core.plugins.bundle.listing import (
    FORMAT,
    LISTING,
    MAX_LISTING,
    ListedFile,
    check_names,
    is_below_manifest,
    refused,
)
from cuvis_ai_core.plugins.cache import integrity
from cuvis_ai_core.plugins.cache.sources import put_checkout
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.dependencies.search_path import interpreter
from cuvis_ai_core.plugins.lock.lockfile import Lock, read_lock, refuse_differences
from cuvis_ai_core.plugins.manifest.schema import GitPlugin, Manifest, lock_path, read_manifest

_CONFIGURATION: Final = """\
[core]
\trepositoryformatversion = {version}
\tfilemode = true
\tbare = false
\tlogallrefupdates = true
"""
_MAX_HEADER: Final = 2**20

_SHA256: Final = "[extensions]\n\tobjectformat = sha256\n"
_SHA256_LENGTH: Final = 64


class Unbundled(NamedTuple):
    """What was unpacked.

    Attributes:
        manifest: The manifest, as it lies here now.
        plugins: Names of its plugins.
        absent: Local plugins that do not lie where the manifest says.
    """

    manifest: Path
    plugins: tuple[str, ...]
    absent: tuple[str, ...]


class _Listing(NamedTuple):
    interpreter: str
    manifest: str
    lock: str
    files: Mapping[str, ListedFile]


def unpack_bundle(archive: Path, output: Path, store: Store) -> Unbundled:
    """Put what a bundle holds into the plugin cache, and its manifest and lock file into a folder.

    Args:
        archive: The bundle.
        output: Folder for manifest, lock file and local plugins; made if it is not there.
        store: The plugin cache.

    Raises:
        BundleError: It is damaged, for another platform, or holds something that it must not; or a file of another
            content is in its way.
        StoreError: The plugin cache cannot be written.
    """
    with store.workspace() as folder:
        listing = _unpack(archive, folder)
        manifest, lock = _checked_content(folder, listing)
        _refuse_overwriting(folder, output, listing)
        _fill_store(folder, manifest, lock, store)
        _fill_output(folder, output, listing)
    store.release()
    plugins = read_manifest(output / listing.manifest).plugins
    local = {name: each.path for name, each in plugins.items() if not isinstance(each, GitPlugin)}
    absent = tuple(name for name, path in local.items() if not path.is_dir())
    return Unbundled(output / listing.manifest, tuple(plugins), absent)


class _Header(tarfile.TarInfo):
    """A header that does not have us read gigabytes of further headers into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header."""
        header = super().frombuf(buf, encoding, errors)
        if header.type not in {tarfile.REGTYPE, tarfile.AREGTYPE} and header.size > _MAX_HEADER:
            raise refused(f"has a header of {header.size} bytes")
        return header


def _unpack(archive: Path, folder: Path) -> _Listing:
    with _readable(archive), tarfile.open(archive, "r|*", tarinfo=_Header) as tar:
        first = tar.next()
        if first is None or first.name != LISTING or not first.isreg() or first.size > MAX_LISTING:
            raise refused(f"{archive} does not begin with a listing of what it holds")
        listing = _listing(_opened(tar, first).read())
        _refuse_too_large(archive, folder, listing)
        left = dict(listing.files)
        links: dict[str, str] = {}
        while (member := tar.next()) is not None:
            known = left.pop(member.name, None)
            if known is None:
                raise refused(f"{archive} has a file that it does not list, or lists once: {member.name!r}")
            if known.link is not None and member.issym() and member.linkname == known.link:
                links[member.name] = known.link
            elif known.link is None and member.isreg() and member.size == known.size:
                _write(folder / member.name, _opened(tar, member), known)
            else:
                raise refused(f"{archive} has a file that is not what it lists: {member.name!r}")
        if left:
            raise refused(f"{archive} is not whole: {min(left)!r} is missing")
    for name, link in links.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(link)
    return listing


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise BundleError(f"There is no bundle {archive}.", hint="Give the path of a .tar.gz file.") from error
    except (tarfile.TarError, EOFError, zlib.error, UnicodeError) as error:
        raise refused(f"{archive} cannot be read: {error}") from error
    except OSError as error:
        if isinstance(error, BundleError) or error.filename is not None:
            raise
        raise refused(f"{archive} cannot be read: {error}") from error


def _opened(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(member)
    assert file is not None
    return file


def _listing(text: bytes) -> _Listing:
    try:
        data: dict[str, Any] = json.loads(text)
        version, names = data.get("format"), [data[key] for key in ("interpreter", "manifest", "lock")]
        files = {name: ListedFile.from_json(name, each) for name, each in data["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise refused(f"has a listing that cannot be read: {error!r}") from error
    if version != FORMAT:
        raise refused(f"has format {version!r}; this version of cuvis-ai-core reads {FORMAT}")
    if not all(isinstance(name, str) for name in names) or names[2] != lock_path(Path(names[1])).name:
        raise refused("has a listing that cannot be read: manifest and lock file do not belong together")
    listing = _Listing(names[0], names[1], names[2], files)
    check_names(files, frozenset(names[1:]), names[0])
    if not {listing.manifest, listing.lock} <= set(files):
        raise refused("has no manifest or no lock file")
    return listing


def _refuse_too_large(archive: Path, folder: Path, listing: _Listing) -> None:
    needed, free = sum(each.size for each in listing.files.values()), shutil.disk_usage(folder).free
    if needed > free:
        raise BundleError(
            f"The bundle {archive} needs {needed / 1e6:.0f} MB, but {free / 1e6:.0f} MB are free at "
            f"{folder.parent.parent}. Nothing was unpacked.",
            hint="Free some space, or choose a folder on another disk with CUVIS_PLUGINS_DIR.",
        )


def _write(place: Path, source: IO[bytes], known: ListedFile) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    if os.path.lexists(place):
        raise refused(f"has two files that are one on this disk: {place.name!r}")
    with place.open("xb") as file:
        while data := source.read(2**20):
            digest.update(data)
            file.write(data)
    if digest.hexdigest() != known.hash:
        raise refused(f"has a damaged file: {place.name!r} has not the hash that is listed")
    if known.executable:
        place.chmod(0o755)


def _checked_content(folder: Path, listing: _Listing) -> tuple[Manifest, Lock]:
    """Compare what was unpacked with the manifest and the lock file in it."""
    path = folder / listing.manifest
    try:
        manifest = read_manifest(path)
        lock = read_lock(path)
        assert lock is not None
        refuse_differences(lock, manifest.plugins, path)
    except (LockError, ValueError) as error:
        raise refused(f"has a manifest or a lock file that does not fit: {error}") from error
    if listing.interpreter != interpreter() or listing.interpreter not in lock.environments:
        raise BundleError(
            f"The bundle is for {listing.interpreter}, but this is {interpreter()}. Nothing was unpacked.",
            hint="Make one on a machine like this one: cuvis-ai plugins bundle",
        )
    _refuse_undeclared(listing, lock)
    for name, declared in manifest.plugins.items():
        if isinstance(declared, GitPlugin):
            _check_checkout(name, folder / "checkouts" / name, lock)
    return manifest, lock


def _refuse_undeclared(listing: _Listing, lock: Lock) -> None:
    """Refuse files beside the manifest that belong to no local plugin of it."""
    paths = (entry.get("path", "") for entry in lock.plugins.values())
    below = tuple(f"plugins/{path}/" for path in paths if is_below_manifest(path))
    for name in listing.files:
        if name.startswith("plugins/") and not name.startswith(below):
            raise refused(f"has a file that belongs to no plugin: {name!r}")


def _check_checkout(name: str, checkout: Path, lock: Lock) -> None:
    locked = lock.plugins[name]
    head = checkout / ".git" / "HEAD"
    if not head.is_file() or head.read_bytes().strip() != locked["commit"].encode():
        raise refused(f"has no checkout of plugin '{name}' at commit {locked['commit']}")
    if integrity.checkout_digest(checkout, integrity.checkout_files(checkout)) != locked["content"]:
        raise refused(f"has other files of plugin '{name}' than its lock file says")
    sha256 = len(locked["commit"]) == _SHA256_LENGTH
    text = _CONFIGURATION.format(version=int(sha256)) + (_SHA256 if sha256 else "")
    (checkout / ".git" / "config").write_text(text, encoding="utf-8")


def _refuse_overwriting(folder: Path, output: Path, listing: _Listing) -> None:
    for name in listing.files:
        target = _target(output, name)
        if target is None:
            continue
        if os.path.lexists(target) and not _are_same(folder / name, target):
            raise BundleError(
                f"{target} is in the way: it is not what the bundle has there. Nothing was unpacked.",
                hint="Unpack into another folder: cuvis-ai plugins unbundle --output-dir FOLDER",
            )


def _target(output: Path, name: str) -> Path | None:
    """Return where a file comes to lie outside of the plugin cache."""
    if name.startswith("plugins/"):
        return output / name.removeprefix("plugins/")
    return None if "/" in name else output / name


def _are_same(new: Path, old: Path) -> bool:
    if new.is_symlink() or old.is_symlink():
        return new.is_symlink() and old.is_symlink() and new.readlink() == old.readlink()
    return old.is_file() and new.read_bytes() == old.read_bytes()


def _fill_store(folder: Path, manifest: Manifest, lock: Lock, store: Store) -> None:
    with store.guard():
        wheels = store.root / ".wheels"
        wheels.mkdir(exist_ok=True)
        for wheel in sorted((folder / "wheels").glob("*")):
            os.replace(wheel, wheels / wheel.name)  # noqa: PTH105
    for name, declared in manifest.plugins.items():
        if isinstance(declared, GitPlugin):
            commit = lock.plugins[name]["commit"]
            source = put_checkout(name, declared, folder / "checkouts" / name, commit, store)
            if source.commit != commit:
                raise BundleError(
                    f"The plugin cache has tag {declared.tag} of plugin '{name}' at commit {source.commit}, the bundle "
                    f"at {commit}.",
                    hint=f'If the bundle is right: NodeRegistry.clear_plugin_cache("{name}"), and unpack again.',
                    plugin=name,
                )


def _fill_output(folder: Path, output: Path, listing: _Listing) -> None:
    try:
        # The manifest comes last: where it is, everything is.
        for name in sorted(listing.files, key=lambda name: (name == listing.manifest, name)):
            target = _target(output, name)
            if target is not None and not os.path.lexists(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(folder / name, target, follow_symlinks=False)
    except OSError as error:
        raise BundleError(
            f"{error.filename or output} cannot be written: {error.strerror or error}.",
            hint="Unpack into another folder: cuvis-ai plugins unbundle --output-dir FOLDER",
        ) from error
