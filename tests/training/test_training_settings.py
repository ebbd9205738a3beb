"""What a training is told by published programs, what is watched in it, and which batches are too small for it."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core.errors import NodeRunError, TrainRunError
from cuvis_ai_core.training.batch_step import Measured, Measuring, pixels_in
from cuvis_ai_core.training.config import TrainingConfig
from cuvis_ai_core.training.monitored_metric import check_monitors, direction, unknown_monitor
from cuvis_ai_core.training.named_nodes import check_node, names_of
from cuvis_ai_core.training.published_training_config import training_config
from cuvis_ai_core.training.small_batches import too_few


class Model:
    """A model of the schemas, of which only what was given is dumped."""

    def __init__(self, **given: Any) -> None:
        self._given = given

    def model_dump(self, *, exclude_unset: bool) -> dict[str, Any]:
        """Return what was given."""
        assert exclude_unset
        return self._given


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}),
        ({"trainer": {"max_epochs": 3}}, {"max_epochs": 3}),
        ({"trainer": Model(max_epochs=3, devices=None)}, {"max_epochs": 3}),
        ({"training": {"max_epochs": 2, "seed": 5}, "trainer": {"max_epochs": 3}}, {"max_epochs": 3, "seed": 5}),
        ({"training": {"trainer": {"max_epochs": 3, "seed": 1}, "seed": 5}}, {"max_epochs": 3, "seed": 5}),
        ({"trainer": {"batch_size": 8, "num_workers": 2, "max_epochs": 3}}, {"max_epochs": 3}),
        ({"trainer": {"optimizer": {"name": "SGD"}}, "optimizer": {"name": "Adam"}}, {"optimizer": {"name": "Adam"}}),
        ({"trainer": {"optimizer": {"name": "SGD"}}, "optimizer": {}}, {"optimizer": {"name": "SGD"}}),
        ({"scheduler": Model(name="step", gamma=0.5)}, {"scheduler": {"name": "step", "gamma": 0.5}}),
        (
            {"trainer": {"callbacks": {"checkpoint": {"monitor": "val_loss", "of_schemas": 1}}}},
            {"callbacks": {"checkpoint": {"monitor": "val_loss"}}},
        ),
    ],
)
def test_published_configurations_are_laid_over_each_other(given: dict[str, Any], expected: dict[str, Any]) -> None:
    """What was given apart comes before what stands in a whole one; what is of the data is left out."""
    assert training_config(**given) == TrainingConfig.model_validate(expected)


@pytest.mark.parametrize(
    ("given", "key", "said"),
    [
        ({"trainer": {"max_epochs": 0}}, "training.max_epochs", "; it is 0."),
        ({"optimizer": {"lr": -1}}, "training.optimizer.lr", "; it is -1."),
        (
            {"scheduler": {"name": "x" * 80, "warmup_epochs": "y" * 80}},
            "training.scheduler.warmup_epochs",
            "y" * 59 + ".",
        ),
        ({"trainer": 3}, "training", "is a mapping or a model, not 3."),
    ],
)
def test_a_published_value_that_breaks_a_rule_is_told_by_its_key(given: Any, key: str, said: str) -> None:
    """As one of a file is; of a long value so much as fits a line."""
    with pytest.raises(TrainRunError) as caught:
        training_config(**given)
    assert caught.value.key == key
    assert caught.value.message.endswith(said)


@pytest.mark.parametrize(
    ("name", "best"),
    [
        *((f"m/{word}", "max") for word in ("acc", "kappa", "f1", "iou", "jaccard", "dice", "auroc", "precision")),
        *((f"m/{word}", "max") for word in ("recall", "specificity", "sensitivity", "r2", "psnr", "ssim", "Overall")),
        *((f"m/{word}", "min") for word in ("loss", "error", "mse", "mae", "rmse", "perplexity", "distance", "LOSS")),
        ("accuracy/loss", "min"),
        ("loss/iou", "max"),
        ("iou/width", "max"),
        ("a/iou/width", "max"),
    ],
)
def test_the_best_of_a_metric_is_what_its_name_says(name: str, best: str, caplog: pytest.LogCaptureFixture) -> None:
    """In any case of letters; the node's name counts where the metric's says nothing."""
    assert direction(name, None) == best
    assert not caplog.records


@pytest.mark.parametrize(
    ("config", "losses", "metrics", "key", "said"),
    [
        ({"early_stopping": [{"monitor": "val_los"}]}, ["a"], [], "early_stopping", "Did you mean 'val_loss'?"),
        ({"early_stopping": [{"monitor": "m"}]}, ["a"], ["m"], "early_stopping", "nothing is reported as 'm'"),
        ({"checkpoint": {"monitor": "a/loss"}}, ["a"], [], "checkpoint", "nothing is reported as 'a/loss'"),
        ({"checkpoint": {"monitor": "n/x"}}, ["a", "b"], ["m"], "checkpoint", "nothing is reported as 'n/x'"),
        ({"checkpoint": {"monitor": "val_loss"}}, ["a"], [], "checkpoint", "and no epoch is validated."),
        ({"checkpoint": {"monitor": "m/x"}}, ["a"], ["m"], "checkpoint", "and no epoch is validated."),
        ({"checkpoint": {"monitor": "train_loss"}}, ["a"], [], "", ""),
        ({"checkpoint": {"monitor": "train/m/x"}}, ["a"], ["m"], "", ""),
        ({"checkpoint": {"monitor": "train/a/loss"}}, ["a", "b"], [], "", ""),
    ],
)
def test_what_can_be_watched_without_a_validation_is_of_the_training(
    config: dict[str, Any], losses: list[str], metrics: list[str], key: str, said: str
) -> None:
    """A loss of one node is that of all; of several, each has its own."""
    measuring: Any = SimpleNamespace(loss_nodes=losses, metric_nodes=metrics)
    given = TrainingConfig.model_validate({"callbacks": config})
    if not said:
        check_monitors(given, measuring, validates=False)
        return
    with pytest.raises(TrainRunError) as caught:
        check_monitors(given, measuring, validates=False)
    assert caught.value.key == f"training.callbacks.{key}"
    assert said in caught.value.message
    if "no epoch" in said:
        check_monitors(given, measuring, validates=True)


def test_what_is_reported_is_listed_for_what_is_not() -> None:
    """In its order."""
    error = unknown_monitor("x", "scheduler", iter(["val_loss", "m/..."]))
    assert error.hint == "Reported are: val_loss, m/...."
    assert error.key == "training.scheduler"


CHANNEL = "Expected more than 1 value per channel when training, got input size torch.Size([1, 4])"
SPATIAL = "Expected more than 1 spatial element when training, got input size torch.Size([1, 4, 1])"


@pytest.mark.parametrize(
    ("words", "cubes", "said", "hint"),
    [
        (CHANNEL, 1, "from a batch of 1 cube: a layer", "data.drop_last: true leaves a last batch out"),
        (CHANNEL, None, "from a batch of 1 cube: a layer", "data.drop_last: true leaves a last batch out"),
        (CHANNEL, 2, "from a batch of 2 cubes: a layer", "Give it more pixels"),
        (SPATIAL, 1, "from a batch of 1 cube: a layer", "Give it more pixels"),
        ("Expected more than 2 values", 1, None, None),
        ("mat1 and mat2 shapes cannot be multiplied", 1, None, None),
    ],
)
def test_a_batch_that_is_too_small_says_what_to_change(
    words: str, cubes: int | None, said: str | None, hint: str | None
) -> None:
    """More cubes where there is one, more pixels where images are too small; other errors stay as they are."""
    error = NodeRunError("failed", hint="", node="n", stage="train")
    error.__cause__ = ValueError(words)
    found = too_few(error, {} if cubes is None else {"cube": np.ones((cubes, 1, 1, 4))})
    if said is None:
        assert found is None
        return
    assert found is not None
    assert f"Node 'n' cannot learn {said}" in found.message
    assert str(found.hint).startswith(str(hint))
    assert found.key == "data.drop_last"


@pytest.mark.parametrize(
    ("batch", "ignored", "pixels"),
    [
        ({"cube": np.ones((2, 3, 4, 5))}, None, 24),
        ({"cube": np.ones((2, 3, 4, 5))}, 0, 24),
        ({"cube": np.ones((3, 4, 5))}, None, 1),
        ({"cube": np.ones((2, 3, 4, 5)), "mask": np.array([[0, 1, 1]])}, None, 24),
        ({"cube": np.ones((2, 3, 4, 5)), "mask": np.array([[0, 1, 1]])}, 0, 2),
        ({"mask": np.array([[0, 1, 1]])}, 1, 1),
        ({"cube": "text"}, None, 1),
    ],
)
def test_a_batch_counts_by_its_pixels(batch: dict[str, Any], ignored: int | None, pixels: int) -> None:
    """Without those of the label that says nothing, where there are labels; without images it counts once."""
    assert pixels_in(batch, ignored) == pixels


@pytest.mark.parametrize(("weights", "loss"), [({"a": 1, "b": 2}, 7), ({"a": 1, "b": 0}, 3), ({"a": 0, "b": 0}, None)])
def test_losses_that_say_nothing_are_not_added(weights: dict[str, float], loss: float | None) -> None:
    """Of a batch about which none says anything there is no loss."""
    assert Measured({"a": 3, "b": 4}, {}, weights).loss == loss


def _pipeline(**outputs: list[str]) -> Any:
    return SimpleNamespace(nodes={name: object() for name in outputs}, outputs=outputs)


def test_nodes_are_named_by_name_or_by_object() -> None:
    """One of another pipeline is none, whatever it says of being equal."""

    class Equal:
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    pipeline = _pipeline(a=[], b=[])
    assert names_of(pipeline, ["b", pipeline.nodes["a"], "b"], "loss_nodes") == ("b", "a", "b")
    for strange, shown in ((Equal(), "no node <"), ("c", "no node 'c'.")):
        with pytest.raises(TrainRunError, match=shown) as caught:
            names_of(pipeline, [strange], "loss_nodes")
        assert (caught.value.key, caught.value.hint) == ("loss_nodes", "Nodes of this pipeline: a, b.")


@pytest.mark.parametrize(
    ("losses", "metrics", "key", "said", "hint"),
    [
        (["los"], [], "loss_nodes", "no node 'los'. Did you mean 'loss'?", "Nodes of this pipeline: loss, both, none."),
        (["none"], [], "loss_nodes", "node 'none' (object) has no output 'loss'.", "Its outputs: none."),
        (["loss"], ["loss"], "metric_nodes", "node 'loss' (object) has no output 'metrics'.", "Its outputs: loss."),
    ],
)
def test_what_measures_nothing_is_refused(
    losses: list[str], metrics: list[str], key: str, said: str, hint: str
) -> None:
    """By the key that names it, with what the node has."""
    pipeline = _pipeline(loss=["loss"], both=["loss", "metrics", "weight"], none=[])
    with pytest.raises(TrainRunError) as caught:
        Measuring(pipeline, losses, metrics)
    assert (caught.value.key, caught.value.hint) == (key, hint)
    assert said in caught.value.message
    measuring = Measuring(pipeline, ["both", "loss", "both"], ["both", "both"])
    assert (measuring.loss_nodes, measuring.metric_nodes) == (("both", "loss"), ("both",))
    assert measuring.by_pixels == ("loss",)
    check_node(pipeline, "none", "loss_nodes")
