"""The calls of the catalogue's example clients, in their order."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core.grpc.helpers import numpy_to_proto, proto_to_numpy
from cuvis_ai_core.grpc.messages.schema_generations import messages

pytestmark = pytest.mark.usefixtures("warm_trainings")

PROJECT = Path(__file__).parents[1] / "projects" / "trainable_nodes"
NODES = ("Center", "Scores", "SquaredError", "Accuracy")
STATISTICAL, GRADIENT, COMPLETE = 1, 2, 2


@pytest.fixture
def repository(shared_root: Path, session: str) -> Path:
    """Return a folder as the catalogue's repository has it: configurations in groups, and data."""
    from PIL import Image

    folder = shared_root / f"repository-{session[:8]}"
    pipeline = {
        "metadata": {"name": "scores"},
        "nodes": [
            {"name": "center", "class_name": "Center"},
            {"name": "scores", "class": "trainable_nodes.Scores", "hparams": {"channels": 61}},
            {"name": "error", "class_name": "SquaredError"},
            {"name": "accuracy", "class_name": "Accuracy"},
        ],
        "connections": [
            {"source": "center.outputs.cube", "target": "scores.inputs.cube"},
            {"source": "scores.outputs.scores", "target": "error.inputs.scores"},
            {"source": "scores.outputs.scores", "target": "accuracy.inputs.scores"},
        ],
    }
    configs = {
        "pipeline/scores.yaml": pipeline,
        "training/default.yaml": {
            "seed": 1,
            "trainer": {"max_epochs": 9, "accelerator": "cpu"},
            "optimizer": {"name": "adamw", "lr": 0.01},
        },
        "data/scenes.yaml": {"cubes": ["data/*.npz"], "masks": "data/masks", "train_ids": [0], "val_ids": [1]},
        "trainrun/scores.yaml": {
            "defaults": [
                {"/pipeline@pipeline": "scores"},
                {"/data@data": "scenes"},
                {"/training@training": "default"},
                "_self_",
            ],
            "name": "scores",
            "loss_nodes": ["error"],
            "metric_nodes": ["accuracy"],
            "output_dir": str(folder / "outputs"),
        },
    }
    for name, content in configs.items():
        file = folder / "configs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
    (folder / "data" / "masks").mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(2):
        cube = random.integers(0, 4000, (6, 5, 61), dtype=np.uint16)
        np.savez(folder / "data" / f"s{number}.npz", cube=cube, wavelengths=np.linspace(430, 910, 61))
        Image.fromarray((cube[..., 0] > 2000).astype(np.uint8)).save(folder / "data" / "masks" / f"s{number}.png")
    return folder


