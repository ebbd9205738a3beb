"""Wheels of this package and its hook contract, made of what is running: a worker gets the same code as its host.

Package indexes know another distribution of this name. The wheel asks for what nodes need, not for what only the host
does: neither the host's minimum of NumPy nor its tools bind a plugin that has an environment of its own.
"""

import base64
import filecmp
import hashlib
import importlib.util
import os
import platform
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cuvis_ai_core._folder_removal import remove_tree
from cuvis_ai_core.plugins.allowed_imports import project_of
from cuvis_ai_core.plugins.cache.entries_in_use import changed
from cuvis_ai_core.plugins.cache.store import Store, listed, long_hash
from cuvis_ai_core.plugins.dependencies.requirements import needed_name

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.installing.install_request import Choice
    from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin

_PACKAGES: Final = {"cuvis-ai-core": "cuvis_ai_core", "cuvis-ai-hookspecs": "cuvis_ai_hookspecs"}

_SCHEMAS: Final = "cuvis-ai-schemas"

_ANY_VERSION: Final = frozenset({"numpy"})
_NEEDED: Final = frozenset({"array-api-compat", "cuvis-ai-hookspecs", "pluggy"})
"""What nodes need beside the schemas; the published names of the registry and the pipeline need no more."""

_LEFT_OUT: Final = ("__pycache__", "example_plugins")

_UNUSED_SECONDS: Final = 86_400.0
"""How long wheels of other code stay: much longer than an installation from them takes."""


def environment_folder(place: Path, declared: "GitPlugin | LocalPlugin", locked: "Choice | None") -> Path:
    """Return where the environment of a plugin lies, or comes to lie: one for each Python, host and set of pins.

    Args:
        place: The folder below which the environments of its content lie.
        declared: Its manifest entry.
        locked: What a lock file has for it; None without one.
    """
    pins = () if locked is None else (*locked.pins, *sum(locked.hashes.values(), ()))
    return place / long_hash(python_version(declared), fingerprint(), schemas(), *pins)


def python_version(declared: "GitPlugin | LocalPlugin") -> str:
    """Return the version of Python that the environment of a plugin has, as `3.12`."""
    return declared.python or ".".join(platform.python_version_tuple()[:2])


def names() -> frozenset[str]:
    """Return the distributions of which there are wheels."""
    return frozenset(_PACKAGES)


def wheels_in(store: Store, folder: Path, *, dry: bool = False) -> dict[str, Path]:
    """Return the wheels by the names of their distributions, in the one place that they have in a plugin cache.

    uv unpacks a wheel into its own cache once for each path and time: one that moved would be unpacked again, for good.

    Args:
        store: The plugin cache.
        folder: Where they are written, to be moved or compared.
        dry: Whether nothing is put into the plugin cache.

    Raises:
        StoreError: The plugin cache cannot be written.
        OSError: The folder cannot be written.
    """
    written = write_wheels(folder)
    place = store.host_wheels / fingerprint()
    kept = {name: place / wheel.name for name, wheel in written.items()}
    if dry:
        return kept if all(_same(written[name], kept[name]) for name in kept) else written
    with store.lock("host-wheels"), store.guard():
        place.mkdir(parents=True, exist_ok=True)
        for name, wheel in written.items():
            # Read: nobody could tell from the outside whether it is the code that runs.
            if not _same(wheel, kept[name]):
                os.replace(wheel, kept[name])
        os.utime(place)  # the folder's time alone: uv looks at those of the files
        for other in listed(place.parent):
            if time.time() - changed(other) > _UNUSED_SECONDS:
                with suppress(OSError):  # another user's: it is in nobody's way
                    remove_tree(other)
    return kept


def write_wheels(folder: Path) -> dict[str, Path]:
    """Write the wheels into a folder, and return them by the names of their distributions.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return {name: _write(name, folder) for name in _PACKAGES}


@cache
def fingerprint() -> str:
    """Return a hash of all that is in the wheels."""
    digest = hashlib.sha256()
    for name in _PACKAGES:
        for path, content in _content(name):
            # With lengths between them: else a byte that moves from one file to the next would be the same hash.
            digest.update(f"{path}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def edited_folder() -> str:
    """Return the folder of this package if it is installed so that it can be edited (PEP 610); else nothing."""
    return str(_folder("cuvis_ai_core")) if project_of(distribution("cuvis-ai-core")) else ""


def _same(wheel: Path, other: Path) -> bool:
    return other.is_file() and filecmp.cmp(wheel, other, shallow=False)


def _folder(package: str) -> Path:
    # `find_spec` imports nothing of a top-level package; `Distribution.files` has none of the code of an editable
    # install.
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _write(name: str, folder: Path) -> Path:
    found = distribution(name)
    stem = f"{name.replace('-', '_')}-{found.version}"
    path = folder / f"{stem}-py3-none-any.whl"
    record = ""
    with zipfile.ZipFile(path, "w") as wheel:
        for place, content in _content(name):
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
            record += f"{place},sha256={digest},{len(content)}\n"
            # ZipInfo without a time is 1980: the same files are the same bytes, whenever and wherever they are packed.
            wheel.writestr(zipfile.ZipInfo(place), content)
        wheel.writestr(zipfile.ZipInfo(f"{stem}.dist-info/RECORD"), f"{record}{stem}.dist-info/RECORD,,\n")
    return path


def _content(name: str) -> Iterator[tuple[str, bytes]]:
    """Return the files of a wheel, but for its record."""
    package = _PACKAGES[name]
    folder = _folder(package)
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        # Bytecode comes as modules are imported: the fingerprint would change from one run to the next.
        if path.is_file() and not any(part in _LEFT_OUT for part in place.parts):
            yield f"{package}/{place.as_posix()}", path.read_bytes()
    found = distribution(name)
    info = f"{package}-{found.version}.dist-info"
    yield f"{info}/METADATA", _metadata(name, found).encode()
    yield f"{info}/WHEEL", b"Wheel-Version: 1.0\nGenerator: cuvis-ai-core\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def _metadata(name: str, found: Distribution) -> str:
    """Return the metadata, with the requirements of nodes and those of the extras."""
    lines = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {found.version}"]
    lines += [f"Provides-Extra: {extra}" for extra in found.metadata.get_all("Provides-Extra") or ()]
    lines += [f"Requires-Dist: {each}" for each in map(_for_worker, found.requires or ()) if each]
    if name == "cuvis-ai-core":
        lines.append(f"Requires-Dist: {schemas()}")
    return "\n".join(lines) + "\n"


def schemas() -> str:
    """Return the pin of the schemas: values of their classes cross, so that host and worker have the same."""
    return f"{_SCHEMAS}=={distribution(_SCHEMAS).version}"


def _for_worker(requirement: str) -> str | None:
    name = needed_name(requirement)
    if name in _ANY_VERSION and "extra ==" not in requirement:
        return name
    return requirement if name in _NEEDED or "extra ==" in requirement else None
