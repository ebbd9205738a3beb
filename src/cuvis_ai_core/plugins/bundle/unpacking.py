"""Unpacking a bundle: into a temporary folder, where it proves itself, and then, once it is believed, into place."""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from cuvis_ai_core._work_folder import work_folder
from cuvis_ai_core.errors import BundleError, LockError
from cuvis_ai_core.plugins.bundle.commit_proof import check_out, keep_tag
from cuvis_ai_core.plugins.bundle.local_files import NOT_BUNDLED, files_below
from cuvis_ai_core.plugins.bundle.member_names import LOCK, MANIFEST, is_below_manifest, refused
from cuvis_ai_core.plugins.bundle.size_limits import Limits, Meter
from cuvis_ai_core.plugins.bundle.tar_reader import Header, read_archive
from cuvis_ai_core.plugins.bundle.trust import asked_of, disagreements
from cuvis_ai_core.plugins.bundle.wheel_size import check_wheel
from cuvis_ai_core.plugins.cache import policy_checks
from cuvis_ai_core.plugins.cache.sources import put_checkout
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.cache.wheelhouse import is_of, put_wheel
from cuvis_ai_core.plugins.dependencies.search_path import interpreter, site_folders
from cuvis_ai_core.plugins.disk import altered_files
from cuvis_ai_core.plugins.git.git_command import require_git
from cuvis_ai_core.plugins.lock.lockfile import Lock, read_lock, refuse_differences
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, Manifest, read_manifest

_IMPORTED_UNASKED: Final = frozenset({"sitecustomize", "usercustomize", "conftest"})

_ELSEWHERE: Final = "Unpack into another folder: cuvis-ai plugins unbundle --output-dir FOLDER"


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


class OpenBundle:
    """A bundle whose content lies in a temporary folder, and proved itself; nothing of it is in place yet.

    Attributes:
        asked: What it asks to be believed, plugin by plugin.
        wheels: How many wheels it brings.
        differing: In what the user's own lock file says something else, or less.
    """

    def __init__(self, folder: Path, manifest: Manifest, lock: Lock, own: Lock | None, store: Store) -> None:
        self._folder = folder
        self._manifest = manifest
        self._lock = lock
        self._own = own
        self._store = store
        self.asked = tuple(
            asked_of(name, each, checkout_in(folder, name), lock, own, store) for name, each in manifest.plugins.items()
        )
        self.wheels = len(list((folder / "wheels").glob("*")))
        self.differing = list(disagreements(lock, own)) if own is not None else []

    @property
    def is_agreed(self) -> bool:
        """Whether a lock file of the user's own says all that the bundle asks to be believed."""
        # Of a local plugin's code no lock file says a hash.
        local = any(is_below_manifest(each.get("path", ".")) for each in self._lock.plugins.values())
        return self._own is not None and not self.differing and not local

    def unpack(self, output: Path) -> Unbundled:
        """Put all into place: the plugin cache, and a folder for manifest, lock file and local plugins.

        Args:
            output: The folder; made if it is not there.

        Raises:
            BundleError: A file of another content is in its way.
            NotAllowedError: The policy of this machine allows no local plugin there.
            StoreError: The plugin cache cannot be written.
        """
        # All that can refuse comes before the first file is put in place.
        self._refuse_local(output)
        output_files = self._output_files(output)
        for wheel in sorted((self._folder / "wheels").glob("*")):
            put_wheel(self._store, wheel)
        for each in self.asked:
            declared = self._manifest.plugins[each.name]
            if isinstance(declared, GitPlugin):
                checkout = checkout_in(self._folder, each.name)
                alone = each.is_told_by_bundle_alone
                put_checkout(each.name, declared, checkout, each.commit, self._store, settled=not alone)
        _write(output_files, output)
        plugins = read_manifest(output / MANIFEST).plugins
        local = {name: each.path for name, each in plugins.items() if not isinstance(each, GitPlugin)}
        absent = tuple(name for name, path in local.items() if not path.is_dir())
        return Unbundled(output / MANIFEST, tuple(plugins), absent)

    def _refuse_local(self, output: Path) -> None:
        """Ask the policy about the local plugins that come along: they are known by the folder that they come into."""
        for name, entry in self._lock.plugins.items():
            declared = self._manifest.plugins[name]
            if not isinstance(declared, GitPlugin) and is_below_manifest(entry["path"]):
                placed = declared.model_copy(update={"path": (output / entry["path"]).resolve()})
                policy_checks.judged(name, placed, own_process=entry["isolation"] == "process")

    def _output_files(self, output: Path) -> dict[Path, Path]:
        """Return what is to be written, and of what, after a look at what is there."""
        # A lock file of the user's own that says the same stays: it may say more, of other platforms.
        agreed = self._own is not None and not self.differing and self._own.path == output / LOCK
        names = [MANIFEST, *([] if agreed else [LOCK])]
        below = sorted(path for path in (self._folder / "plugins").rglob("*") if path.is_file())
        files = {output / name: self._folder / name for name in names}
        files |= {output / path.relative_to(self._folder / "plugins"): path for path in below}
        for target, source in files.items():
            _refuse_in_the_way(target, source, output)
        self._refuse_mixing(output, files)
        for top in {target.relative_to(output).parts[0] for target in files} - {MANIFEST, LOCK}:
            _refuse_shadow(output / top)
        return files

    def _refuse_mixing(self, output: Path, files: Mapping[Path, Path]) -> None:
        """Refuse to put files of a local plugin among others: that would be another plugin than either."""
        for path in (each.get("path", ".") for each in self._lock.plugins.values()):
            if is_below_manifest(path) and (self._folder / "plugins" / path).is_dir():
                for name in files_below(output / path, NOT_BUNDLED):
                    if output / path / name not in files:
                        raise _in_the_way(output / path / name)


