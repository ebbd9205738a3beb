"""What a pipeline gave: the value of each output as an array, and its record."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.results.array_storage import Place, blocks_of, is_place

logger = logging.getLogger(__name__)

Address = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Result:
    """The value of one output port.

    Attributes:
        node: Name of the node.
        port: Name of its output port.
        array: The value, or where it is written.
    """

    node: str
    port: str
    array: NDArray[Any] | Place

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
        array = value if is_place(value) else as_array(value)
        if array is None:
            logger.warning("%s", f"{node}.{port} is of type {type(value).__name__}, no array: it is not written.")
            left_out.append({"node": node, "port": port, "type": type(value).__name__})
        else:
            results.append(Result(node, port, array))
    return results, left_out


def as_array(value: Any) -> NDArray[Any] | None:
    """Return a value as a NumPy array, or None where that would take Python objects."""
    try:
        for step in ("detach", "cpu"):  # a torch tensor may need gradients, and live on a GPU
            value = getattr(value, step)() if hasattr(value, step) else value
        array = np.asarray(value)
    except Exception:  # noqa: BLE001 - a plugin's object may refuse in any way
        return None
    # NumPy pickles objects, and whoever reads the file would have to run them.
    return None if array.dtype.hasobject else array


def limits(array: NDArray[Any] | Place) -> tuple[float | None, float | None]:
    """Return the least and the greatest finite value, None where there is none."""
    if array.dtype.kind not in "biuf" or 0 in array.shape:
        return None, None
    ends = [each for block in blocks_of(array) if (each := _ends(block)) is not None]
    return (min(low for low, _ in ends), max(high for _, high in ends)) if ends else (None, None)


def _ends(block: NDArray[Any]) -> tuple[float, float] | None:
    if block.dtype.kind != "f":
        return int(block.min()), int(block.max())
    finite = np.isfinite(block)
    values = block if finite.all() else block[finite]  # a cube is large: no copy without need
    return (float(values.min()), float(values.max())) if values.size else None
