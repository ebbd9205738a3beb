"""The checkpoint from which an interrupted training goes on is whole, and known by what was written."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from cuvis_ai_core.training.resume_checkpoint import is_as_written, put_checkpoint

torch = pytest.importorskip("torch")


def _saving(number: int) -> Callable[[Path], None]:
    return lambda path: torch.save({"number": number}, path)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_one_that_cannot_be_written_leaves_the_old_one_alone(tmp_path: Path, error: type[BaseException]) -> None:
    """And nothing beside it."""
    file = tmp_path / "run" / "resume.ckpt"
    put_checkpoint(file, _saving(1))

    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise error

    with pytest.raises(error):
        put_checkpoint(file, fail)
    assert torch.load(file, weights_only=True) == {"number": 1}
    assert [each.name for each in file.parent.iterdir()] == ["resume.ckpt"]


def test_both_count_until_one_has_taken_the_place_of_the_other(tmp_path: Path) -> None:
    """Whoever is killed before that leaves the old one; one of before, or of somebody else, is not what was written."""
    file, about = tmp_path / "resume.ckpt", tmp_path / "configuration.json"
    about.write_text(json.dumps({"seed": 1}))
    assert is_as_written(file)
    contents = []
    for number in range(3):
        put_checkpoint(file, _saving(number))
        assert is_as_written(file)
        contents.append(file.read_bytes())
    file.write_bytes(contents[1])
    assert is_as_written(file)
    for other in (contents[0], b"somebody's"):
        file.write_bytes(other)
        assert not is_as_written(file)
    assert json.loads(about.read_text())["seed"] == 1


def test_a_folder_that_says_nothing_of_its_checkpoint_proves_nothing(tmp_path: Path) -> None:
    """It is that of a program with ways of its own; nothing is added to it."""
    put_checkpoint(tmp_path / "resume.ckpt", _saving(1))
    assert not is_as_written(tmp_path / "resume.ckpt")
    assert [each.name for each in tmp_path.iterdir()] == ["resume.ckpt"]


class _Odd:
    """What torch reads by running code alone."""


def test_what_cannot_be_gone_on_from_is_said_with_the_first_one_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """There may be thousands in a training."""
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            put_checkpoint(tmp_path / "resume.ckpt", lambda path: torch.save({"odd": _Odd()}, path))
    assert len(caplog.records) == 1
    caplog.clear()
    put_checkpoint(tmp_path / "other.ckpt", _saving(1))
    assert not caplog.records
