"""What the process of a training tells, seen in this process."""

import base64
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import pytest
from cuvis_ai_schemas.pipeline import PortSpec

pytest.importorskip("grpc")

from cuvis_ai_core import NodeRegistry, Pipeline
from cuvis_ai_core.grpc.messages.schema_generations import enum_value, messages
from cuvis_ai_core.grpc.server.node_state_file import State, write_state
from cuvis_ai_core.grpc.server.training import trainer_program
from cuvis_ai_core.grpc.server.training.trainer_program import CALIBRATION, GRADIENT, STATISTICAL, Task, Trainer
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.pipeline.weights.weights_file import read_weights, write_weights
from cuvis_ai_core.results.run_record import node_records

CUBE = PortSpec(np.float32, (-1, -1, -1, -1))


class Center(ArrayNode):
    """The cube less the mean of the data; some data it does not like."""

    INPUT_SPECS: ClassVar[dict[str, PortSpec]] = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar[dict[str, PortSpec]] = {"cube": CUBE}
    LIKES: ClassVar[bool] = True

    def statistical_initialization(self, input_stream: Iterable[Mapping[str, Any]]) -> None:
        """Learn the mean."""
        self._mean = float(np.mean([values["cube"].mean() for values in input_stream]))
        if not self.LIKES:
            raise SystemExit("no more")

    def state_dict(self) -> dict[str, Any]:
        """Return the mean, where there is one."""
        return {"mean": np.array([self._mean])} if hasattr(self, "_mean") else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take a mean."""
        self._mean = float(state["mean"][0])

    def forward(self, cube: Any) -> dict[str, Any]:
        """Return the difference."""
        return {"cube": cube - np.float32(self._mean)}


class Judge(ArrayNode):
    """Marks what is above its threshold, which it learns from what is marked."""

    INPUT_SPECS: ClassVar[dict[str, PortSpec]] = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar[dict[str, PortSpec]] = {"decisions": PortSpec(np.bool_, (-1, -1, -1, -1))}

    def __init__(self, threshold: float = 9.0, **kwargs: Any) -> None:
        self.threshold = threshold
        super().__init__(threshold=threshold, **kwargs)

    def forward(self, cube: Any) -> dict[str, Any]:
        """Return what is above it."""
        return {"decisions": cube > self.threshold}

    def calibrate(self, scores: Any, targets: Any) -> dict[str, Any]:
        """Choose the mean of what is marked; below zero nothing can be chosen."""
        old, new = self.threshold, float(scores[..., 0][targets].mean())
        if old < 0:
            raise ValueError("below zero")
        self.threshold = self.hparams["threshold"] = new
        return {"threshold": {"old": old, "new": new}, "f1": 0.5, "frames": 2}


class Marked(ArrayNode):
    """What is marked in the data, while it is validated on."""

    INPUT_SPECS: ClassVar[dict[str, PortSpec]] = {"mask": PortSpec(np.integer, (-1, -1, -1))}
    OUTPUT_SPECS: ClassVar[dict[str, PortSpec]] = {"mask": PortSpec(np.bool_, (-1, -1, -1))}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(execution_stages=["val"], **kwargs)

    def forward(self, mask: Any) -> dict[str, Any]:
        """Return it."""
        return {"mask": mask > 0}


Work = Callable[..., tuple[Any, dict[str, Any]]]


@pytest.fixture
def task(cache: Path, tmp_path: Path) -> Callable[..., Task]:
    """Return a function that makes the task of learning from two cubes."""
    for each in (Center, Judge, Marked):
        NodeRegistry.register(each)
    for number in range(2):
        np.save(tmp_path / f"{number}.npy", np.full((2, 2, 3), number, np.float32))

    def make(
        names: tuple[str, ...] = ("center",),
        graph: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] = MappingProxyType({}),
        **changes: Any,
    ) -> Task:
        config = graph or {
            "nodes": [{"name": name, "class_name": "Center"} for name in names],
            "edges": [{"source": f"{one}.cube", "target": f"{other}.cube"} for one, other in pairwise(names)],
        }
        with NodeRegistry(discover=False) as registry:
            pipeline = Pipeline.from_dict(config, node_registry=registry, allow_untrained=True)
            nodes = json.loads(json.dumps(node_records(registry, pipeline)))
            state = write_state(pipeline, tmp_path / "before")
        given: dict[str, Any] = {
            "trainer": STATISTICAL,
            "trainrun": {
                "name": "run",
                "pipeline": config,
                "data": {"cubes": str(tmp_path), **data},
                "training": {"max_epochs": 1},
            },
            "state": state,
            "nodes": nodes,
            "plugins": {},
            "cache_dir": str(cache),
            "discover": False,
            "results": None,
            "folder": str(tmp_path),
            "base": str(tmp_path),
        }
        return Task(**(given | changes))

    return make


@pytest.fixture
def work(task: Callable[..., Task]) -> Work:
    """Return a function that does a task, and gives the last message and what the session takes over."""

    def run(
        change: Callable[[Trainer], object] = lambda _: None, said: list[Any] | None = None, **about: Any
    ) -> tuple[Any, dict[str, Any]]:
        answers = io.StringIO()
        trainer = Trainer(Task.from_json(task(**about).to_json().decode()), answers)
        change(trainer)
        trainer.work()
        *told, last = map(json.loads, answers.getvalue().splitlines())
        if said is not None:
            said += [_message(each["said"]) for each in told]
        ended = last["ended"]
        return _message(ended.pop("last")), ended

    return run


def _message(text: str) -> Any:
    return messages().TrainResponse.FromString(base64.b64decode(text))


def _name(field: str, number: int) -> str:
    values = messages().TrainResponse.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    return str(values[number].name)


def test_what_was_learned_is_handed_over(work: Work) -> None:
    """With a message that says so; the pipeline only where it is another one."""
    last, ended = work()
    assert (last.message, _name("status", last.status)) == ("done", "TRAIN_STATUS_COMPLETE")
    assert ended.keys() == {"state", "device", "timings"}
    assert (ended["device"], ended["timings"]) == ("cpu", [])
    assert _means(ended) == {"center": 0.5}
    assert ended["state"]["initialized"] == {"center": True}


def test_all_is_told_from_the_first_to_the_last(work: Work) -> None:
    """Where it is, and of which node."""
    said: list[Any] = []
    last, _ = work(said=said)
    hooks = messages().TrainEvent.DESCRIPTOR.fields_by_name["hook"].enum_type.values_by_number
    assert [(hooks[each.event.hook].name.removeprefix("TRAIN_HOOK_"), each.event.node) for each in (*said, last)] == [
        ("FIT_START", ""),
        ("STATISTICAL_NODE_START", "center"),
        ("STATISTICAL_PROGRESS", "center"),
        ("STATISTICAL_NODE_END", "center"),
        ("FIT_END", ""),
        ("POST_FIT_END", ""),
    ]
    assert not any(each.event.calibration_pending for each in said)


GRAPH: dict[str, Any] = {
    "nodes": [
        {"name": "center", "class_name": "Center"},
        {"name": "judge", "class_name": "Judge", "params": {"threshold": 9.0}},
        {"name": "marked", "class_name": "Marked"},
    ],
    "edges": [{"source": "center.cube", "target": "judge.cube"}],
}


@pytest.fixture
def marked(tmp_path: Path) -> dict[str, Any]:
    """Return data to validate on, a pixel of each of which is marked."""
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "masks").mkdir()
    for number in range(2):
        mask = np.zeros((2, 2), np.uint8)
        mask[0, number] = 1
        image.fromarray(mask).save(tmp_path / "masks" / f"{number}.png")
    return {"masks": str(tmp_path / "masks"), "val_ids": [0, 1]}


@pytest.mark.parametrize(("threshold", "skipped"), [(9.0, False), (-1.0, True)])
def test_thresholds_are_chosen_and_handed_over(
    work: Work, tmp_path: Path, marked: dict[str, Any], threshold: float, *, skipped: bool
) -> None:
    """With the pipeline, as its nodes are built with other values now; where none was chosen, that is said."""
    first, judge, last = GRAPH["nodes"]
    graph = {**GRAPH, "nodes": [first, {**judge, "params": {"threshold": threshold}}, last]}
    write_weights(tmp_path / "known.safetensors", {"center": {"mean": np.array([0.25])}}, {})
    known = State(str(tmp_path / "known.safetensors"), {"center": True})
    said: list[Any] = []
    end, ended = work(graph=graph, data=marked, trainer=CALIBRATION, state=known, said=said)
    assert (end.message, _name("status", end.status)) == ("done", "TRAIN_STATUS_COMPLETE")
    assert [each.event.split for each in said] == [2] * len(said)
    assert (said[1].event.progress.done, said[1].event.progress.total) == (1, 2)
    outcome = said[-1].event.calibration
    assert (outcome.applicable, outcome.split, outcome.frames, outcome.anomalous_frames) == (True, 2, 2, 2)
    assert (said[-1].message, outcome.phase_detail) == ("", "")
    assert outcome.phase_skip == enum_value("CalibrationPhaseSkip", "CALIBRATION_PHASE_SKIP_NONE")
    (decider,) = outcome.deciders
    status, reason = ("SKIPPED", "CALIBRATE_FAILED") if skipped else ("CALIBRATED", "NONE")
    assert decider.status == enum_value("DeciderCalibrationStatus", f"DECIDER_CALIBRATION_STATUS_{status}")
    assert decider.skip == enum_value("DeciderSkip", f"DECIDER_SKIP_{reason}")
    about = (decider.name, decider.class_name, decider.skip_detail, decider.thresholds_present)
    assert about == ("judge", "Judge", "ValueError: below zero" if skipped else "", not skipped)
    found = {name: (each.before, each.after) for name, each in decider.thresholds.items()}
    # The cubes are 0 and 1, less what is known: the mean of a pixel of each.
    assert found == ({} if skipped else {"threshold": (9.0, 0.25)})
    assert dict(decider.metrics) == ({} if skipped else {"f1": 0.5})
    assert ("pipeline" in ended) == (not skipped)
    if not skipped:
        assert ended["pipeline"]["nodes"][1]["params"]["threshold"] == 0.25


def test_thresholds_that_stay_are_said(work: Work, marked: dict[str, Any]) -> None:
    """Of nodes that are to stay as they are, and of a pipeline in which nothing says what is marked."""
    first, judge, _ = GRAPH["nodes"]
    said: list[Any] = []
    work(graph=GRAPH, said=said)
    assert [each.event.calibration_pending for each in said] == [False] * (len(said) - 1) + [True]
    said.clear()
    graph = {**GRAPH, "nodes": [first, judge]}
    work(graph=graph, data=marked, trainer=CALIBRATION, said=said)
    outcome = said[-1].event.calibration
    assert (outcome.applicable, len(outcome.deciders)) == (True, 0)
    assert outcome.phase_skip == enum_value("CalibrationPhaseSkip", "CALIBRATION_PHASE_SKIP_AMBIGUOUS_MASK")
    assert said[-1].message == outcome.phase_detail
    assert "one output 'mask' of booleans" in outcome.phase_detail


def test_what_nodes_knew_before_stays(work: Work, tmp_path: Path) -> None:
    """Those alone learn that wait for it."""
    _, ended = work()
    np.save(tmp_path / "2.npy", np.full((2, 2, 3), 7, np.float32))
    _, ended = work(state=State(**ended["state"]))
    assert _means(ended) == {"center": 0.5}
    assert _means(work()[1]) != {"center": 0.5}


@pytest.mark.parametrize(("skip", "times"), [(None, {}), (0, {"first": 2}), (1, {"first": 1})])
def test_times_of_nodes_are_handed_over_where_they_are_taken(
    work: Work, skip: int | None, times: dict[str, int]
) -> None:
    """Those of its data alone that come after the first so many."""
    _, ended = work(names=("first", "center"), skip=skip)
    assert {node: len(each) for node, _, each in ended["timings"]} == times


def test_paths_begin_where_the_server_was_told(work: Work, tmp_path: Path) -> None:
    """Not in the folder that this process happens to run in."""
    trainrun = {"name": "run", "pipeline": {"nodes": [{"name": "center", "class_name": "Center"}]}}
    _, ended = work(trainrun={**trainrun, "data": {"cubes": "1.npy"}})
    assert _means(ended) == {"center": 1.0}


def test_files_of_another_training_are_refused_and_stay(work: Work, tmp_path: Path) -> None:
    """In words for who calls, not for who types a command."""
    file = tmp_path / "out" / "unfinished" / "resume.ckpt"
    file.parent.mkdir(parents=True)
    file.touch()
    last, ended = work(trainer=GRADIENT, results=str(tmp_path / "out"))
    assert "files in 'unfinished' ('resume.ckpt')" in last.message
    assert last.message.endswith("output_dir in the trainrun")
    assert (ended["error"]["kind"], ended["error"]["code"]) == ("TrainingError", "FAILED_PRECONDITION")
    assert file.exists()


def _means(ended: Mapping[str, Any]) -> dict[str, float]:
    """Return what was learned and handed over."""
    return {node: float(each["mean"][0]) for node, each in read_weights(Path(ended["state"]["file"])).state.items()}


@pytest.mark.parametrize(
    ("results", "made", "kept"),
    [
        (None, None, "what was learned so far stays"),
        ("out", None, "no epoch was saved yet, and the same trainrun begins anew"),
        ("out", "out/unfinished/resume.ckpt", "the same trainrun goes on from the last epoch that was saved"),
    ],
)
def test_a_training_that_is_stopped_says_what_stays(
    work: Work, tmp_path: Path, results: str | None, made: str | None, kept: str
) -> None:
    """Before its next node."""
    if made is not None:
        (tmp_path / made).parent.mkdir(parents=True)
        (tmp_path / made).touch()
    last, ended = work(lambda trainer: trainer.run.ask(), results=results and str(tmp_path / results))
    assert (last.message, _name("status", last.status)) == (f"stopped; {kept}", "TRAIN_STATUS_CANCELLED")
    assert "error" not in ended


def test_whatever_ends_a_training_is_told(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what is no error of Python's; what was known before is handed over all the same."""
    monkeypatch.setattr(Center, "LIKES", False)
    last, ended = work()
    assert (last.message, _name("status", last.status)) == ("The server failed.", "TRAIN_STATUS_ERROR")
    assert ended.keys() == {"state", "device", "timings", "error"}
    told = ended["error"]
    assert (told["kind"], told["code"], told["words"]) == ("SystemExit", "INTERNAL", "The server failed.")
    assert "SystemExit: no more" in told["trace"]


