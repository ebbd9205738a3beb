import logging
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.errors import MissingExtraError, NodeRunError, PipelineError, PortError, TrainingError, TrainRunError
from cuvis_ai_core.training import GradientTrainer, StatisticalTrainer
from cuvis_ai_core.training.config import TrainingConfig
from cuvis_ai_core.training.evaluation_mode import evaluating, undisturbed

torch = pytest.importorskip("torch")
pytest.importorskip("pytorch_lightning")

from cuvis_ai_core.training import epoch_history  # noqa: E402

Make = Callable[..., Any]
NODES: dict[str, Any] = {"loss_nodes": ["error"], "metric_nodes": ["accuracy"]}


@pytest.fixture
def make_trainer(make_pipeline: Make, batches: Make) -> Make:
    """Return a function that gives a trainer of a pipeline that is initialised."""

    def make(
        nodes: dict[str, Any] | None = None, params: dict[str, Any] | None = None, **config: Any
    ) -> GradientTrainer:
        pipeline = make_pipeline(**(params or {}))
        StatisticalTrainer(pipeline).fit(batches(0, 1))
        settings = {"max_epochs": 4, "optimizer": {"name": "adam", "lr": 0.05}, **config}
        return GradientTrainer(pipeline, TrainingConfig.model_validate(settings), **{**NODES, **(nodes or {})})

    return make


def _state(trainer: GradientTrainer) -> dict[str, Any]:
    return {
        f"{node}.{key}": value.clone()
        for node, values in trainer.pipeline.state_dict().items()
        for key, value in values.items()
    }


