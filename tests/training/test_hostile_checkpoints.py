"""Checkpoints and weights that a stranger sent run nothing, take no more than they are, and say what is wrong."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pytorch_lightning")

from cuvis_ai_core.errors import PipelineError, TrainingError  # noqa: E402
from cuvis_ai_core.pipeline.weights.torch_file import read_checkpoint  # noqa: E402
from cuvis_ai_core.pipeline.weights.weights_file import read_weights  # noqa: E402
from cuvis_ai_core.training.best_checkpoints import Best  # noqa: E402
from cuvis_ai_core.training.config import CheckpointConfig  # noqa: E402
from cuvis_ai_core.training.resume_checkpoint import put_checkpoint, refused  # noqa: E402


class _Planted:
    """Makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self._file), "w")


@pytest.fixture(autouse=True)
def _an_environment_that_asks_for_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have torch run what a file says, but for those who say that they want weights alone."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")


@pytest.mark.parametrize("old", [False, True])
def test_what_is_refused_in_weights_is_named(tmp_path: Path, old: bool) -> None:  # noqa: FBT001
    """Class and key, whatever the environment asks of torch; and nothing is run."""
    state = {"scale": {"weight": torch.ones(2), "_extra_state": {"deep": [_Planted(tmp_path / "ran")]}}}
    file = tmp_path / "p.pt"
    torch.save({"state_dict": state}, file, _use_new_zipfile_serialization=not old)
    with pytest.raises(PipelineError, match=r"holds (io|_io)\.open at 'state_dict\.scale\._extra_state\.deep\.0'"):
        read_weights(file)
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_that_is_refused_is_named_with_its_key(tmp_path: Path) -> None:
    """And says how to go on."""
    file = tmp_path / "resume.ckpt"
    torch.save({"callbacks": {"recorder": {"history": [_Planted(tmp_path / "ran")]}}}, file)
    error = refused(file)
    assert isinstance(error, TrainingError)
    assert "open at 'callbacks.recorder.history.0'" in error.message
    assert "initial_weights" in str(error.hint)
    assert not (tmp_path / "ran").exists()