def test_other_code_than_that_of_the_session_is_not_trained(work: Work) -> None:
    """What would be trained is another pipeline, which is said; nothing is handed over."""
    records = [{"name": "center", "class": "elsewhere.Center"}]
    last, ended = work(nodes=records)
    assert _name("status", last.status) == "TRAIN_STATUS_ERROR"
    assert last.message.startswith("The code of node 'center' (")
    assert "has changed since the session loaded it: what would be trained is another pipeline." in last.message
    assert (ended["error"]["kind"], ended["error"]["trace"]) == ("TrainingError", "")
    assert ended.keys() == {"error"}


PRINTER = """\
import os
import time

import numpy as np
from cuvis_ai_core.node import ArrayNode, PortSpec


class Printer(ArrayNode):
    INPUT_SPECS = OUTPUT_SPECS = {"cube": PortSpec(np.floating, (-1, -1, -1, -1))}

    def statistical_initialization(self, input_stream):
        print("printed", os.nice(0), flush=True)
        os.write(1, b"written")
        for _ in input_stream:
            pass
        time.sleep(600)

    def forward(self, cube):
        return {"cube": cube}
"""


@pytest.mark.skipif(not hasattr(os, "nice"), reason="this system has no niceness")
def test_a_training_ends_with_whoever_started_it(
    task: Callable[..., Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its node does; it lets others go first, and what nodes print is none of its answers."""
    (tmp_path / "printing_node.py").write_text(PRINTER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    given = task(graph={"nodes": [{"name": "printer", "class_name": "printing_node.Printer"}]})
    command = [sys.executable, "-m", trainer_program.__name__]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(given.to_json())
        process.stdin.flush()
        messages_of_it = (_message(json.loads(line)["said"]) for line in process.stdout)
        try:
            ends = messages().TrainEvent.DESCRIPTOR.fields_by_name["hook"].enum_type.values_by_name
            until = ends["TRAIN_HOOK_STATISTICAL_NODE_END"].number
            assert next((each for each in messages_of_it if each.event.hook == until), None) is not None
            answers, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (answers, process.returncode) == (b"", 0)
    assert f"printed {min(os.nice(0) + 5, 19)}\nwritten" in errors.decode()
