"""How likely each cube is drawn where epochs are to show every class equally often."""

from collections import Counter
from dataclasses import replace

import numpy as np

from cuvis_ai_core.data.dataset_batches import AnyBatches
from cuvis_ai_core.errors import TrainRunError


def balanced_chances(batches: AnyBatches, ignore_label: int | None = None) -> list[float]:
    """Return for each cube how likely it is drawn, so that pixels of every class are seen equally often.

    A cube counts by the shares that it has of all pixels of each class. All masks are read for that.

    Raises:
        TrainRunError: The data have no annotations, or no pixel has a label.
    """
    counts: list[Counter[int]] = [Counter() for _ in batches.numbers]
    for number, batch in enumerate(replace(batches, size=1)):
        if "mask" not in batch:
            raise TrainRunError(
                "data.sampling: 'balanced' needs to know the classes, and the cubes to train on have no annotations.",
                hint="Name them: data.masks or data.annotation_json_path.",
                key="data.sampling",
            )
        labels, pixels = np.unique(batch["mask"], return_counts=True)
        counts[number].update(dict(zip(labels.tolist(), pixels.tolist(), strict=True)))
        # Before the sum: pixels without a label are no class to balance.
        if ignore_label is not None:
            counts[number].pop(ignore_label, None)
    total = sum(counts, Counter[int]())
    if not total:
        raise TrainRunError(
            "data.sampling: no pixel of the cubes to train on has a label.",
            hint="Look at the masks, and at data.ignore_label.",
            key="data.sampling",
        )
    shares = [sum(pixels / total[label] for label, pixels in each.items()) for each in counts]
    return [share / sum(shares) for share in shares]
