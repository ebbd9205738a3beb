"""What packed the values of an HDF5 file: filters that come with HDF5's own library, and those of plugins of it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core._printable_text import shown_in_line
from cuvis_ai_core.errors import CubeError

_PLUGINS: Final = "hdf5plugin"
"""The package that brings the filters of most plugins, and registers them when it is imported."""


def load_filters(datasets: Iterable[Any]) -> None:
    """Import the package of filters, where it is installed and some datasets are packed by what is not there."""
    if any(True for dataset in datasets for _ in _missing(dataset)):
        with suppress(ImportError):
            import_module(_PLUGINS)


@contextmanager
def unpacked(path: Path, datasets: Iterable[Any]) -> Iterator[None]:
    """Say of an error which filter is missing: HDF5 itself speaks of a folder of plugins that cannot be opened.

    Raises:
        CubeError: Values could not be read, and a filter is missing.
    """
    try:
        yield
    except OSError as error:
        found = next(((dataset.name, *each) for dataset in datasets for each in _missing(dataset)), None)
        if found is None:
            raise
        name, number, filter_name = found
        raise CubeError(
            f"The array '{name}' of the file '{path}' is packed by the filter {number} ({filter_name}) of HDF5, which "
            "is not there.",
            hint=f"Install it, for most filters with: pip install {_PLUGINS}. It need not be imported.",
            path=path,
        ) from error


def _missing(dataset: Any) -> Iterator[tuple[int, str]]:
    """Yield number and name of each filter of a dataset that is not there."""
    h5z = import_module("h5py.h5z")
    created = dataset.id.get_create_plist()
    for at in range(created.get_nfilters()):
        number, _, _, name = created.get_filter(at)
        if not h5z.filter_avail(number):
            yield number, shown_in_line(name.decode("utf-8", "replace").partition(";")[0]) or "without a name"
