"""Trainings at the command line, with a plugin of torch nodes from a manifest."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

torch = pytest.importorskip("torch")

Run = Callable[..., Any]

PLUGIN = Path(__file__).parents[1] / "projects" / "trainable_nodes"
PIPELINE: dict[str, Any] = {
    "metadata": {"name": "scores"},
    "nodes": [
        {"name": "center", "class": "Center"},
        {"name": "scores", "class": "Scores", "hparams": {"channels": 3}},
        {"name": "error", "class": "SquaredError"},
        {"name": "accuracy", "class": "Accuracy"},
    ],
    "connections": [
        {"from": "center.outputs.cube", "to": "scores.inputs.cube"},
        {"from": "scores.outputs.scores", "to": "error.inputs.scores"},
        {"from": "scores.outputs.scores", "to": "accuracy.inputs.scores"},
    ],
}
TRAINRUN: dict[str, Any] = {
    "name": "bright pixels",
    "pipeline": PIPELINE,
    "data": {"cubes": "scenes", "masks": "scenes/masks", "train_ids": [0, 1, 2, 3], "val_ids": [4, 5], "test_ids": [6]},
    "training": {"seed": 3, "max_epochs": 4, "optimizer": {"name": "adam", "lr": 0.05}, "accelerator": "cpu"},
    "loss_nodes": ["error"],
    "metric_nodes": ["accuracy"],
    "output_dir": "trained",
}


@pytest.fixture
def project(shell: Run, write_yaml: Run, tmp_path: Path) -> Path:
    """Go to a folder with a trainrun, its manifest, and 7 cubes of 4 x 5 pixels with masks; give the trainrun."""
    shutil.copytree(PLUGIN, tmp_path / "trainable_nodes")
    provides = [f"trainable_nodes.{name}" for name in ("Center", "Scores", "SquaredError", "Accuracy")]
    write_yaml("plugins.yaml", {"plugins": {"trainable": {"path": "../trainable_nodes", "provides": provides}}})
    random = np.random.default_rng(7)
    Path("scenes/masks").mkdir(parents=True)
    for number in range(7):
        cube = random.random((4, 5, 3), dtype=np.float32)
        np.save(f"scenes/{number}.npy", cube)
        Image.fromarray((cube[..., 1] > 0.5).astype(np.uint8)).save(f"scenes/masks/{number}.png")
    path: Path = write_yaml("run.yaml", TRAINRUN)
    return path


@pytest.fixture
def restore(shell: Run, project: Path) -> Run:
    """Return a function that runs `restore-trainrun` on the trainrun of the project."""

    def run(*arguments: str | Path, path: str | Path = project) -> Any:
        return shell("restore-trainrun", "--trainrun-path", path, *arguments)

    return run


def _table(output: str, part: str = "") -> dict[str, float]:
    """Return the first table of numbers; `test` is the second one, after a training."""
    tables = re.split(r"^\s*metric\s+value\s*$", output, flags=re.MULTILINE)[1:]
    wanted = tables[1 if part == "test" else 0] if tables else ""
    rows = re.findall(r"^\s*(\S+)\s+([-\d.e]+)\s*$", wanted, re.MULTILINE)
    return {name: float(value) for name, value in rows}


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _weights(folder: Path) -> Any:
    return torch.load(folder / "pipeline.pt", weights_only=True)["state_dict"]


def _equal(left: Any, right: Any) -> bool:
    return left.keys() == right.keys() and all(
        torch.equal(left[node][key], right[node][key]) for node in left for key in left[node]
    )


def test_info(restore: Run) -> None:
    """Without a mode the trainrun is shown, with the plugins that the user names, and nothing is written."""
    result = restore()
    assert result.exit_code == 0, result.output
    assert re.search(r"not loaded +center, scores, error, accuracy", result.output), result.output
    assert re.search(r"load the plugins of .*plugins.yaml; to show it, none was loaded:\n  trainable: ", result.output)
    result = restore("--plugins-path", "plugins.yaml")
    assert result.exit_code == 0, result.output
    for words in (
        "bright pixels",
        r"initialised from statistics +center",
        r"loss_nodes +error",
        r"train +4 +4 +.*masks",
        r"optimizer +adam, lr 0.05",
        "Trained weights: none yet",
    ):
        assert re.search(words, result.output), result.output
    assert not Path("trained").exists()


def _overrides(changes: list[str]) -> list[str]:
    return [word for change in changes for word in ("--override", change)]


def test_thresholds_are_calibrated(restore: Run, write_yaml: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a training, by the data to validate on; said, written and evaluated with; frozen ones stay."""
    nodes = [
        *PIPELINE["nodes"],
        {"name": "marked", "class": "Marked"},
        {"name": "decider", "class": "Decider", "hparams": {"threshold": 9.0}},
    ]
    edges = [*PIPELINE["connections"], {"from": "scores.outputs.scores", "to": "decider.inputs.logits"}]
    provides = [f"trainable_nodes.{node['class']}" for node in nodes]
    manifest = {"plugins": {"trainable": {"path": "../trainable_nodes", "provides": provides}}}
    write_yaml("plugins.yaml", manifest)
    run = write_yaml("decided.yaml", {**TRAINRUN, "pipeline": {**PIPELINE, "nodes": nodes, "connections": edges}})
    result = restore("--plugins-path", "plugins.yaml", "--mode", "train", path=run)
    assert result.exit_code == 0, result.output
    (told,) = re.findall(r"Threshold: decider: threshold 9 -> (\S+)", result.output)
    recorded = json.loads(Path("trained/run.json").read_text(encoding="utf-8"))["calibration"]
    assert recorded["skipped"] is None
    assert recorded["images"] == 2
    assert recorded["nodes"]["decider"]["thresholds"]["threshold"] == {
        "before": 9.0,
        "after": pytest.approx(float(told), rel=1e-4),
    }
    for file in ("pipeline.yaml", "trained_models/scores_restored.yaml"):
        written = yaml.safe_load(Path("trained", file).read_text(encoding="utf-8"))["nodes"][-1]["hparams"]
        assert written["threshold"] == pytest.approx(float(told), rel=1e-4)
    from cuvis_ai_core.training.trainrun_pipeline import build_pipeline

    used = []

    def built(*arguments: Any) -> Any:
        pipeline = build_pipeline(*arguments)
        used.append(pipeline.nodes["decider"].hparams["threshold"])
        return pipeline

    with monkeypatch.context() as patch:
        patch.setattr("cuvis_ai_core.cli.restore.run_training.build_pipeline", built)
        for change in ([], ["weights=trained/pipeline.pt"], ["pipeline.nodes.decider.hparams.threshold=5"]):
            result = restore("--plugins-path", "plugins.yaml", "--mode", "validate", *_overrides(change), path=run)
            assert result.exit_code == 0, result.output
    assert used == [pytest.approx(float(told), rel=1e-4)] * 2 + [5]
    frozen = ("--override", "freeze_nodes=[decider]", "--override", "output_dir=frozen")
    result = restore("--plugins-path", "plugins.yaml", "--mode", "train", *frozen, path=run)
    assert result.exit_code == 0, result.output
    assert "Threshold" not in result.output
    assert "threshold: 9.0" in Path("frozen/pipeline.yaml").read_text(encoding="utf-8")


