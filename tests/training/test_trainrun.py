import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import MissingExtraError, TrainRunError
from cuvis_ai_core.training import read_trainrun
from cuvis_ai_core.training.config import CheckpointConfig, DataConfig, TrainingConfig, TrainRunConfig
from cuvis_ai_core.training.data_splits import Parts
from cuvis_ai_core.training.published_training_config import TrainerConfig
from cuvis_ai_core.training.trainrun import recorded_manifest

pytest.importorskip("torch")

Files = dict[str, str]
Write = Callable[[Files], Path]

PIPELINE = "nodes:\n  - {name: rx, class: RXDetector, params: {regularization: 0.1}}\nconnections: []\n"
COMPOSED: Files = {
    "configs/trainrun/lentils.yaml": (
        "# @package _global_\n"
        "defaults:\n"
        "  - /pipeline@pipeline: anomalies\n"
        "  - /data@data: lentils\n"
        "  - /training@training: default\n"
        "  - _self_\n"
        "name: lentils\n"
        "training: {trainer: {max_epochs: 3}}\n"
        "loss_nodes: [bce]\n"
        "unfreeze_nodes: [rx]\n"
        "output_dir: outputs/${name}\n"
    ),
    "configs/pipeline/anomalies.yaml": PIPELINE,
    "configs/data/lentils.yaml": (
        "cu3s_file_path: data/lentils.cu3s\nannotation_json_path: data/lentils.json\n"
        "train_ids: [0, 2, 3]\nval_ids: [1]\ntest_ids: [5]\nbatch_size: 2\nprocessing_mode: Reflectance\n"
    ),
    "configs/training/default.yaml": (
        "seed: 7\ntrainer: {max_epochs: 20, accelerator: cpu, callbacks: {early_stopping: [{monitor: loss/val}]}}\n"
        "optimizer: {name: adamw, lr: 1e-3, betas: [0.9, 0.99]}\n"
    ),
}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes files, and gives the path of the first."""

    def write_files(files: Files) -> Path:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / next(iter(files))

    return write_files


def _data(config: TrainRunConfig) -> DataConfig:
    assert isinstance(config.data, DataConfig)
    return config.data


def _run(**changes: Any) -> Files:
    content = {"name": "small", "pipeline": "p.yaml", "data": {"cubes": "scenes"}, **changes}
    return {"run.yaml": yaml.safe_dump(content)}


def test_a_published_configs_tree(write: Write) -> None:
    """A trainrun with Hydra's defaults is composed from the `configs` tree that it lies in."""
    config = read_trainrun(write(COMPOSED)).config
    assert isinstance(config.pipeline, dict)
    assert config.pipeline["nodes"][0]["class"] == "RXDetector"
    data = _data(config)
    assert (data.ids("train"), data.ids("test"), data.batch_size) == ([0, 2, 3], [5], 2)
    assert data.places == ["data/lentils.cu3s"]
    assert config.training is not None
    assert (config.training.seed, config.training.max_epochs, config.training.accelerator) == (7, 3, "cpu")
    assert config.training.optimizer.betas == (0.9, 0.99)
    assert config.training.callbacks.early_stopping[0].monitor == "loss/val"
    assert config.output_dir == "outputs/lentils"


def test_composed_in_plugin_directories(write: Write, tmp_path: Path) -> None:
    """A default that the own tree does not have is found in the configuration directories of plugins."""
    path = write({name: text for name, text in COMPOSED.items() if "anomalies" not in name})
    with pytest.raises(TrainRunError, match="Could not find 'pipeline/anomalies'"):
        read_trainrun(path)
    odd = "a plugin's, [odd] = folder"
    write({f"{odd}/pipeline/anomalies.yaml": PIPELINE})
    assert isinstance(read_trainrun(path, config_dirs=[tmp_path / odd]).config.pipeline, dict)


def test_composed_beside_the_file(write: Write) -> None:
    """Groups may lie beside the file, and a default may be another file of its folder."""
    path = write(
        {
            "run.yaml": "defaults: [base, pipeline: p]\nname: mine\n",
            "base.yaml": "name: base\ndata: {cubes: x.npy}\n",
            "pipeline/p.yaml": PIPELINE,
        }
    )
    config = read_trainrun(path).config
    assert (config.name, _data(config).places) == ("mine", ["x.npy"])


