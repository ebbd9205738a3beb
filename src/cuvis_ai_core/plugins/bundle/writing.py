"""Everything that a manifest needs in one archive, for machines without a network."""

import gzip
import io
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from cuvis_ai_core._redact import redact, without_credentials
from cuvis_ai_core.errors import BundleError
from cuvis_ai_core.plugins.bundle.commit_proof import check_out, large_files, pack_checkout
from cuvis_ai_core.plugins.bundle.local_files import files_below
from cuvis_ai_core.plugins.bundle.member_names import HEADER, LOCK, MANIFEST, Names, is_below_manifest
from cuvis_ai_core.plugins.bundle.size_limits import Limits, Meter
from cuvis_ai_core.plugins.bundle.tar_reader import Header, is_bundle
from cuvis_ai_core.plugins.bundle.wheel_download import download
from cuvis_ai_core.plugins.cache.sources import Source, project_folder
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.cancellable_threads import Crew
from cuvis_ai_core.plugins.dependencies.search_path import interpreter
from cuvis_ai_core.plugins.hooks.load_events import Announcement
from cuvis_ai_core.plugins.installing.build_requirements import build_requirements
from cuvis_ai_core.plugins.installing.compatible_wheels import Wheel
from cuvis_ai_core.plugins.installing.install_request import InstallRequest
from cuvis_ai_core.plugins.installing.installer import Installer
from cuvis_ai_core.plugins.installing.pyproject import is_project, read_project
from cuvis_ai_core.plugins.installing.uv_commands import Uv
from cuvis_ai_core.plugins.lock.locked_versions import LockedVersions, refuse_changed
from cuvis_ai_core.plugins.lock.lockfile import Declared, Lock, LockedPlugin, refuse_differences, write_lock
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin, read_manifest

