"""What a pipeline gave, as files: all arrays in one archive, what looks like a picture as PNG."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.cli.logs import warn
from cuvis_ai_core.cli.output_folder import safe_name
from cuvis_ai_core.cli.pictures import Picture, draw

ARCHIVE: Final = "outputs.npz"


@dataclass(frozen=True, slots=True)
class Result:
    """The value of one output port.

    Attributes:
        node: Name of the node.
        port: Name of its output port.
        array: The value.
    """

    node: str
    port: str
    array: NDArray[Any]

    @property
    def name(self) -> str:
        """The address of the port: `node.port`."""
        return f"{self.node}.{self.port}"

    def record(self) -> dict[str, Any]:
        """Return what run.json says about this value."""
        low, high = limits(self.array)
        return {
            "node": self.node,
            "port": self.port,
            "shape": list(self.array.shape),
            "dtype": str(self.array.dtype),
            "min": low,
            "max": high,
        }


def collect(values: Mapping[tuple[str, str], Any]) -> tuple[list[Result], list[dict[str, str]]]:
    """Return the outputs that are arrays or become one, and what is known of the others.

    An optional output that its node left out is neither. What cannot be written is warned about.
    """
    results: list[Result] = []
    left_out: list[dict[str, str]] = []
    for (node, port), value in values.items():
        if value is None:
            continue
        array = as_array(value)
        if array is None:
            warn(f"{node}.{port} is of type {type(value).__name__}, no array: it is not written.")
            left_out.append({"node": node, "port": port, "type": type(value).__name__})
        else:
            results.append(Result(node, port, array))
    return results, left_out


def as_array(value: Any) -> NDArray[Any] | None:  # noqa: ANN401 - an array of any library, or anything else
    """Return a value as a NumPy array, or None where that would take Python objects."""
    try:
        for step in ("detach", "cpu"):  # a torch tensor may need gradients, and live on a GPU
            value = getattr(value, step)() if hasattr(value, step) else value
        array = np.asarray(value)
    except Exception:  # noqa: BLE001 - a plugin's object may refuse in any way
        return None
    return None if array.dtype.hasobject else array


def limits(array: NDArray[Any]) -> tuple[float | None, float | None]:
    """Return the least and the greatest finite value, None where there is none."""
    if array.dtype.kind not in "biuf" or array.size == 0:
        return None, None
    if array.dtype.kind != "f":
        return int(array.min()), int(array.max())
    finite = np.isfinite(array)
    values = array if finite.all() else array[finite]  # a cube is large: no copy without need
    return (float(values.min()), float(values.max())) if values.size else (None, None)


def write_results(folder: Path, results: list[Result], image: tuple[int, ...]) -> list[dict[str, Any]]:
    """Write the archive and the pictures, and return a record of each output in each file.

    Args:
        folder: Where to write.
        results: What the pipeline gave.
        image: Height and width of the cube.

    Raises:
        OSError: The folder cannot be written.
    """
    arrays: dict[str, Any] = {result.name: result.array for result in results}
    np.savez(folder / ARCHIVE, **arrays)
    about = {result.name: result.record() for result in results}
    records = [{"file": ARCHIVE, "key": result.name, **about[result.name]} for result in results]
    pictures = [(result, picture) for result in results for picture in draw(result.array, image)]
    names = _file_names(pictures)
    for (result, picture), name in zip(pictures, names, strict=True):
        picture.save(folder / name)
        records.append({"file": name, **about[result.name], **picture.record()})
    return records


def _file_names(pictures: Iterable[tuple[Result, Picture]]) -> list[str]:
    """Return a file name for each picture; two that differ only in case would be one on many disks."""
    names: dict[str, str] = {}
    for result, picture in pictures:
        stem = safe_name(result.name) + ("" if picture.index is None else f"-{picture.index}")
        candidate, number = stem, 2
        while candidate.casefold() in names:
            candidate, number = f"{stem}-{number}", number + 1
        names[candidate.casefold()] = f"{candidate}.png"
    return list(names.values())