def test_what_cannot_be_composed(write: Write) -> None:
    """A broken file of the tree is named with its line."""
    path = write({**COMPOSED, "configs/data/lentils.yaml": "train_ids: [0\nval_ids: [1]\n"})
    with pytest.raises(TrainRunError, match=r"data/lentils\.yaml: line 2: did not find expected ',' or '\]'"):
        read_trainrun(path)


def test_composing_needs_an_extra(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Hydra a list of defaults names the extra; files without one are read."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "hydra"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "hydra", None)
    with pytest.raises(MissingExtraError, match=r"cuvis-ai-core\[train\]"):
        read_trainrun(write(COMPOSED))
    assert read_trainrun(write(_run())).config.name == "small"


def test_a_resolved_run(write: Write) -> None:
    """A saved run has the pipeline inline; a newer one its path and a flat training."""
    inline = _run(pipeline=yaml.safe_load(PIPELINE), training={"seed": 1, "trainer": {"max_epochs": 2}})
    assert isinstance(read_trainrun(write(inline)).config.pipeline, dict)
    flat = read_trainrun(write(_run(training={"seed": 1, "max_epochs": 5, "scheduler": {"name": "cosine"}}))).config
    assert flat.pipeline == "p.yaml"
    assert flat.training is not None
    assert (flat.training.max_epochs, flat.training.optimizer.name) == (5, "AdamW")


def test_what_stands_in_two_places_is_one_value(write: Write) -> None:
    """As the first published schemas wrote it; what is null in one of them is that of the other."""
    trainer = "{max_epochs: 20, devices: null, callbacks: {checkpoint: {save_top_k: 3}}}"
    training = f"{{max_epochs: 20, devices: 1, callbacks: null, batch_size: 32, num_workers: 4, trainer: {trainer}}}"
    read = read_trainrun(write({"run.yaml": f"name: a\npipeline: p\ndata: {{cubes: x}}\ntraining: {training}\n"}))
    found = read.config.training
    assert found is not None
    assert found.callbacks is not None
    assert found.callbacks.checkpoint is not None
    assert (found.max_epochs, found.devices, found.callbacks.checkpoint.save_top_k) == (20, 1, 3)


def test_overrides(write: Write) -> None:
    """Overrides are laid over the composed content before its interpolations are resolved."""
    run = read_trainrun(
        write(COMPOSED),
        overrides=[
            "training.optimizer.lr=0.5",
            "training.trainer.max_epochs=1",
            "name=other",
            "data.val_ids=[7, 8]",
            "pipeline.nodes.rx.params.regularization=0.2",
            "training.scheduler.name=cosine",
        ],
    ).config
    assert run.training is not None
    assert (run.training.optimizer.lr, run.training.max_epochs) == (0.5, 1)
    assert run.training.scheduler is not None
    assert (run.output_dir, _data(run).ids("val")) == ("outputs/other", [7, 8])
    assert isinstance(run.pipeline, dict)
    assert run.pipeline["nodes"][0]["params"] == {"regularization": 0.2}


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("training.optimiser.lr=0.1", "training.optimiser: is an unknown key; did you mean 'optimizer'"),
        ("training.optimizer.l=0.1", "training.optimizer.l: is an unknown key; did you mean 'lr'"),
        ("data.batchsize=1", "data.batchsize: is an unknown key; did you mean 'batch_size'"),
        ("nme=x", "nme: is an unknown key; did you mean 'name'"),
        ("training.optimizer.lr=fast", "training.optimizer.lr: must be a number, not 'fast'"),
        ("training.optimizer.lr=-1", "training.optimizer.lr: input should be greater than 0; it is -1"),
        ("training.max_epochs=1.5", r"training.max_epochs: must be an integer, not 1\.5"),
        ("data.train_ids=3", "data.train_ids: must be a list, not 3"),
        ("data.train_ids=[1, x]", r"data.train_ids\[1\]: must be an integer, not 'x'"),
        ("data.shuffle=maybe", "data.shuffle: must be true or false, not 'maybe'"),
        ("data.batch_size=0", "data.batch_size: input should be greater than or equal to 1; it is 0"),
        ("pipeline=3", "pipeline: must be"),
    ],
)
def test_wrong_overrides(write: Write, override: str, says: str) -> None:
    """An override of an unknown key names the nearest one; a value of the wrong type says what it must be."""
    with pytest.raises(TrainRunError, match=f"run.yaml: override '.*': {says}"):
        read_trainrun(write(_run(training={"max_epochs": 1})), overrides=[override])


