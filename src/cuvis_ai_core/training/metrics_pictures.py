"""What a training came to, in pictures: the curves of its losses, and its confusion matrices."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core._atomic_writes import write_atomic
from cuvis_ai_core.errors import MissingExtraError

_STYLE: Final[dict[Any, Any]] = {"font.family": "DejaVu Sans", "font.size": 9, "axes.linewidth": 0.6}
_COLOURS: Final = {"train_loss": "#1f6fb2", "val_loss": "#d1602b"}
_LABELS: Final = {"train_loss": "training", "val_loss": "validation"}
_MOST_NUMBERS: Final = 30
"""Up to this size of a matrix there is room for numbers in it."""

_BRIGHT: Final = 0.6
"""From this share on a colour is so bright that what is written on it is black."""

_LOGARITHMIC: Final = 20.0
"""From this ratio of the largest to the smallest loss on, the axis is logarithmic."""


def draw_losses(path: Path, rows: Sequence[Mapping[str, float]], title: str) -> None:
    """Draw the losses of training and validation over the epochs, as PNG.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: The file cannot be written.
    """
    rc_context, figure_class, integers = _matplotlib()
    with rc_context(_STYLE):
        figure = figure_class(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.add_subplot()
        drawn = [value for name in _LABELS for value in _draw_line(axes, name, rows)]
        if drawn and min(drawn) > 0 and max(drawn) > _LOGARITHMIC * min(drawn):
            axes.set_yscale("log")
        axes.xaxis.set_major_locator(integers(integer=True))
        axes.set(xlabel="epoch", ylabel="loss")
        axes.set_title(title, parse_math=False)  # a name with $ in it is no formula
        axes.grid(visible=True, linewidth=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if drawn:
            axes.legend(frameon=False)
        _save(figure, path)


def draw_matrix(path: Path, matrix: NDArray[Any], labels: Sequence[str], title: str) -> None:
    """Draw a confusion matrix as PNG: the colour says the share of a true class, the number the pixels.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: The file cannot be written.
    """
    rc_context, figure_class, _ = _matplotlib()
    size = len(labels)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    with rc_context(_STYLE):
        side = min(20.0, 3.2 + 0.45 * size)
        figure = figure_class(figsize=(side + 1.0, side), layout="constrained")
        axes = figure.add_subplot()
        image = axes.imshow(shares, cmap="viridis", vmin=0, vmax=1)
        axes.set_xticks(range(size), labels, rotation=60, ha="right", rotation_mode="anchor", parse_math=False)
        axes.set_yticks(range(size), labels, parse_math=False)
        axes.set(xlabel="predicted class", ylabel="true class")
        axes.set_title(title, parse_math=False)
        figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
        for (row, column), count in np.ndenumerate(matrix if size <= _MOST_NUMBERS else np.empty((0, 0))):
            colour = "black" if shares[row, column] > _BRIGHT else "white"
            axes.text(column, row, f"{count:g}", ha="center", va="center", color=colour, fontsize=6)
        _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    picture = io.BytesIO()
    # Without matplotlib's version in the file, the same picture is the same bytes.
    figure.savefig(picture, format="png", dpi=150, metadata={"Software": None})
    write_atomic(path, picture.getvalue())


def _matplotlib() -> tuple[Any, Any, Any]:
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "Drawing what a training came to needs the package 'matplotlib', which is not installed.",
            hint="Install the extra: pip install 'cuvis-ai-core[train]'",
            extra="train",
        ) from error
    return rc_context, Figure, MaxNLocator


def _draw_line(axes: Any, name: str, rows: Sequence[Mapping[str, float]]) -> list[float]:
    points = [(row["epoch"], row[name]) for row in rows if name in row]
    if points:
        few = "o" if len(points) == 1 else ""
        axes.plot(*zip(*points, strict=True), color=_COLOURS[name], label=_LABELS[name], linewidth=1.2, marker=few)
    return [value for _, value in points]
