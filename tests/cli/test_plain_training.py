"""Trainings without gradients and what they say and write, word for word; no torch is needed for them."""

import json
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import yaml
from cuvis_ai_schemas.execution import Metric
from cuvis_ai_schemas.pipeline import PortSpec
from PIL import Image

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.node import ArrayNode

Run = Callable[..., Any]

CUBE = PortSpec(np.float32, (-1, -1, -1, -1))


class Center(ArrayNode):
    """The cube less the mean of the data."""

    INPUT_SPECS: ClassVar[dict[str, PortSpec]] = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar[dict[str, PortSpec]] = {"cube": CUBE}

    def __init__(self, **base: Any) -> None:
        super().__init__(**base)
        self._mean: float | None = None

    def statistical_initialization(self, input_stream: Iterable[Mapping[str, Any]]) -> None:
        """Learn the mean."""
        self._mean = float(np.mean([values["cube"].mean() for values in input_stream]))

    def state_dict(self) -> dict[str, Any]:
        """Return the mean, where there is one."""
        return {} if self._mean is None else {"mean": np.array([self._mean])}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take a mean."""
        self._mean = float(state["mean"][0])

    def forward(self, cube: Any) -> dict[str, Any]:
        """Return the difference."""
        return {"cube": cube - np.float32(self._mean)}


class Darkness(ArrayNode):
    """A loss, and a metric that is no number where all is as dark."""

    INPUT_SPECS: ClassVar[dict[str, PortSpec]] = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar[dict[str, PortSpec]] = {"loss": PortSpec(np.float32, ()), "metrics": PortSpec(list, ())}

    def forward(self, cube: Any, context: Any = None) -> dict[str, Any]:
        """Return the mean, and the range or else nothing."""
        if cube.mean() > 100:
            raise ValueError("it is too bright")
        spread = float(np.ptp(cube)) or float("nan")
        return {"loss": cube.mean(), "metrics": [Metric(name="spread", value=spread, stage=context.stage)]}


class Crossed:
    """A metric that comes to a matrix, as those of torchmetrics do."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self._count = 0

    def update(self, cube: Any) -> None:
        """Count pixels."""
        self._count += cube[..., 0].size

    def compute(self) -> Any:
        """Return the matrix."""
        return np.array([[self._count, 0], [0, 1]])


class Confusion(ArrayNode):
    """A metric that is a matrix and no number."""

    INPUT_SPECS: ClassVar[dict[str, PortSpec]] = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar[dict[str, PortSpec]] = {"metrics": PortSpec(dict, ())}

    def forward(self, cube: Any) -> dict[str, Any]:
        """Return what it is to count."""
        return {"metrics": {"crossed": (Crossed(), cube)}}


TRAINRUN: dict[str, Any] = {
    "name": "night",
    "pipeline": {
        "metadata": {"name": "by night"},
        "nodes": [{"name": "center", "class_name": "Center"}, {"name": "dark", "class_name": "Darkness"}],
        "edges": [{"source": "center.outputs.cube", "target": "dark.inputs.cube"}],
    },
    "data": {"cubes": "scenes", "train_ids": [0, 1], "val_ids": [2, 3], "test_ids": [4]},
    "loss_nodes": ["dark"],
    "metric_nodes": ["dark"],
    "output_dir": "out",
}


@pytest.fixture
def restore(shell: Run, write_yaml: Run, tmp_path: Path) -> Run:
    """Return a function that runs a trainrun on six cubes, and gives status, stderr and stdout by their lines."""
    for node in (Center, Darkness, Confusion):
        NodeRegistry.register(node)
    Path("scenes").mkdir()
    for number, step in enumerate((0, 0, 1, 2, 0, 200)):
        cube = np.full((2, 2, 3), number, np.float32)
        cube[0, 0, 0] += step * 6
        np.save(f"scenes/{number}.npy", cube)

    def run(mode: str, *arguments: str, **content: Any) -> tuple[int, list[str], list[str]]:
        file = write_yaml("run.yaml", {**TRAINRUN, **content})
        result = shell("restore-trainrun", "--trainrun-path", file, "--mode", mode, *arguments)
        here = str(tmp_path / "work")
        said, printed = (
            [re.sub("[─ ]+", " ", line).strip() for line in text.replace(here, "HERE").splitlines() if line.strip()]
            for text in (result.stderr, result.stdout)
        )
        return result.exit_code, said, printed

    return run