_UNLIMITED: Final = Limits(size=2**63, ratio=2**31, files=2**31, depth=200, name=4000)
"""What lies in the cache already is no danger to it."""


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
        lock: Its lock file; what builds need is added to it.
        archive: The archive, a `.tar.gz`; an earlier one is replaced when the new one is whole, no other file is.
        store: The plugin cache.
        announce: Told of the states that each plugin enters.

    Raises:
        LockError: Manifest and lock file differ, or this platform is not locked.
        InstallerError: A plugin cannot be fetched.
        InstallError: What builds need cannot be had.
        NetworkError: A wheel cannot be fetched.
        BundleError: Something cannot be carried, or the archive cannot be written.
    """
    _refuse_in_the_way(archive)
    refuse_differences(lock, plugins, manifest)
    installer = Installer(InstallRequest(plugins, LockedVersions(lock), store, announce, offline=False))
    installer.fetch()
    installer.refuse_failed(f"{manifest} cannot be bundled")
    try:
        with store.workspace() as folder:
            wheels, complete = _wheels(folder, plugins, installer, lock)
            if complete != lock:
                write_lock(complete)
            bare = folder / "bundled.yaml"
            bare.write_bytes(_without_credentials(manifest))
            _refuse_credentials(bare, manifest)
            files = {MANIFEST: bare, LOCK: lock.path} | {f"wheels/{path.name}": path for path in wheels}
            tags: dict[str, str] = {}
            for name, declared in plugins.items():
                source = installer.source(name)
                if isinstance(declared, GitPlugin):
                    found, tags[name] = _checkout(name, declared, source, folder / f"{name} proof")
                else:
                    found = _local(lock.plugins[name], source.folder)
                files |= found
            _write(archive, files, Header(interpreter(), tags))
    finally:
        store.release()
    left_out = {name: entry["path"] for name, entry in lock.plugins.items() if _is_left_out(entry)}
    return Bundled(len(files), archive.stat().st_size, left_out)


def _is_left_out(entry: Mapping[str, str]) -> bool:
    return "path" in entry and not is_below_manifest(entry["path"])


def _wheels(folder: Path, plugins: Mapping[str, Declared], installer: Installer, lock: Lock) -> tuple[list[Path], Lock]:
    """Have the wheels of all dependencies, and of all that builds need, in a folder; the lock then names these too."""
    environment = lock.environments[interpreter()]
    place = folder / "wheels"
    place.mkdir()
    wanted: dict[str, Wheel] = {}
    sources: dict[str, tuple[Wheel, str | None, list[str]]] = {}
    builds: dict[str, dict[str, tuple[str, ...]]] = {name: {} for name in plugins}
    for name, declared in plugins.items():
        work = folder / name
        work.mkdir()
        uv, python = Uv(name, work, allowed=environment.names_built()), declared.python
        for pin, wheel in _chosen(uv, environment.dependencies.get(name, ()), python):
            # An index may have replaced a file, or a mirror have another.
            if wheel.hash not in environment.hashes.get(pin, ()):
                raise BundleError(
                    f"The package index has another {wheel.name} than {lock.path} names.",
                    hint="Lock anew, if that is meant: cuvis-ai plugins lock",
                )
            if wheel.name.endswith(".whl"):
                wanted[wheel.hash] = wheel
            else:
                sources.setdefault(wheel.hash, (wheel, python, []))[2].append(name)
        project = project_folder(declared, installer.source(name))
        if is_project(project):
            requirements = read_project(project, declared.extras).dependencies
            if requirements is not None:
                refuse_changed(name, requirements, lock)
            pins = build_requirements(project, uv, editable=isinstance(declared, LocalPlugin), version=python)
            found = dict(_chosen(uv, pins, python))
            wanted |= {wheel.hash: wheel for wheel in found.values()}
            builds[name] |= {pin: (wheel.hash,) for pin, wheel in found.items()}
    for number, (source, python, names) in enumerate(sources.values()):
        found = _needs_of_source(source, python, place, folder / f"source {number}")
        wanted |= {wheel.hash: wheel for wheel in found.values()}
        for name in names:
            builds[name] |= {pin: (wheel.hash,) for pin, wheel in found.items()}
    Crew().run([partial(download, wheel, place) for wheel in wanted.values()])
    return sorted(place.iterdir()), _with_builds(lock, builds)


def _needs_of_source(source: Wheel, python: str | None, place: Path, work: Path) -> dict[str, Wheel]:
    """Download a source, and return the wheels that its build needs by their pins."""
    work.mkdir()
    tree = _unpacked(download(source, place), work / "tree")
    uv = Uv(source.name, work)
    return dict(_chosen(uv, build_requirements(tree, uv, editable=False, version=python), python))


def _with_builds(lock: Lock, builds: Mapping[str, Mapping[str, tuple[str, ...]]]) -> Lock:
    environment = lock.environments[interpreter()]
    hashes = dict(environment.hashes)
    for pins in builds.values():
        for pin, found in pins.items():
            hashes[pin] = tuple(sorted({*hashes.get(pin, ()), *found}))
    named = {name: tuple(sorted(pins)) for name, pins in builds.items() if pins}
    here = environment._replace(builds=named, hashes=hashes)
    return lock._replace(environments={**lock.environments, interpreter(): here})


def _unpacked(source: Path, folder: Path) -> Path:
    """Unpack a source distribution, and return the folder with its files."""
    # The filter 'data' (PEP 706) is for tar alone; with .zip, `unpack_archive` raises TypeError.
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


def _checkout(name: str, declared: GitPlugin, source: Source, work: Path) -> tuple[dict[str, Path], str]:
    """Return what proves a checkout by its names in the archive, and the object of its tag; tried out already."""
    work.mkdir()
    pack, tagged = pack_checkout(name, source.folder, declared.tag, work / "objects")
    bare, commit = work / "bare" / "checkout", str(source.commit)
    # Tried here: a pack that cannot prove its commit is found where it can still be made anew.
    check_out(name, pack, commit, bare, declared.repo, Meter(str(pack), 1, _UNLIMITED), None)
    large = large_files(source.folder, bare)
    files = {f"packs/{name}.pack": pack} | {f"large/{digest}": path for digest, path in large.items()}
    return files, tagged


def _local(entry: LockedPlugin, folder: Path) -> dict[str, Path]:
    """Return the files of a local plugin by their names in the archive."""
    if _is_left_out(entry):
        return {}
    return {f"plugins/{entry['path']}/{file}": folder / file for file in files_below(folder)}


def _without_credentials(manifest: Path) -> bytes:
    """Return a manifest whose addresses have no user names and no passwords: nobody else is to have them."""
    # As text, line by line: comments and order are the author's, and stay.
    lines = manifest.read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(redact(line).replace("***@", "") for line in lines).encode()


def _refuse_credentials(bare: Path, manifest: Path) -> None:
    for name, declared in read_manifest(bare).plugins.items():
        if isinstance(declared, GitPlugin) and declared.repo != without_credentials(declared.repo):
            raise BundleError(
                f"The address of plugin '{name}' in {manifest} has a password that cannot be taken out of it.",
                hint="Write the address without: git has credential helpers for passwords.",
                plugin=name,
            )


def _refuse_in_the_way(archive: Path) -> None:
    """Refuse to write over what is no bundle, such as the manifest itself."""
    hint = "Choose another place for it with --output."
    if archive.is_dir():
        raise BundleError(f"The bundle {archive} cannot be written: this is a folder.", hint=hint)
    if not archive.parent.is_dir():
        raise BundleError(f"The bundle {archive} cannot be written: there is no folder {archive.parent}.", hint=hint)
    if archive.exists() and not is_bundle(archive):
        raise BundleError(f"{archive} is there, and is no bundle; it was left as it is.", hint=hint)


def _write(archive: Path, files: Mapping[str, Path], header: Header) -> None:
    names = Names()
    for name in sorted(files):
        names.add(name)
    # Beside its place: only there is a rename one step.
    temporary = archive.with_name(f".{archive.name}.{os.getpid()}")
    try:
        # Neither name nor time in the header: two bundles of the same are the same bytes. Level 6: what is in it is
        # packed already.
        with temporary.open("wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
            _fill(packed, header.to_json(), files)
        os.replace(temporary, archive)
    except OSError as error:
        raise BundleError(
            f"The bundle {archive} cannot be written: {error.strerror or error}.",
            hint="Choose another place for it with --output.",
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _fill(packed: gzip.GzipFile, header: bytes, files: Mapping[str, Path]) -> None:
    with tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo(HEADER)
        member.size = len(header)
        tar.addfile(member, io.BytesIO(header))
        for name, path in sorted(files.items()):
            member, state = tarfile.TarInfo(name), path.stat()
            # No owner, no time, two modes: they would tell of the machine, and differ.
            member.size, member.mode = state.st_size, 0o755 if state.st_mode & 0o100 else 0o644
            with path.open("rb") as file:
                tar.addfile(member, file)
