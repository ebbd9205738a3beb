"""Training by gRPC: told of while it runs, really stopped, saved and restored."""

import json
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from safetensors.numpy import save_file

from cuvis_ai_core.grpc.messages.schema_generations import messages
from cuvis_ai_core.grpc.server.call_context import Service
from cuvis_ai_core.grpc.server.training.capabilities import OPTIMIZERS
from cuvis_ai_core.grpc.server.training.training_process import Words

pytestmark = pytest.mark.usefixtures("warm_trainings")

PROJECT = Path(__file__).parents[1] / "projects" / "trainable_nodes"
CENTRE: dict[str, Any] = {"nodes": [{"name": "centre", "class_name": "Centre"}]}
RUNNING, COMPLETE, ERROR, CANCELLED = 1, 2, 3, 4
STATISTICAL, GRADIENT = 1, 2


@pytest.fixture
def scenes(shared_root: Path, session: str) -> Path:
    """Return a folder below the root with three cubes of four bands, and masks of two classes."""
    from PIL import Image

    folder = shared_root / f"scenes-{session[:8]}"
    (folder / "masks").mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(3):
        cube = random.normal(size=(6, 5, 4)).astype(np.float32)
        np.savez(folder / f"scene{number}.npz", cube=cube, wavelengths=np.linspace(400, 700, 4))
        Image.fromarray((cube[..., 0] > 0).astype(np.uint8)).save(folder / "masks" / f"scene{number}.png")
    return folder


def set_config(stub: Any, session: str, **content: Any) -> Any:
    """Set a trainrun."""
    config = messages().TrainRunConfig(config_bytes=json.dumps({"name": "run", **content}).encode())
    return stub.SetTrainRunConfig(session_id=session, config=config)


def test_statistics_are_learned_and_told_of(stub: Any, learner: str, server: Any, scenes: Path) -> None:
    """The stream begins, names the node, and ends complete; the status says the same."""
    told = set_config(stub, learner, pipeline=CENTRE, data={"cubes": [str(scenes / "*.npz")]})
    assert told.pipeline_from_config
    assert stub.GetTrainStatus(session_id=learner).latest_progress.status == 0
    words = list(stub.Train(session_id=learner, trainer_type=STATISTICAL))
    assert [each.status for each in words][-1] == COMPLETE
    assert {RUNNING} == {each.status for each in words[:-1]}
    assert "centre" in {each.event.node for each in words}
    hooks = [each.event.hook for each in words if each.event.hook]
    assert hooks[0] == 1  # FIT_START
    assert {13, 15} <= set(hooks)
    assert hooks[-2:] == [4, 12]  # FIT_END, POST_FIT_END
    assert stub.GetTrainStatus(session_id=learner).latest_progress.status == COMPLETE
    assert np.abs(server.service.sessions.get(learner).pipeline.nodes["centre"].mean).sum() > 0


def test_a_trainrun_goes_with_the_sessions_pipeline_or_brings_one(
    stub: Any, learner: str, scenes: Path, refused: Callable[..., Any]
) -> None:
    """Not both, and not neither; without a trainrun nothing is trained."""
    data = {"cubes": [str(scenes)]}
    refused("FAILED_PRECONDITION", lambda: set_config(stub, learner, data=data))
    refused("FAILED_PRECONDITION", stub.Train, session_id=learner, trainer_type=STATISTICAL)
    stub.LoadPipeline(session_id=learner, pipeline=messages().PipelineConfig(config_bytes=json.dumps(CENTRE).encode()))
    refused("FAILED_PRECONDITION", stub.Train, session_id=learner, trainer_type=STATISTICAL)
    refused("FAILED_PRECONDITION", lambda: set_config(stub, learner, pipeline=CENTRE, data=data))
    assert not set_config(stub, learner, data=data).pipeline_from_config
    refused("INVALID_ARGUMENT", stub.Train, session_id=learner, trainer_type=7)
    refused("INVALID_ARGUMENT", lambda: set_config(stub, learner, data={}))
    refused("FAILED_PRECONDITION", stub.Train, session_id=learner, trainer_type=GRADIENT)