def _equal(left: dict[str, Any], right: dict[str, Any]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.slow
def test_it_learns(make_trainer: Make, batches: Make) -> None:
    """The loss falls, every epoch has a row with losses, metrics and learning rate, and evaluation agrees with it."""
    trainer = make_trainer(max_epochs=60)
    history = trainer.fit(batches(0, 1, 2, 3), batches(4, 5))
    assert [row["epoch"] for row in history] == list(range(1, 61))
    assert history[-1]["train_loss"] < history[0]["train_loss"] / 2
    assert set(history[0]) == {*("epoch", "lr", "train_loss", "val_loss", "accuracy/accuracy")}
    found = trainer.evaluate(batches(4, 5))
    assert found["loss"] == pytest.approx(history[-1]["val_loss"], abs=1e-6)
    assert found["accuracy/accuracy"] == pytest.approx(history[-1]["accuracy/accuracy"])
    assert found["accuracy/accuracy"] > 0.8


def test_validation_now_and_then(make_trainer: Make, batches: Make) -> None:
    """Only epochs that were validated have values of validation."""
    history = make_trainer(check_val_every_n_epoch=2).fit(batches(0, 1), batches(2))
    assert ["val_loss" in row for row in history] == [False, True, False, True]
    assert ["accuracy/accuracy" in row for row in history] == [False, True, False, True]


def test_two_runs_are_equal(make_trainer: Make, batches: Make) -> None:
    """The same seed gives the same rows and weights, another seed others, whatever ran before."""
    results = []
    for seed in (1, 1, 2):
        trainer = make_trainer(seed=seed)
        results.append((trainer.fit(batches(0, 1, 2, 3, 4), batches(5)), _state(trainer)))
        torch.rand(3)
    assert results[0][0] == results[1][0]
    assert _equal(results[0][1], results[1][1])
    assert not _equal(results[0][1], results[2][1])


class _Killed(BaseException):
    """What no handler stops."""


@pytest.mark.parametrize("scheduler", [None, {"name": "cosine", "warmup_epochs": 2}])
def test_an_interrupted_training_goes_on(
    make_trainer: Make, batches: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheduler: Any
) -> None:
    """What is trained again after an interruption is equal to what was never interrupted."""
    monkeypatch.setattr(epoch_history, "SECONDS_BETWEEN_SAVES", 0.0)
    data = batches(0, 1, 2, 3, 4), batches(5, 6)
    whole = make_trainer(max_epochs=6, scheduler=scheduler)
    rows = whole.fit(*data)

    def interrupt(row: dict[str, float]) -> None:
        if row["epoch"] == 4:
            raise _Killed

    with pytest.raises(_Killed):
        make_trainer(max_epochs=6, scheduler=scheduler).fit(*data, folder=tmp_path / "run", observer=interrupt)
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["resume.ckpt"]
    told: list[float] = []
    again = make_trainer(max_epochs=6, scheduler=scheduler)
    resumed = again.fit(*data, folder=tmp_path / "run", observer=lambda row: told.append(row["epoch"]))
    assert told == [4, 5, 6]
    assert resumed == rows
    assert _equal(_state(again), _state(whole))


def test_early_stopping(make_trainer: Make, batches: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training ends where a metric gets no better, also when it goes on from there."""
    monkeypatch.setattr(epoch_history, "SECONDS_BETWEEN_SAVES", 0.0)
    stopping = {"monitor": "val_loss", "patience": 2, "min_delta": 1e6}
    for _ in range(2):
        trainer = make_trainer(max_epochs=50, callbacks={"early_stopping": stopping})
        assert len(trainer.fit(batches(0, 1), batches(2), folder=tmp_path)) == 3


def test_the_best_epoch(make_trainer: Make, batches: Make, tmp_path: Path) -> None:
    """With a monitored checkpoint the pipeline is left as the best epoch left it, and the checkpoint is kept."""
    config = {
        "max_epochs": 12,
        "optimizer": {"name": "sgd", "lr": 0.9},
        "callbacks": {"checkpoint": {"monitor": "val_loss"}},
    }
    trainer = make_trainer(**config)
    history = trainer.fit(batches(0, 1), batches(2), folder=tmp_path)
    best = min(row["val_loss"] for row in history)
    assert history[-1]["val_loss"] > best
    assert trainer.evaluate(batches(2))["loss"] == pytest.approx(best, abs=1e-6)
    assert len(list((tmp_path / "checkpoints").glob("epoch-*.ckpt"))) == 1


def test_dropout_in_training_alone(make_trainer: Make, batches: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes behave as in training in training steps alone, frozen ones not even there."""
    seen: set[tuple[str, bool]] = set()
    trainer = make_trainer({"freeze_nodes": ["center"], "unfreeze_nodes": ["scores"]}, max_epochs=2)
    node = type(trainer.pipeline.nodes["error"])
    forward = node.forward

    def watched(self: Any, context: Any = None, **inputs: Any) -> Any:
        seen.update(
            (f"{context.stage.value} {name}", trainer.pipeline.nodes[name].training) for name in ("scores", "center")
        )
        return forward(self, **inputs)

    monkeypatch.setattr(node, "forward", watched)
    trainer.fit(batches(0, 1), batches(2))
    assert seen == {("train scores", True), ("train center", False), ("val scores", False), ("val center", False)}
    assert not trainer.pipeline.nodes["scores"].training


def test_frozen_nodes(make_trainer: Make, batches: Make) -> None:
    """A frozen node stays as it is; an unfrozen one has its trainable buffers trained."""
    trainer = make_trainer({"freeze_nodes": ["scores"], "unfreeze_nodes": ["center"]})
    before = _state(trainer)
    trainer.fit(batches(0, 1))
    after = _state(trainer)
    assert torch.equal(before["scores.linear.weight"], after["scores.linear.weight"])
    assert not torch.equal(before["center.mean"], after["center.mean"])


def test_losses_are_added_up(make_pipeline: Make, registry: Any, batches: Make) -> None:
    """The training loss is the sum over loss nodes; each is reported by itself."""
    from cuvis_ai_core import Pipeline

    config = make_pipeline().to_dict()
    config["nodes"].append({"name": "double", "class_name": "SquaredError", "params": {"scale": 2.0}})
    config["edges"].append({"source": "scores.scores", "target": "double.scores"})
    pipeline = Pipeline.from_dict(config, node_registry=registry)
    StatisticalTrainer(pipeline).fit(batches(0))
    trainer = GradientTrainer(pipeline, TrainingConfig(max_epochs=1), loss_nodes=["error", "double"])
    (row,) = trainer.fit(batches(0, 1), batches(2))
    assert row["double/loss"] == pytest.approx(2 * row["error/loss"])
    assert row["val_loss"] == pytest.approx(3 * row["error/loss"])


@pytest.mark.parametrize(
    ("nodes", "config", "says"),
    [
        ({"loss_nodes": ["eror"]}, {}, r"loss_nodes: the pipeline has no node 'eror'\. Did you mean 'error'"),
        ({"loss_nodes": ["scores"]}, {}, r"node 'scores' \(Scores\) has no output 'loss'\.\nIts outputs: scores"),
        ({"loss_nodes": []}, {}, "no node is named whose loss is minimised"),
        ({"metric_nodes": ["error"]}, {}, r"metric_nodes: node 'error' .* has no output 'metrics'"),
        ({"freeze_nodes": ["center", "score"]}, {}, "freeze_nodes: the pipeline has no node 'score'. Did you mean"),
        ({"freeze_nodes": ["scores"]}, {}, "No node of the pipeline has a parameter that can be trained"),
        ({}, {"accelerator": "cpuu"}, "there is no accelerator 'cpuu'. Did you mean 'cpu'"),
        ({}, {"devices": 2}, "training.devices: 2 is not one device"),
        ({}, {"devices": [0, 1]}, r"training.devices: \[0, 1\] is not one device"),
    ],
)
def test_what_cannot_be_trained(make_trainer: Make, nodes: Any, config: Any, says: str) -> None:
    """Names, outputs and devices that are not there are said before anything is trained."""
    with pytest.raises(TrainRunError, match=says):
        make_trainer(nodes, **config)


def test_a_device_that_is_not_there(make_trainer: Make) -> None:
    """A machine without a GPU says which devices it has."""
    with pytest.raises(PipelineError, match=r"(?s)There is no device 'cuda:0'.*Devices of this machine: cpu"):
        make_trainer(accelerator="gpu")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"optimizer": {"name": "adamm"}}, r"there is no optimizer 'adamm'\. Did you mean 'adam"),
        ({"optimizer": {"name": "adam", "momentum": 0.9}}, r"training.optimizer: Adam has no argument 'momentum'"),
        ({"scheduler": {"name": "cosin"}}, r"there is no scheduler 'cosin'\. Did you mean 'cosine'"),
        ({"scheduler": {"name": "cosine", "gamma": 0.1}}, "CosineAnnealingLR has no argument 'gamma'"),
        ({"scheduler": {"name": "step"}}, "StepLR refuses its arguments: .*step_size"),
        (
            {"callbacks": {"early_stopping": [{"monitor": "accuracy"}]}},
            r"nothing is reported as 'accuracy'.*\n?.*Reported are: train_loss, val_loss, accuracy/\.\.\.",
        ),
        ({"precision": 16, "accelerator": "cpu"}, "training.precision: 16 is for GPUs; the training runs on the CPU"),
        ({"precision": "7-true"}, "The training cannot be set up: Precision '7-true' is invalid"),
    ],
)
def test_wrong_configuration(make_trainer: Make, batches: Make, config: Any, says: str) -> None:
    """Names and arguments that do not exist are answered by the nearest ones, or by what there is."""
    with pytest.raises(TrainRunError, match=says):
        make_trainer(**config).fit(batches(0, 1), batches(2))


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_a_precision_that_ports_do_not_take(make_trainer: Make, batches: Make, precision: str) -> None:
    """What fails because of it says so."""
    with pytest.raises(PortError, match=f"training.precision is {precision}: with 32-true nodes compute in what"):
        make_trainer(precision=precision).fit(batches(0, 1))


