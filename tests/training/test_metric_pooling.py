"""Losses and metrics over an epoch are those of all pixels together."""

import logging
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
from cuvis_ai_schemas.pipeline import PortSpec
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvis_ai_core import Pipeline
from cuvis_ai_core.errors import TrainRunError
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.training.batch_step import Measured, Measuring, pixels_in
from cuvis_ai_core.training.evaluation import evaluate
from cuvis_ai_core.training.metric_pooling import Pool

torch = pytest.importorskip("torch")
pytest.importorskip("pytorch_lightning")
measures = pytest.importorskip("sklearn.metrics")
classification = pytest.importorskip("torchmetrics.classification")

Make = Callable[..., Any]


def _metric(name: str, value: Any) -> Any:
    from cuvis_ai_schemas.execution import Metric

    return Metric(name=name, value=value)


def _pool(*batches: tuple[Any, Any, Any], several: bool = False) -> Pool:
    pool = Pool(several=several)
    for losses, metrics, weights in batches:
        pool.add(Measured(losses, metrics, weights))
    return pool


@given(st.lists(st.lists(st.floats(-1e3, 1e3), max_size=6), max_size=6))
@settings(deadline=None)
def test_a_mean_is_that_of_all_pixels(cubes: list[list[float]]) -> None:
    """A loss and a number are weighed by what they are means over, and a cube of no weight adds nothing."""
    batches = []
    for cube in cubes:
        mean = float(np.mean(cube)) if cube else np.nan
        batches.append(({"l": mean}, {"m": [_metric("x", mean)]}, {"l": len(cube), "m": len(cube)}))
    values = _pool(*batches).values()
    everything = [value for cube in cubes for value in cube]
    if everything:
        assert values == {"loss": pytest.approx(np.mean(everything)), "m/x": pytest.approx(np.mean(everything))}
    else:
        assert "loss" not in values
        assert np.isnan(values.get("m/x", np.nan))


def test_each_loss_has_its_own_weight() -> None:
    """The sum of several losses is that of what each comes to."""
    pool = _pool(
        ({"a": 1.0, "b": 10.0}, {}, {"a": 3, "b": 1}), ({"a": 5.0, "b": 20.0}, {}, {"a": 1, "b": 0}), several=True
    )
    assert pool.values("val_loss") == {"val_loss": 12.0, "a/loss": 2.0, "b/loss": 10.0}
    assert pool
    assert not _pool(({"a": 1.0}, {}, {"a": 0}))


@pytest.mark.parametrize(
    ("losses", "weights", "loss"),
    [
        ({"a": 1.0, "b": 2.0}, {"a": 3, "b": 1}, 3.0),
        ({"a": 1.0, "b": float("nan")}, {"a": 3, "b": 0}, 1.0),
        ({"a": float("nan")}, {"a": 0}, None),
    ],
)
def test_the_loss_of_a_batch(losses: Any, weights: Any, loss: float | None) -> None:
    """It is the sum of those that say something about it."""
    assert Measured(losses, {}, weights).loss == loss


def test_the_names_of_a_matrix() -> None:
    """A metric that has labels names its rows by them, another one by numbers."""
    named, plain = (classification.MulticlassConfusionMatrix(3) for _ in range(2))
    named.labels = ["leaf", "stem", "soil"]
    seen = (torch.tensor([0, 1, 2]), torch.tensor([0, 1, 1]))
    found = _pool(({}, {"m": {"named": (named, *seen), "plain": (plain, *seen)}}, {"m": 1})).matrices()
    assert {name: labels for name, (_, labels) in found.items()} == {
        "m/named": ["leaf", "stem", "soil"],
        "m/plain": ["0", "1", "2"],
    }


