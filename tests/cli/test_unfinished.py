"""The folder of a training that is under way says what is kept in it."""

from pathlib import Path

import pytest

from cuvis_ai_core.cli.unfinished import Unfinished


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
