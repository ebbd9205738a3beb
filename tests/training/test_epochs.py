"""The batches of an epoch: the last short one, balanced sampling, reading ahead, accumulation."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cuvis_ai_core.errors import CubeError, TrainRunError
from cuvis_ai_core.training import GradientTrainer, StatisticalTrainer
from cuvis_ai_core.training.balanced_sampling import balanced_chances
from cuvis_ai_core.training.config import TrainingConfig
from cuvis_ai_core.training.epochs import Epochs, Reading

torch = pytest.importorskip("torch")
pytest.importorskip("pytorch_lightning")

Make = Callable[..., Any]


@pytest.fixture
def make_trainer(make_pipeline: Make, batches: Make) -> Make:
    """Return a function that gives a trainer whose scores are normalised by a layer that a test adds."""

    def make(layer: Any = None, shape: tuple[int, ...] = (), **config: Any) -> GradientTrainer:
        pipeline = make_pipeline()
        StatisticalTrainer(pipeline).fit(batches(6, 7))
        node = pipeline.nodes["scores"]
        if layer is not None:
            node.layer = layer
            forward = node.forward
            node.forward = lambda cube, **rest: forward(
                cube=cube + 0 * node.layer(cube.mean(dim=(1, 2)).reshape(len(cube), 3, *shape)).sum(), **rest
            )
        settings = {"max_epochs": 2, "optimizer": {"name": "sgd", "lr": 0.01}, **config}
        return GradientTrainer(pipeline, TrainingConfig.model_validate(settings), loss_nodes=["error"])

    return make


def _numbers(epochs: Epochs) -> list[list[int]]:
    return [batch["mesu_index"].tolist() for batch in epochs]


def test_the_last_short_batch(batches: Make) -> None:
    """It is there, or left out; another order leaves out another cube."""
    kept = Epochs(batches(0, 1, 2, size=2), None, lambda: 0)
    assert (_numbers(kept), len(kept)) == ([[0, 1], [2]], 2)
    dropped = Epochs(batches(0, 1, 2, size=2), None, lambda: 0, drop_last=True)
    assert (_numbers(dropped), len(dropped)) == ([[0, 1]], 1)
    epoch = iter(range(9))
    another = Epochs(batches(0, 1, 2, size=2), 1, lambda: next(epoch), drop_last=True)
    assert len({tuple(map(tuple, _numbers(another))) for _ in range(9)}) > 1


@pytest.mark.parametrize(
    ("layer", "shape", "size", "says"),
    [
        (torch.nn.BatchNorm1d(3), (), 2, r"Node 'scores' cannot learn from a batch of 1 cube:.*\n.*drop_last: true"),
        (torch.nn.BatchNorm1d(3), (), 1, r"batch of 1 cube:.*\n.*batch_size of 2 or more"),
        (torch.nn.InstanceNorm2d(3), (1, 1), 3, r"batch of 3 cubes:.*\nGive it more pixels"),
        (torch.nn.GroupNorm(3, 3), (1, 1), 1, r"batch of 1 cube"),
    ],
)
def test_a_layer_that_needs_more_than_one(
    make_trainer: Make, batches: Make, layer: Any, shape: tuple[int, ...], size: int, says: str
) -> None:
    """The error names the node, and the setting that helps."""
    with pytest.raises(TrainRunError, match=says):
        make_trainer(layer, shape).fit(batches(0, 1, 2, size=size))


def test_leaving_out_helps(make_trainer: Make, batches: Make) -> None:
    """With `drop_last` such a layer is trained; where nothing is left, that is an error."""
    trainer = make_trainer(torch.nn.BatchNorm1d(3))
    assert len(trainer.fit(batches(0, 1, 2, size=2), reading=Reading(drop_last=True))) == 2
    with pytest.raises(TrainRunError, match="leaves nothing to train on: 3 cubes do not fill a batch of 4"):
        make_trainer().fit(batches(0, 1, 2, size=4), reading=Reading(drop_last=True))


def test_balanced_sampling(batches: Make, scenes: Path, make_trainer: Make) -> None:
    """Pixels of every class are drawn equally often, whatever share of all pixels they are."""
    for number in range(8):
        mask = np.full((4, 5), 1, np.uint8)
        if number == 3:
            mask[:2] = 2
        if number == 4:
            mask[:] = 0
        Image.fromarray(mask).save(scenes / "masks" / f"{number}.png")
    data = batches(*range(8), size=1)
    chances = balanced_chances(data, ignore_label=0)
    assert chances[4] == 0
    assert sum(chances) == pytest.approx(1)
    seen: Counter[int] = Counter()
    epoch = iter(range(60))
    drawn = Epochs(data, 5, lambda: next(epoch), chances=chances)
    for _ in range(60):
        seen.update(label for batch in drawn for label in batch["mask"].ravel().tolist())
    assert 0 not in seen
    rare = sum(chance for number, chance in enumerate(chances) if number == 3) / 2
    assert seen[2] / sum(seen.values()) == pytest.approx(rare, abs=0.06)
    assert rare > 2 * 10 / 150
    trainer = make_trainer()
    assert len(trainer.fit(data, reading=Reading(sampling="balanced"))) == 2
    with pytest.raises(TrainRunError, match=r"data.sampling: 'balanced' needs to know the classes"):
        balanced_chances(replace(data, annotations=None))
    with pytest.raises(TrainRunError, match="no pixel of the cubes to train on has a label"):
        balanced_chances(batches(4), ignore_label=0)


@pytest.mark.parametrize("workers", [1, 3, 9])
def test_reading_ahead(batches: Make, workers: int) -> None:
    """Batches come in the same order from threads, which are gone afterwards, also where reading was given up."""
    before = threading.active_count()
    ahead = Epochs(batches(0, 1, 2, 3, 4, size=2), 3, lambda: 1, readers=workers)
    assert _numbers(ahead) == _numbers(Epochs(batches(0, 1, 2, 3, 4, size=2), 3, lambda: 1))
    begun = iter(ahead)
    next(begun)
    begun.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_reading_ahead_changes_nothing(make_trainer: Make, batches: Make) -> None:
    """Training is the same with and without it."""
    rows = [
        make_trainer().fit(batches(0, 1, 2, 3), batches(4, 5), reading=Reading(num_workers=workers))
        for workers in (0, 2)
    ]
    assert rows[0] == rows[1]


def test_a_cube_that_cannot_be_read_ahead(make_trainer: Make, batches: Make, scenes: Path) -> None:
    """The error is that of reading it."""
    data = batches(0, 1, 2, size=1)
    (scenes / "1.npy").write_bytes(b"nonsense")
    with pytest.raises(CubeError, match=r"1\.npy"):
        make_trainer().fit(data, reading=Reading(num_workers=2))


def test_accumulated_gradients(make_trainer: Make, batches: Make) -> None:
    """Two batches in a step end as one batch of both would, and the losses of all pixels are reported."""
    one, two = make_trainer(max_epochs=1), make_trainer(max_epochs=1, accumulate_grad_batches=2)
    for trainer in (one, two):
        trainer.pipeline.nodes["scores"].dropout.p = 0.0
    (whole,) = one.fit(batches(0, 1, size=2), shuffle=False)
    (parts,) = two.fit(batches(0, 1, size=1), shuffle=False)
    assert parts["train_loss"] == pytest.approx(whole["train_loss"], rel=1e-6)
    for left, right in zip(one.parameters, two.parameters, strict=True):
        torch.testing.assert_close(left, right)