def test_a_checkpoint_that_could_not_be_gone_on_from_is_said_when_it_is_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not when the training was interrupted; the training itself goes on."""
    content = {"state": _Planted(tmp_path / "ran")}
    put_checkpoint(tmp_path / "resume.ckpt", lambda path: torch.save(content, path))
    assert "could not go on" in caplog.text
    assert not (tmp_path / "ran").exists()
    assert "open at 'state'" in caplog.text
    assert not (tmp_path / "ran").exists()


def _doubling(depth: int) -> list[Any]:
    value: list[Any] = [1, 2]
    for _ in range(depth):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(1).expand(10**10),
        _doubling(60),
        {"__cuvis_type__": "fraction", "value": "1e999999999"},
        {"__cuvis_type__": "ndarray", "dtype": "<f8", "shape": [10**9], "value": torch.zeros(1, dtype=torch.uint8)},
        {"__cuvis_type__": "ndarray", "dtype": "|O", "shape": [1], "value": torch.zeros(8, dtype=torch.uint8)},
        {"__cuvis_type__": "ndarray", "dtype": "<f8", "shape": [1],
         "value": torch.zeros(1, dtype=torch.uint8).expand(2**34)},
        {"__cuvis_type__": "ndarray"},
        {"__cuvis_type__": "date", "value": "tomorrow"},
        {"__cuvis_type__": "zoneinfo", "value": "../../etc/passwd"},
        {"__cuvis_type__": "bytearray", "value": 10**12},
        {"__cuvis_type__": ["set"], "value": [[]]},
    ],
)  # fmt: skip
def test_weights_that_grow_or_lie(tmp_path: Path, value: Any) -> None:
    """One error each that names the entry, at once."""
    file = tmp_path / "p.pt"
    torch.save({"state_dict": {"node": {"key": value}}}, file)
    with pytest.raises(PipelineError, match=r"cannot be read: 'node\.key' is no value of a node|does not know"):
        read_weights(file)


def test_checkpoints_of_lightning_have_the_same_rules(tmp_path: Path) -> None:
    """Nothing grows in them, nothing runs, and a pipe is no file."""
    file = tmp_path / "best.ckpt"
    torch.save({"state_dict": {"model.node.key": torch.zeros(1).expand(10**10)}}, file)
    with pytest.raises(PipelineError, match=r"'model\.node\.key' is no value of a node"):
        read_checkpoint(file, {"node"})
    torch.save({"state_dict": {"node.key": torch.zeros(1)}, "callbacks": _Planted(tmp_path / "ran")}, file)
    with pytest.raises(PipelineError, match="open at 'callbacks'"):
        read_checkpoint(file, {"node"})
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(PipelineError, match="There is no file of weights"):
        read_checkpoint(file, {"node"})
    assert not (tmp_path / "ran").exists()


def test_an_honest_tensor_may_repeat_numbers(tmp_path: Path) -> None:
    """As a buffer that was expanded does."""
    torch.save({"state_dict": {"node": {"key": torch.ones(1).expand(1000)}}}, tmp_path / "p.pt")
    assert read_weights(tmp_path / "p.pt").state["node"]["key"].sum() == 1000


def test_weights_that_are_packed(tmp_path: Path) -> None:
    """Torch packs nothing: an archive that is larger inside is none of it."""
    torch.save({"state_dict": {"node": {"key": torch.zeros(10**7)}}}, tmp_path / "large.pt")
    with (
        zipfile.ZipFile(tmp_path / "large.pt") as large,
        zipfile.ZipFile(tmp_path / "small.pt", "w", zipfile.ZIP_DEFLATED) as small,
    ):
        for name in large.namelist():
            small.writestr(name, large.read(name))
    assert (tmp_path / "small.pt").stat().st_size < 100_000
    with pytest.raises(PipelineError, match="is damaged, or none of torch"):
        read_weights(tmp_path / "small.pt")


@pytest.mark.parametrize("text", ["[" * 100_000, "3", "{"])
def test_metadata_of_safetensors_are_no_trap(tmp_path: Path, text: str) -> None:
    """What they say about themselves is left out where it cannot be read."""
    import numpy as np
    from safetensors.numpy import save_file

    save_file({"n.k": np.ones(2, np.float32)}, tmp_path / "p.safetensors", {"metadata": text})
    found = read_weights(tmp_path / "p.safetensors")
    assert (list(found.state["n"]), found.metadata) == (["k"], {})


@pytest.mark.parametrize(
    "place",
    ["..", "../x", "a/../../b", "/tmp/x", "\\\\host\\x", "C:/x", "~/x", "a/..", "..\\x", "a\0b"],
)
def test_folders_of_checkpoints_are_in_the_output_directory(place: str) -> None:
    """No trainrun writes elsewhere."""
    with pytest.raises(ValueError, match="leads out of the output directory"):
        CheckpointConfig(dirpath=place)


@pytest.mark.parametrize("name", ["best/weights", "a..b", "outputs/.hidden"])
def test_honest_folders_of_checkpoints(name: str) -> None:
    """Whatever they are called."""
    assert CheckpointConfig(dirpath=name).dirpath == name


@pytest.mark.parametrize(
    "name",
    ["{../../x}", "{/tmp/x}", "{epoch:/>3}", "{epoch:>99999999}", "{epoch!r}", "{}", "{0[x]}y{", "a\nb", "{a.../x}"],
)
def test_names_of_checkpoints_are_no_paths_in_disguise(name: str) -> None:
    """Neither by a metric nor by how its number is written."""
    with pytest.raises(ValueError, match=r"in braces stand a metric and its digits|a path"):
        CheckpointConfig(filename=name)


def test_honest_names_of_checkpoints(tmp_path: Path) -> None:
    """With metrics of nodes, which have a stroke in them."""
    name = "best-{epoch:03d}-{accuracy/accuracy:.2f}-{val_loss}"
    best = Best(tmp_path, CheckpointConfig(filename=name))
    values = {"epoch": torch.tensor(3), "accuracy/accuracy": torch.tensor(0.5), "val_loss": torch.tensor(1.0)}
    assert best.format_checkpoint_name(values) == str(tmp_path / "checkpoints/best-003-0.50-1.0.ckpt")