def test_metrics_of_torchmetrics_are_computed_at_the_end() -> None:
    """What does not come together as a mean is that of all batches, as scikit-learn has it."""
    random = np.random.default_rng(0)
    f1, matrix = classification.MulticlassF1Score(4, average="macro"), classification.MulticlassConfusionMatrix(4)
    each = classification.MulticlassRecall(4, average=None)
    parts = [(random.integers(0, 4, n), random.integers(0, 4, n)) for n in (50, 3, 17)]
    batches: list[Any] = []
    for predicted, true in parts:
        compared = torch.from_numpy(predicted), torch.from_numpy(true)
        metrics = {"f1": (f1, *compared), "confusion": (matrix, *compared), "recall": (each, *compared), "plain": 2}
        batches.append(({}, {"m": metrics}, {"m": len(true)}))
    pool = _pool(*batches)
    predicted, true = (np.concatenate(each) for each in zip(*parts, strict=True))
    recalls = measures.recall_score(true, predicted, average=None)
    assert pool.values() == pytest.approx(
        {
            "m/plain": 2.0,
            "m/f1": measures.f1_score(true, predicted, average="macro"),
            **{f"m/recall/{number}": recall for number, recall in enumerate(recalls)},
        }
    )
    ((name, (found, labels)),) = pool.matrices().items()
    assert (name, labels) == ("m/confusion", ["0", "1", "2", "3"])
    assert found.tolist() == measures.confusion_matrix(true, predicted).tolist()
    assert f1.update_count == 0


def test_a_collection_of_metrics() -> None:
    """A `MetricCollection` reports each of its metrics by its name."""
    collection = pytest.importorskip("torchmetrics").MetricCollection(
        {"precision": classification.BinaryPrecision(), "recall": classification.BinaryRecall()}
    )
    true, predicted = torch.tensor([1, 1, 0, 0]), torch.tensor([1, 0, 1, 0])
    batches: list[Any] = [
        ({}, {"m": {"all": (collection, predicted[part], true[part])}}, {"m": 1}) for part in ([0, 1], [2, 3])
    ]
    assert _pool(*batches).values() == {"m/precision": 0.5, "m/recall": 0.5}


def test_metrics_of_one_name_in_two_collections() -> None:
    """Each is reported, with the name of its collection before it; a number of that name keeps its own."""
    collection = pytest.importorskip("torchmetrics").MetricCollection(
        {"recall": classification.BinaryRecall(), "accuracy": classification.BinaryAccuracy()}
    )
    true, predicted = torch.tensor([1, 1, 0, 0]), torch.tensor([1, 0, 0, 0])
    metrics = {"here": (collection, predicted, true), "there": (collection, true, true), "accuracy": 0.25}
    assert _pool(({}, {"m": metrics}, {"m": 1})).values() == {
        "m/here/recall": 0.5,
        "m/there/recall": 1.0,
        "m/accuracy": 0.25,
        "m/here/accuracy": 0.75,
        "m/there/accuracy": 1.0,
    }


def test_several_matrices() -> None:
    """A confusion matrix for each of several labels is reported as each of them."""
    metric = classification.MultilabelConfusionMatrix(2)
    true, predicted = torch.tensor([[1, 0], [1, 1], [0, 0]]), torch.tensor([[1, 1], [0, 1], [0, 0]])
    found = _pool(({}, {"m": {"each": (metric, predicted, true)}}, {"m": 1})).matrices()
    expected = measures.multilabel_confusion_matrix(true.numpy(), predicted.numpy()).tolist()
    assert {name: matrix.tolist() for name, (matrix, _) in found.items()} == {
        "m/each/0": expected[0],
        "m/each/1": expected[1],
    }


def test_a_metric_that_is_a_curve() -> None:
    """Lines of different length are neither numbers nor a matrix; the error names them."""
    compared = torch.tensor([0.2, 0.8, 0.9]), torch.tensor([0, 1, 1])
    pool = _pool(({}, {"m": {"curve": (classification.BinaryPrecisionRecallCurve(), *compared)}}, {"m": 1}))
    with pytest.raises(TrainRunError, match="'curve' of node 'm' \\(BinaryPrecisionRecallCurve\\)"):
        pool.values()


def test_half_precision_does_not_round_an_epoch() -> None:
    """Numbers of float16 are added up in double precision."""
    one = torch.tensor(0.1, dtype=torch.float16)
    values = _pool(*[({"l": one}, {"m": [_metric("x", one)]}, {"l": 3000, "m": 3000})] * 50).values()
    assert values == {"loss": pytest.approx(float(one), rel=1e-12), "m/x": pytest.approx(float(one), rel=1e-12)}


def test_a_number_that_is_none_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """A metric that is NaN for a batch adds nothing, which is said once."""
    batches: list[Any] = [({}, {"m": [_metric("x", value)]}, {"m": 2}) for value in (1.0, np.nan, np.nan, 2.0)]
    with caplog.at_level(logging.WARNING):
        assert _pool(*batches).values() == {"m/x": 1.5}
    assert [each.message for each in caplog.records] == ["m/x is nan for a batch, which is left out of it"]


