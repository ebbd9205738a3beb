"""What the process of a training tells, seen in this process."""

import base64
import io
import json
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from cuvis_ai_schemas.pipeline import PortSpec

pytest.importorskip("grpc")

from cuvis_ai_core import NodeRegistry, Pipeline
from cuvis_ai_core.grpc.messages.schema_generations import messages
from cuvis_ai_core.grpc.server.node_state_file import State, write_state
from cuvis_ai_core.grpc.server.training.trainer_process import GRADIENT, STATISTICAL, Task, Trainer
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.pipeline.weights.weights_file import read_weights
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


Work = Callable[..., tuple[Any, dict[str, Any]]]


@pytest.fixture
def work(cache: Path, tmp_path: Path) -> Work:
    """Return a function that trains on two cubes, and gives the last message and what the session takes over."""
    NodeRegistry.register(Center)
    for number in range(2):
        np.save(tmp_path / f"{number}.npy", np.full((2, 2, 3), number, np.float32))

    def run(
        change: Callable[[Trainer], object] = lambda _: None, names: tuple[str, ...] = ("center",), **changes: Any
    ) -> tuple[Any, dict[str, Any]]:
        config = {
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
                "data": {"cubes": str(tmp_path)},
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
        answers = io.StringIO()
        trainer = Trainer(Task.from_json(Task(**(given | changes)).to_json().decode()), answers)
        change(trainer)
        trainer.work()
        *_, last = map(json.loads, answers.getvalue().splitlines())
        ended = last["ended"]
        return messages().TrainResponse.FromString(base64.b64decode(ended.pop("last"))), ended

    return run


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