VALIDATED = [
    *("night: val", "metric value", "", "loss 2.75", "dark/spread 9"),
    "Means of batches, weighted by their pixels (no output 'weight'): dark.",
]
TESTED = ["night: test", "metric value", "", "loss 3.5", "dark/spread not defined"]


def test_a_metric_node_that_is_not_there_is_left_out(restore: Run) -> None:
    """It is said once, as published trainruns name one that their pipelines do not have."""
    status, said, printed = restore("train", metric_nodes=["dark", "drak"])
    absent = "Warning: metric_nodes: the pipeline has no node 'drak'. Did you mean 'dark'?"
    assert (status, said.count(absent), VALIDATED[4] in printed) == (0, 1, True)
    assert restore("test", metric_nodes=["drak"])[0] == 0


def test_a_long_training_says_how_far_it_is(restore: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without gradients too, where a node goes through all cubes: in lines, some seconds apart."""
    monkeypatch.setattr("cuvis_ai_core.cli.shared.progress._LINE_EVERY", 0.0)
    assert restore("train")[1][:6] == [
        "Initialising center from 2 cubes",
        "Initialising center: 0 of 2 cubes",
        "Initialising center: 1 of 2 cubes",
        "Initialising center: 2 of 2 cubes",
        "Measuring on 2 cubes of 'val'",
        "Measuring on 2 cubes of 'val': 1 of 2 batches",
    ]


def test_a_training_says_and_writes_all(restore: Run) -> None:
    """And says it once more where it has ended before; measuring it again gives the same."""
    assert restore("train") == (
        0,
        [
            "Initialising center from 2 cubes",
            "Measuring on 2 cubes of 'val'",
            "Measuring on 1 cubes of 'test'",
            "Warning: dark/spread is nan for a batch, which is left out of it",
            "Writing HERE/out",
        ],
        [
            *VALIDATED,
            *TESTED,
            "Written to HERE/out: the trained pipeline is pipeline.yaml, run.json says what ran.",
        ],
    )
    names = ["metrics.csv", "pipeline.safetensors", "pipeline.yaml", "run.json", "trainrun.yaml"]
    assert sorted(file.name for file in Path("out").iterdir()) == names
    assert Path("out/metrics.csv").read_text(encoding="utf-8") == "loss,dark/spread\n2.75,9.0\n"
    here = Path.cwd()
    nodes = [{**node, "params": {}} for node in TRAINRUN["pipeline"]["nodes"]]
    assert yaml.safe_load(Path("out/trainrun.yaml").read_text(encoding="utf-8")) == {
        **TRAINRUN,
        "pipeline": {**TRAINRUN["pipeline"], "nodes": nodes},
        "data": {**TRAINRUN["data"], "cubes": [str(here / "scenes")]},
        "output_dir": str(here / "out"),
        "weights": "pipeline.safetensors",
    }
    record = json.loads(Path("out/run.json").read_text(encoding="utf-8"))
    assert record["trainrun"]["file"] == str(here / "run.yaml")
    assert {key: record[key] for key in ("annotations", "validation", "test", "files", "left_out")} == {
        "annotations": [],
        "validation": {"loss": 2.75, "dark/spread": 9.0},
        "test": {"loss": 3.5, "dark/spread": None},
        "files": [{"file": name} for name in names if name != "run.json"],
        "left_out": [],
    }
    assert [node["name"] for node in record["nodes"]] == ["center", "dark"]
    kept = "HERE/out holds this training already, with these settings. --overwrite trains again."
    without = [line for line in VALIDATED if not line.startswith("Means")]
    assert restore("train") == (0, [], [*without, *TESTED, kept])
    assert restore("validate") == (0, ["Measuring on 2 cubes of 'val'"], VALIDATED)
    assert restore("test")[::2] == (0, TESTED)


def test_a_record_that_somebody_changed_is_no_number(restore: Run) -> None:
    """Of what it says was measured, numbers alone are believed."""
    restore("train")
    record = json.loads(Path("out/run.json").read_text(encoding="utf-8"))
    record["validation"] = {"loss": True, "dark/spread": "9", "other": 1, "none": None}
    record["test"] = [1]
    Path("out/run.json").write_text(json.dumps(record), encoding="utf-8")
    status, _, printed = restore("train")
    assert (status, printed[:-1]) == (0, ["night: val", "metric value", "", "other 1", "none not defined"])


@pytest.mark.parametrize(
    ("mode", "content", "lines"),
    [
        (
            "validate",
            {},
            [
                "Error: Trainrun file run.yaml: nothing is trained yet: there are no weights in 'HERE/out'.",
                "Train first, with --mode train, or name the weights: --override weights=pipeline.pt",
            ],
        ),
        (
            "test",
            {"pipeline": {"nodes": [TRAINRUN["pipeline"]["nodes"][1]]}, "data": {"cubes": "scenes", "val_ids": [0]}},
            [
                "Error: Trainrun file run.yaml: no cubes are named for 'test'.",
                "Name them: data.test_ids, or of a data module data.splits.test.",
            ],
        ),
        (
            "validate",
            {"pipeline": {"nodes": [TRAINRUN["pipeline"]["nodes"][1]]}, "loss_nodes": [], "metric_nodes": []},
            [
                "Measuring on 2 cubes of 'val'",
                "Error: Trainrun file run.yaml: no loss or metric node runs in the stage 'val'.",
                "Name nodes in loss_nodes or metric_nodes, and look at their execution_stages.",
            ],
        ),
        (
            "validate",
            {"pipeline": {"nodes": [TRAINRUN["pipeline"]["nodes"][1]]}, "training": {"max_epochs": 2}},
            [
                "Error: Trainrun file run.yaml: nothing is trained yet: there are no weights in 'HERE/out'.",
                "Train first, with --mode train, or name the weights: --override weights=pipeline.pt",
            ],
        ),
    ],
)
def test_what_cannot_be_measured_is_said(restore: Run, mode: str, content: dict[str, Any], lines: list[str]) -> None:
    """With what to do, and nothing is written."""
    assert restore(mode, **content) == (2, lines, [])
    assert not Path("out").exists()


def test_a_matrix_alone_is_a_measure(restore: Run) -> None:
    """Also where no loss node runs and no metric is a number."""
    pytest.importorskip("matplotlib")
    alone = {"pipeline": {"nodes": [{"name": "pixels", "class_name": "Confusion"}]}, "loss_nodes": []}
    status, _, printed = restore("validate", **alone, metric_nodes=["pixels"])
    assert (status, printed) == (0, ["Written to HERE/out/val: the confusion matrices; run.json says what ran."])
    assert Path("out/val/pixels.crossed.csv").read_text(encoding="utf-8").splitlines()[1:] == ["0,8,0", "1,0,1"]


def test_what_was_not_trained_here_is_measured(restore: Run) -> None:
    """Where nothing is to be learned, or by the weights that training would begin from."""
    nothing_learned = {"pipeline": {"nodes": [TRAINRUN["pipeline"]["nodes"][1]]}}
    assert restore("test", **nothing_learned)[2] == [*TESTED[:3], "loss 4", TESTED[4]]
    restore("train", output_dir="first")
    begun = {"initial_weights": "first/pipeline.safetensors", "training": {"max_epochs": 2}}
    assert restore("test", **begun)[2] == TESTED


def test_what_cannot_be_tested_on_is_said(restore: Run) -> None:
    """What was trained is there all the same; a part that is not there is passed over without a word."""
    data = {**TRAINRUN["data"], "test_ids": [5]}
    status, said, printed = restore("train", data=data)
    assert (status, printed[:-1]) == (0, VALIDATED)
    (warning,) = (line for line in said if line.startswith("Warning"))
    assert warning.startswith(
        "Warning: the trained pipeline is not tested: Node 'dark' failed in stage 'test': ValueError: it is too bright"
    )
    del data["test_ids"]
    assert restore("train", "--overwrite", data=data)[1:] == (
        ["Initialising center from 2 cubes", "Measuring on 2 cubes of 'val'", "Writing HERE/out"],
        [*VALIDATED, "Written to HERE/out: the trained pipeline is pipeline.yaml, run.json says what ran."],
    )


def test_a_cube_that_cannot_be_measured_is_named(restore: Run) -> None:
    """With its file, wherever a part of the data is measured."""
    np.save("scenes/4.npy", np.full((2, 2, 3), np.nan, np.float32))
    status, said, _ = restore("train")
    told = "cube 4 ('HERE/scenes/4.npy'): left out, since it holds values that are no numbers"
    assert (status, sum(told in line for line in said)) == (0, 1), said


def test_annotations_and_published_copies_are_written(restore: Run) -> None:
    """The record says which classes there are; copies lie where published tools look."""
    Path("scenes/masks").mkdir()
    for number in range(6):
        Image.fromarray(np.ones((2, 2), np.uint8)).save(f"scenes/masks/{number}.png")
    nodes = [{**node, "hparams": {}} for node in TRAINRUN["pipeline"]["nodes"]]
    pipeline = {**TRAINRUN["pipeline"], "nodes": nodes}
    status, said, _ = restore("train", pipeline=pipeline, data={**TRAINRUN["data"], "masks": "scenes/masks"})
    assert status == 0, said
    record = json.loads(Path("out/run.json").read_text(encoding="utf-8"))
    assert record["annotations"] == [{"path": str(Path("scenes/masks").absolute()), "classes": {}, "remarks": []}]
    written = yaml.safe_load(Path("out/trainrun.yaml").read_text(encoding="utf-8"))
    assert written["pipeline"]["nodes"] == nodes
    copies = Path("out/trained_models")
    assert sorted(file.name for file in copies.iterdir()) == [
        *("by_night_restored.safetensors", "by_night_restored.yaml", "run.json")
    ]
    for suffix in (".yaml", ".safetensors"):
        copy = copies / f"by_night_restored{suffix}"
        assert copy.read_bytes() == Path("out/pipeline").with_suffix(suffix).read_bytes()
    assert json.loads((copies / "run.json").read_text(encoding="utf-8"))["validation"] == {}


@pytest.mark.slow
def test_the_console_script_trains_in_an_interpreter_of_its_own(tmp_path: Path) -> None:
    """As a user runs it; given again it has nothing to do, and other settings are refused."""
    rng = np.random.default_rng(0)
    (tmp_path / "scenes").mkdir()
    for number in range(3):
        np.save(tmp_path / f"scenes/{number}.npy", rng.random((4, 5, 3), np.float32))
    nodes = [{"name": "norm", "class_name": "MinMaxNormalizer"}, {"name": "rx", "class_name": "RXDetector"}]
    edges = [{"source": "norm.outputs.cube", "target": "rx.inputs.cube"}]
    pipeline = {"metadata": {"name": "rx"}, "nodes": nodes, "edges": edges}
    data = {"cubes": "scenes", "train_ids": [0, 1], "val_ids": [2]}
    trainrun = {"name": "plain", "pipeline": pipeline, "data": data, "output_dir": "out"}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(trainrun), encoding="utf-8")
    script = shutil.which("restore-trainrun", path=sysconfig.get_path("scripts"))
    assert script is not None

    def run(*arguments: str) -> tuple[int, str]:
        command = [script, "--trainrun-path", "run.yaml", "--mode", "train", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    status, said = run()
    assert status == 0, said
    assert f"Written to {tmp_path / 'out'}: the trained pipeline is pipeline.yaml" in said
    assert {"pipeline.yaml", "run.json"} <= {file.name for file in (tmp_path / "out").iterdir()}
    status, said = run()
    assert (status, "holds this training already" in said) == (0, True), said
    status, said = run("--override", "data.batch_size=2")
    assert (status, "data.batch_size: 1 there, 2 now" in said) == (2, True), said
