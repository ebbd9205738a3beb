"""What `restore-trainrun` makes of its options, seen without a training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.cli.restore import restore_trainrun, run_training
from cuvis_ai_core.errors import TrainRunError

Run = Callable[..., Any]

TRAINRUN: dict[str, Any] = {
    "name": "night",
    "pipeline": {"nodes": [{"name": "rx", "class_name": "RXDetector"}]},
    "data": {"cubes": "cubes"},
    "training": {"max_epochs": 7},
}


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch, shell: Run, write_yaml: Run) -> list[tuple[Any, ...]]:
    """Return what is done with which trainrun, in a folder with some and without anything to train on."""
    found: list[tuple[Any, ...]] = []

    class Session:
        """A session that notes what it is to do."""

        def __init__(self, registry: Any, run: Any) -> None:
            self._run = run

        def train(self, **options: Any) -> None:
            """Note it."""
            found.append((self._run, options))

        def evaluate(self, *given: Any) -> None:
            """Note it."""
            found.append((self._run, given))

    monkeypatch.setattr(run_training, "Session", Session)
    write_yaml("run.yaml", TRAINRUN)
    write_yaml("plain.yaml", {key: value for key, value in TRAINRUN.items() if key != "training"})
    Path("w.pt").touch()
    return found


def test_the_command_hands_all_options_on(shell: Run, done: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each as it was given, or as what holds without it."""
    given: list[tuple[Any, ...]] = []
    monkeypatch.setattr(restore_trainrun, "restore", lambda *args, **options: given.append((*args, options)))
    Path("folder").mkdir()
    many = ("--mode", "train", "--override", "a=1", "--override", "b=2", "--plugins-path", "p.yaml", "--overwrite")
    more = ("--plugins-dir", "folder", "--weights-path", "w.pt", "--device", "cuda:3")
    Path("p.yaml").touch()
    for options in ((*many, *more), ("--checkpoint-path", "w.pt"), ()):
        result = shell("restore-trainrun", "--trainrun-path", "run.yaml", *options)
        assert result.exit_code == 0, result.output
    least = {"plugins_dirs": (), "checkpoint": None, "device": "auto", "overwrite": False}
    most = {"plugins_dirs": (Path("folder"),), "checkpoint": Path("w.pt"), "device": "cuda:3", "overwrite": True}
    assert given == [
        (Path("run.yaml"), "train", ("a=1", "b=2"), Path("p.yaml"), most),
        (Path("run.yaml"), "info", (), None, {**least, "checkpoint": Path("w.pt")}),
        (Path("run.yaml"), "info", (), None, least),
    ]


@pytest.mark.parametrize("device", ["cuda:x", "cuda:", "cuda:1234", "tpu", "cpu,cuda", ""])
def test_what_is_no_device_is_refused(shell: Run, done: list[Any], device: str) -> None:
    """Before anything is read."""
    result = shell("restore-trainrun", "--trainrun-path", "run.yaml", "--device", device)
    assert result.exit_code == 2
    assert f"Invalid value for '--device': '{device}' is no device, such as auto, cpu" in result.output


@pytest.mark.parametrize(
    ("device", "accelerator", "devices", "where"),
    [
        ("auto", "auto", None, None),
        ("cpu", "cpu", None, "cpu"),
        ("gpu:1", "gpu", [1], "cuda:1"),
        ("cuda:12", "cuda", [12], "cuda:12"),
        ("mps", "mps", None, "mps"),
    ],
)
def test_a_device_is_named_to_trainer_and_nodes(
    done: list[Any], device: str, accelerator: str, devices: Any, where: str | None
) -> None:
    """In the words of each of them; a trainrun without training has none to name it in."""
    for file in ("run.yaml", "plain.yaml"):
        restore_trainrun.restore(Path(file), "train", (), device=device)
    (run, trained), (plain, also) = done
    assert trained == also == {"overwrite": False, "device": where}
    assert plain.config.training is None
    training = run.config.training
    assert (training.accelerator, training.devices, training.max_epochs) == (accelerator, devices, 7)