def test_what_is_no_override(write: Write) -> None:
    """An override has a key and a value."""
    with pytest.raises(TrainRunError, match=r"run.yaml: 'name' is no override"):
        read_trainrun(write(_run()), overrides=["name"])


@pytest.mark.parametrize("text", ["+data.batch_size=2", "++training.seed=2", "~training", "+pipeline.name=x"])
def test_prefixes_of_hydra_are_named(write: Write, text: str) -> None:
    """And what to write instead, since published commands refuse them too."""
    with pytest.raises(TrainRunError, match=r"run.yaml: Override '.*' begins with Hydra's '[+~]'\.\n.*key.path=value"):
        read_trainrun(write(_run()), overrides=[text])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: [", r"run\.yaml: line 1: .*never closed|line"),
        ("- name", "holds no mapping"),
        ("name: a\ndata: {cubes: x}\n", "run.yaml: pipeline: is missing"),
        ("name: a\npipeline: p\ndata:\n  cube: x\n", "line 4: data.cube: is an unknown key; did you mean 'cubes'"),
        ("name: a\npipeline: p\ndata: {batch_size: 1}\n", "line 3: data: names the data once"),
        ("name: a\npipeline: p\ndata: {cubes: x, masks: m, annotation_json_path: a}\n", "has both .* keep one"),
        ("name: 1.5\npipeline: p\ndata: {cubes: x}\n", "line 1: name: must be text, not 1.5"),
        (
            "name: a\npipeline: p\ndata: {cubes: x}\nfreeze_nodes: [n]\nunfreeze_nodes: [n]\n",
            "line 5: unfreeze_nodes: node 'n' is in 'freeze_nodes' too",
        ),
        (
            "name: a\npipeline: p\ndata: {cubes: x}\ntraining: {seed: 1, trainer: {seed: 2}}\n",
            "line 4: training: has 'seed' twice, here and under 'trainer'",
        ),
        ("name: ${nme}\npipeline: p\ndata: {cubes: x}\n", "Interpolation key 'nme' not found"),
        ("name: a\npipeline: p\ndata: {cubes: x, masks: {training: m}}\n", "data.masks"),
        ("name: a\npipeline: p\ndata: {cubes: x}\n'str': 1\n", r"line 4: str: is an unknown key"),
        ("name: a\npipeline: p\ndata: {cubes: x}\n'': 1\n", r"line 4: the file: is an unknown key|line 4: "),
        ("name: a\npipeline: p\ndata: {cubes: x}\n'ou[': 1\n", r"line 4: ou\[: is an unknown key"),
    ],
)
def test_wrong_files(write: Write, text: str, says: str) -> None:
    """What breaks a rule is named with file, line, key and the rule."""
    with pytest.raises(TrainRunError, match=says):
        read_trainrun(write({"run.yaml": text}))


def test_no_file(tmp_path: Path) -> None:
    """A file that is not there is said to be missing."""
    with pytest.raises(TrainRunError, match=r"none\.yaml: there is no such file"):
        read_trainrun(tmp_path / "none.yaml")


