"""What a training came to, in tables on disk: its epochs, and its confusion matrices."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from numpy.typing import NDArray

from cuvis_ai_core._atomic_writes import write_atomic
from cuvis_ai_core._printable_text import in_cell

Row: TypeAlias = dict[str, float]
"""What an epoch came to: `epoch`, `lr`, `train_loss`, `val_loss`; `<node>/<metric>` of validation, and the same with
`train/` before it of training."""


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
