"""Everything that a manifest needs in one archive, for machines without a network."""

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from cuvis_ai_core.errors import BundleError
from cuvis_ai_core.plugins.bundle.download import download
from cuvis_ai_core.plugins.bundle.listing import (
    FORMAT,
    LISTING,
    ListedFile,
    check_names,
    is_below_manifest,
    is_git_file,
)
from cuvis_ai_core.plugins.cache import integrity
from cuvis_ai_core.plugins.cache.sources import project_folder
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.dependencies.search_path import interpreter
from cuvis_ai_core.plugins.hooks.announcing import Announcement
from cuvis_ai_core.plugins.installing.build_requirements import build_requirements
from cuvis_ai_core.plugins.installing.installer import Installer
from cuvis_ai_core.plugins.installing.project import read_project
from cuvis_ai_core.plugins.installing.request import InstallRequest
from cuvis_ai_core.plugins.installing.uv import Uv
from cuvis_ai_core.plugins.installing.wheels import Wheel
from cuvis_ai_core.plugins.lock.locked_versions import LockedVersions, refuse_changed
from cuvis_ai_core.plugins.lock.lockfile import Declared, Lock, refuse_differences
from cuvis_ai_core.plugins.manifest.schema import GitPlugin, LocalPlugin
from cuvis_ai_core.plugins.parallel import Crew

_NO_SOURCE: Final = (
    *(".git", ".hg", ".venv", "venv", "__pycache__", ".*_cache", "*.egg-info", "build", "dist", "node_modules"),
)
"""Files and folders of a local plugin that nobody needs elsewhere."""


class Bundled(NamedTuple):
    """What a bundle holds.

    Attributes:
        files: Number of files.
        size: Bytes of the archive.
        left_out: Paths of local plugins that are not below the manifest's folder: they are carried by hand.
    """

    files: int
    size: int
    left_out: Mapping[str, str]


def write_bundle(
    manifest: Path, plugins: Mapping[str, Declared], lock: Lock, archive: Path, store: Store, announce: Announcement
) -> Bundled:
    """Write all that a manifest needs on this platform into an archive.

    Args:
        manifest: The manifest.
        plugins: Its entries by the plugins' names.
        lock: Its lock file.
        archive: The archive, a `.tar.gz`; what is there is replaced when the new one is whole.
        store: The plugin cache.
        announce: Told of the states that each plugin enters.

    Raises:
        LockError: Manifest and lock file differ, or this platform is not locked.
        InstallerError: A plugin cannot be fetched.
        InstallError: What builds need cannot be had.
        NetworkError: A wheel cannot be fetched.
        BundleError: Something cannot be carried, or the archive cannot be written.
    """
    refuse_differences(lock, plugins, manifest)
    installer = Installer(InstallRequest(plugins, LockedVersions(lock), store, announce, offline=False))
    installer.fetch()
    installer.refuse_failed(f"{manifest} cannot be bundled")
    try:
        with store.workspace() as folder:
            wheels = _wheels(folder, plugins, installer, lock)
            files = {manifest.name: manifest, lock.path.name: lock.path}
            files |= {f"wheels/{path.name}": path for path in wheels}
            for name in plugins:
                files |= _code(name, plugins[name], installer.source(name).folder, lock)
            _write(archive, files, {"manifest": manifest.name, "lock": lock.path.name})
    finally:
        store.release()
    left_out = {name: entry["path"] for name, entry in lock.plugins.items() if _is_left_out(entry)}
    return Bundled(len(files), archive.stat().st_size, left_out)


def _is_left_out(entry: Mapping[str, str]) -> bool:
    return "path" in entry and not is_below_manifest(entry["path"])


