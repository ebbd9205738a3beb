"""What a training came to as CSV: `metrics.csv` with a row for each epoch, and confusion matrices."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from numpy.typing import NDArray

from cuvis_ai_core._atomic_writes import write_atomic
from cuvis_ai_core._printable_text import in_cell
from cuvis_ai_core.training.monitored_metric import LOSSES, TRAIN

Row: TypeAlias = dict[str, float]
"""What an epoch came to: `epoch`, `lr`, `train_loss`, `val_loss`; `<node>/<metric>` of validation, and the same with
`train/` before it of training."""


def epoch_row(epoch: int, rate: float, values: Mapping[str, float]) -> Row:
    """Return what an epoch came to, as a row of `metrics.csv`: losses first, metrics of training last.

    Args:
        epoch: Its number, from 1.
        rate: The learning rate at its start.
        values: What was reported; what is not a number is left out.
    """
    # NaN is no JSON, and in a table it would look like a measure.
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    losses = {name: finite.pop(name) for name in LOSSES if name in finite}
    ours = sorted(finite.items(), key=lambda item: item[0].startswith(TRAIN))
    return {"epoch": epoch, "lr": rate, **losses, **dict(ours)}


def write_metrics(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write one line per epoch as CSV; what an epoch does not have stays empty.

    Raises:
        OSError: The file cannot be written.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    # Lines end in \n: by itself the module csv writes \r\n (RFC 4180), which shells show.
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(map(in_cell, columns))
    csv.DictWriter(text, columns, lineterminator="\n").writerows(rows)
    write_atomic(path, text.getvalue())


def write_matrix(path: Path, matrix: NDArray[Any], labels: Sequence[str]) -> None:
    """Write a matrix as CSV, with the names of its rows before each and those of its columns above.

    Raises:
        OSError: The file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["true / predicted", *map(in_cell, labels)])
    writer.writerows([in_cell(label), *row] for label, row in zip(labels, matrix.tolist(), strict=True))
    write_atomic(path, text.getvalue())