def test_names_of_checkpoints(make_trainer: Make, batches: Make, tmp_path: Path) -> None:
    """They are names: no path, and none from the name of a metric, so that none lies where another one is."""
    with pytest.raises(ValueError, match=r"is '\.\./resume', a path; the folder is named by 'dirpath'"):
        make_trainer(callbacks={"checkpoint": {"filename": "../resume"}})
    checkpoint = {"monitor": "accuracy/accuracy", "filename": "best-{epoch}-{accuracy/accuracy:.2f}"}
    make_trainer(max_epochs=1, callbacks={"checkpoint": checkpoint}).fit(batches(0, 1), batches(2), folder=tmp_path)
    assert [each.name.startswith("best-1-") for each in (tmp_path / "checkpoints").iterdir()] == [True]


@pytest.mark.parametrize(
    "scheduler",
    [
        {"name": "step", "step_size": 1, "gamma": 0.5},
        {"name": "exponential", "gamma": 0.5},
        {"name": "plateau", "patience": 0, "factor": 0.5, "mode": "max", "monitor": "val_loss", "min_lr": 1e-6},
        {"name": "CosineAnnealingLR", "min_lr": 0.0},
        {"name": "multisteplr", "milestones": [1, 2]},
    ],
)
def test_schedulers(make_trainer: Make, batches: Make, scheduler: Any) -> None:
    """The learning rate falls as the scheduler says."""
    history = make_trainer(scheduler=scheduler, max_epochs=5).fit(batches(0, 1), batches(2))
    rates = [row["lr"] for row in history]
    assert rates[0] == pytest.approx(0.05)
    assert rates[-1] < rates[0] / 2
    assert rates == sorted(rates, reverse=True)