def checkout_in(folder: Path, name: str) -> Path:
    """Return where a plugin is checked out, in a folder of its own: its submodules come to lie beside it first."""
    return folder / "checkouts" / name / "checkout"


@contextmanager
def open_bundle(
    archive: Path, store: Store, own: Lock | None = None, limits: Limits | None = None
) -> Iterator[OpenBundle]:
    """Unpack a bundle into a temporary folder, and have it prove what it carries.

    Args:
        archive: The bundle.
        store: The plugin cache.
        own: A lock file of the user's own, which says what its plugins are.
        limits: What it may unpack to.

    Raises:
        BundleError: It is damaged, for another platform, holds something that it must not, or cannot prove its code;
            or somebody who knows says otherwise.
        SourceError: A repository does not have a tag, or has files that must not be used.
        StoreError: The plugin cache cannot be written.
    """
    with store.workspace() as folder:
        header, meter = read_archive(archive, folder, limits or Limits())
        manifest, lock = _checked_content(folder)
        _refuse_undeclared(folder, lock)
        _check_wheels(folder, lock, meter)
        _prove(folder, header, manifest, lock, meter)
        yield OpenBundle(folder, manifest, lock, own, store)
    store.release()


def _checked_content(folder: Path) -> tuple[Manifest, Lock]:
    """Compare what was unpacked with the manifest and the lock file in it."""
    path = folder / MANIFEST
    try:
        manifest = read_manifest(path)
        lock = read_lock(path)
        assert lock is not None
        refuse_differences(lock, manifest.plugins, path)
    except (LockError, ValueError) as error:
        raise refused(f"has a manifest or a lock file that does not fit: {error}") from error
    if interpreter() not in lock.environments:
        raise refused(f"has a lock file that says nothing about {interpreter()}, which it is for")
    return manifest, lock


def _refuse_undeclared(folder: Path, lock: Lock) -> None:
    """Refuse files that belong to no plugin of the lock file."""
    paths = (entry.get("path", "") for entry in lock.plugins.values())
    below = tuple(f"plugins/{path}/" for path in paths if is_below_manifest(path))
    packs = {f"packs/{name}.pack" for name, entry in lock.plugins.items() if "repo" in entry}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        stray = name.startswith("plugins/") and not name.startswith(below)
        if path.is_file() and (stray or (name.startswith("packs/") and name not in packs)):
            raise refused(f"has a file that belongs to no plugin: {name!r}")


