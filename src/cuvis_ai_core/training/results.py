"""What a training came to, on disk: a table and a picture of its epochs."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core._files import write_atomic
from cuvis_ai_core.errors import MissingExtraError

_STYLE: Final[dict[Any, Any]] = {"font.family": "DejaVu Sans", "font.size": 9, "axes.linewidth": 0.6}
_COLOURS: Final = {"train_loss": "#1f6fb2", "val_loss": "#d1602b"}
_LABELS: Final = {"train_loss": "training", "val_loss": "validation"}
_LOGARITHMIC: Final = 20.0
"""From this ratio of the largest to the smallest loss on, the axis is logarithmic."""


def write_metrics(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write one line per epoch as CSV; what an epoch does not have stays empty.

    Raises:
        OSError: The file cannot be written.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue())


def draw_losses(path: Path, rows: Sequence[Mapping[str, float]], title: str) -> None:
    """Draw the losses of training and validation over the epochs, as PNG.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: The file cannot be written.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "Drawing the loss needs the package 'matplotlib', which is not installed.",
            hint="Install the extra: pip install 'cuvis-ai-core[train]'",
            extra="train",
        ) from error
    with rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.add_subplot()
        drawn = [value for name in _LABELS for value in _draw_line(axes, name, rows)]
        if drawn and min(drawn) > 0 and max(drawn) > _LOGARITHMIC * min(drawn):
            axes.set_yscale("log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", ylabel="loss", title=title)
        axes.grid(visible=True, linewidth=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if drawn:
            axes.legend(frameon=False)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=150, metadata={"Software": None})
    write_atomic(path, picture.getvalue())


def _draw_line(axes: Any, name: str, rows: Sequence[Mapping[str, float]]) -> list[float]:  # noqa: ANN401
    points = [(row["epoch"], row[name]) for row in rows if name in row]
    if points:
        few = "o" if len(points) == 1 else ""
        axes.plot(*zip(*points, strict=True), color=_COLOURS[name], label=_LABELS[name], linewidth=1.2, marker=few)
    return [value for _, value in points]
