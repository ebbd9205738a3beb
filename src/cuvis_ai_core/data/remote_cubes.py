"""Cubes at an address (`https://`, `s3://`, ...): copied into a cache by fsspec, then read like any other file."""

import os
import re
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core._error_location import words_of
from cuvis_ai_core._redact import redact
from cuvis_ai_core._work_folder import work_folder
from cuvis_ai_core.data.formats.envi.file_pairs import DATA_SUFFIXES, ENVI
from cuvis_ai_core.data.formats.optional_libraries import library
from cuvis_ai_core.errors import CubeError

CACHE_VARIABLE: Final = "CUVIS_CUBES_DIR"
_CACHE: Final = Path("~/.cuvis_cubes")
_PRODUCT: Final = re.compile(r"(?i)-SPECTRAL_IMAGE[_A-Z]*\.\w+$")
_STATE: Final = ("size", "mtime", "modified", "LastModified", "last_modified", "ETag", "etag", "updated", "generation")
"""What file systems call that which changes with a file."""

_STORE: Final = ".zarr"
_REFERENCES: Final = "reference"
"""A list of addresses with templates, in which fsspec fills in whatever its author likes: variables of the environment,
or, in old versions, what a program of his returns."""


def cache_folder() -> Path:
    """Return where copies lie: `CUVIS_CUBES_DIR`, or `~/.cuvis_cubes`. It may be removed at any time."""
    return Path(os.environ.get(CACHE_VARIABLE) or _CACHE).expanduser()


def fetched(url: str) -> Path:
    """Return the copy of a file, or of the folder of a Zarr store, with the files that belong to it beside it.

    A copy is used as long as the file at the address has the same size, time and tag. ENVI headers come with their data
    files and the other way round, images of EnMAP and DESIS with their metadata.

    Args:
        url: An address that fsspec knows.

    Raises:
        CubeError: It cannot be reached or copied, or there is no room for it.
        MissingExtraError: The package `fsspec` is not installed.
    """
    shown = redact(url)
    if _REFERENCES in [part.partition("://")[0] for part in url.split("::")]:
        raise CubeError(
            f"The cube '{shown}' is a list of references, which is not followed: it may name any file and address, and "
            "have variables of the environment sent there.",
            hint="If you trust it, make a file or a Zarr store of what it refers to, for example with xarray.",
        )
    fsspec = library("fsspec", "remote", shown)
    try:
        system, place = fsspec.core.url_to_fs(url)
        return _copy_of(system, str(place).rstrip("/"), url)
    except CubeError:
        raise
    except ImportError as error:  # fsspec says which package
        raise CubeError(
            f"The cube '{shown}' cannot be fetched: {error}",
            hint="Install it, for https with the extra: pip install 'cuvis-ai-core[remote]'",
        ) from error
    except Exception as error:  # each system has its own
        raise CubeError(
            f"The cube '{shown}' cannot be fetched: {redact(words_of(error))}.",
            hint="Check the address, the connection, and what the address needs to let you in.",
        ) from error


def _copy_of(system: Any, place: str, url: str) -> Path:
    name = _without_query(place)[0].rpartition("/")[2]
    if name in {"", ".", ".."}:
        raise CubeError(f"The address '{redact(url)}' names no file.", hint="Its last part is the name of a file.")
    # fsspec keeps what it was told of folders, and a file may have changed.
    system.invalidate_cache()
    about = system.info(place)
    # For http, `ukey` is made of the address alone.
    state = [system.ukey(place), *(str(about.get(key)) for key in _STATE)]
    target = cache_folder() / sha256(f"{url} {state}".encode()).hexdigest()[:24]
    if not target.exists():
        _copy(system, place, target, redact(url))
    return target / name


def _copy(system: Any, place: str, target: Path, shown: str) -> None:
    """Copy into a folder beside the target, which then takes its place whole."""
    bare, query = _without_query(place)
    folder, _, name = bare.rpartition("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    _check_room(system, place, target.parent, shown)
    with work_folder(target.parent, ".partial-") as partial:
        whole = partial / "whole"
        whole.mkdir()
        if name.endswith(_STORE):
            _copy_store(system, place, whole / name, shown)
        else:
            _copy_file(system, place, whole / name, shown)
        for beside in _companions(name):
            if system.exists(other := f"{folder}/{beside}{query}"):
                _copy_file(system, other, whole / beside, shown)
        try:
            whole.rename(target)
        except OSError:
            if not target.exists():  # else another process was faster
                raise


def _without_query(place: str) -> tuple[str, str]:
    """Return an address in two parts; what signs it (`?X-Amz-Signature=...`) is no part of the name of the file."""
    if "://" not in place:  # a name in a store may have a question mark
        return place, ""
    bare, mark, query = place.partition("?")
    return bare.rstrip("/"), mark + query


def _copy_store(system: Any, place: str, target: Path, shown: str) -> None:
    """Copy the files of a folder. Their names are what a server or an archive says: none may lead out of it."""
    about = {
        str(each).removeprefix(place).lstrip("/"): about for each, about in system.find(place, detail=True).items()
    }
    names = list(about)
    for name in names:
        if "\\" in name or {"", ".", ".."}.intersection(name.split("/")):
            raise CubeError(
                f"The cube '{shown}' cannot be fetched: it names a file '{name}', which is not in its folder.",
                hint="Ask whoever serves it: nothing of it was kept.",
            )
    system.get([f"{place}/{name}" for name in names], [str(target / name) for name in names])
    for name in names:
        _refuse_part(target / name, about[name].get("size"), shown)


def _copy_file(system: Any, place: str, target: Path, shown: str) -> None:
    size = system.info(place).get("size")
    system.get_file(place, str(target))  # not a pattern, which `get` takes it for
    _refuse_part(target, size, shown)


def _refuse_part(copy: Path, size: int | None, shown: str) -> None:
    """Raise if a copy is not as large as was announced: a connection may break off without a word."""
    if size is not None and (found := copy.stat().st_size) != size:
        raise CubeError(
            f"The cube '{shown}' cannot be fetched: of '{copy.name}' {found} bytes came, and {size} were announced.",
            hint="Try again: nothing of it was kept.",
        )


def _check_room(system: Any, place: str, folder: Path, shown: str) -> None:
    # Some servers tell no size.
    size, free = system.info(place).get("size") or 0, shutil.disk_usage(folder).free
    if size > free:
        raise CubeError(
            f"The cube '{shown}' has {size / 2**30:.3g} GiB; the limit is the room that is free in '{folder}', "
            f"{free / 2**30:.3g} GiB.",
            hint=f"Make room, or name another folder in the environment variable {CACHE_VARIABLE}.",
        )


def _companions(name: str) -> Iterator[str]:
    """Yield the names of files that may belong to a file."""
    stem, dot, suffix = name.rpartition(".")
    if dot + suffix.lower() == ENVI:
        yield from (stem, *(stem + each for each in DATA_SUFFIXES))
    elif dot + suffix.lower() in DATA_SUFFIXES:
        yield from (name + ENVI, stem + ENVI)
    if _PRODUCT.search(name):
        yield from (_PRODUCT.sub(f"-METADATA.{end}", name) for end in ("XML", "xml"))