@pytest.mark.slow
def test_a_trainrun_with_data_of_a_published_module_is_taken_and_kept(
    stub: Any,
    learner: str,
    scenes: Path,
    refused: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its pipeline is built, it is saved and restored as it is; Train needs cubes, and takes them from its request."""
    monkeypatch.setattr(Service, "runs_anything", False)
    data = {"data_module": "cu3s", "splits": {"train": [{"kind": "all"}]}, "params": {"cu3s_file_path": "a.cu3s"}}
    content = {"name": "run", "pipeline": CENTRE, "data": data}
    told = stub.ValidateConfig(config_type="trainrun", config_bytes=json.dumps(content).encode())
    assert told.valid
    for key, wrong in (("cubes", {"cubes": 3}), ("splits", {**data, "splits": 3})):
        broken = json.dumps({**content, "data": wrong}).encode()
        (error,) = stub.ValidateConfig(config_type="trainrun", config_bytes=broken).errors
        assert error.startswith(f"data.{key}: ")
    assert set_config(stub, learner, pipeline=CENTRE, data=data).pipeline_from_config
    error = refused("FAILED_PRECONDITION", stub.Train, session_id=learner, trainer_type=STATISTICAL)
    assert "data module 'cu3s'" in error.details()
    saved = stub.SaveTrainRun(session_id=learner, trainrun_path=str(scenes / "newest.yaml"))
    restored = stub.RestoreTrainRun(trainrun_path=saved.trainrun_path)
    assert json.loads(restored.trainrun.config_bytes)["data"] == data
    cubes = messages().DataConfig(config_bytes=json.dumps({"cubes": [str(scenes)]}).encode())
    words = list(stub.Train(session_id=restored.session_id, trainer_type=STATISTICAL, data=cubes))
    assert words[-1].status == COMPLETE
    stub.CloseSession(session_id=restored.session_id)


@pytest.mark.slow
def test_data_of_a_data_module_of_an_installed_package_are_trained_on(
    stub: Any, learner: str, server: Any, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `restore-trainrun` does it: what is learned is as from the same cubes."""
    pytest.importorskip("cuvis_ai_schemas.training.data")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "projects" / "published_loader"))
    for number in range(3):
        with np.load(scenes / f"scene{number}.npz") as content:
            np.save(scenes / f"{number}.npy", content["cube"])
    means = []
    of_module = {"data_module": "belt_loader.BeltModule", "params": {"folder": str(scenes)}}
    paths = [str(scenes / f"{number}.npy") for number in range(3)]
    for data in ({"cubes": paths}, {**of_module, "splits": {"train": [{"kind": "all"}]}}):
        pipeline = messages().PipelineConfig(config_bytes=json.dumps(CENTRE).encode())
        stub.LoadPipeline(session_id=learner, pipeline=pipeline)
        set_config(stub, learner, data=data)
        assert list(stub.Train(session_id=learner, trainer_type=STATISTICAL))[-1].status == COMPLETE
        means.append(server.service.sessions.get(learner).pipeline.nodes["centre"].mean.tolist())
    assert means[0] == pytest.approx(means[1])


@pytest.mark.slow
def test_data_of_a_data_module_of_a_loaded_plugin_are_trained_on(
    stub: Any, learner: str, scenes: Path, shared_root: Path
) -> None:
    """Of a plugin of the session, which is not installed where the server runs."""
    pytest.importorskip("cuvis_ai_schemas.training.data")
    belt = shared_root / "belt"
    shutil.copytree(Path(__file__).parents[1] / "projects" / "published_loader", belt)
    (belt / "pyproject.toml").write_text('[project]\nname = "belt-loader"\nversion = "1"\n')
    with np.load(scenes / "scene0.npz") as content:
        np.save(scenes / "0.npy", content["cube"])
    module = {"class_name": "belt_loader.BeltModule", "kind": "data_module", "data_module_name": "belt"}
    entry = {"name": "loader", "path": str(belt), "capabilities": [module]}
    manifest = messages().PluginManifest(config_bytes=json.dumps(entry).encode())
    assert not stub.LoadPlugin(session_id=learner, manifest=manifest).error
    data = {"data_module": "belt", "params": {"folder": str(scenes)}, "splits": {"train": [{"kind": "all"}]}}
    pipeline = messages().PipelineConfig(config_bytes=json.dumps(CENTRE).encode())
    stub.LoadPipeline(session_id=learner, pipeline=pipeline)
    set_config(stub, learner, data=data)
    words = list(stub.Train(session_id=learner, trainer_type=STATISTICAL))
    assert words[-1].status == COMPLETE, words