@pytest.mark.slow
def test_a_trainrun_from_the_search_paths_to_an_inference(
    stub: Any, session: str, repository: Path, refused: Callable[..., Any]
) -> None:
    """Search paths, a trainrun with overrides, both trainings, both files, a cube as cameras give it, the end."""
    pytest.importorskip("pytorch_lightning")
    entry = {"path": str(PROJECT), "provides": [f"trainable_nodes.{name}" for name in NODES]}
    assert not stub.LoadPlugins(session_id=session, manifest=stub.manifest(nodes=entry)).failed_plugins
    configs = repository / "configs"
    paths = [repository, configs, *(configs / name for name in ("trainrun", "pipeline", "data", "training"))]
    told = stub.SetSessionSearchPaths(session_id=session, search_paths=map(str, paths), append=False)
    assert told.success
    config = stub.ResolveConfig(
        session_id=session, config_type="trainrun", path="trainrun/scores", overrides=["training.trainer.max_epochs=2"]
    )
    trainrun = messages().TrainRunConfig(config_bytes=config.config_bytes)
    assert stub.SetTrainRunConfig(session_id=session, config=trainrun).pipeline_from_config
    for kind in (STATISTICAL, GRADIENT):
        words = list(stub.Train(session_id=session, trainer_type=kind, timeout=200))
        assert words[-1].status == COMPLETE
    saved = stub.SavePipeline(session_id=session, pipeline_path=str(repository / "outputs" / "trained.yaml"))
    assert Path(saved.weights_path).is_file()
    assert stub.SaveTrainRun(session_id=session, trainrun_path=str(repository / "outputs" / "run.yaml")).success
    cube = np.random.default_rng(1).integers(0, 4000, (1, 6, 5, 61), dtype=np.uint16)
    inputs = messages().InputBatch()
    inputs.cube.MergeFromString(numpy_to_proto(cube).SerializeToString())
    wavelengths = np.linspace(430, 910, 61).astype(np.int32)[None]
    inputs.wavelengths.MergeFromString(numpy_to_proto(wavelengths).SerializeToString())
    answer = stub.Inference(session_id=session, inputs=inputs)
    assert proto_to_numpy(answer.outputs["scores.scores"]).shape == (1, 6, 5)
    again = stub.CreateSession().session_id
    assert not stub.LoadPlugins(session_id=again, manifest=stub.manifest(nodes=entry)).failed_plugins
    stub.SetSessionSearchPaths(session_id=again, search_paths=[str(repository / "outputs")], append=False)
    content = stub.ResolveConfig(session_id=again, config_type="pipeline", path="trained").config_bytes
    stub.LoadPipeline(session_id=again, pipeline=messages().PipelineConfig(config_bytes=content))
    refused("INVALID_ARGUMENT", stub.Inference, session_id=again, inputs=inputs)  # it has not learned yet
    stub.LoadPipelineWeights(session_id=again, weights_path=Path(saved.weights_path).name)
    other = stub.Inference(session_id=again, inputs=inputs)
    np.testing.assert_array_equal(
        proto_to_numpy(other.outputs["scores.scores"]), proto_to_numpy(answer.outputs["scores.scores"])
    )
    assert stub.CloseSession(session_id=again).success


def test_the_newest_clients_build_the_pipeline_before_the_trainrun_is_set(
    stub: Any, learner: str, shared_root: Path
) -> None:
    """The trainrun refers to its pipeline by a path; that is sent first, with plugins and the data module's name."""
    configs = shared_root / f"configs-{learner[:8]}"
    pipeline = {
        "metadata": {"name": "Centre", "cuvis_ai_version": "0.5.3"},
        "plugins": ["centre"],
        "nodes": [{"name": "c", "class_name": "centre.nodes.Centre", "hparams": {}}],
        "connections": [],
    }
    trainrun = {"name": "run", "pipeline": "../pipeline/c.yaml", "data": {"cubes": ["one.npz"]}, "output_dir": "out"}
    for name, content in {"pipeline/c": pipeline, "trainrun/run": trainrun}.items():
        (configs / name).parent.mkdir(parents=True)
        (configs / f"{name}.yaml").write_text(json.dumps(content))
    np.savez(shared_root / "one.npz", cube=np.ones((2, 2, 4), np.float32))
    paths = [str(configs), *(str(configs / each) for each in ("trainrun", "pipeline"))]
    assert stub.SetSessionSearchPaths(session_id=learner, search_paths=paths, append=False).success
    found = stub.ResolveConfig(session_id=learner, config_type="trainrun", path="trainrun/run").config_bytes
    content = json.loads(found)
    sent = content.pop("pipeline")
    if isinstance(sent, str):
        sent = json.loads((configs / "trainrun" / sent).read_text())
    config = messages().PipelineConfig(config_bytes=json.dumps(sent).encode())
    assert stub.LoadPipeline(session_id=learner, pipeline=config, data_module="cu3s").success
    rest = messages().TrainRunConfig(config_bytes=json.dumps(content).encode())
    assert not stub.SetTrainRunConfig(session_id=learner, config=rest).pipeline_from_config
    words = list(stub.Train(session_id=learner, trainer_type=STATISTICAL))
    assert words[-1].status == COMPLETE
    assert stub.Inference(session_id=learner, inputs=cube_of_ones()).outputs["c.cube"].shape == [1, 2, 2, 4]


def cube_of_ones() -> Any:
    """Return a batch with a small cube."""
    inputs = messages().InputBatch()
    inputs.cube.MergeFromString(numpy_to_proto(np.ones((1, 2, 2, 4), np.float32)).SerializeToString())
    return inputs
