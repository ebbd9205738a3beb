"""What `restore-trainrun` shows of a trainrun, word for word."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from cuvis_ai_schemas.pipeline import PortSpec
from PIL import Image

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.node import ArrayNode

Run = Callable[..., Any]

CUBE = PortSpec(np.float32, (-1, -1, -1, -1))


class Center(ArrayNode):
    """A node that is initialised from statistics."""

    INPUT_SPECS: ClassVar[dict[str, PortSpec]] = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar[dict[str, PortSpec]] = {"cube": CUBE}

    def statistical_initialization(self, input_stream: Any) -> None:
        """Learn nothing."""

    def forward(self, cube: Any) -> dict[str, Any]:
        """Return the cube."""
        return {"cube": cube}


class Darkness(ArrayNode):
    """A loss."""

    INPUT_SPECS: ClassVar[dict[str, PortSpec]] = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar[dict[str, PortSpec]] = {"loss": PortSpec(np.float32, ())}

    def forward(self, cube: Any) -> dict[str, Any]:
        """Return the mean."""
        return {"loss": cube.mean()}


PIPELINE: dict[str, Any] = {
    "nodes": [{"name": "dark", "class_name": "Darkness"}, {"name": "center", "class_name": "Center"}],
    "edges": [{"source": "center.cube", "target": "dark.cube"}],
}
UNLOADED = [{"name": "far", "class_name": "Far"}, {"name": "further", "class_name": "Far"}]
TRAINING = {
    "max_epochs": 7,
    "seed": 5,
    "optimizer": {"name": "sgd", "lr": 0.25},
    "scheduler": {"name": "cosine"},
    "accelerator": "cpu",
}
STOPPING = {"early_stopping": [{"monitor": "val_loss", "patience": 3}, {"monitor": "train_loss", "patience": 4}]}
DATA = {"cubes": "scenes", "masks": "scenes/masks", "train_ids": [0, 1], "val_ids": [2], "batch_size": 2}


@pytest.fixture
def show(shell: Run, write_yaml: Run, tmp_path: Path) -> Run:
    """Return a function that shows a trainrun on three cubes and gives the lines: warnings first, blanks as one."""
    for node in (Center, Darkness):
        NodeRegistry.register(node)
    Path("scenes/masks").mkdir(parents=True)
    for number in range(3):
        np.save(f"scenes/{number}.npy", np.ones((2, 2, 3), np.float32))
        Image.fromarray(np.ones((2, 2), np.uint8)).save(f"scenes/masks/{number}.png")

    def run(*arguments: str, **content: Any) -> list[str]:
        trainrun = {"name": "night", "pipeline": PIPELINE, "data": DATA, "loss_nodes": ["dark"], **content}
        result = shell("restore-trainrun", "--trainrun-path", write_yaml("run.yaml", trainrun), *arguments)
        assert result.exit_code == 0, result.output
        stderr, stdout = (text.replace(str(tmp_path / "work"), "HERE") for text in (result.stderr, result.stdout))
        return [*stderr.splitlines(), *(re.sub("[─ ]+", " ", line).strip() for line in stdout.splitlines())]

    return run


def test_all_that_a_trainrun_says_is_shown(show: Run, write_yaml: Run) -> None:
    """What is missing is said in its place, and of plugins where they are from, without credentials."""
    plugins = {
        "sent": {"repo": "https://me:secret@example.org/g.git", "tag": "v1", "provides": ["g.A"]},
        "here": {"path": "code", "provides": ["l.B"]},
    }
    write_yaml("lab's.yaml", {"plugins": plugins})
    Path("outputs").mkdir()
    Path("outputs/pipeline.pt").touch()
    assert show(
        pipeline={**PIPELINE, "nodes": [*PIPELINE["nodes"], *UNLOADED]},
        data={**DATA, "masks": {"train": "scenes/masks", "val": "gone"}},
        training={**TRAINING, "callbacks": STOPPING},
        loss_nodes=["far", "dark"],
        metric_nodes=["drak"],
        freeze_nodes=["dark"],
        unfreeze_nodes=["center"],
        initial_weights="run.yaml",
        plugins_path="lab's.yaml",
    ) == [
        "Warning: metric_nodes: the pipeline has no node 'drak'. Did you mean 'dark'?",
        *("night", "run.yaml", ""),
        *("Pipeline", "", "", ""),
        "nodes center, far, further, dark",
        "not loaded far, further",
        "plugins HERE/lab's.yaml",
        "initialised from statistics center",
        "loss_nodes far, dark",
        "metric_nodes drak",
        "freeze_nodes dark",
        "unfreeze_nodes center",
        "initial weights HERE/run.yaml",
        *("", "Data", "", "part cubes batches annotations", ""),
        "train 2 1 HERE/scenes/masks",
        "val - - missing: There are no annotations at 'HERE/gone'.",
        "test 0 0 none",
        *("", "Training", "", "", ""),
        "epochs at most 7",
        "optimizer sgd, lr 0.25",
        "scheduler cosine",
        "early stopping val_loss, patience 3; train_loss, patience 4",
        "seed 5",
        "accelerator cpu",
        "",
        "Output directory: HERE/outputs",
        "Trained weights: HERE/outputs/pipeline.pt",
        "",
        "Training, validating and testing load the plugins of HERE/lab's.yaml; to show it, none was loaded:",
        "sent: https://example.org/g.git v1",
        "here: HERE/code",
        (
            "To see their nodes, load them with: restore-trainrun --trainrun-path run.yaml --plugins-path "
            "'HERE/lab'\"'\"'s.yaml'"
        ),
    ]


def test_a_trainrun_that_says_little_is_shown(show: Run, write_yaml: Run) -> None:
    """What it does not say is shown as none, and no error is made of plugins that cannot be read."""
    shown = show(training=TRAINING)
    assert shown == [
        *("night", "run.yaml", ""),
        *("Pipeline", "", "", ""),
        "nodes center, dark",
        "plugins none",
        "initialised from statistics center",
        "loss_nodes dark",
        "metric_nodes none",
        "freeze_nodes none",
        "unfreeze_nodes none",
        "initial weights none",
        *("", "Data", "", "part cubes batches annotations", ""),
        "train 2 1 HERE/scenes/masks",
        "val 1 1 HERE/scenes/masks",
        "test 0 0 HERE/scenes/masks",
        *("", "Training", "", "", ""),
        "epochs 7",
        "optimizer sgd, lr 0.25",
        "scheduler cosine",
        "early stopping no",
        "seed 5",
        "accelerator cpu",
        "",
        "Output directory: HERE/outputs",
        "Trained weights: none yet; train with --mode train",
    ]
    write_yaml("plugins.yaml", {"plugins": 3})
    broken = show(training=TRAINING)
    assert broken[0].startswith("Warning: HERE/plugins.yaml:1: plugins: is the number 3, not a mapping")
    assert broken[-len(shown) :] == [line.replace("plugins none", "plugins HERE/plugins.yaml") for line in shown]


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({"data_module": "belt"}, "all of the data module 'belt', which training asks for them - -"),
        (
            {"cubes": ["https://example.org/a.npy", "scenes"]},
            "all at addresses, which training asks: https://example.org/a.npy - -",
        ),
        ({"cubes": "gone"}, "all missing: There is no file or folder 'HERE/gone'. - -"),
    ],
)
def test_a_pipeline_or_data_that_are_not_there_are_said(show: Run, data: dict[str, Any], line: str) -> None:
    """With the command that loads the plugin which may bring a pipeline along."""
    assert show(pipeline="my pipeline", data=data) == [
        *("night", "run.yaml", ""),
        *("Pipeline", "", "", ""),
        "pipeline missing: my pipeline",
        "plugins none",
        "loss_nodes dark",
        "metric_nodes none",
        "freeze_nodes none",
        "unfreeze_nodes none",
        "initial weights none",
        *("", "Data", "", "part cubes batches annotations", "", line),
        *("", "Training", "", "", "", "by gradient no"),
        "",
        "Output directory: HERE/outputs",
        "Trained weights: none yet; train with --mode train",
        "",
        (
            "There is no pipeline 'my pipeline'. If a plugin brings it along, load that with: restore-trainrun "
            "--trainrun-path run.yaml --plugins-path plugins.yaml"
        ),
    ]


def test_nodes_that_loaded_plugins_do_not_provide_are_said(show: Run, write_yaml: Run) -> None:
    """By the manifest that was given, after which none is named to be loaded."""
    nodes = [*PIPELINE["nodes"], UNLOADED[0]]
    write_yaml("none.yaml", {"plugins": {}})
    shown = show("--plugins-path", "none.yaml", pipeline={**PIPELINE, "nodes": nodes})
    assert shown[-4:] == [
        "Trained weights: none yet; train with --mode train",
        "",
        "1 of 3 nodes is not loaded: far.",
        (
            "'HERE/none.yaml' does not provide them; add the plugins that do, and load nodes of plugins with: "
            "restore-trainrun --trainrun-path run.yaml --plugins-path HERE/none.yaml"
        ),
    ]