def slow(stub: Any, session: str, scenes: Path, pause: float = 0.3) -> None:
    """Set a trainrun that takes long."""
    nodes = [{"name": "centre", "class_name": "Centre", "params": {"pause": pause}}]
    set_config(stub, session, pipeline={"nodes": nodes}, data={"cubes": [str(scenes / "*.npz")] * 1, "batch_size": 1})


def wait_until(is_true: Callable[[], bool]) -> None:
    """Wait until something is true, for thirty seconds."""
    for _ in range(1500):
        if is_true():
            return
        time.sleep(0.02)
    raise AssertionError("it did not become true")


@pytest.mark.slow
def test_the_status_is_true_while_it_runs_and_stop_stops_it(stub: Any, learner: str, scenes: Path) -> None:
    """GetTrainStatus and StopTrain do not wait for the training; the stream ends cancelled."""
    slow(stub, learner, scenes, pause=2.0)
    assert not stub.StopTrain(session_id=learner).accepted
    words: list[Any] = []
    thread = threading.Thread(target=lambda: words.extend(stub.Train(session_id=learner, trainer_type=STATISTICAL)))
    thread.start()
    wait_until(lambda: stub.GetTrainStatus(session_id=learner).latest_progress.event.node == "centre")
    assert stub.GetTrainStatus(session_id=learner).latest_progress.status == RUNNING
    assert stub.StopTrain(session_id=learner).accepted
    thread.join(10)
    assert words[-1].status == CANCELLED
    assert stub.GetTrainStatus(session_id=learner).latest_progress.status == CANCELLED
    assert stub.ListLoadedPlugins(session_id=learner, timeout=10).plugins


@pytest.mark.parametrize(
    "way", ["cancel", *(pytest.param(way, marks=pytest.mark.slow) for way in ("deadline", "close"))]
)
def test_a_client_that_goes_away_ends_its_training(
    stub: Any, learner: str, server: Any, scenes: Path, way: str
) -> None:
    """By a cancelled call, a deadline, or the end of the session: the thread is gone."""
    slow(stub, learner, scenes, pause=10.0)
    held = server.service.sessions.get(learner)
    stream = stub.Train(session_id=learner, trainer_type=STATISTICAL, timeout=8 if way == "deadline" else 60)
    with suppress(grpc.RpcError):  # on a busy machine the deadline is over before the node has begun
        while next(stream).event.node != "centre":
            pass
    if way == "cancel":
        stream.cancel()
    elif way == "close":
        stub.CloseSession(session_id=learner)
    with pytest.raises(grpc.RpcError) if way != "close" else nullcontext():
        list(stream)
    wait_until(lambda: not held.extras.get("training") or not held.extras["training"].is_running)
    wait_until(lambda: not held.is_busy)


