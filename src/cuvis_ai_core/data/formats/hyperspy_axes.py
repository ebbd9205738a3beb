"""The axes of HyperSpy's HDF5 files: a group `axis-0`, `axis-1`, ... beside the array for each of them."""

from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.data.formats.cf_conventions import plain
from cuvis_ai_core.data.formats.hdf5_external_links import inside, refuse_elsewhere

_RANK: Final = 3
_UNDEFINED: Final = ("_None_", "<undefined>", "None")


class Axes(NamedTuple):
    """What is known of the axes of an array.

    Attributes:
        names: Their names, in its order.
        channel: The name of the channel.
        values: The coordinate of each channel.
        unit: Its unit, or "".
    """

    names: tuple[str, ...]
    channel: str
    values: NDArray[np.float64]
    unit: str


def axes_beside(path: Path, dataset: Any) -> Axes | None:
    """Return the axes of an array of three, where HyperSpy's groups lie beside it.

    An image of spectra has one axis of signals, a stack of images has two: the channel is the one that is alone.

    Raises:
        CubeError: A group lies behind a link to another file.
    """
    if dataset.ndim != _RANK:
        return None
    folder = dataset.name.rpartition("/")[0]
    groups = []
    with suppress(KeyError):
        groups = [inside(path, dataset.file, f"{folder}/axis-{at}") for at in range(_RANK)]
    over_pixels = [bool(each.attrs["navigate"]) for each in groups if "navigate" in each.attrs]
    alone = next((at for at, each in enumerate(over_pixels) if over_pixels.count(each) == 1), None)
    if len(over_pixels) < _RANK or alone is None:
        return None
    names = ["y", "x"]
    names.insert(alone, "wavelength")
    unit = str(plain(groups[alone].attrs.get("units", "")))
    values = _coordinate(path, groups[alone], dataset.shape[alone])
    return Axes(tuple(names), "wavelength", values, "" if unit in _UNDEFINED else unit)


def _coordinate(path: Path, group: Any, size: int) -> NDArray[np.float64]:
    with suppress(KeyError):  # where its steps differ, its values are there
        stored = inside(path, group.file, f"{group.name}/axis")
        if stored.shape == (size,):
            refuse_elsewhere(path, stored)
            return np.asarray(stored[...], dtype=np.float64)
    first, step = (float(group.attrs.get(key, default)) for key, default in (("offset", 0.0), ("scale", 1.0)))
    return first + step * np.arange(size, dtype=np.float64)
