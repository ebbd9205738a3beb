"""Thresholds that are chosen by gRPC, after a training or without one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cuvis_ai_core.grpc.client.client import Client
from cuvis_ai_core.grpc.messages.schema_generations import messages

pytestmark = pytest.mark.usefixtures("warm_trainings")

CALIBRATION, STATISTICAL = 3, 1
COMPLETE = 2
CALIBRATION_START, CALIBRATION_PROGRESS, CALIBRATION_END, POST_FIT_END = 6, 7, 8, 12
VALIDATION = 2

JUDGE = """\
import numpy as np
from cuvis_ai_core.node import ArrayNode, PortSpec


class Judge(ArrayNode):
    INPUT_SPECS = {"cube": PortSpec(np.floating, (-1, -1, -1, -1))}
    OUTPUT_SPECS = {"decisions": PortSpec(np.bool_, (-1, -1, -1, -1))}

    def __init__(self, threshold=9.0, **kwargs):
        self.threshold = threshold
        super().__init__(threshold=threshold, **kwargs)

    def forward(self, cube):
        return {"decisions": cube > self.threshold}

    def calibrate(self, scores, targets):
        assert isinstance(scores, np.ndarray) and targets.dtype == bool
        old, new = self.threshold, float(scores[..., 0][targets].mean())
        self.threshold = self.hparams["threshold"] = new
        return {"threshold": {"old": old, "new": new}, "f1": 0.5}


class Marked(ArrayNode):
    INPUT_SPECS = {"mask": PortSpec(np.integer, (-1, -1, -1))}
    OUTPUT_SPECS = {"mask": PortSpec(np.bool_, (-1, -1, -1))}

    def __init__(self, **kwargs):
        super().__init__(execution_stages=["val"], **kwargs)

    def forward(self, mask):
        return {"mask": mask > 0}


class Scores(ArrayNode):
    INPUT_SPECS = {"cube": PortSpec(np.floating, (-1, -1, -1, -1))}
    OUTPUT_SPECS = {"cube": PortSpec(np.floating, (-1, -1, -1, -1))}

    def forward(self, cube):
        return {"cube": cube}
"""
PIPELINE: dict[str, Any] = {
    "nodes": [
        {"name": "scores", "class_name": "Scores"},
        {"name": "judge", "class_name": "Judge", "params": {"threshold": 9.0}},
        {"name": "marked", "class_name": "Marked"},
    ],
    "edges": [{"source": "scores.cube", "target": "judge.cube"}],
}


@pytest.fixture
def scenes(shared_root: Path, session: str) -> Path:
    """Return a folder below the root with two cubes of one band, whose pixels of 3 are marked."""
    image = pytest.importorskip("PIL.Image")
    folder = shared_root / f"judged-{session[:8]}"
    (folder / "masks").mkdir(parents=True)
    for number in range(2):
        cube = np.zeros((4, 5, 1), np.float32)
        cube[number] = 3
        np.savez(folder / f"scene{number}.npz", cube=cube, wavelengths=np.array([500.0]))
        image.fromarray((cube[..., 0] > 0).astype(np.uint8)).save(folder / "masks" / f"scene{number}.png")
    return folder


@pytest.fixture
def set_up(stub: Any, session: str, scenes: Path, local_plugin: Callable[..., Path]) -> Callable[..., None]:
    """Return a function that loads the nodes, isolated in one way, and sets a trainrun."""

    def give(isolation: str = "scoped", **changed: Any) -> None:
        folder = local_plugin("judge", package="judge", node="Judge")
        (folder / "src" / "judge" / "nodes.py").write_text(JUDGE)
        names = [f"judge.nodes.{each}" for each in ("Judge", "Marked", "Scores")]
        plugin = {"path": str(folder), "provides": names, "isolation": isolation}
        assert not stub.LoadPlugins(session_id=session, manifest=stub.manifest(judge=plugin)).failed_plugins
        data = {"cubes": [str(scenes / "*.npz")], "masks": str(scenes / "masks"), "val_ids": [0, 1]}
        content = json.dumps({"name": "run", "pipeline": PIPELINE, "data": data, **changed}).encode()
        config = messages().TrainRunConfig(config_bytes=content)
        stub.SetTrainRunConfig(session_id=session, config=config)

    return give


@pytest.mark.slow
@pytest.mark.parametrize("isolation", ["scoped", "process"])
def test_thresholds_are_chosen_without_a_training(
    stub: Any, session: str, server: Any, scenes: Path, set_up: Callable[..., None], isolation: str
) -> None:
    """It is told of, the session's nodes have the new value, and so has what is saved."""
    set_up(isolation)
    words = list(stub.Train(session_id=session, trainer_type=CALIBRATION))
    hooks = [each.event.hook for each in words if each.event.hook]
    assert [hook for hook in hooks if hook != CALIBRATION_PROGRESS] == [
        CALIBRATION_START,
        CALIBRATION_END,
        POST_FIT_END,
    ]
    outcome = next(each.event.calibration for each in words if each.event.hook == CALIBRATION_END)
    assert (outcome.applicable, outcome.split, outcome.frames, outcome.phase_detail) == (True, VALIDATION, 2, "")
    (decider,) = outcome.deciders
    assert (decider.name, decider.status, decider.thresholds["threshold"].after) == ("judge", 1, 3.0)
    assert words[-1].status == stub.GetTrainStatus(session_id=session).latest_progress.status == COMPLETE
    pipeline = server.service.sessions.get(session).pipeline
    assert pipeline.nodes["judge"].hparams["threshold"] == 3.0
    cube = np.full((1, 1, 1, 1), 4, np.float32)
    assert pipeline.forward({"cube": cube}, "inference")["judge", "decisions"].all()
    saved = stub.SavePipeline(session_id=session, pipeline_path=str(scenes / "judged.yaml"))
    nodes = yaml.safe_load(Path(saved.pipeline_path).read_text())["nodes"]
    assert [each["hparams"]["threshold"] for each in nodes if each["name"] == "judge"] == [3.0]
    (again,) = (each for each in stub.Train(session_id=session, trainer_type=CALIBRATION) if each.event.hook == 8)
    assert again.event.calibration.deciders[0].thresholds["threshold"].before == 3.0