def _check_wheels(folder: Path, lock: Lock, meter: Meter) -> None:
    """Refuse wheels that the lock file does not name, for some plugin on this platform, by name, version and hash."""
    environment = lock.environments[interpreter()]
    pins = {pin for table in (environment.dependencies, environment.builds) for each in table.values() for pin in each}
    for wheel in sorted((folder / "wheels").glob("*")):
        digest = f"sha256:{altered_files.sha256_of(wheel)}"
        # Name, version and hash together: a wheel of a right hash under another name would be installed for that.
        if not any(digest in environment.hashes.get(pin, ()) for pin in pins if is_of(pin, wheel.name)):
            raise refused(f"has a wheel that its lock file does not name by this hash: {wheel.name!r}")
        check_wheel(wheel, meter)


def _prove(folder: Path, header: Header, manifest: Manifest, lock: Lock, meter: Meter) -> None:
    for name, declared in manifest.plugins.items():
        if isinstance(declared, GitPlugin):
            require_git()
            pack = folder / "packs" / f"{name}.pack"
            locked, checkout = lock.plugins[name], checkout_in(folder, name)
            if not pack.is_file() or name not in header.tags:
                raise refused(f"has no Git objects of plugin '{name}'")
            check_out(name, pack, locked["commit"], checkout, declared.repo, meter, folder / "large")
            keep_tag(name, checkout, locked["commit"], declared.tag, header.tags[name])
            if altered_files.checkout_digest(checkout, altered_files.checkout_files(checkout)) != locked["content"]:
                raise refused(f"has other files of plugin '{name}' than its lock file says")


def _refuse_in_the_way(target: Path, source: Path, output: Path) -> None:
    parents = [parent for parent in target.parents if parent.is_relative_to(output) and parent != output]
    links = [parent for parent in parents if parent.is_symlink()]
    # `lexists`: a link to nothing is in the way too, and writing would follow it.
    if links or (os.path.lexists(target) and not _are_same(source, target)):
        raise _in_the_way(links[0] if links else target)


def _in_the_way(path: Path) -> BundleError:
    return BundleError(
        f"{path} is in the way: it is not what the bundle has there. Nothing was unpacked.", hint=_ELSEWHERE
    )


def _are_same(new: Path, old: Path) -> bool:
    return old.is_file() and not old.is_symlink() and new.read_bytes() == old.read_bytes()


def _refuse_shadow(folder: Path) -> None:
    """Refuse a folder that Python would import in place of a module, by whoever works beside it."""
    # What is installed here; elsewhere others may be, so the standard library is asked by its list. By the names of
    # files: importlib.metadata would read what each distribution recorded, which is most of the time of an unpacking.
    known = {name.partition(".")[0] for place in site_folders() for name in os.listdir(place)}
    if folder.name in known or folder.name in sys.stdlib_module_names or folder.name in _IMPORTED_UNASKED:
        raise BundleError(
            f"The bundle has a local plugin in a folder '{folder.name}', which Python would import in place of the "
            f"module of that name, wherever it is run in {folder.parent.absolute()}. Nothing was unpacked.",
            hint="Have the folder renamed where the bundle is made.",
        )


def _write(files: Mapping[Path, Path], output: Path) -> None:
    place = output
    try:
        output.mkdir(parents=True, exist_ok=True)
        # Half of a file would be in the way of the next unpacking, and so would be one of another name in the folder
        # of a local plugin: what a killed unpacking leaves lies here, until the next one.
        with work_folder(output, ".unpacking-") as work:
            # The manifest comes last: where it is, everything is.
            for target in sorted(files, key=lambda target: (target == output / MANIFEST, target)):
                if not os.path.lexists(target):
                    place = target
                    target.parent.mkdir(parents=True, exist_ok=True)
                    _copy(files[target], work / "file")
                    os.replace(work / "file", target)
    except OSError as error:
        raise BundleError(f"{place} cannot be written: {error.strerror or error}.", hint=_ELSEWHERE) from error


def _copy(source: Path, target: Path) -> None:
    # Not a rename: the folder may be on another disk than the cache. On the disk before it has its name: see
    # `_atomic_writes`.
    with source.open("rb") as content, target.open("wb") as file:
        shutil.copyfileobj(content, file)
        file.flush()
        os.fsync(file.fileno())
    shutil.copystat(source, target)