@pytest.mark.parametrize("wrong", [[1.0], {"f1": (1.0, 2.0)}, {"f1": object()}, 3.0])
def test_what_is_no_metric(wrong: Any) -> None:
    """Whatever else a metric node returns is an error that shows what to write."""
    with pytest.raises((TrainRunError, TypeError)) as error:
        _pool(({}, {"m": wrong}, {"m": 1}))
    assert isinstance(error.value, TrainRunError)
    assert "node 'm' returned" in str(error.value)
    assert "{'f1': (self.f1, classes, mask)}" in str(error.value)


@pytest.mark.parametrize(("ignored", "pixels"), [(None, 12), (0, 4), (255, 10), (-1, 12)])
def test_pixels_of_a_batch(ignored: int | None, pixels: int) -> None:
    """The pixels of a batch are all, or those whose label is not the one to be ignored."""
    mask = np.array([[[0, 0, 0], [0, 0, 0]], [[1, 2, 255], [255, 0, 0]]], np.int32)
    assert pixels_in({"cube": np.zeros((2, 2, 3, 5)), "mask": mask}, ignored) == pixels
    assert pixels_in({"other": 1}) == 1
    tensors = {"cube": torch.zeros((2, 2, 3, 5)), "mask": torch.from_numpy(mask)}
    assert pixels_in(tensors, ignored) == pixels


def test_a_metric_that_refuses_what_it_is_to_compare() -> None:
    """The error names the node and the metric."""
    f1 = classification.BinaryF1Score()
    with pytest.raises(TrainRunError, match=r"'f1' of node 'm' \(BinaryF1Score\) does not take .*same shape"):
        _pool(({}, {"m": {"f1": (f1, torch.ones(4).int(), torch.ones(3).int())}}, {"m": 1}))


def test_a_name_twice() -> None:
    """Two metrics of one name in one batch are an error, not a mean of both; in two batches they are one metric."""
    with pytest.raises(TrainRunError, match="node 'm' returned 'x' twice"):
        _pool(({}, {"m": [_metric("x", 1.0), _metric("x", 0.0)]}, {"m": 1}))
    pool = _pool(*[({}, {"m": [_metric("x", value)]}, {"m": 1}) for value in (1.0, 0.0)])
    assert pool.values() == {"m/x": 0.5}


CUBE = np.ones((2, 2, 2, 1), np.float32)


class Squared(ArrayNode):
    """A loss for each image, or none, and over how many pixels it is a mean."""

    INPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": PortSpec("float32", (-1, -1, -1, -1))}
    OUTPUT_SPECS: ClassVar[dict[str, Any]] = {
        "loss": PortSpec("float32", (-1,), optional=True),
        "weight": PortSpec("float32", (-1,)),
    }
    loss: Any = None
    weight: Any = np.ones(1, np.float32)

    def forward(self, cube: Any) -> dict[str, Any]:
        """Return what a test wants."""
        return {"loss": self.loss, "weight": self.weight}


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        ({"loss": np.ones(2, np.float32)}, r"its output 'loss' is an array of shape \[2\]; .*\n.*loss\.mean\(\)"),
        ({}, r"its output 'loss' is nothing; it is one number"),
        (
            {"loss": np.ones(1, np.float32), "weight": np.ones(3, np.float32)},
            r"its output 'weight' is an array of shape \[3\]; .*\n.*how many pixels",
        ),
    ],
)
def test_a_loss_is_one_number(returned: dict[str, Any], problem: str) -> None:
    """As one without reduction is none; so is its weight."""
    node = Squared(name="error")
    for name, value in returned.items():
        setattr(node, name, value)
    measuring = Measuring(Pipeline().add(node), ["error"])
    with pytest.raises(TrainRunError, match=f"Node 'error': {problem}"):
        evaluate(measuring, [{"cube": CUBE}], "val")


def test_an_array_of_one_number_is_one() -> None:
    """Losses, weights and metrics, of NumPy as of torch."""
    node = Squared(name="error")
    node.loss = np.full(1, 3, np.float32)
    assert evaluate(Measuring(Pipeline().add(node), ["error"]), [{"cube": CUBE}], "val") == {"loss": 3.0}
    ones = {"numpy": np.ones(1), "torch": torch.ones(1, requires_grad=True)}
    assert _pool(({}, {"m": ones}, {"m": 1})).values() == {"m/numpy": 1.0, "m/torch": 1.0}