def test_the_manifest_of_a_run(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest is the one that the file names, beside it or in the working directory; else the one beside it."""
    path = write(_run())
    assert recorded_manifest(path) is None
    beside = write({"plugins.yaml": "plugins: {}"})
    assert recorded_manifest(path) == beside
    named = write({"manifests/lab.yaml": "plugins: {}"})
    assert recorded_manifest(write(_run(plugins_path="manifests/lab.yaml"))) == named
    monkeypatch.chdir(tmp_path / "manifests")
    assert recorded_manifest(write(_run(plugins_path="lab.yaml"))) == Path("lab.yaml")
    with pytest.raises(TrainRunError, match=r"line \d: there is no manifest 'other.yaml'\.\n.*--plugins-path"):
        recorded_manifest(write(_run(plugins_path="other.yaml")))


def test_paths_begin_at_the_file(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path begins at the folder of the file; what is not there is looked for in the working directory."""
    path = write({"deep/run.yaml": next(iter(_run().values())), "deep/a.npy": "", "b.npy": ""})
    monkeypatch.chdir(tmp_path)
    run = read_trainrun(path)
    assert run.locate("a.npy") == tmp_path / "deep" / "a.npy"
    assert run.locate("*.npy") == tmp_path / "deep" / "*.npy"
    assert run.locate("b.npy") == Path("b.npy")
    assert run.locate(str(tmp_path / "b.npy")) == tmp_path / "b.npy"


def test_ids_of_the_parts(write: Write) -> None:
    """Without any numbers every part is all cubes; with some, a part without numbers is empty."""
    assert _data(read_trainrun(write(_run())).config).ids("test") is None
    some = _data(read_trainrun(write(_run(data={"cubes": "x", "train_ids": [1]}))).config)
    assert (some.ids("train"), some.ids("val")) == ([1], [])


def test_masks_of_the_parts(write: Write) -> None:
    """Parts of the same cubes have masks of their own."""
    data = {"cubes": "x", "masks": {"train": "a.png", "val": "b.png"}}
    config = _data(read_trainrun(write(_run(data=data))).config)
    assert [config.annotations(split) for split in ("train", "val", "test")] == ["a.png", "b.png", None]
    assert _data(read_trainrun(write(_run(data={"cubes": "x", "masks": "m"}))).config).annotations("val") == "m"


def test_a_run_can_be_written_again(write: Write) -> None:
    """What is written of a run reads as the same run."""
    config = read_trainrun(write(COMPOSED)).config
    again = read_trainrun(write({"again.yaml": yaml.safe_dump(config.to_dict())})).config
    assert again == config


def test_a_training_on_nothing_is_refused() -> None:
    """Epochs without a batch leave the random weights, which are no trained ones."""
    with pytest.raises(ValueError, match="limit_train_batches"):
        TrainingConfig.model_validate({"limit_train_batches": 0})


def test_the_same_cube_by_its_header_and_its_data_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is one cube, trained on and validated on."""
    from spectral.io import envi

    envi.save_image(tmp_path / "scene.hdr", np.ones((2, 3, 4), np.float32))
    data = {"cubes": ["scene.hdr", "scene.img"], "train_ids": [0], "val_ids": [1]}
    (tmp_path / "run.yaml").write_text(_run(data=data)["run.yaml"])
    Parts(read_trainrun(tmp_path / "run.yaml"), NodeRegistry(discover=False).cube_readers())
    assert "scene.img') is in 'val', and as cube 0 in 'train'" in caplog.text


def test_a_file_that_says_all_is_read_as_published_programs_do(write: Write) -> None:
    """With splits as models of the schemas; what breaks a rule is one error with the file's name."""
    pytest.importorskip("cuvis_ai_schemas.training.data")
    data = {"data_module": "cu3s", "splits": {"splits_path": "s.json"}, "params": {"folder": "x"}}
    path = write(_run(data=data))
    config: Any = TrainRunConfig.load_from_file(path)
    assert (config.data.splits.splits_path, config.data.splits.train) == ("s.json", [])
    assert config.to_dict()["data"] == data
    with pytest.raises(TrainRunError, match="data"):
        TrainRunConfig.load_from_file(write(_run(data={**data, "splits": {"train": [{"kind": "some"}]}})))


def test_models_of_the_schemas_are_parts_of_ours(tmp_path: Path) -> None:
    """As the published pages put them together; what is written is read again."""
    schemas = pytest.importorskip("cuvis_ai_schemas.training")
    checkpoint = schemas.ModelCheckpointConfig(monitor="metrics/iou", mode="max", filename="{epoch:02d}")
    training = TrainingConfig(max_epochs=5, callbacks={"checkpoint": checkpoint})  # type: ignore[arg-type]
    assert training.callbacks.checkpoint == CheckpointConfig(monitor="metrics/iou", mode="max", filename="{epoch:02d}")
    nested = TrainingConfig.from_dict({"seed": 3, "trainer": TrainerConfig(max_epochs=7)})
    assert (nested.seed, nested.max_epochs) == (3, 7)
    assert TrainingConfig.from_dict_config(nested.to_dict()) == nested
    run = TrainRunConfig.from_dict({"name": "a", "pipeline": "p.yaml", "data": {"cubes": "x"}, "training": training})
    run.save_to_file(tmp_path / "run.yaml")
    assert TrainRunConfig.load_from_file(tmp_path / "run.yaml") == run


@pytest.mark.parametrize(
    ("train", "val", "count", "ends"),
    [
        (0.5, 0.25, 8, (4, 6)),
        (0.5, 0.5, 3, (2, 3)),
        (0.5, 0.25, 1, (0, 0)),
        (None, 0.25, 8, (0, 2)),
        (0.5, None, 8, (4, 4)),
        (1.0, 0.0, 3, (3, 3)),
        (0.0, 1.0, 3, (0, 3)),
        (0.7, 0.3, 10, (7, 10)),
    ],
)
def test_shares_of_cubes(
    tmp_path: Path, train: float | None, val: float | None, count: int, ends: tuple[int, int]
) -> None:
    """The first ones are trained on, those behind them validated on, and the rest is tested on; no cube is in two."""
    for number in range(count):
        np.save(tmp_path / f"{number}.npy", np.ones((1, 1, 2), np.float32))
    data = {
        "cubes": "*.npy",
        **({} if train is None else {"train_split": train}),
        **({} if val is None else {"val_split": val}),
    }
    (tmp_path / "run.yaml").write_text(_run(data=data)["run.yaml"])
    parts = Parts(read_trainrun(tmp_path / "run.yaml"), NodeRegistry(discover=False).cube_readers())
    expected = {"train": range(ends[0]), "val": range(*ends), "test": range(ends[1], count)}
    assert {split: parts.batches(split).numbers for split in expected} == expected
    assert parts.has_test == (ends[1] < count)


def test_shares_are_not_more_than_all() -> None:
    """Each of them, and both together."""
    for train, val in ((0.6, 0.5), (1.0, 0.1), (1.1, None), (None, -0.1)):
        with pytest.raises(
            ValueError, match=r"more than 1 together|less than or equal to 1|greater than or equal to 0"
        ):
            DataConfig(cubes=["x"], train_split=train, val_split=val)


@pytest.mark.parametrize(
    ("data", "numbers", "has_test"),
    [
        ({}, {"train": [0, 1, 2], "val": [0, 1, 2], "test": [0, 1, 2]}, False),
        ({"train_ids": [2, 0]}, {"train": [2, 0], "val": [], "test": []}, False),
        ({"val_ids": [1], "train_split": 0.5}, {"train": [], "val": [1], "test": []}, False),
        ({"test_ids": [1, 1]}, {"train": [], "val": [], "test": [1, 1]}, True),
        ({"masks": {"test": "m"}}, {"train": [0, 1, 2], "val": [0, 1, 2], "test": [0, 1, 2]}, True),
        ({"masks": {"val": "m"}}, {"train": [0, 1, 2], "val": [0, 1, 2], "test": [0, 1, 2]}, False),
    ],
)
def test_numbers_of_cubes_in_parts(
    tmp_path: Path,
    data: dict[str, Any],
    numbers: dict[str, list[int]],
    has_test: bool,  # noqa: FBT001
) -> None:
    """Those that are named, in that order; without any each part is all, and tested is where that is asked for."""
    (tmp_path / "m").mkdir()
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", np.ones((1, 1, 2), np.float32))
        Image.fromarray(np.ones((1, 1), np.uint8)).save(tmp_path / "m" / f"{number}.png")
    (tmp_path / "run.yaml").write_text(_run(data={"cubes": "*.npy", **data})["run.yaml"])
    parts = Parts(read_trainrun(tmp_path / "run.yaml"), NodeRegistry(discover=False).cube_readers())
    assert {split: list(parts.batches(split).numbers) for split in numbers} == numbers
    assert parts.has_test == has_test


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "names the data once"),
        ({"cubes": ["x"], "cu3s_file_path": "y"}, "names the data once"),
        ({"cubes": ["x"], "masks": "m", "annotation_json_path": "a"}, "keep one"),
        ({"cubes": ["x"], "masks": "m"}, None),
        ({"cu3s_file_path": "y", "annotation_json_path": "a"}, None),
    ],
)
def test_data_and_labels_are_named_once(given: dict[str, Any], says: str | None) -> None:
    """By one name or the other."""
    if says is None:
        data = DataConfig.model_validate(given)
        assert data.places == (given.get("cubes") or [given["cu3s_file_path"]])
        assert data.annotations("test") == (given.get("masks") or given["annotation_json_path"])
        return
    with pytest.raises(ValueError, match=says):
        DataConfig.model_validate(given)
