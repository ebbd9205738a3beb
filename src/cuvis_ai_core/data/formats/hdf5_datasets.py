"""The datasets of an HDF5 file: their names, axes and attributes, and how a piece of one is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.data.formats.cf_conventions import UNWRITTEN, plain
from cuvis_ai_core.data.formats.hdf5_external_links import inside, refuse_elsewhere, refuse_links
from cuvis_ai_core.data.formats.hdf5_filters import load_filters, unpacked
from cuvis_ai_core.data.formats.hyperspy_axes import Axes, axes_beside
from cuvis_ai_core.data.formats.optional_libraries import library, readable
from cuvis_ai_core.data.formats.stored_image import Opening
from cuvis_ai_core.data.formats.variable_choice import Variable
from cuvis_ai_core.errors import CubeError

KIND: Final = "an HDF5 file"

_MARKED: Final = "already open for write"
"""Words of HDF5."""

_MOST: Final = 10_000
"""So many datasets are looked at in a file."""

_INTERNAL: Final = "#refs#"
"""The group in which MATLAB keeps what cells and structures refer to."""

_LONGEST_TEXT: Final = 256
"""Longer ones are no labels of bands."""

_RANK: Final = 3
_ROWS: Final = 2
"""Axes of texts in rows."""

_MATLAB: Final = "MATLAB_class"
_EMPTY: Final = "MATLAB_empty"
"""Says of an array that the file has its sizes where others have their values."""


@contextmanager
def open_file(path: Path) -> Iterator[Any]:
    """Open an HDF5 file for reading.

    Raises:
        CubeError: It is damaged, or somebody writes into it.
        MissingExtraError: The package `h5py` is not installed.
    """
    h5py = library("h5py", "hdf5", path)
    with readable(path, KIND):
        try:
            file = h5py.File(path, "r")
        except OSError as error:
            # The first where files are locked, the other where a mark is left in the file itself.
            if not isinstance(error, BlockingIOError) and _MARKED not in str(error):
                raise
            raise CubeError(
                f"The cube '{path}' is open for writing in another program, or was when that program ended: {error}",
                hint=f"Close it there. If no program has it open, take its mark away: h5clear -s {path}",
                path=path,
            ) from error
        with file:
            yield file


def reopened(path: Path, name: str) -> Opening:
    """Return what opens a dataset of a file."""
    proven = False

    @contextmanager
    def opened() -> Iterator[Any]:
        nonlocal proven
        with open_file(path) as file:
            item = inside(path, file, name)
            # Once for each cube: links are looked up by opening other files, and a tile is read some thousand times.
            if not proven:
                refuse_elsewhere(path, item)
                load_filters([item])
                proven = True
            with unpacked(path, [item]):
                yield item

    return opened


def datasets(path: Path, file: Any) -> Iterator[Variable]:
    """Yield the datasets of a file, open as long as it is."""
    h5py = library("h5py", "hdf5", path)
    found: list[Any] = []

    def look(name: str, item: Any) -> bool | None:
        if isinstance(item, h5py.Dataset) and not name.startswith(_INTERNAL) and item.shape is not None:
            found.append(item)
        return True if len(found) >= _MOST else None

    # It follows no links, neither soft nor external ones, and ends where something else than None is answered.
    file.visititems(look)
    if not any(len(dataset.shape) >= _RANK for dataset in found):
        refuse_links(path, file)
    load_filters(found)
    for dataset in found:
        refuse_elsewhere(path, dataset)
        name, attrs = dataset.name.strip("/"), attributes(dataset)
        if attrs.get(_EMPTY):
            continue
        # NetCDF-4 sets this fill value without an attribute of that name.
        if dataset.dtype.kind == "f" and dataset.fillvalue == dataset.dtype.type(UNWRITTEN):
            attrs.setdefault("_FillValue", UNWRITTEN)
        dims, matlab, array = tuple(_dims(dataset)), _MATLAB in attrs, dataset
        if attrs.get(_MATLAB) == "cell" and h5py.check_ref_dtype(dataset.dtype):
            array = _Cells(path, file, dataset)
        elif attrs.get(_MATLAB) == "char" and dataset.dtype.kind in "iu" and dataset.ndim == _ROWS:
            array = _Rows(dataset)
        if (axes := axes_beside(path, dataset)) is not None:
            dims = axes.names
            yield from _coordinate(name, axes)
        yield Variable(name, array, dims, attrs, usual=matlab, reversed=matlab, again=reopened(path, name))


def _coordinate(name: str, axes: Axes) -> Iterator[Variable]:
    """Yield the coordinate of the channel of an array, where it is one of light."""
    # Losses of energy and Raman shifts have units of light, and begin at 0 or below: no band is missing.
    if not axes.unit or (axes.values > 0).all():
        path = f"{name.rpartition('/')[0]}/{axes.channel}".strip("/")
        yield Variable(path, axes.values, (axes.channel,), {"units": axes.unit} if axes.unit else {})


class _Cells:
    """Cells of MATLAB as an array: texts and numbers, which its elements refer to, read when they are asked for."""

    dtype: Final = np.dtype(object)

    def __init__(self, path: Path, file: Any, dataset: Any) -> None:
        self.shape = dataset.shape
        self._path = path
        self._file = file
        self._dataset = dataset

    def __getitem__(self, key: Any) -> NDArray[Any]:
        values = np.empty(self.shape, dtype=object)
        values.ravel()[:] = [self._value(each) for each in self._dataset[...].ravel()]
        return np.asarray(values[key], dtype=object)

    def _value(self, reference: Any) -> str | float | None:
        item = self._file[reference] if reference else None
        size = getattr(item, "size", None)
        if item is None or size is None or size > _LONGEST_TEXT or item.dtype.kind not in "iuf":
            return None
        refuse_elsewhere(self._path, item)
        if plain(item.attrs.get(_MATLAB)) == "char":
            return _text(item[...]) if item.dtype.kind in "iu" else None
        return float(item[...].item()) if size == 1 else None


class _Rows:
    """Rows of signs of MATLAB as an array of texts, read when they are asked for; a file has them side by side."""

    dtype: Final = np.dtype(object)

    def __init__(self, dataset: Any) -> None:
        self.shape = dataset.shape[1:]
        self._dataset = dataset

    def __getitem__(self, key: Any) -> NDArray[Any]:
        texts = [_text(row) for row in self._dataset[:_LONGEST_TEXT].T]
        return np.asarray(np.array(texts, dtype=object)[key], dtype=object)


def _text(signs: NDArray[Any]) -> str:
    # Two bytes a sign, as MATLAB has them, whatever a file claims.
    return signs.astype("<u2").tobytes().decode("utf-16-le", "replace")


def attributes(item: Any) -> dict[str, Any]:
    """Return the attributes of an item as plain values; what the library cannot read is left out."""
    found: dict[str, Any] = {}
    for key in item.attrs:
        try:
            found[key] = plain(item.attrs[key])
        # h5py raises these for references, enums and compound types that it does not know.
        except (OSError, TypeError, ValueError):  # references, types of others
            continue
    return found


def _dims(dataset: Any) -> Iterator[str]:
    """Yield the names of the axes: labels, or the scales that are attached; a scale of its own is its own axis."""
    own = dataset.name.rpartition("/")[2]
    for dimension in dataset.dims:
        yield own if dataset.ndim == 1 and dataset.is_scale else _dim(dimension)


def _dim(dimension: Any) -> str:
    if dimension.label:
        return str(dimension.label)
    try:
        return str(dimension[0].name).rpartition("/")[2] if len(dimension) else ""
    except (RuntimeError, KeyError, OSError, AttributeError, TypeError):  # a scale that is no longer there
        return ""
