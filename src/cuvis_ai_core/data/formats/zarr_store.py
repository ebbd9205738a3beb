"""Cubes in Zarr stores, format 2 and 3, with shards too: folders, or packed into one zip."""

import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from traceback import extract_tb
from typing import Any, Final

from cuvis_ai_core._printable_text import shown_size
from cuvis_ai_core._untrusted_files import MOST_BYTES, refuse_special
from cuvis_ai_core.data.cube import Cube
from cuvis_ai_core.data.decompression_bombs import refuse_bomb
from cuvis_ai_core.data.formats.arrays_to_cube import cube_of
from cuvis_ai_core.data.formats.cf_conventions import plain
from cuvis_ai_core.data.formats.optional_libraries import library, readable
from cuvis_ai_core.data.formats.stored_image import check_size
from cuvis_ai_core.data.formats.variable_choice import Variable, choose
from cuvis_ai_core.errors import CubeError

_KIND: Final = "a Zarr store"

_METADATA: Final = {"zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"}
_UNSAFE: Final = "pickle"
"""A codec that runs what its data say, unless a version of numcodecs refuses it."""

_DIMS: Final = "_ARRAY_DIMENSIONS"
"""Where xarray keeps the names of axes in format 2, which has no place for them."""


def read_zarr(path: Path, array: str | None = None) -> Cube:
    """Read a Zarr store: one array, or of several the one asked for, named `cube`, or alone in having three axes.

    Axes with names are put in order by these, whatever their order. Attributes are read by the CF conventions, as
    xarray writes them; of format 2 with names of axes the fill value is "no data", as for xarray. Of a pyramid of OME
    the image in full resolution is read.

    Args:
        path: The folder, or a `.zarr.zip`.
        array: The path of an array in it: `scene.zarr::measurements/reflectance`.

    Raises:
        CubeError: The store is damaged, or it is not clear which array is the cube.
        MissingExtraError: The package `zarr` is not installed.
    """
    zarr = library("zarr", "zarr", path)
    if path.is_file():
        with readable(path, _KIND), zipfile.ZipFile(path) as archive:
            refuse_bomb(path, sum(each.file_size for each in archive.infolist()))
    with readable(path, _KIND), _opened(zarr, path) as root:
        variables = {variable.name: variable for variable in _variables(zarr, root, path)}
        finest, axes = _finest(_plain(root.attrs))
        if finest in variables and len(axes) == len(variables[finest].shape):
            variables[finest] = replace(variables[finest], dims=axes)
        name = choose(path, variables, array or (finest if finest in variables else None)).name
        for size in (variables[name].array.chunks, variables[name].array.shards):
            check_size(path, size or (), variables[name].array.dtype)
        return cube_of(path, variables, _plain(root.attrs), name)


@contextmanager
def _opened(zarr: Any, path: Path, name: str = "") -> Iterator[Any]:
    if path.is_file():
        with readable(path, _KIND), _codec_named(), closing(zarr.storage.ZipStore(path, mode="r")) as store:
            yield zarr.open(store, mode="r", path=name, use_consolidated=False)
    else:
        with readable(path, _KIND), _codec_named():
            files = _plain_files(zarr)(path, read_only=True)
            # Metadata that were put together once do not know what was added since.
            yield zarr.open(files, mode="r", path=name, use_consolidated=False)


@contextmanager
def _codec_named() -> Iterator[None]:
    """Have an error say that a codec is missing: zarr 3.0 says no more than the name that it looked up."""
    try:
        yield
    except KeyError as error:
        if extract_tb(error.__traceback__)[-1].name != "get_codec_class":
            raise
        raise ValueError(f"unknown codec {error}") from error


@cache
def _plain_files(zarr: Any) -> Any:
    """Return the class of stores that open plain files alone: the library waits for a pipe, a device has no end."""
    base = zarr.storage.LocalStore

    async def get(self: Any, key: str, *args: Any, **options: Any) -> Any:
        _check_file(self.root, key)
        return await base.get(self, key, *args, **options)

    async def get_partial_values(self: Any, prototype: Any, key_ranges: Iterable[tuple[str, Any]]) -> Any:
        ranges = list(key_ranges)
        for key, _ in ranges:
            _check_file(self.root, key)
        return await base.get_partial_values(self, prototype, ranges)

    def get_sync(self: Any, key: str, **options: Any) -> Any:
        _check_file(self.root, key)
        return base.get_sync(self, key, **options)

    return type("PlainFiles", (base,), {each.__name__: each for each in (get, get_partial_values, get_sync)})


def _check_file(root: Path, key: str) -> None:
    """Raise unless a file of a store can be read, or is not there.

    Raises:
        ValueError: It is a pipe or a device, or metadata of a size that these never have.
    """
    try:
        about = os.stat(root / key)  # asked for each chunk
    except OSError:
        return
    try:
        refuse_special(about.st_mode)
    except ValueError as error:
        raise ValueError(f"'{key}': {error}") from None
    if key.rpartition("/")[2] in _METADATA and about.st_size > MOST_BYTES:
        raise ValueError(f"'{key}' has more than {shown_size(MOST_BYTES)}, the limit for such files")


def _variables(zarr: Any, root: Any, path: Path) -> Iterator[Variable]:
    if isinstance(root, zarr.Array):
        yield _variable(zarr, path, path.name.partition(".")[0], "", root)
        return
    for name, member in root.members(max_depth=None):
        if isinstance(member, zarr.Array):
            yield _variable(zarr, path, name, name, member)


def _variable(zarr: Any, path: Path, name: str, place: str, array: Any) -> Variable:
    _refuse_pickles(path, name, array.metadata)
    attrs = _plain(array.attrs)
    named = getattr(array.metadata, "dimension_names", None) or attrs.pop(_DIMS, None)
    if named is not None and array.metadata.zarr_format == 2 and array.fill_value is not None:  # noqa: PLR2004 - of two
        attrs.setdefault("_FillValue", plain(array.fill_value))
    dims = tuple(str(each or "") for each in named or ("",) * array.ndim)
    return Variable(name, array, dims, attrs, again=lambda: _opened(zarr, path, place))


def _refuse_pickles(path: Path, name: str, metadata: Any) -> None:
    codecs = (*(getattr(metadata, "filters", None) or ()), getattr(metadata, "compressor", None))
    if _UNSAFE in [getattr(codec, "codec_id", None) for codec in codecs]:
        raise CubeError(
            f"The array '{name}' of the Zarr store '{path}' is packed as pickles, which run whatever they say; "
            "they are not read.",
            hint="If you trust it, write it again with numbers and texts alone.",
            path=path,
        )


def _finest(attrs: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Return the path of the image in full resolution of a store of OME (0.4, 0.5), and the names of its axes."""
    ome = attrs.get("ome")
    scales: Any = (ome if isinstance(ome, Mapping) else attrs).get("multiscales")
    try:
        first = scales[0]
        return str(first["datasets"][0]["path"]), tuple(str(axis["name"]) for axis in first["axes"])
    except (TypeError, KeyError, IndexError):
        return "", ()


def _plain(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {key: plain(value) for key, value in dict(attrs).items()}