@pytest.mark.slow
def test_a_node_whose_process_ends_has_the_threshold_that_was_chosen(
    stub: Any, session: str, server: Any, set_up: Callable[..., None]
) -> None:
    """Another process constructs it with that, not with what the pipeline was built with."""
    set_up("process")
    node = server.service.sessions.get(session).pipeline.nodes["judge"]
    scores = np.full((1, 1, 1, 1), 2, np.float32)
    assert node.calibrate(scores, np.ones((1, 1, 1), bool))["threshold"] == {"old": 9.0, "new": 2.0}
    node.runs_elsewhere.cancel()
    assert node.forward(cube=scores + 1)["decisions"].all()
    assert node.hparams["threshold"] == 2.0


@pytest.mark.slow
def test_a_statistical_training_leaves_thresholds_and_says_so(
    stub: Any, session: str, server: Any, set_up: Callable[..., None]
) -> None:
    """A training by gradient may follow, which chooses them; where none can be chosen, nothing is pending."""
    set_up(freeze_nodes=["judge"])
    assert not any(each.event.calibration_pending for each in stub.Train(session_id=session, trainer_type=STATISTICAL))
    (ended,) = (each for each in stub.Train(session_id=session, trainer_type=CALIBRATION) if each.event.hook == 8)
    assert not ended.event.calibration.applicable
    server.service.sessions.get(session).trainrun = server.service.sessions.get(session).trainrun.model_copy(
        update={"freeze_nodes": []}
    )
    assert any(each.event.calibration_pending for each in stub.Train(session_id=session, trainer_type=STATISTICAL))
    assert server.service.sessions.get(session).pipeline.nodes["judge"].hparams["threshold"] == 9.0


@pytest.mark.slow
def test_why_no_threshold_can_be_chosen_is_said(server: Any, scenes: Path, set_up: Callable[..., None]) -> None:
    """Without data to validate on the training ends well, and its event has the reason."""
    with Client(server.address) as client:
        config = {"name": "run", "pipeline": {"nodes": [{"name": "a", "class_name": "MinMaxNormalizer"}]}}
        data = {"cubes": [str(scenes / "*.npz")], "val_ids": [0]}
        *_, last = client.train({**config, "data": data}, kind="calibration")
        assert last.state == "complete"