def test_info_without_data(restore: Run) -> None:
    """Data that are not there are said to be missing; the rest is shown."""
    shutil.rmtree("scenes")
    result = restore()
    assert result.exit_code == 0, result.output
    assert re.search(r"all +missing: There is no file or folder '.*scenes'", result.output), result.output


def test_info_without_plugins(restore: Run, write_yaml: Run) -> None:
    """They are named, with the command that loads them; a manifest may be missing."""
    Path("plugins.yaml").rename("lab.yaml")
    result = restore()
    assert (result.exit_code, result.stderr) == (0, "")
    assert re.search(r"not loaded +center, scores, error, accuracy", result.output), result.output
    assert result.output.endswith(
        "Load nodes of plugins with: restore-trainrun --trainrun-path run.yaml --plugins-path plugins.yaml\n"
    )
    named = restore(path=write_yaml("named.yaml", {**TRAINRUN, "plugins_path": "gone.yaml"}))
    assert named.exit_code == 0
    assert "there is no manifest 'gone.yaml'" in named.stderr
    assert "4 of 4 nodes are not loaded" in named.stdout
    write_yaml("plugins.yaml", {"plugins": {"trainable": {"path": "gone", "provides": ["trainable_nodes.Center"]}}})
    assert restore("--plugins-path", "plugins.yaml").exit_code == 1
    wrong = restore("--override", "loss_nodes=[eror]")
    assert wrong.exit_code == 2
    assert "Did you mean 'error'?" in wrong.stderr


def test_info_without_weights_or_pipeline(restore: Run) -> None:
    """They are said to be missing; the rest is shown."""
    result = restore("--override", "weights=w.pt", "--override", "initial_weights=first.pt")
    assert result.exit_code == 0, result.output
    assert re.search(r"initial weights +missing: .*first.pt", result.output), result.output
    assert re.search(r"Trained weights: missing: .*w.pt", result.output), result.output
    result = restore("--override", "pipeline=of_a_plugin")
    assert result.exit_code == 0, result.output
    assert re.search(r"pipeline +missing: of_a_plugin", result.output), result.output
    assert re.search(r"train +4 +4 +.*masks", result.output), result.output


