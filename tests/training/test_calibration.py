"""Thresholds are calibrated after a training, by what comes out for the data to validate on."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core import NodeRegistry, Pipeline

torch = pytest.importorskip("torch")

from cuvis_ai_core.deciders.base_decider import BinaryDecider  # noqa: E402 - needs torch
from cuvis_ai_core.node import ArrayNode  # noqa: E402
from cuvis_ai_core.training.calibration import Calibrated, calibratable, calibrate  # noqa: E402

PIPELINE: dict[str, Any] = {
    "metadata": {"name": "decided"},
    "nodes": [
        {"name": "marked", "class_name": "Marked"},
        {"name": "decider", "class_name": "Decider", "params": {"threshold": 5.0}},
        {"name": "same", "class_name": "Same"},
    ],
    "edges": [{"source": "same.logits", "target": "decider.logits"}],
}
SCORES = torch.tensor([[[1.0, 2.0, 7.0]], [[9.0, 3.0, 2.0]]])
MASK = torch.tensor([[[0, 0, 1]], [[1, 0, 0]]], dtype=torch.int32)
BATCHES = [{"logits": SCORES[:1], "mask": MASK[:1]}, {"logits": SCORES[1:], "mask": MASK[1:]}]
HALF_WAY = 5.0


@pytest.fixture
def make(registry: NodeRegistry, trainable_nodes: ModuleType) -> Callable[..., Pipeline]:
    """Return a function that builds the pipeline, or another content of its file."""

    class Same(trainable_nodes.Node):  # type: ignore[name-defined, misc]
        """Hands on scores."""

        INPUT_SPECS = trainable_nodes.Decider.INPUT_SPECS
        OUTPUT_SPECS = trainable_nodes.Decider.INPUT_SPECS

        def forward(self, logits: Any, **_: Any) -> dict[str, Any]:
            """Return them."""
            return {"logits": logits}

    for node_class in (trainable_nodes.Marked, trainable_nodes.Decider, Same):
        NodeRegistry.register(node_class)
    return lambda **changed: Pipeline.from_dict({**PIPELINE, **changed}, node_registry=registry)


def test_a_threshold_is_chosen_and_written(make: Callable[..., Pipeline], tmp_path: Path) -> None:
    """From the scores of all batches together; the pipeline file that is written after it has the new one."""
    pipeline = make()
    pipeline.nodes["decider"].threshold = pipeline.nodes["decider"].hparams["threshold"] = 8.0
    outcome = calibrate(pipeline, BATCHES)
    assert (outcome.frames, outcome.marked, outcome.skipped) == (2, 2, "")
    assert outcome.nodes[0].thresholds == {"threshold": (8.0, HALF_WAY)}
    assert outcome.lines() == ["decider: threshold 8 -> 5"]
    pipeline.nodes["decider"].calibrate(SCORES + 1, MASK > 0)
    for save, key in ((pipeline.save, "params"), (pipeline.save_to_file, "hparams")):
        save(tmp_path / "pipeline.yaml")
        written = yaml.safe_load((tmp_path / "pipeline.yaml").read_text(encoding="utf-8"))
        assert written["nodes"][1][key] == {"threshold": HALF_WAY + 1}
    assert pipeline.to_dict()["nodes"][2].get("params") == {}


def test_a_node_that_was_built_in_python_is_written_with_its_new_threshold(
    make: Callable[..., Pipeline], trainable_nodes: ModuleType
) -> None:
    """Whether it was calibrated before it was put into a pipeline, or after."""
    make()
    early, late = (trainable_nodes.Decider(threshold=1.0, name=name) for name in ("early", "late"))
    early.calibrate(SCORES, MASK > 0)
    pipeline = Pipeline("by hand").add(early, late)
    late.calibrate(SCORES, MASK > 0)
    assert [node["params"] for node in pipeline.to_dict()["nodes"]] == [{"threshold": HALF_WAY}] * 2


def test_scores_that_are_written_anew_for_each_batch(
    make: Callable[..., Pipeline], trainable_nodes: ModuleType
) -> None:
    """Those of each count, images that have marked pixels are counted, and a mask of numbers is not the one meant."""

    class Reusing(trainable_nodes.Node):  # type: ignore[name-defined, misc]
        """Hands on scores in one place, and labels."""

        place: Any = None
        INPUT_SPECS = trainable_nodes.Decider.INPUT_SPECS
        OUTPUT_SPECS = {**INPUT_SPECS, "mask": PortSpec("int32", (-1, -1, -1))}  # noqa: RUF012 - as published nodes do

        def forward(self, logits: Any, **_: Any) -> dict[str, Any]:
            """Write them over those of the batch before."""
            self.place = logits.clone() if self.place is None else self.place.copy_(logits)
            return {"logits": self.place, "mask": (logits > 0).int()}

    NodeRegistry.register(Reusing)
    pipeline = make(nodes=[*PIPELINE["nodes"][:2], {"name": "same", "class_name": "Reusing"}])
    assert calibrate(pipeline, BATCHES).nodes[0].thresholds == {"threshold": (HALF_WAY, HALF_WAY)}
    outcome = calibrate(pipeline, [{"logits": SCORES[:1], "mask": torch.tensor([[[0, 1, 1]]], dtype=torch.int32)}])
    assert (outcome.marked, outcome.skipped) == (1, "")


def test_scores_of_numpy_that_are_written_anew_for_each_batch(
    make: Callable[..., Pipeline], trainable_nodes: ModuleType
) -> None:
    """A node of NumPy may answer with one array each time, too."""

    class ReusingArray(ArrayNode):
        """Hands on scores in one place."""

        place: Any = None
        INPUT_SPECS = OUTPUT_SPECS = {"logits": PortSpec(np.float32, (-1, -1, -1))}  # noqa: RUF012

        def forward(self, logits: Any, **_: Any) -> dict[str, Any]:
            """Write them over those of the batch before."""
            self.place = np.zeros(logits.shape, np.float32) if self.place is None else self.place
            self.place[...] = np.asarray(logits)
            return {"logits": self.place}

    NodeRegistry.register(ReusingArray)
    pipeline = make(nodes=[*PIPELINE["nodes"][:2], {"name": "same", "class_name": "ReusingArray"}])
    outcome = calibrate(pipeline, BATCHES)
    assert not outcome.skipped
    assert outcome.nodes[0].thresholds == {"threshold": (HALF_WAY, HALF_WAY)}


@pytest.mark.parametrize(
    ("report", "thresholds"),
    [
        ({"t": {"old": 1, "new": 2}, "f1": 0.5}, {"t": (1.0, 2.0)}),
        ({"t": {"new": 2}}, {"t": (0.0, 2.0)}),
        (
            {"t": {"old": None, "new": 2}, "u": {"old": 3}},
            {"t": (0.0, 2.0)},
        ),
    ],
)
def test_thresholds_of_a_report(report: dict[str, Any], thresholds: dict[str, tuple[float, float]]) -> None:
    """What has a new value; the old one may not be said."""
    assert Calibrated("decider", report).thresholds == thresholds


def test_a_record_has_what_json_has() -> None:
    """Measures of any precision, and null for what is no number; thresholds are infinite until they are calibrated."""
    report = {"t": {"old": np.inf, "new": np.float32(2)}, "u": {"new": np.nan}}
    measures = {"f1": np.float32(0.5), "auc": np.nan, "pixels": np.int64(3), "found": True}
    record = Calibrated("decider", {**report, **measures}).record()
    assert json.loads(json.dumps(record, allow_nan=False)) == {
        "thresholds": {"t": {"before": None, "after": 2.0}, "u": {"before": 0.0, "after": None}},
        "metrics": {"f1": 0.5, "auc": None},
        "skipped": None,
    }


def test_scores_are_those_of_evaluation(make: Callable[..., Pipeline], trainable_nodes: ModuleType) -> None:
    """Whatever mode nodes were left in by a training, and in that they are afterwards."""

    class Dropping(trainable_nodes.Node):  # type: ignore[name-defined, misc]
        """Hands on scores, but for training."""

        INPUT_SPECS = OUTPUT_SPECS = trainable_nodes.Decider.INPUT_SPECS

        def forward(self, logits: Any, **_: Any) -> dict[str, Any]:
            """Return them, or zeros."""
            return {"logits": logits * (not self.training)}

    NodeRegistry.register(Dropping)
    pipeline = make(nodes=[*PIPELINE["nodes"][:2], {"name": "same", "class_name": "Dropping"}])
    pipeline.nodes["same"].train()
    assert calibrate(pipeline, BATCHES).nodes[0].thresholds == {"threshold": (HALF_WAY, HALF_WAY)}
    assert pipeline.nodes["same"].training


def _deciding(trainable_nodes: ModuleType, *ports: str) -> type:
    """Return a class that decides by the first of its inputs, with these names; each may be left out."""
    spec = PortSpec("float32", (-1, -1, -1), optional=True)

    class Other(trainable_nodes.Decider):  # type: ignore[name-defined, misc]
        """Decides by other inputs."""

        INPUT_SPECS = dict.fromkeys(ports, spec)

        def forward(self, **values: Any) -> dict[str, Any]:
            """Decide."""
            given = values.get(ports[0])
            return {"decisions": torch.ones(2, 1, 3) > 0 if given is None else given > self.threshold}

    return Other


@pytest.mark.parametrize(
    ("ports", "fed", "reason"),
    [
        (("scores",), "scores", "NONE"),
        (("scores", "more"), "scores", "NOTHING_WIRED"),
        (("scores", "logits"), "logits", "NONE"),
    ],
)
def test_which_input_has_the_scores(
    make: Callable[..., Pipeline], trainable_nodes: ModuleType, ports: tuple[str, ...], fed: str, reason: str
) -> None:
    """The one that is called `logits`, else the only one."""
    NodeRegistry.register(_deciding(trainable_nodes, *ports))
    nodes = [PIPELINE["nodes"][0], {**PIPELINE["nodes"][1], "class_name": "Other"}, PIPELINE["nodes"][2]]
    pipeline = make(nodes=nodes, edges=[{"source": "same.logits", "target": f"decider.{fed}"}])
    (decider,) = calibrate(pipeline, BATCHES).nodes
    assert decider.reason == reason
    assert decider.thresholds == ({} if decider.skipped else {"threshold": (HALF_WAY, HALF_WAY)})


@pytest.mark.parametrize("count", [0, 1])
def test_scores_that_are_not_there_for_each_image(
    make: Callable[..., Pipeline], trainable_nodes: ModuleType, count: int
) -> None:
    """Those that their node leaves out, or gives for the first image alone, move no threshold."""

    class Few(trainable_nodes.Node):  # type: ignore[name-defined, misc]
        """Hands on the scores of some images."""

        INPUT_SPECS = trainable_nodes.Decider.INPUT_SPECS
        OUTPUT_SPECS = {"logits": PortSpec("float32", (-1, -1, -1), optional=True)}  # noqa: RUF012

        def forward(self, logits: Any, **_: Any) -> dict[str, Any]:
            """Return them."""
            return {"logits": logits[:count]} if count else {}

    for each in (Few, _deciding(trainable_nodes, "logits")):
        NodeRegistry.register(each)
    names = {"decider": "Other", "same": "Few"}
    nodes = [{**node, "class_name": names.get(node["name"], node["class_name"])} for node in PIPELINE["nodes"]]
    (decider,) = calibrate(make(nodes=nodes), [{"logits": SCORES, "mask": MASK}]).nodes
    assert (decider.reason, decider.skipped) == ("NO_SCORES", "'same.logits' gave no scores")


def test_a_frozen_node_stays(make: Callable[..., Pipeline]) -> None:
    """As a trainrun asks by `freeze_nodes`."""
    pipeline = make()
    assert calibrate(pipeline, BATCHES, ["decider"]).lines() == []
    assert pipeline.nodes["decider"].threshold == HALF_WAY


@pytest.mark.parametrize(
    ("changed", "batches", "reason", "words"),
    [
        ({"nodes": PIPELINE["nodes"][1:]}, BATCHES, "AMBIGUOUS_MASK", "there is none"),
        ({}, [], "NO_SPLIT", "no data to validate on"),
        ({}, [{**BATCHES[0], "mask": MASK[:1] * 0}], "SINGLE_CLASS", "no pixel"),
        ({}, [{**BATCHES[0], "mask": MASK[:1] * 0 + 1}], "SINGLE_CLASS", "every pixel"),
        ({}, [{"mask": MASK}], "INFERENCE_FAILED", "same.logits"),
    ],
)
def test_why_nothing_is_calibrated_is_said(
    make: Callable[..., Pipeline], changed: dict[str, Any], batches: Any, reason: str, words: str
) -> None:
    """And nothing is raised, since what was trained is to be kept."""
    pipeline = make(**changed)
    outcome = calibrate(pipeline, batches)
    assert outcome.reason == reason
    assert words in outcome.skipped
    assert outcome.lines() == [outcome.skipped]


@pytest.mark.parametrize(
    ("answer", "edges", "reason"),
    [
        (ValueError("scores are not finite"), PIPELINE["edges"], "CALIBRATE_FAILED"),
        ({"threshold": {"old": 1.0, "new": None}}, PIPELINE["edges"], "CALIBRATE_FAILED"),
        (None, PIPELINE["edges"], "NO_REPORT"),
        ({}, [], "NOTHING_WIRED"),
    ],
)
def test_why_a_node_is_left_is_said(
    make: Callable[..., Pipeline],
    trainable_nodes: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    answer: Any,
    edges: list[Any],
    reason: str,
) -> None:
    """By its name."""

    def calibrating(*_: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(trainable_nodes.Decider, "calibrate", calibrating)
    (left,) = calibrate(make(edges=edges), BATCHES).nodes
    assert left.reason == reason
    assert left.words().startswith("decider: left as it was: ")


def test_a_decider_that_calibrates_nothing_is_left_out(make: Callable[..., Pipeline]) -> None:
    """Nothing is said of one that has only the method of the base class, which does nothing."""

    class Plain(BinaryDecider):
        """Compares."""

        def forward(self, logits: Any, context: Any = None, **_: Any) -> dict[str, Any]:
            """Decide."""
            del context
            return {"decisions": logits > self.threshold}

    plain = Plain(name="plain")
    pipeline = make().add(plain)
    assert calibratable(pipeline) == ("decider",)
    assert plain.is_calibrated
    assert plain.calibrate(SCORES, MASK) is None