def test_a_loss_that_is_not_finite(make_trainer: Make, batches: Make) -> None:
    """Training stops where the loss is no number, and says where."""
    trainer = make_trainer(params={"error": {"scale": float("inf")}})
    with pytest.raises(
        TrainingError,
        match=r"(?s)The loss of node 'error' is inf in epoch 1, batch 1 of 'train': cube 0 .*'error'\.\nLower training",
    ):
        trainer.fit(batches(0, 1))


def test_a_loss_without_parameters(make_trainer: Make, batches: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss that no parameter reaches is said to be none."""
    trainer = make_trainer()
    error = type(trainer.pipeline.nodes["error"])
    monkeypatch.setattr(error, "forward", lambda self, scores, mask, **_: {"loss": torch.tensor(1.0)})
    with pytest.raises(TrainRunError, match="does not depend on any parameter"):
        make_trainer().fit(batches(0, 1))


def test_no_data(make_trainer: Make, batches: Make) -> None:
    """Without data to train on nothing is trained."""
    with pytest.raises(TrainRunError, match=r"no cubes to train on\.\nName them: data.train_ids"):
        make_trainer().fit(batches())


def test_missing_extra(make_trainer: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Lightning the error names the extra."""
    monkeypatch.setitem(sys.modules, "pytorch_lightning", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cuvis-ai-core\[train\]'"):
        make_trainer()


def test_torch_is_as_before(
    make_trainer: Make, batches: Make, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training prints nothing, leaves no files, and puts torch's switches and Lightning's log levels back."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning", "lightning.pytorch")]
    for logger in loggers:
        monkeypatch.setattr(logger, "level", 17)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    make_trainer(deterministic=True, benchmark=False).fit(batches(0, 1), batches(2))
    assert torch.backends.cudnn.benchmark
    assert not torch.are_deterministic_algorithms_enabled()
    assert [logger.level for logger in loggers] == [17] * 3
    assert capfd.readouterr() == ("", "")
    assert not Path("lightning_logs").exists()
    assert not Path("checkpoints").exists()


@pytest.mark.parametrize(("deterministic", "warns"), [(True, True), (True, False), (False, False)])
def test_switches_and_modes_are_put_back(make_pipeline: Make, *, deterministic: bool, warns: bool) -> None:
    """Those of torch, and of each module in a node, as its author may have frozen parts."""
    pipeline = make_pipeline()
    node = pipeline.nodes["scores"]
    node.train()
    node.linear.eval()
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(deterministic, warn_only=warns)
    try:
        with undisturbed(pipeline):
            torch.use_deterministic_algorithms(not deterministic)
            node.train()
        found = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
        assert found == (deterministic, warns)
        with evaluating(pipeline):
            assert (node.training, torch.is_grad_enabled()) == (False, False)
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
    assert (node.training, node.linear.training, torch.is_grad_enabled()) == (True, False, True)


def test_what_is_named_or_held_twice_is_trained_once(make_trainer: Make, batches: Make) -> None:
    """A loss node that is named twice is one, and so is a parameter that two nodes share; one device has many names."""
    trainer = make_trainer({"loss_nodes": ["error", "error"]}, max_epochs=1, devices="1")
    assert trainer.measuring.loss_nodes == ("error",)
    trainer.pipeline.nodes["accuracy"].shared = trainer.pipeline.nodes["scores"].linear
    again = GradientTrainer(trainer.pipeline, trainer.config, **NODES)
    assert len(again.parameters) == len(trainer.parameters) == 2
    (row,) = again.fit(batches(0, 1), batches(2))
    assert set(row) == {"epoch", "lr", "train_loss", "val_loss", "accuracy/accuracy"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own of TorchScript
def test_a_module_of_torchscript_is_trained(make_trainer: Make, batches: Make) -> None:
    """Its parameters follow the gradient as those of the module that it was made of."""
    plain, traced = make_trainer(max_epochs=2), make_trainer(max_epochs=2)
    nodes = traced.pipeline.nodes
    nodes["scores"].linear = torch.jit.trace(nodes["scores"].linear, torch.zeros(1, 3))
    GradientTrainer(traced.pipeline, traced.config, **NODES).fit(batches(0, 1))
    plain.fit(batches(0, 1))
    assert _equal(_state(plain), _state(traced))


@pytest.mark.parametrize(
    "environment",
    [
        {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "night", "SLURM_JOB_ID": "7"},
        {"SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "4", "SLURM_JOB_NAME": "night", "SLURM_PROCID": "0"},
    ],
)
def test_a_job_of_several_tasks_trains_in_one(
    make_trainer: Make, batches: Make, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    """As SLURM gives a whole node to a command, and no signal has the job begin anew."""
    expected = make_trainer(max_epochs=1)
    expected.fit(batches(0, 1))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    before = signal.getsignal(signal.SIGUSR1)
    seen: list[Any] = []
    trainer = make_trainer(max_epochs=1)
    trainer.fit(batches(0, 1), observer=lambda _: seen.append(signal.getsignal(signal.SIGUSR1)))
    assert seen == [before]
    assert _equal(_state(trainer), _state(expected))


def test_what_could_not_be_saved_is_said_before_the_first_epoch(
    make_trainer: Make, batches: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after hours of training."""
    trainer = make_trainer()
    monkeypatch.setattr(type(trainer.pipeline.nodes["scores"]), "get_extra_state", lambda _: object(), raising=False)
    with pytest.raises(PipelineError, match="'scores'"):
        trainer.fit(batches(0, 1), observer=lambda row: pytest.fail(f"an epoch was trained: {row}"))


def test_ctrl_c_is_ctrl_c(make_trainer: Make, batches: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning ends the program for it; a program of somebody may have something to do first."""

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    trainer = make_trainer()
    monkeypatch.setattr(type(trainer.pipeline.nodes["error"]), "forward", interrupt)
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(batches(0))
    finally:
        signal.signal(signal.SIGINT, handler)


def test_nodes_are_told_where_a_training_is(make_trainer: Make, batches: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stage, epoch, number of the batch and of the step; before it, as many batches are validated as is asked for."""
    trainer = make_trainer(max_epochs=2, num_sanity_val_steps=1)
    node, told = type(trainer.pipeline.nodes["error"]), []
    forward = node.forward

    def listening(self: Any, context: Any, **inputs: Any) -> Any:
        told.append((context.stage.value, context.epoch, context.batch_idx, context.global_step))
        return forward(self, context=context, **inputs)

    monkeypatch.setattr(node, "forward", listening)
    rows = trainer.fit(batches(0, 1, 2, 3, 4), batches(5, 6, 7))
    assert told.pop(0) == ("val", 0, 0, 0)
    assert told == [
        *(("train", 0, number, number) for number in range(3)),
        *(("val", 0, number, 3) for number in range(2)),
        *(("train", 1, number, 3 + number) for number in range(3)),
        *(("val", 1, number, 6) for number in range(2)),
    ]
    assert (len(rows), trainer.epochs_trained()) == (2, 2)
    assert trainer.evaluate(batches(5, 6, 7))
    assert told[-2:] == [("val", 0, 0, 0), ("val", 0, 1, 0)]


@pytest.mark.parametrize(("stage", "trained"), [("train", 0), ("val", 1)])
def test_a_validation_before_the_training_is_no_epoch(
    make_trainer: Make, batches: Make, monkeypatch: pytest.MonkeyPatch, stage: str, trained: int
) -> None:
    """None was trained where the first batch of training fails; where a validation after it does, one was."""
    trainer = make_trainer(num_sanity_val_steps=1)
    node = type(trainer.pipeline.nodes["error"])
    forward = node.forward

    def failing(self: Any, context: Any, **inputs: Any) -> Any:
        if context.stage.value == stage and context.global_step >= trained:
            raise ValueError(stage)
        return forward(self, context=context, **inputs)

    monkeypatch.setattr(node, "forward", failing)
    with pytest.raises(NodeRunError, match=stage):
        trainer.fit(batches(0, 1), batches(2))
    assert trainer.epochs_trained() == trained


def test_a_loss_that_is_a_plain_number(make_trainer: Make, batches: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no gradient, and the error says how to keep it."""
    trainer = make_trainer()
    monkeypatch.setattr(type(trainer.pipeline.nodes["error"]), "forward", lambda self, **_: {"loss": 0.5})
    with pytest.raises(TrainRunError, match="an object of type float, without a gradient"):
        trainer.fit(batches(0))


@pytest.mark.parametrize(
    ("layer", "key"),
    [(partial(torch.nn.LazyLinear, 1), "weight"), (partial(torch.nn.LazyBatchNorm1d, affine=False), "running_mean")],
)
def test_a_layer_without_a_size(make_trainer: Make, layer: Make, key: str) -> None:
    """A lazy layer is refused, with its node and parameter or buffer."""
    trainer = make_trainer()
    trainer.pipeline.nodes["scores"].linear = layer()
    with pytest.raises(TrainRunError, match=rf"Node 'scores' \(Scores\): 'linear.{key}' has no size yet"):
        GradientTrainer(trainer.pipeline, trainer.config, **NODES)


def test_a_scheduler_falls_over_the_epochs_that_are_left_after_the_warm_up(make_trainer: Make, batches: Make) -> None:
    """The learning rate has come down in the last epoch, whether or not it was led up first."""
    settings = {"max_epochs": 6, "optimizer": {"name": "sgd", "lr": 1.0}}
    rows = make_trainer(scheduler={"name": "cosine", "warmup_epochs": 2}, **settings).fit(batches(0, 1), batches(5))
    rates = [row["lr"] for row in rows]
    assert rates[0] < rates[1] < rates[2] == pytest.approx(1)
    assert rates[3:] == sorted(rates[3:], reverse=True)
    plain = make_trainer(scheduler={"name": "cosine"}, **{**settings, "max_epochs": 4}).fit(batches(0, 1), batches(5))
    assert rates[2:] == pytest.approx([row["lr"] for row in plain])


class _Planted:
    """What runs code where it is unpickled by torch's older rules."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        """Make a file."""
        return Path.touch, (self.mark,)


@pytest.mark.parametrize(
    ("place", "says"), [("checkpoints", "cannot be read"), ("resume.ckpt", "cannot be read: it holds")]
)
def test_a_checkpoint_that_somebody_put_in_the_place_of_ours_runs_nothing(
    make_trainer: Make, batches: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, says: str
) -> None:
    """Of the best epoch, or where to go on from: it is read by the rules for weights, whatever the environment asks."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    run = tmp_path / "run"

    def plant(_: object) -> None:
        for file in [run / place] if place.endswith(".ckpt") else (run / place).glob("*.ckpt"):
            torch.save({"state_dict": {}, "planted": _Planted(tmp_path / "ran")}, file)

    if place.endswith(".ckpt"):
        run.mkdir()
        plant(None)
    trainer = make_trainer(max_epochs=2, callbacks={"checkpoint": {"monitor": "val_loss"}})
    with pytest.raises(TrainingError, match=says):
        trainer.fit(batches(0, 1), batches(2), folder=run, observer=plant)
    assert not (tmp_path / "ran").exists()


def test_a_scheduler_may_watch_what_not_every_epoch_reports(make_trainer: Make, batches: Make) -> None:
    """One that watches the validation leaves the learning rate alone until there is one."""
    scheduler = {"name": "plateau", "patience": 0, "factor": 0.5, "mode": "max"}
    trainer = make_trainer(scheduler=scheduler, max_epochs=5, check_val_every_n_epoch=2)
    rates = [row["lr"] for row in trainer.fit(batches(0, 1), batches(2))]
    assert rates[:3] == pytest.approx([0.05] * 3)
    assert rates[-1] < 0.05


@pytest.mark.parametrize(("monitor", "epoch"), [(None, 7), ("accuracy/accuracy", 7), ("train_loss", 4)])
def test_a_plateau_counts_validations(make_trainer: Make, batches: Make, monitor: str | None, epoch: int) -> None:
    """Where not every epoch is validated, one without validation is none without progress."""
    scheduler = {"name": "plateau", "patience": 1, "mode": "max", "threshold": 9.0, "monitor": monitor}
    trainer = make_trainer(scheduler=scheduler, max_epochs=7, check_val_every_n_epoch=2)
    rates = [row["lr"] for row in trainer.fit(batches(0, 1), batches(2))]
    assert [rate < 0.05 for rate in rates] == [False] * (epoch - 1) + [True] * (8 - epoch)


def test_a_warm_up_begins_at_a_tenth(make_trainer: Make, batches: Make) -> None:
    """And leads up to the learning rate evenly."""
    trainer = make_trainer(scheduler={"name": "step", "step_size": 99, "warmup_epochs": 3}, max_epochs=5)
    rates = [row["lr"] for row in trainer.fit(batches(0, 1))]
    assert rates == pytest.approx([0.005, 0.02, 0.035, 0.05, 0.05])


def test_what_watches_nothing_by_name_watches_the_validation(make_trainer: Make, batches: Make) -> None:
    """A plateau without `monitor` sees the loss of validation, so that a training without one changes no rate."""
    scheduler = {"name": "plateau", "patience": 0, "factor": 0.5, "mode": "max"}
    rates = [row["lr"] for row in make_trainer(scheduler=scheduler, max_epochs=4).fit(batches(0, 1))]
    assert rates == pytest.approx([0.05] * 4)


class _Batches:
    """Counts batches, as a metric does that a node counts on with."""

    def __init__(self) -> None:
        self.number = self.asked = 0

    def reset(self) -> None:
        """Begin anew."""
        self.number = 0

    def compute(self) -> int:
        """Return how many there were."""
        self.asked += 1
        return self.number


def test_what_a_node_counts_is_of_each_pass_of_a_training_alone(
    make_trainer: Make, batches: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One node counts in training and validation of all epochs; each pass is computed once, at its end."""
    counter = _Batches()
    trainer = make_trainer(params={"accuracy": {"execution_stages": ["always"]}}, max_epochs=2)
    node = type(trainer.pipeline.nodes["accuracy"])
    forward = node.forward

    def counting(self: Any, **inputs: Any) -> Any:
        counter.number += 1
        return forward(self, **inputs)

    monkeypatch.setattr(node, "forward", counting)
    monkeypatch.setattr(node, "pooled_metrics", lambda _: {"accuracy": counter}, raising=False)
    rows = trainer.fit(batches(0, 1, 2, 3, 4), batches(5, 6, 7))
    assert [(row["train/accuracy/accuracy"], row["accuracy/accuracy"]) for row in rows] == [(3, 2)] * 2
    assert counter.asked == 4