LOADER = Path(__file__).parents[1] / "projects" / "published_loader"
BELT = {"class_name": "belt_loader.BeltModule", "kind": "data_module", "data_module_name": "belt", "extras": ["npy"]}


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the package of data modules on the path, as if it were installed."""
    pytest.importorskip("cuvis_ai_schemas.training.data")
    monkeypatch.syspath_prepend(LOADER)
    monkeypatch.setenv("PYTHONPATH", str(LOADER))
    yield
    sys.modules.pop("belt_loader", None)


def _of_module(write_yaml: Run, name: str, **more: Any) -> Path:
    """Write a trainrun on a data module, and the manifest that knows it, in a folder above it."""
    for folder in ("configs/plugins", "manifests"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    manifest = {"name": "loader", "path": "../loader", "package_name": "belt-loader", "capabilities": [BELT]}
    write_yaml("configs/plugins/loader.yaml", manifest)
    ids = {
        part: [f"scenes/{number}.npy" for number in TRAINRUN["data"][f"{part}_ids"]]
        for part in ("train", "val", "test")
    }
    splits = {part: [{"kind": "files", "paths": paths}] for part, paths in ids.items()}
    data = {"data_module": "belt", "splits": splits, "params": {"folder": "scenes"}, **more}
    path: Path = write_yaml(name, {**TRAINRUN, "data": data})
    return path


def test_data_of_a_data_module(restore: Run, write_yaml: Run, loader: None) -> None:
    """Of an installed package that a manifest beside the trainrun knows; what is learned is as from the same cubes."""
    assert restore("--mode", "train").exit_code == 0
    expected = _rows(Path("trained/metrics.csv"))
    path = _of_module(write_yaml, "newer.yaml")
    shown = restore(path=path)
    assert re.search(r"all +of the data module 'belt'", shown.output), shown.output
    assert "belt_loader" not in sys.modules
    result = restore("--mode", "train", "--override", "output_dir=newer", path=path)
    assert result.exit_code == 0, result.output
    assert [row["val_loss"] for row in _rows(Path("newer/metrics.csv"))] == [row["val_loss"] for row in expected]
    for mode in ("validate", "test"):
        result = restore("--mode", mode, "--override", "output_dir=newer", path=path)
        assert result.exit_code == 0, result.output
        assert "bright pixels: " in result.output
    again = restore("--mode", "test", path="newer/trainrun.yaml")
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"data_module": "blet"}, "No manifest names the data module 'blet'. Did you mean 'belt'"),
        ({"data_module": "gone.Module"}, "'gone.Module' is gone.Module, which cannot be imported"),
        (
            {"params": {"folder": "gone"}},
            "The data module 'belt' refuses data.params: ValueError: there is no folder gone",
        ),
        ({"params": {"folder": "scenes", "speed": 3}}, "unexpected keyword argument 'speed'"),
        ({"splits": {"train": [{"kind": "stems", "stems": ["9"]}]}}, "matched 0 samples of 7"),
        ({"splits": {"splits_path": "gone.json"}}, "gone.json: it cannot be read"),
        ({"cubes": "scenes"}, "data.cubes: is an unknown key; known keys: data_module, splits"),
    ],
)
def test_data_modules_that_cannot_be_had(
    restore: Run, write_yaml: Run, loader: None, change: dict[str, Any], problem: str
) -> None:
    """One error each, before anything is trained."""
    result = restore("--mode", "train", path=_of_module(write_yaml, "newer.yaml", **change))
    assert (result.exit_code, Path("trained").exists()) == (2, False), result.output
    assert problem in " ".join(result.stderr.split()), result.stderr


@pytest.mark.parametrize(
    ("name", "params", "problem"),
    [
        ("planted.Module", {}, "'planted' is of no distribution that is installed"),
        ("subprocess.Popen", {"args": ["touch", "ran"]}, "is no class with prepare_data, setup, train_dataloader"),
        ("os.system", {"command": "touch ran"}, "is no class with prepare_data, setup, train_dataloader"),
    ],
)
def test_a_trainrun_names_no_other_code_as_data_module(
    restore: Run,
    write_yaml: Run,
    loader: None,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    params: dict[str, Any],
    problem: str,
) -> None:
    """Neither what lies in the working directory nor what the standard library can do is run."""
    Path("planted.py").write_text("open('ran', 'w').close()\nclass Module: pass\n")
    monkeypatch.syspath_prepend(Path.cwd())
    result = restore("--mode", "train", path=_of_module(write_yaml, "newer.yaml", data_module=name, params=params))
    assert result.exit_code == 2, result.output
    assert problem in " ".join(result.stderr.split()), result.stderr
    assert not Path("ran").exists()


def test_a_data_module_that_is_not_installed(restore: Run, write_yaml: Run) -> None:
    """The error says which package has it."""
    result = restore("--mode", "train", path=_of_module(write_yaml, "newer.yaml"))
    assert result.exit_code == 2
    assert "pip install 'belt-loader[npy]'" in result.stderr, result.stderr


BELT_PLUGIN = {"path": "../belt", "data_modules": {"belt": "belt_loader.BeltModule"}}


@pytest.fixture
def belt(tmp_path: Path) -> None:
    """Have a folder with the package of data modules, which says when it is imported; it is not installed."""
    pytest.importorskip("cuvis_ai_schemas.training.data")
    shutil.copytree(LOADER, tmp_path / "belt")
    project = tmp_path / "belt" / "pyproject.toml"
    project.write_text(
        '[project]\nname = "belt-loader"\nversion = "1"\n[project.optional-dependencies]\nnpy = []\n'
        '[build-system]\nrequires = ["uv_build"]\nbuild-backend = "uv_build"\n'
        '[tool.uv.build-backend]\nmodule-root = ""\n'
    )
    code = tmp_path / "belt" / "belt_loader" / "__init__.py"
    code.write_text(code.read_text() + f"\nopen({str(tmp_path / 'imported')!r}, 'w').close()\n")


@pytest.mark.parametrize("name", ["belt", "belt_loader.BeltModule"])
def test_data_of_a_plugin_of_the_manifest(restore: Run, write_yaml: Run, belt: None, tmp_path: Path, name: str) -> None:
    """Its data module is had by name or full path, is imported by training and not by a look, and is not installed."""
    manifest = yaml.safe_load(Path("plugins.yaml").read_text(encoding="utf-8"))
    write_yaml("plugins.yaml", {"plugins": manifest["plugins"] | {"loader": BELT_PLUGIN}})
    path = _of_module(write_yaml, "newer.yaml", data_module=name)
    shutil.rmtree("configs")
    shown = restore("--plugins-path", "plugins.yaml", path=path)
    assert shown.exit_code == 0, shown.output
    assert not (tmp_path / "imported").exists()
    result = restore("--mode", "train", path=path)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "imported").exists()
    assert "belt_loader" not in sys.modules
    again = restore("--mode", "test", path="trained/trainrun.yaml")
    assert again.exit_code == 0, again.output


@pytest.mark.slow
def test_data_of_a_plugin_in_a_named_folder(
    restore: Run, write_yaml: Run, belt: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its manifest is of a folder that the user names; one that merely lies above the trainrun loads nothing."""
    path = _of_module(write_yaml, "newer.yaml")
    manifest = {"name": "loader", "path": "../../belt", "package_name": "belt-loader", "capabilities": [BELT]}
    write_yaml("configs/plugins/loader.yaml", manifest | {"path": "../../../belt"})
    refused = restore("--mode", "train", path=path)
    assert refused.exit_code == 2
    assert "by a manifest that you name: --plugins-dir" in refused.stderr, refused.stderr
    write_yaml("manifests/loader.yaml", manifest)
    assert restore("--plugins-dir", "manifests", path=path).exit_code == 0
    assert not (tmp_path / "imported").exists()
    from cuvis_ai_core.utils.restore import restore_trainrun

    restore_trainrun(path, mode="train", plugins_dirs=["manifests"])
    assert (tmp_path / "imported").exists()
    result = restore("--mode", "test", "--plugins-dir", "manifests", "--weights-path", "trained/pipeline.pt", path=path)
    assert result.exit_code == 0, result.output


