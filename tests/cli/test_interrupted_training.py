"""The folder of a training that is under way says what is kept in it."""

import shutil
from functools import partial
from pathlib import Path

import click
import pytest

from cuvis_ai_core.cli.restore.interrupted_training import Unfinished
from cuvis_ai_core.training.resume_checkpoint import put_checkpoint

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("file", "told"), [("resume.ckpt", "goes on from there"), ("last.pt", "begins anew"), (None, "Nothing of the")]
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


def _begin(output: Path, configuration: dict[str, str] | None = None) -> Unfinished:
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