def _wheels(folder: Path, plugins: Mapping[str, Declared], installer: Installer, lock: Lock) -> list[Path]:
    """Have the wheels of all dependencies, and of all that builds need, in a folder."""
    environment = lock.environments[interpreter()]
    place = folder / "wheels"
    place.mkdir()
    wanted: dict[str, Wheel] = {}
    sources: dict[str, tuple[Wheel, str | None]] = {}
    for name, declared in plugins.items():
        work = folder / name
        work.mkdir()
        uv, python = Uv(name, work, allowed=environment.names_built()), declared.python
        for pin, wheel in _chosen(uv, environment.dependencies.get(name, ()), python):
            if wheel.hash not in environment.hashes.get(pin, ()):
                raise BundleError(
                    f"The package index has another {wheel.name} than {lock.path} names.",
                    hint="Lock anew, if that is meant: cuvis-ai plugins lock",
                )
            if wheel.name.endswith(".whl"):
                wanted[wheel.hash] = wheel
            else:
                sources[wheel.hash] = wheel, python
        project = project_folder(declared, installer.source(name))
        if (project / "pyproject.toml").is_file():
            requirements = read_project(project, declared.extras).dependencies
            if requirements is not None:
                refuse_changed(name, requirements, lock)
            pins = build_requirements(project, uv, editable=isinstance(declared, LocalPlugin), version=python)
            wanted |= {wheel.hash: wheel for _, wheel in _chosen(uv, pins, python)}
    for number, (source, python) in enumerate(sources.values()):
        work = folder / f"source {number}"
        tree = _unpacked(download(source, place), work / "tree")
        uv = Uv(source.name, work)
        pins = build_requirements(tree, uv, editable=False, version=python)
        wanted |= {wheel.hash: wheel for _, wheel in _chosen(uv, pins, python)}
    Crew().run([partial(download, wheel, place) for wheel in wanted.values()])
    return sorted(place.iterdir())


def _unpacked(source: Path, folder: Path) -> Path:
    """Unpack a source distribution, and return the folder with its files."""
    shutil.unpack_archive(source, folder, filter=None if source.suffix == ".zip" else "data")
    return next(folder.iterdir())


def _chosen(uv: Uv, pins: Sequence[str], python: str | None) -> Iterator[tuple[str, Wheel]]:
    """Return the wheels of pins for a version of Python, or their source, with the pins.

    Args:
        uv: Runs uv; it says what may be built from source.
        pins: `name==version`, or `name @ address`.
        python: The version; by default this interpreter's.
    """
    for found in uv.wheels(pins, python) if pins else ():
        wheel = found.chosen(python) or found.source
        if wheel is None:
            raise BundleError(
                f"{found.pin} cannot be carried: there is no wheel of it for this platform.",
                hint="Only wheels can be carried, and sources that may be built; a repository is neither.",
                plugin=uv.plugin,
            )
        yield found.pin, wheel


def _code(name: str, declared: Declared, folder: Path, lock: Lock) -> dict[str, Path]:
    """Return the files of a plugin by their names in the archive."""
    if isinstance(declared, GitPlugin):
        tree = integrity.checkout_files(folder)
        git = [file for file in _below(folder / ".git") if is_git_file(file)]
        return {f"checkouts/{name}/{file}": folder / file for file in (*tree, *(f".git/{each}" for each in git))}
    entry = lock.plugins[name]
    if _is_left_out(entry):
        return {}
    return {f"plugins/{entry['path']}/{file}": folder / file for file in _below(folder, _NO_SOURCE)}


def _below(folder: Path, ignored: tuple[str, ...] = ()) -> Iterator[str]:
    """Return all files and links below a folder, relative to it, with `/`."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not any(fnmatch(name, each) for each in ignored))
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in sorted((*files, *links)):
            if not any(fnmatch(name, each) for each in ignored):
                yield Path(parent, name).relative_to(folder).as_posix()


def _write(archive: Path, files: Mapping[str, Path], named: Mapping[str, str]) -> None:
    listed = {name: _carried(path) for name, path in sorted(files.items())}
    check_names(listed, frozenset(named.values()), interpreter())
    about = {"format": FORMAT, "interpreter": interpreter(), **named}
    listing = json.dumps({**about, "files": {name: each.to_json() for name, each in listed.items()}}).encode()
    temporary = archive.with_name(f".{archive.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
            _fill(packed, listing, listed, files)
        os.replace(temporary, archive)  # noqa: PTH105
    except OSError as error:
        raise BundleError(
            f"The bundle {archive} cannot be written: {error.strerror or error}.",
            hint="Choose another place for it with --output.",
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _fill(packed: gzip.GzipFile, listing: bytes, listed: Mapping[str, ListedFile], files: Mapping[str, Path]) -> None:
    with tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo(LISTING)
        member.size = len(listing)
        tar.addfile(member, io.BytesIO(listing))
        for name, each in listed.items():
            member = tarfile.TarInfo(name)
            if each.link is not None:
                member.type, member.linkname = tarfile.SYMTYPE, each.link
                tar.addfile(member)
                continue
            member.size, member.mode = each.size, 0o755 if each.executable else 0o644
            with files[name].open("rb") as file:
                tar.addfile(member, file)


def _carried(path: Path) -> ListedFile:
    if path.is_symlink():
        return ListedFile(0, "", link=path.readlink().as_posix())
    state = path.stat()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ListedFile(state.st_size, digest, executable=bool(state.st_mode & 0o100))