@pytest.mark.slow
def test_data_of_a_plugin_in_another_process(restore: Run, write_yaml: Run, belt: None) -> None:
    """They are not to be had, which the error says, with what to write."""
    manifest = yaml.safe_load(Path("plugins.yaml").read_text(encoding="utf-8"))
    own = BELT_PLUGIN | {"isolation": "process"}
    write_yaml("plugins.yaml", {"plugins": manifest["plugins"] | {"loader": own}})
    result = restore("--mode", "train", path=_of_module(write_yaml, "newer.yaml"))
    assert result.exit_code == 2, result.output
    assert "in a process of its own" in result.stderr, result.stderr
    assert "have 'isolation: scoped' in the manifest" in result.stderr, result.stderr


def test_manifests_in_a_folder(restore: Run, write_yaml: Run, loader: None) -> None:
    """The plugins that the pipeline names are loaded, and data modules found, by manifests that --plugins-dir names."""
    path = _of_module(write_yaml, "newer.yaml")
    Path("configs/plugins/loader.yaml").rename("manifests/loader.yaml")
    provides = [f"trainable_nodes.{name}" for name in ("Center", "Scores", "SquaredError", "Accuracy")]
    write_yaml("manifests/trainable.yaml", {"name": "trainable", "path": "../../trainable_nodes", "provides": provides})
    Path("plugins.yaml").unlink()
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["pipeline"]["plugins"] = ["trainable"]
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    shown = restore("--plugins-dir", "manifests", path=path)
    assert "not loaded" not in shown.output, shown.output
    result = restore("--mode", "train", "--plugins-dir", "manifests", path=path)
    assert result.exit_code == 0, result.output


@pytest.mark.slow
def test_losses_are_watched_by_their_published_names(restore: Run) -> None:
    """`val/error` is the loss of the node in validation, `train/error` in training."""
    for monitor, place in (("val/error", "callbacks.early_stopping"), ("train/error", "callbacks.checkpoint")):
        watch = f'{{"monitor": "{monitor}", "mode": "min"}}'
        result = restore("--mode", "train", "--overwrite", "--override", f"training.{place}={watch}")
        assert result.exit_code == 0, result.output
    wrong = restore(
        "--mode", "train", "--overwrite", "--override", 'training.callbacks.checkpoint={"monitor": "val/gone"}'
    )
    assert "nothing is reported as 'val/gone'" in wrong.stderr


def test_train(restore: Run, shell: Run) -> None:
    """Training writes pipeline, weights, trainrun, metrics, picture and record; the pipeline can be restored."""
    result = restore("--mode", "train")
    assert result.exit_code == 0, result.output
    output = Path("trained")
    names = {"loss.png", "metrics.csv", "pipeline.pt", "pipeline.yaml", "run.json", "trained_models", "trainrun.yaml"}
    assert {file.name for file in output.iterdir()} == names
    rows = _rows(output / "metrics.csv")
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert float(rows[3]["train_loss"]) < float(rows[0]["train_loss"])
    found = _table(result.output)
    assert found["loss"] == pytest.approx(float(rows[3]["val_loss"]), rel=1e-4)
    with Image.open(output / "loss.png") as picture:
        assert picture.size == (960, 600)
    record = json.loads((output / "run.json").read_text(encoding="utf-8"))
    assert record["validation"]["loss"] == pytest.approx(found["loss"], rel=1e-4)
    assert record["test"]["loss"] == pytest.approx(_table(result.output, "test")["loss"], rel=1e-4)
    assert record["nodes"][0]["plugin"] == "trainable"
    pipeline = output / "pipeline.yaml"
    shown = shell("restore-pipeline", "--pipeline-path", pipeline, "--plugins-path", "plugins.yaml")
    assert shown.exit_code == 0, shown.output


@pytest.mark.slow
def test_published_tools_find_a_pipeline_that_was_trained(restore: Run, write_yaml: Run) -> None:
    """Of a published pipeline, in that spelling and where they look; weights that are there alone are found too."""
    schemas = pytest.importorskip("cuvis_ai_schemas.pipeline")
    assert restore("--mode", "train").exit_code == 0
    for file in (Path("trained/pipeline.yaml"), Path("trained/trained_models/scores_restored.yaml")):
        found = schemas.PipelineConfig.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
        assert [node.hparams for node in found.nodes] == [{}, {"channels": 3}, {}, {}]
        assert len(found.connections) == 3
    Path("trained/pipeline.pt").unlink()
    result = restore("--mode", "test")
    assert result.exit_code == 0, result.output
    own = {"hparams": "params", "class": "class_name"}
    nodes = [{own.get(key, key): value for key, value in node.items()} for node in PIPELINE["nodes"]]
    path = write_yaml("ours.yaml", {**TRAINRUN, "pipeline": {**PIPELINE, "nodes": nodes}, "output_dir": "ours"})
    assert restore("--mode", "train", path=path).exit_code == 0
    assert not Path("ours/trained_models").exists()
    assert "edges" in yaml.safe_load(Path("ours/pipeline.yaml").read_text(encoding="utf-8"))


