"""The folder of a training that is under way says what is kept in it."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

from cuvis_ai_core.cli.restore.interrupted_training import Unfinished, kept_on_failure
from cuvis_ai_core.training.resume_checkpoint import put_checkpoint

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("resume.ckpt", "goes on from there"),
        ("last.pt", "The last weights are kept"),
        ("metrics.csv", "The metrics are kept"),
        (None, "Nothing of the"),
    ],
)
def test_an_interruption_says_what_is_kept(tmp_path: Path, file: str | None, told: str) -> None:
    """Whether the same command goes on depends on whether a checkpoint was written before."""

    def train() -> None:
        with Unfinished(tmp_path, {}) as unfinished:
            if file is not None:
                (unfinished.folder / file).touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        train()
    assert told in caught.value.__notes__[0]
    assert (tmp_path / "unfinished").is_dir() is (file is not None)


@pytest.mark.parametrize("dirpath", ["checkpoints", "outputs/best"])
def test_checkpoints_are_found(tmp_path: Path, dirpath: str) -> None:
    """Wherever a trainrun has them written in the folder; where to go on from is none of them."""
    with Unfinished(tmp_path, {}) as unfinished:
        (unfinished.folder / dirpath).mkdir(parents=True)
        file = unfinished.folder / dirpath / "epoch-0001.ckpt"
        file.touch()
        (unfinished.folder / "resume.ckpt").touch()
        assert unfinished.checkpoints() == {"checkpoint-epoch-0001.ckpt": file}


def _begin(output: Path, configuration: dict[str, Any] | None = None) -> Unfinished:
    """Begin a training, write a checkpoint as it is written, and break off."""

    def train(unfinished: Unfinished) -> None:
        with unfinished:
            for epoch in (1, 2):
                put_checkpoint(unfinished.folder / "resume.ckpt", partial(torch.save, {"epoch": epoch}))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Unfinished(output, configuration or {}))
    return Unfinished(output, configuration or {})


def test_an_honest_folder_is_gone_on_from(tmp_path: Path) -> None:
    """The same command in the same folder; also where the folder above was renamed, or the last step was not made."""
    with _begin(tmp_path / "a") as again:
        assert torch.load(again.folder / "resume.ckpt", weights_only=True) == {"epoch": 2}
    _begin(tmp_path / "b")
    (tmp_path / "b").rename(tmp_path / "c")
    torch.save({"epoch": 1}, tmp_path / "c/unfinished/resume.ckpt")  # killed before the second took its place
    with Unfinished(tmp_path / "c", {}):
        pass


@pytest.mark.parametrize("planted", ["resume.ckpt", "last.pt", "checkpoints/best.ckpt"])
def test_a_planted_checkpoint_is_refused(tmp_path: Path, planted: str) -> None:
    """In a folder that says nothing of itself, whatever it is called; it stays for whoever laid it there."""
    file = tmp_path / "unfinished" / planted
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")
    with (
        pytest.raises(click.BadParameter, match=r"that are of no training that was begun here"),
        Unfinished(tmp_path, {}),
    ):
        pytest.fail("it was begun from")
    assert file.exists()


def test_a_folder_from_elsewhere_is_refused(tmp_path: Path) -> None:
    """A copy, as an archive would lay it there, is not the folder that was begun; nor is another checkpoint ours."""
    _begin(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with pytest.raises(click.BadParameter, match="was begun elsewhere"), Unfinished(tmp_path / "b", {}):
        pytest.fail("it was begun from")
    (tmp_path / "a/unfinished/resume.ckpt").write_bytes(b"planted")
    with pytest.raises(click.BadParameter, match="another than was written"), Unfinished(tmp_path / "a", {}):
        pytest.fail("it was begun from")


@pytest.mark.parametrize(
    "place", ["checkpoints/x.ckpt", "lock", "resume.ckpt", "configuration.json", "checkpoints", ""]
)
def test_links_are_not_followed(tmp_path: Path, place: str) -> None:
    """Neither read, nor copied into the results, nor written through."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "x.ckpt").write_bytes(b"secret")
    link = tmp_path / "out/unfinished" / place
    link.parent.mkdir(parents=True)
    link.symlink_to(secret if place in {"checkpoints", ""} else secret / "x.ckpt")
    with pytest.raises(click.BadParameter, match="holds a link"), Unfinished(tmp_path / "out", {}):
        pytest.fail("it was followed")
    assert (secret / "x.ckpt").read_bytes() == b"secret"
    assert [file.name for file in secret.iterdir()] == ["x.ckpt"]


def test_the_number_of_reading_threads_makes_no_other_training(tmp_path: Path) -> None:
    """It changes nothing of the result; what else stands of the data does."""
    _begin(tmp_path, {"trainrun": {"data": {"batch_size": 2, "num_workers": 4}}})
    with (
        pytest.raises(click.BadParameter, match="of another configuration"),
        Unfinished(tmp_path, {"trainrun": {"data": {"batch_size": 3}}}),
    ):
        pytest.fail("it was gone on with")
    with Unfinished(tmp_path, {"trainrun": {"data": {"batch_size": 2}}}):
        pass


def test_a_link_that_came_later_is_no_checkpoint(tmp_path: Path) -> None:
    """What it leads to is not copied into the results."""
    (tmp_path / "secret").write_bytes(b"secret")
    with Unfinished(tmp_path / "out", {}) as unfinished:
        (unfinished.folder / "checkpoints").mkdir()
        (unfinished.folder / "checkpoints/x.ckpt").symlink_to(tmp_path / "secret")
        assert unfinished.checkpoints() == {}