@pytest.mark.parametrize(("mode", "split"), [("train", None), ("validate", "val"), ("test", "test")])
def test_weights_are_begun_from_or_measured(done: list[Any], mode: str, split: str | None) -> None:
    """Of the file that is named, wherever the trainrun lies; and a finished training is replaced where asked."""
    restore_trainrun.restore(Path("run.yaml"), mode, ("name=day",), checkpoint=Path("w.pt"), overwrite=True)
    ((run, asked),) = done
    assert asked == ({"overwrite": True, "device": None} if split is None else (split, None))
    found = (run.config.initial_weights, run.config.weights)
    assert found == ((str(Path("w.pt").absolute()), None) if split is None else (None, str(Path("w.pt").absolute())))
    assert run.config.name == "day"


@pytest.mark.parametrize("mode", ["info", "train"])
def test_manifests_that_are_missing_are_errors_where_they_are_needed(
    done: list[Any], write_yaml: Run, mode: str
) -> None:
    """Not to be looked at."""
    write_yaml("named.yaml", {**TRAINRUN, "plugins_path": "gone.yaml"})
    if mode == "info":
        restore_trainrun.restore(Path("named.yaml"), mode, ())
    else:
        with pytest.raises(TrainRunError, match=r"there is no manifest .gone\.yaml."):
            restore_trainrun.restore(Path("named.yaml"), mode, ())
    for broken in ("info", "train"):
        with pytest.raises(TrainRunError, match="the manifest is no override"):
            restore_trainrun.restore(Path("run.yaml"), broken, ("plugins_path=p.yaml",))
    assert done == []


@pytest.mark.parametrize("mode", ["info", "train", "test"])
def test_plugins_that_the_pipeline_names_are_loaded_from_named_folders(
    done: list[Any], write_yaml: Run, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """And a data module to be trained or measured on, not to be looked at."""
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr("cuvis_ai_core.cli.shared.plugin_loading.load_named", lambda _, *given: asked.append(given))
    write_yaml("belt.yaml", {**TRAINRUN, "data": {"data_module": "belt"}})
    restore_trainrun.restore(Path("belt.yaml"), mode, (), plugins_dirs=(Path("a"), Path("b")))
    restore_trainrun.restore(Path("belt.yaml"), mode, ())
    ((pipeline, folders, module),) = asked
    assert (folders, module) == ((Path("a"), Path("b")), None if mode == "info" else "belt")
    assert pipeline["nodes"][0]["name"] == "rx"
    assert [run.plugins_dirs for run, _ in done] == ([] if mode == "info" else [folders, ()])


def test_plugins_are_loaded_to_train_or_when_they_are_named(
    done: list[Any], write_yaml: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the manifest that is given, or else of the one beside the trainrun; a look loads only the former."""
    loaded: list[Any] = []
    monkeypatch.setattr(
        "cuvis_ai_core.cli.shared.plugin_loading.load_plugins", lambda _, manifest: loaded.append(manifest)
    )
    shown: list[Any] = []
    shows = "cuvis_ai_core.cli.restore.describe_trainrun.print_trainrun"
    monkeypatch.setattr(shows, lambda _, run, command, loaded: shown.append((run.config.plugins_path, command, loaded)))
    for beside in (False, True):
        if beside:
            write_yaml("plugins.yaml", {})
        for mode in ("info", "train"):
            for given in (None, Path("p.yaml")):
                restore_trainrun.restore(Path("run.yaml"), mode, (), given)
    assert loaded == [*map(Path, ("p.yaml", "p.yaml", "p.yaml", "plugins.yaml", "p.yaml"))]
    here, command = Path.cwd(), "restore-trainrun --trainrun-path run.yaml"
    named = (str(here / "p.yaml"), command, True)
    assert shown == [(None, command, False), named, (str(here / "plugins.yaml"), command, False), named]


@pytest.mark.parametrize("key", ["loss_nodes", "metric_nodes"])
def test_a_look_refuses_nodes_that_measure_nothing(done: list[Any], key: str) -> None:
    """As a training would."""
    with pytest.raises(TrainRunError, match=rf"{key}: node 'rx' \(RXDetector\) has no output '{key[:4]}"):
        restore_trainrun.restore(Path("run.yaml"), "info", (f"{key}=[rx]",))