def test_classes_of_annotations(restore: Run, write_yaml: Run) -> None:
    """What the categories of a COCO file became is said, and written to the record."""
    outline = [[0, 0, 5, 0, 5, 2, 0, 2]]
    coco = {
        "images": [{"id": at, "file_name": f"1a2b3c4d-{at}.png", "height": 4, "width": 5} for at in range(7)],
        "categories": [{"id": 0, "name": "stone"}],
        "annotations": [{"image_id": at, "category_id": 0, "segmentation": outline} for at in range(7)],
    }
    Path("labels.json").write_text(json.dumps(coco), encoding="utf-8")
    data = {**TRAINRUN["data"], "annotation_json_path": "labels.json"}
    del data["masks"]
    result = restore("--mode", "train", path=write_yaml("labelled.yaml", {**TRAINRUN, "data": data}))
    assert result.exit_code == 0, result.output
    assert result.stderr.count("numbers its categories from 0") == 1
    (annotations,) = json.loads(Path("trained/run.json").read_text(encoding="utf-8"))["annotations"]
    assert annotations["path"].endswith("labels.json")
    assert annotations["classes"] == {"1": "stone"}
    assert "0 'stone' = 1" in annotations["remarks"][0]


def test_results_reproduce_the_numbers(restore: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Validating and testing what was written gives the same numbers from any folder, and so does training it again."""
    trained = restore("--mode", "train")
    numbers, weights = _table(trained.output), _weights(Path("trained"))
    assert numbers
    assert _table(restore("--mode", "validate").output) == numbers
    tested = _table(restore("--mode", "test").output)
    assert tested.keys() == numbers.keys()
    assert _table(trained.output, "test") == tested
    saved = Path("trained/trainrun.yaml").absolute()
    monkeypatch.chdir(tmp_path)
    assert _table(restore("--mode", "validate", path=saved).output) == numbers
    assert _table(restore("--mode", "test", path=saved).output) == tested
    again = restore("--mode", "train", path=saved)
    assert again.exit_code == 0, again.output
    assert _table(again.output) == numbers
    assert _equal(_weights(saved.parent), weights)


def test_overrides(restore: Run) -> None:
    """Overrides change the run, its pipeline and its output directory."""
    changes = ("training.max_epochs=1", "output_dir=other", "pipeline.nodes.scores.params.dropout=0.0")
    result = restore("--mode", "train", *(part for each in changes for part in ("--override", each)))
    assert result.exit_code == 0, result.output
    assert len(_rows(Path("other/metrics.csv"))) == 1
    assert yaml.safe_load(Path("other/pipeline.yaml").read_text(encoding="utf-8"))["nodes"][1]["hparams"] == {
        "channels": 3,
        "dropout": 0.0,
    }


@pytest.mark.slow
def test_pipeline_by_path(restore: Run, write_yaml: Run) -> None:
    """A pipeline that is named by its path is read from there, overridden, and begun from the weights beside it."""
    write_yaml("p.yaml", PIPELINE)
    path = write_yaml("by_path.yaml", {**TRAINRUN, "pipeline": "p.yaml", "output_dir": "first"})
    change = ("--override", "pipeline.nodes.scores.params.dropout=0.0")
    result = restore("--mode", "train", *change, path=path)
    assert result.exit_code == 0, result.output
    assert yaml.safe_load(Path("first/trainrun.yaml").read_text(encoding="utf-8"))["pipeline"]["nodes"][1]["hparams"][
        "dropout"
    ] == pytest.approx(0.0)
    finer = write_yaml("finer.yaml", {**TRAINRUN, "pipeline": "first/pipeline.yaml", "output_dir": "second"})
    result = restore("--mode", "train", path=finer)
    assert result.exit_code == 0, result.output
    assert "Initialising" not in result.output
    before, after = _rows(Path("first/metrics.csv")), _rows(Path("second/metrics.csv"))
    assert float(after[0]["train_loss"]) < float(before[0]["train_loss"])


def test_statistics_only(restore: Run, write_yaml: Run) -> None:
    """Without `training` nodes are initialised, measured and written."""
    path = write_yaml("statistics.yaml", {key: value for key, value in TRAINRUN.items() if key != "training"})
    result = restore("--mode", "train", path=path)
    assert result.exit_code == 0, result.output
    assert {file.name for file in Path("trained").iterdir()} == {
        *("metrics.csv", "pipeline.pt", "pipeline.yaml", "run.json", "trainrun.yaml", "trained_models")
    }
    assert _weights(Path("trained"))["center"]["mean"].shape == (3,)
    assert _table(restore("--mode", "validate", path=path).output) == _table(result.output)


def test_checkpoints(restore: Run) -> None:
    """The best checkpoint is kept beside the results, and replaced by the next training."""
    change = ("--override", "training.callbacks.checkpoint.monitor=val_loss")
    kept = []
    for epochs in (4, 1):
        result = restore("--mode", "train", *change, "--override", f"training.max_epochs={epochs}", "--overwrite")
        assert result.exit_code == 0, result.output
        kept.append([file.name for file in Path("trained").glob("*.ckpt")])
    assert kept == [["checkpoint-epoch-0004.ckpt"], ["checkpoint-epoch-0001.ckpt"]]


def _start(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    code = "from cuvis_ai_core.cli.restore.restore_trainrun import main; main(prog_name='restore-trainrun')"
    command = [sys.executable, "-c", code, "--trainrun-path", "run.yaml", "--mode", "train", *arguments]
    return subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _kill_when_under_way(stop: signal.Signals) -> subprocess.Popen[str]:
    process = _start({"TRAINABLE_NODES_SECONDS": "0.3"})
    resume = Path("trained/unfinished/resume.ckpt")
    for _ in range(2000):
        if resume.exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    if not resume.exists():
        process.kill()
        pytest.fail(f"no epoch was saved: {process.communicate()[1]}")
    time.sleep(0.5)  # into the next epoch
    process.send_signal(stop)
    return process


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_a_training_stopped_by_ctrl_c_goes_on(restore: Run) -> None:
    """What was trained is all that it leaves, and is gone on with when the command is given again."""
    with _kill_when_under_way(signal.SIGINT) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert [file.name for file in Path("trained").iterdir()] == ["unfinished"]
    _goes_on_to_equal_results(restore)


@pytest.mark.slow
@pytest.mark.usefixtures("warm_trainings")
def test_a_killed_training_goes_on_and_no_other_one_takes_its_place(restore: Run) -> None:
    """No two train in one folder; what was trained is not thrown away because something was changed."""
    with _kill_when_under_way(signal.SIGSTOP) as process:
        try:
            result = restore("--mode", "train")
            assert result.exit_code == 2, result.output
            assert "is being trained in by another process" in result.output
        finally:
            process.kill()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    result = restore("--mode", "train", "--override", "training.seed=9")
    assert result.exit_code == 2, result.output
    assert "holds an unfinished training of another configuration, in 'unfinished'" in result.output
    assert Path("trained/unfinished/resume.ckpt").exists()
    _goes_on_to_equal_results(restore)


def _goes_on_to_equal_results(restore: Run) -> None:
    """Give the command again, and see that what comes out is what a training without a break would have given."""
    result = restore("--mode", "train")
    assert result.exit_code == 0, result.output
    assert "Going on with the unfinished training" in result.output
    whole = restore("--mode", "train", "--override", "output_dir=whole")
    assert _table(result.output) == _table(whole.output)
    assert _equal(_weights(Path("trained")), _weights(Path("whole")))
    assert _rows(Path("trained/metrics.csv")) == _rows(Path("whole/metrics.csv"))
    assert not Path("trained/unfinished").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("training.optimizer.l=1", r"training.optimizer.l: is an unknown key; did you mean 'lr'"),
        ("loss_nodes=[eror]", r"loss_nodes: the pipeline has no node 'eror'\. Did you mean 'error'"),
        ("unfreeze_nodes=[senter]", r"unfreeze_nodes: the pipeline has no node 'senter'\. Did you mean 'center'"),
        ("data.train_ids=[7]", r"data.train_ids: there is no cube 7; the data are cubes 0 to 6"),
        ("data.train_ids=[]", r"Node 'center' is to learn from the data to train on, and there are none"),
        ("data.cubes=scens", r"There is no file or folder '.*scens'\.\s+Did you mean '.*scenes'"),
        ("data.masks=none.png", r"There are no annotations at '.*none.png'"),
        ("training.accelerator=gpu", r"There is no device 'cuda:0'"),
        ("training.optimizer.name=adm", r"there is no optimizer 'adm'\. Did you mean 'adam'"),
        ("pipeline.nodes.scores.params.channel=4", r"has no parameter 'channel'; did you mean 'channels'"),
        ("pipeline.nodes.scores.class=Score", r"Node 'Score' not found in registry"),
        ("pipeline=p.yaml", r"There is no pipeline file 'p.yaml'"),
        ("initial_weights=w.pt", r"initial_weights: there is no file 'w.pt'"),
        ("plugins_path=p.yaml", r"Give it with --plugins-path"),
        ("data.processing_mode=Raw", r"cannot be processed to 'Raw'"),
    ],
)
def test_bad_input(restore: Run, change: str, says: str) -> None:
    """Whatever is wrong with a run is one error with exit status 2, and leaves nothing behind."""
    result = restore("--mode", "train", "--override", change)
    assert result.exit_code == 2, result.output
    assert result.output.count("Error: ") == 1
    assert "Traceback" not in result.output
    assert re.search(says, result.output), result.output
    assert not Path("trained").exists() or not any(Path("trained").iterdir())


def test_wrong_usage(restore: Run, shell: Run) -> None:
    """A mode or a file that is not there is wrong usage."""
    assert restore("--mode", "trian").exit_code == 2
    missing = restore(path="rn.yaml")
    assert missing.exit_code == 2
    assert "did you mean 'run.yaml'" in missing.output
    assert shell("restore-trainrun").exit_code == 2


def test_not_trained_yet(restore: Run) -> None:
    """What was never trained cannot be validated."""
    result = restore("--mode", "validate")
    assert result.exit_code == 2
    assert "nothing is trained yet" in result.output
    assert "--mode train" in result.output


def test_no_data_to_measure(restore: Run) -> None:
    """A part without cubes cannot be tested."""
    restore("--mode", "train")
    result = restore("--mode", "test", "--override", "data.test_ids=[]")
    assert result.exit_code == 2
    assert "no cubes are named for 'test'" in result.output


def test_a_failing_training(restore: Run) -> None:
    """A loss that is no number is work that failed: exit status 1."""
    result = restore("--mode", "train", "--override", "pipeline.nodes.error.params.scale=.inf")
    assert result.exit_code == 1, result.output
    assert "Error: The loss of node 'error' is inf in epoch 1, batch 1 of 'train': cube " in result.output


def test_foreign_files(restore: Run) -> None:
    """Files that no training wrote are not overwritten, and nothing is trained for nothing."""
    Path("trained").mkdir()
    Path("trained/metrics.csv").write_text("mine", encoding="utf-8")
    result = restore("--mode", "train")
    assert result.exit_code == 2, result.output
    assert "holds 'metrics.csv', which no earlier run wrote" in result.output
    assert Path("trained/metrics.csv").read_text(encoding="utf-8") == "mine"


def test_manifest(restore: Run, write_yaml: Run) -> None:
    """The manifest is the one that is given, or the one that the trainrun names."""
    Path("plugins.yaml").rename("lab.yaml")
    missing = restore("--mode", "train")
    assert missing.exit_code == 2
    assert "Node 'Center' not found in registry" in missing.output
    assert restore("--plugins-path", "lab.yaml").exit_code == 0
    assert restore(path=write_yaml("named.yaml", {**TRAINRUN, "plugins_path": "lab.yaml"})).exit_code == 0


def test_help_is_light(process: Run) -> None:
    """Help imports neither torch nor NumPy."""
    code = (
        "import sys; from click.testing import CliRunner; from cuvis_ai_core.cli.restore.restore_trainrun import main\n"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0\n"
        "print(sorted({'torch', 'numpy', 'pytorch_lightning', 'hydra', 'pydantic', 'git'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_finished_training_is_kept(restore: Run) -> None:
    """The same settings are said to be done, others to differ; only `--overwrite` trains, and an own folder does."""
    first = restore("--mode", "train")
    weights, changed = _weights(Path("trained")), ("--override", "training.optimizer.lr=0.01")
    again = restore("--mode", "train", "--override", "name=again", "--override", "data.num_workers=2")
    assert again.exit_code == 0, again.output
    assert "holds this training already, with these settings. --overwrite trains again" in again.output
    for part in ("val", "test"):
        assert _table(again.output, part) == _table(first.output, part)
    assert "Epoch" not in again.output
    other = restore("--mode", "train", *changed, "--override", "pipeline.nodes.scores.params.dropout=0.0")
    assert other.exit_code == 2, other.output
    assert "holds a finished training of other settings" in other.output
    assert "training.optimizer.lr: 0.05 there, 0.01 now" in other.output
    assert "pipeline.nodes.scores.params.dropout: nothing there, 0.0 now" in other.output
    assert "--overwrite" in other.output
    # Before any node is imported, and torch with it.
    absent = restore("--mode", "train", "--override", "pipeline.nodes.scores.class_name=nobody.Has")
    assert "pipeline.nodes.scores.class_name:" in absent.output
    assert _equal(_weights(Path("trained")), weights)
    assert not Path("trained/unfinished").exists()
    assert restore("--mode", "train", *changed, "--override", "output_dir=elsewhere").exit_code == 0
    replaced = restore("--mode", "train", *changed, "--overwrite")
    assert replaced.exit_code == 0, replaced.output
    assert _equal(_weights(Path("trained")), _weights(Path("elsewhere")))


@pytest.mark.slow
def test_a_finished_training_from_elsewhere_is_not_believed(restore: Run) -> None:
    """Neither one that came in a copied folder, nor one whose files were changed; it is replaced when asked."""
    restore("--mode", "train")
    shutil.copytree("trained", "sent")
    elsewhere = ("--override", "output_dir=sent")
    copied = restore("--mode", "train", *elsewhere)
    assert copied.exit_code == 2, copied.output
    assert "it was not written in this folder" in copied.output
    assert "holds this training already, with these settings" not in copied.output
    assert restore("--mode", "train", *elsewhere, "--overwrite").exit_code == 0
    assert restore("--mode", "train", *elsewhere).exit_code == 0
    Path("trained/pipeline.pt").write_bytes(b"other weights")
    changed = restore("--mode", "train")
    assert changed.exit_code == 2, changed.output
    assert "'pipeline.pt' is missing, or not as it was written" in changed.output
    assert Path("trained/pipeline.pt").read_bytes() == b"other weights"


def test_other_code_of_a_node(restore: Run) -> None:
    """A training with another class, or another version of it, is one of other settings."""
    restore("--mode", "train")
    record = json.loads(Path("trained/run.json").read_text(encoding="utf-8"))
    record["nodes"][0]["commit"] = "a" * 40
    Path("trained/run.json").write_text(json.dumps(record), encoding="utf-8")
    result = restore("--mode", "train")
    assert result.exit_code == 2, result.output
    assert f"node 'center': commit {'a' * 40} there, nothing now" in result.output


def test_a_first_validation_that_fails_costs_no_epoch(restore: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of the first epoch are kept."""
    from cuvis_ai_core.training.lightning_module import PipelineModule

    def fail(*_: Any) -> None:
        raise RuntimeError("too dark")

    monkeypatch.setattr(PipelineModule, "validation_step", fail)
    result = restore("--mode", "train")
    assert result.exit_code == 1, result.output
    unfinished = Path("trained/unfinished")
    assert f"Kept in {unfinished.absolute()} after 1 epoch: last.pt" in result.output
    assert torch.load(unfinished / "last.pt", weights_only=True)["state_dict"]


def test_a_cube_in_two_parts_is_said(restore: Run, caplog: pytest.LogCaptureFixture) -> None:
    """What is measured on a cube that was trained on says nothing about others."""
    result = restore("--mode", "train", "--override", "data.train_ids=[0, 1, 2]", "--override", "data.val_ids=[2, 3]")
    assert result.exit_code == 0, result.output
    said = [each for each in caplog.messages if "is in 'val', and as cube 2 in 'train'" in each]
    assert len(said) == 1, caplog.messages


@pytest.mark.slow
def test_no_training_is_lost_to_a_save(restore: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that cannot be written leaves weights, metrics and a way to go on, which ends as if nothing had been."""
    from cuvis_ai_core.pipeline.file import writer

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(writer, "save_pipeline", full)
        result = restore("--mode", "train")
    assert result.exit_code == 1, result.output
    assert "No space left on device" in result.output
    unfinished = Path("trained/unfinished")
    assert f"Kept in {unfinished.absolute()} after 4 epochs: metrics.csv, last.pt" in result.output
    assert len(_rows(unfinished / "metrics.csv")) == 4
    last = torch.load(unfinished / "last.pt", weights_only=True)["state_dict"]
    again = restore("--mode", "train")
    assert again.exit_code == 0, again.output
    assert "Going on with the unfinished training" in again.output
    assert not re.search(r"Epoch \d", again.output)
    assert _equal(_weights(Path("trained")), last)
    whole = restore("--mode", "train", "--override", "output_dir=whole")
    assert _table(again.output) == _table(whole.output)
    assert not unfinished.exists()


def test_a_state_that_cannot_be_saved_is_said_before(restore: Run) -> None:
    """What a node keeps in its extra state is checked before the first epoch."""
    source = Path("../trainable_nodes/src/trainable_nodes/__init__.py")
    text = source.read_text(encoding="utf-8")
    lines = "    def get_extra_state(self):\n        return {'kept': torch.nn.ReLU()}\n\n"
    lines += "    def set_extra_state(self, state):\n        pass\n\n"
    source.write_text(
        text.replace("    def forward(self, cube", f"{lines}    def forward(self, cube", 1), encoding="utf-8"
    )
    result = restore("--mode", "train")
    assert result.exit_code == 2, result.output
    assert "The state of node 'center' could not be saved after a training: '_extra_state'['kept']" in result.output
    assert "Initialising" not in result.output


@pytest.mark.slow
def test_metrics_that_are_not_means(restore: Run) -> None:
    """A metric of torchmetrics is that of all cubes together; a matrix is written as a table and as a picture."""
    source = Path("../trainable_nodes/src/trainable_nodes/__init__.py")
    text = source.read_text(encoding="utf-8").replace(
        'return {"metrics": [Metric(name="accuracy", value=right.item(), stage=context.stage)]}',
        "from torchmetrics.classification import BinaryConfusionMatrix, BinaryF1Score\n"
        "        pair = (scores > 0.5).int(), mask\n"
        "        metrics = {'f1': (BinaryF1Score(), *pair), 'confusion': (BinaryConfusionMatrix(), *pair)}\n"
        "        return {'metrics': {**metrics, 'accuracy': right}}",
    )
    source.write_text(text.replace('"metrics": PortSpec(list, ())', '"metrics": PortSpec(dict, ())'), encoding="utf-8")
    result = restore("--mode", "train")
    assert result.exit_code == 0, result.output
    table = list(csv.reader(Path("trained/accuracy.confusion.csv").read_text(encoding="utf-8").splitlines()))
    assert table[0] == ["true / predicted", "0", "1"]
    (tn, fp), (fn, tp) = ([int(value) for value in row[1:]] for row in table[1:])
    assert tn + fp + fn + tp == 40
    found = _table(result.output)
    assert found["accuracy/f1"] == pytest.approx(2 * tp / (2 * tp + fp + fn), rel=1e-4)
    assert found["accuracy/accuracy"] == pytest.approx((tn + tp) / 40, rel=1e-4)
    assert "weighted by their pixels (no output 'weight'): error, accuracy" in result.output
    with Image.open("trained/accuracy.confusion.png") as picture:
        assert picture.width > 300
    tested = restore("--mode", "validate")
    assert tested.exit_code == 0, tested.output
    assert Path("trained/val/accuracy.confusion.csv").read_text() == Path("trained/accuracy.confusion.csv").read_text()
    assert json.loads(Path("trained/val/run.json").read_text())["validation"]["accuracy/f1"] == pytest.approx(
        found["accuracy/f1"], rel=1e-4
    )
    assert restore("--mode", "train", "--override", "training.max_epochs=1", "--overwrite").exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("numbers", "told"), [([7], "7.npy"), ([], None), ([6], None)], ids=["no mask", "none named", "can be"]
)
def test_what_cannot_be_tested_on_stops_no_training(
    restore: Run, write_yaml: Run, numbers: list[int], told: str | None
) -> None:
    """It is said, and what was trained is there; without data to test on there is nothing to say."""
    np.save("scenes/7.npy", np.ones((4, 5, 3), np.float32))
    path = write_yaml("other.yaml", {**TRAINRUN, "data": {**TRAINRUN["data"], "test_ids": numbers}})
    result = restore("--mode", "train", path=path)
    assert result.exit_code == 0, result.output
    assert ("test" in json.loads(Path("trained/run.json").read_text(encoding="utf-8"))) is (numbers == [6])
    assert ("is not tested" in result.stderr) is (told is not None)
    assert (told or "") in result.stderr


def test_a_training_without_gradients_heeds_the_device(restore: Run, write_yaml: Run) -> None:
    """As one with them does."""
    path = write_yaml("other.yaml", {key: value for key, value in TRAINRUN.items() if key != "training"})
    refused = restore("--mode", "train", "--device", "cuda:77", path=path)
    assert refused.exit_code == 2
    assert "There is no device 'cuda:77': " in refused.stderr
    assert not Path("trained/run.json").exists()
    assert restore("--mode", "train", "--device", "cpu", path=path).exit_code == 0


def test_measuring_heeds_the_device(restore: Run) -> None:
    """As training does."""
    assert restore("--mode", "train").exit_code == 0
    found = restore("--mode", "test", "--device", "cuda:77")
    assert found.exit_code == 2
    assert "There is no device 'cuda:77': " in found.stderr