def test_only_the_same_training_goes_on(tmp_path: Path) -> None:
    """In whatever order its settings stand; who was refused leaves the folder to others, and so does who ended well."""
    _begin(tmp_path, {"a": "1", "b": "2"})
    for _ in range(2):
        with (
            pytest.raises(click.BadParameter, match="of another configuration"),
            Unfinished(tmp_path, {"a": "1", "b": "3"}),
        ):
            pytest.fail("it was gone on with")
    with Unfinished(tmp_path, {"b": "2", "a": "1"}) as again:
        assert (again.folder / "resume.ckpt").is_file()
    assert not (tmp_path / "unfinished").exists()


def test_two_do_not_train_in_one_folder(tmp_path: Path) -> None:
    """Whoever was refused, or has ended, holds it no more; what is gone on with is said."""
    settings: Any = {"folder": tmp_path}  # as text it is the same again
    first, second, third = Unfinished(tmp_path, settings), Unfinished(tmp_path, settings), Unfinished(tmp_path, {})
    with suppress(KeyboardInterrupt), first:
        (first.folder / "last.pt").touch()
        with pytest.raises(click.BadParameter, match="is being trained in by another process") as caught, second:
            pytest.fail("it was trained in twice")
        assert caught.value.param_hint == "output_dir"
        raise KeyboardInterrupt
    with pytest.raises(click.BadParameter, match="of another configuration"), third:
        pytest.fail("it was gone on with")
    with second:
        pass
    assert not first.folder.exists()


def test_what_is_gone_on_with_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing where there is nothing to go on from, whatever else is kept."""
    with _begin(tmp_path):
        pass
    assert capsys.readouterr().err == f"Going on with the unfinished training in {tmp_path / 'unfinished'}\n"
    with suppress(KeyboardInterrupt), Unfinished(tmp_path, {}) as unfinished:
        (unfinished.folder / "last.pt").touch()
        raise KeyboardInterrupt
    with Unfinished(tmp_path, {}):
        pass
    assert capsys.readouterr().err == ""


STATE = {"node": {"weight": torch.ones(2), "code": torch.nn.ReLU()}}
LEFT = " without node.code, which cannot be saved."
ROWS = [{"epoch": 1.0, "val_loss": 0.5}]


def _pipeline(**states: Callable[[], Any]) -> Any:
    """Return one whose nodes have these states."""
    return SimpleNamespace(
        name="scores", nodes={name: SimpleNamespace(state_dict=each) for name, each in states.items()}
    )


@pytest.mark.parametrize(
    ("error", "epochs", "rows", "made", "told"),
    [
        (ValueError, 0, [], [], []),
        (ValueError, 1, ROWS, [], [f"after 1 epoch: metrics.csv, last.pt{LEFT}"]),
        (
            KeyboardInterrupt,
            2,
            [],
            ["resume.ckpt"],
            [f"after 2 epochs: last.pt{LEFT}"],
        ),
        (
            ValueError,
            2,
            [],
            ["resume.ckpt", "last.pt/file"],
            [
                "after 2 epochs: nothing without node.code, which cannot be saved.",
                "The same command goes on from there.",
            ],
        ),
    ],
)
def test_what_a_training_that_fails_leaves_is_said(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    error: type[BaseException],
    epochs: int,
    rows: list[dict[str, float]],
    made: list[str],
    told: list[str],
) -> None:
    """The last weights, the metrics, and whether it can be gone on with; what cannot be written is told beside."""
    for name in made:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    pipeline = _pipeline(node=lambda: STATE["node"])
    with pytest.raises(error), kept_on_failure(tmp_path, pipeline, lambda: rows, lambda: epochs):
        raise error
    lines = [line.removeprefix(f"Kept in {tmp_path} ") for line in capsys.readouterr().err.splitlines()]
    assert lines == told
    warned = [each for each in caplog.messages if each.startswith(f"'{tmp_path / 'last.pt'}' cannot be written: ")]
    assert len(warned) == ("last.pt/file" in made)
    if rows:
        assert (tmp_path / "metrics.csv").read_text(encoding="utf-8") == "epoch,val_loss\n1.0,0.5\n"
    if epochs and not warned:
        written = torch.load(tmp_path / "last.pt", weights_only=True)
        assert written["state_dict"]["node"].keys() == {"weight"}
        assert {key: written["metadata"][key] for key in ("pipeline", "epochs")} == {
            "pipeline": "scores",
            "epochs": epochs,
        }


@pytest.mark.parametrize(
    ("others", "kept"), [({}, "metrics.csv"), ({"node": lambda: STATE["node"]}, "metrics.csv, last.pt")]
)
def test_a_node_that_has_no_state_any_more_hides_no_failure(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    others: dict[str, Any],
    kept: str,
) -> None:
    """As where its process ended: what the training failed with is told; its metrics and other weights are kept."""

    def gone() -> None:
        raise LookupError("its process has ended")

    pipeline = _pipeline(gone=gone, **others)
    folder = tmp_path / "unfinished"
    for _ in range(2):
        with (
            pytest.raises(ValueError, match="the training"),
            Unfinished(tmp_path, {}) as unfinished,
            kept_on_failure(unfinished.folder, pipeline, lambda: ROWS, lambda: 1),
        ):
            raise ValueError("the training")
        without = ", ".join(["gone", *(["node.code"] if others else [])])
        assert capsys.readouterr().err == (
            f"Kept in {folder} after 1 epoch: {kept} without {without}, which cannot be saved.\n"
        )
        assert (folder / "metrics.csv").read_text(encoding="utf-8") == "epoch,val_loss\n1.0,0.5\n"
        assert (folder / "last.pt").exists() == bool(others)
    assert caplog.messages == ["the weights of node 'gone' are not kept: its process has ended"] * 2