def test_a_training_that_fails_says_so_in_stream_status_and_code(
    stub: Any, learner: str, scenes: Path, refused: Callable[..., Any]
) -> None:
    """Never complete."""
    np.savez(scenes / "scene9.npz", cube=np.zeros((2, 2, 3), np.float32))
    set_config(stub, learner, pipeline=CENTRE, data={"cubes": [str(scenes / "*.npz")]})
    words = []
    with pytest.raises(grpc.RpcError) as caught:
        words += stub.Train(session_id=learner, trainer_type=STATISTICAL)
    assert caught.value.code().name in {"FAILED_PRECONDITION", "INVALID_ARGUMENT"}
    status = stub.GetTrainStatus(session_id=learner).latest_progress
    assert status.status == ERROR
    assert status.message


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"cubes": ["/etc"]}},
        {"data": {"cubes": ["../../*.npz"]}},
        {"data": {"cubes": ["link-out/*"]}},
        {"weights": "/etc/passwd"},
        {"output_dir": "/etc/evil"},
        {"data": {"cubes": ["{scenes}"], "masks": "/etc/passwd"}},
    ],
)
def test_a_trainrun_stays_below_the_roots(
    stub: Any, learner: str, scenes: Path, shared_root: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    """What it reads, through links too, and what it writes."""
    (tmp_path / "outside").mkdir()
    np.savez(tmp_path / "outside" / "x.npz", cube=np.zeros((2, 2, 4), np.float32))
    link = shared_root / "link-out"
    link.unlink(missing_ok=True)
    link.symlink_to(tmp_path / "outside")
    content = {"pipeline": CENTRE, "data": {"cubes": ["{scenes}"]}, **change}
    content = json.loads(json.dumps(content).replace("{scenes}", str(scenes)))

    def use() -> None:
        set_config(stub, learner, training={"max_epochs": 1}, **content)
        list(stub.Train(session_id=learner, trainer_type=GRADIENT if "output_dir" in change else STATISTICAL))

    with pytest.raises(grpc.RpcError) as caught:
        use()
    assert caught.value.code().name == "PERMISSION_DENIED", caught.value.details()
    link.unlink()


def test_checkpoints_stay_in_the_folder_of_the_results(
    stub: Any, learner: str, scenes: Path, refused: Callable[..., Any]
) -> None:
    """Neither an absolute `dirpath` nor one with `..`."""
    for folder in ("/tmp/evil", "../evil"):
        training = {"max_epochs": 1, "callbacks": {"checkpoint": {"dirpath": folder}}}
        refused(
            "INVALID_ARGUMENT",
            lambda each=training: set_config(
                stub, learner, pipeline=CENTRE, training=each, data={"cubes": [str(scenes)]}
            ),
        )


def test_a_saved_trainrun_comes_back_in_a_new_session(
    stub: Any, learner: str, server: Any, scenes: Path, refused: Callable[..., Any]
) -> None:
    """With its plugins, its pipeline and its weights; an unknown file is NOT_FOUND."""
    set_config(stub, learner, pipeline=CENTRE, data={"cubes": [str(scenes / "*.npz")]})
    before = server.service.sessions.get(learner).pipeline
    before.nodes["centre"].mean = np.arange(4.0)
    saved = stub.SaveTrainRun(session_id=learner, trainrun_path=str(scenes / "saved"), save_weights=True)
    assert saved.trainrun_path == str(scenes / "saved.yaml")
    assert saved.pipeline_path == str(scenes / "saved.pipeline.yaml")
    assert saved.weights_path == str(scenes / "saved.pipeline.safetensors")
    names = {"saved.yaml", "saved.plugins.yaml", "saved.pipeline.yaml", "saved.pipeline.safetensors"}
    assert {each.name for each in scenes.glob("saved*")} == names
    restored = stub.RestoreTrainRun(trainrun_path=saved.trainrun_path)
    assert restored.session_id != learner
    assert json.loads(restored.trainrun.config_bytes)["name"] == "run"
    new = server.service.sessions.get(restored.session_id)
    assert new.pipeline.nodes["centre"].mean.tolist() == [0, 1, 2, 3]
    assert (new.search_paths, [*new.plugins], new.trainrun.name) == ([], ["centre"], "run")
    stub.CloseSession(session_id=restored.session_id)
    count = len(server.service.sessions)
    refused("NOT_FOUND", stub.RestoreTrainRun, trainrun_path="absent.yaml")
    assert len(server.service.sessions) == count
    assert stub.RestoreTrainRun(trainrun_path=saved.trainrun_path, session_id=learner).session_id == learner
    assert server.service.sessions.get(learner).pipeline is not before


def test_weights_are_saved_and_taken_with_a_trainrun_as_asked_for(
    stub: Any, learner: str, server: Any, scenes: Path, refused: Callable[..., Any]
) -> None:
    """None are saved unless they are asked for, other ones may be named, and without `strict` what fits is taken."""
    set_config(stub, learner, pipeline=CENTRE, data={"cubes": [str(scenes / "*.npz")]})
    held = server.service.sessions.get(learner)
    held.pipeline.nodes["centre"].mean = np.arange(4.0)
    saved = stub.SaveTrainRun(session_id=learner, trainrun_path=str(scenes / "bare.yml"))
    assert (saved.trainrun_path, saved.weights_path) == (str(scenes / "bare.yml"), "")
    assert {each.name for each in scenes.glob("bare*")} == {"bare.yml", "bare.plugins.yaml", "bare.pipeline.yaml"}
    again = {"trainrun_path": saved.trainrun_path, "session_id": learner}
    stub.RestoreTrainRun(**again)
    assert held.pipeline.nodes["centre"].mean.tolist() == [0, 0, 0, 0]
    save_file({"centre.mean": np.ones(4), "other.mean": np.ones(4)}, scenes / "more.safetensors")
    refused("INVALID_ARGUMENT", stub.RestoreTrainRun, weights_path="more.safetensors", **again)
    refused("NOT_FOUND", stub.RestoreTrainRun, weights_path="absent.safetensors", **again)
    stub.RestoreTrainRun(weights_path="more.safetensors", strict=False, **again)
    assert held.pipeline.nodes["centre"].mean.tolist() == [1, 1, 1, 1]
    assert held.search_paths == []


@pytest.fixture
def gradient(stub: Any, session: str, scenes: Path) -> Callable[..., None]:
    """Return a function that sets a trainrun by gradient."""
    pytest.importorskip("pytorch_lightning")
    names = ("Center", "Scores", "SquaredError", "Accuracy", "Marked", "Decider")
    manifest = stub.one(name="nodes", path=str(PROJECT), capabilities=[f"trainable_nodes.{each}" for each in names])
    assert not stub.LoadPlugin(session_id=session, manifest=manifest).error

    def give(epochs: int) -> None:
        set_config(
            stub,
            session,
            pipeline={
                "nodes": [
                    {"name": "scores", "class_name": "Scores", "params": {"channels": 4}},
                    {"name": "error", "class_name": "SquaredError"},
                    {"name": "accuracy", "class_name": "Accuracy"},
                    {"name": "marked", "class_name": "Marked"},
                    {"name": "decider", "class_name": "Decider", "params": {"threshold": 9.0}},
                ],
                "edges": [
                    {"source": "scores.scores", "target": "decider.logits"},
                    {"source": "scores.scores", "target": "error.scores"},
                    {"source": "scores.scores", "target": "accuracy.scores"},
                ],
            },
            data={
                "cubes": [str(scenes / "*.npz")],
                "masks": str(scenes / "masks"),
                "train_ids": [0, 1],
                "val_ids": [2],
                "test_ids": [2],
            },
            training={"max_epochs": epochs, "optimizer": {"name": "adam", "lr": 0.1}, "accelerator": "cpu"},
            loss_nodes=["error"],
            metric_nodes=["accuracy"],
            output_dir=str(scenes / "results"),
        )

    return give


@pytest.mark.slow
def test_a_gradient_training_tells_of_each_epoch(stub: Any, session: str, gradient: Callable[..., None]) -> None:
    """Losses, metrics, and how many epochs are done of how many."""
    gradient(3)
    words = list(stub.Train(session_id=session, trainer_type=GRADIENT))
    epochs = [each for each in words if each.event.hook == 2]
    assert [(each.event.epochs.current, each.event.epochs.total) for each in epochs] == [(1, 3), (2, 3), (3, 3)]
    assert {"train_loss", "val_loss"} <= set(epochs[0].losses)
    assert any(name.startswith("accuracy/") for name in epochs[0].metrics)
    hooks = [each.event.hook for each in words if each.event.hook]
    assert hooks[-7:] == [6, 7, 8, 9, 10, 11, 12]  # calibrated, evaluated, all is done
    assert [hook for hook in hooks if hook in {16, 18, 3, 2}] == [16, 18, 3, 2] * 3  # epochs, each with a validation
    counted = {(each.event.hook, each.event.progress.done, each.event.progress.total) for each in words}
    assert {(17, 2, 2), (19, 1, 1), (10, 1, 1)} <= counted  # of training, validation and test
    tested = next(each.event.evaluation for each in words if each.event.hook == 11)
    assert (tested.split, tested.status, tested.frames) == (3, 1, 1)
    assert "loss" in tested.metrics
    calibrated = next(each.event.calibration for each in words if each.event.hook == 8)
    assert (calibrated.applicable, calibrated.split, calibrated.phase_skip, calibrated.frames) == (True, 2, 1, 1)
    (decider,) = calibrated.deciders
    assert (decider.name, decider.class_name, decider.status, decider.skip) == ("decider", "Decider", 1, 1)
    assert decider.thresholds["threshold"].before == 9
    assert decider.thresholds["threshold"].after < 9
    assert dict(decider.metrics) == {"f1": 0.5}
    assert words[-1].status == COMPLETE
    assert epochs[-1].losses["train_loss"] < epochs[0].losses["train_loss"]


@pytest.mark.slow
def test_a_stopped_gradient_training_goes_on_where_it_was(
    stub: Any, session: str, gradient: Callable[..., None], scenes: Path, server: Any
) -> None:
    """By StopTrain and by a cancelled call: what is needed to go on is kept, and the next stream says so."""
    gradient(100_000)
    words = []
    for said in stub.Train(session_id=session, trainer_type=GRADIENT):
        words.append(said)
        if said.event.hook == 2 and said.event.epochs.current == 3:
            assert stub.StopTrain(session_id=session).accepted
    assert words[-1].status == CANCELLED
    assert (scenes / "results" / "unfinished" / "resume.ckpt").is_file()
    held = server.service.sessions.get(session)
    stream = stub.Train(session_id=session, trainer_type=GRADIENT)
    assert any(said.event.hook == 5 for said in islice(stream, 3))  # CHECKPOINT_RESTORED
    stream.cancel()
    wait_until(lambda: not held.is_busy)
    assert (scenes / "results" / "unfinished" / "resume.ckpt").is_file()
    assert stub.GetTrainStatus(session_id=session).latest_progress.status == CANCELLED


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_gradient_training_whose_deadline_is_over_ends_and_can_be_gone_on_with(
    stub: Any, session: str, gradient: Callable[..., None], scenes: Path, server: Any
) -> None:
    """No process is left, the status tells, and the next call begins after the epochs that are done."""
    gradient(100_000)
    held = server.service.sessions.get(session)
    done, timeout = 0, 10.0  # what is left of it after the imports is spent on training
    while done < 2 and timeout < 200:  # a busy machine takes long to begin
        words: list[Any] = []
        with pytest.raises(grpc.RpcError) as caught:
            words.extend(stub.Train(session_id=session, trainer_type=GRADIENT, timeout=timeout))
        done = max((each.event.epochs.current for each in words if each.event.hook == 2), default=0)
        assert caught.value.code().name == "DEADLINE_EXCEEDED"
        timeout *= 2
        wait_until(lambda: not held.is_busy)
    children = [" ".join(each.cmdline()) for each in psutil.Process().children()]
    assert not [line for line in children if "cuvis_ai_core.grpc.server.training.trainer_program" in line]
    assert done > 1
    latest = stub.GetTrainStatus(session_id=session).latest_progress
    assert (latest.status, latest.message[:7]) == (CANCELLED, "stopped")
    stream = stub.Train(session_id=session, trainer_type=GRADIENT)
    ended = (said.event for said in stream if said.event.hook in {2, 5})
    assert next(ended).hook == 5  # CHECKPOINT_RESTORED
    assert next(ended).epochs.current > 1
    stream.cancel()
    wait_until(lambda: not held.is_busy)
    assert held.pipeline is not None


@pytest.mark.slow
def test_a_folder_with_files_of_another_training_is_refused_in_words(
    stub: Any, session: str, gradient: Callable[..., None], scenes: Path, refused: Callable[..., Any]
) -> None:
    """Whoever asks for the training mends it: nothing of it is a bug of the server."""
    gradient(1)
    (scenes / "results" / "unfinished").mkdir(parents=True)
    (scenes / "results" / "unfinished" / "resume.ckpt").write_bytes(b"")
    error = refused("FAILED_PRECONDITION", stub.Train, session_id=session, trainer_type=GRADIENT)
    assert "files in 'unfinished' ('resume.ckpt')" in (error.details() or "")


@pytest.mark.slow
@pytest.mark.usefixtures("new_interpreters")
def test_a_training_that_is_stopped_before_it_begins_ends_at_once(
    stub: Any, learner: str, server: Any, scenes: Path
) -> None:
    """Its process is not waited for while it imports; the next training is as if there had been none."""
    set_config(stub, learner, pipeline=CENTRE, data={"cubes": [str(scenes / "*.npz")]})
    stream = stub.Train(session_id=learner, trainer_type=STATISTICAL)
    assert next(stream).message == "begins"
    assert stub.StopTrain(session_id=learner).accepted
    words = list(stream)
    assert (words[-1].status, words[-1].message) == (CANCELLED, "stopped before it began")
    assert list(stub.Train(session_id=learner, trainer_type=STATISTICAL))[-1].status == COMPLETE


def test_capabilities_are_those_of_the_installed_torch(stub: Any) -> None:
    """Every optimizer that is named is there."""
    answer = stub.GetTrainingCapabilities()
    assert "AdamW" in answer.supported_optimizers
    assert {each.name for each in answer.optimizer_params.parameters} >= {"name", "lr"}
    assert {each.type for each in answer.supported_callbacks} >= {"early_stopping", "checkpoint"}
    torch = pytest.importorskip("torch")
    assert all(hasattr(torch.optim, name) for name in OPTIMIZERS)


def test_a_client_that_reads_slowly_makes_nothing_grow() -> None:
    """Of what waits for it the oldest words are left out, never the last ones."""
    words = Words()
    for number in range(5000):
        words.put(messages().TrainResponse(message=str(number)))
    waiting = [words.get().message for _ in range(len(words))]
    assert len(waiting) == 1000
    assert waiting[-1] == "4999"
