"""What a worker said last is kept in a file of its own, of which a few are kept."""

import os
from pathlib import Path

import pytest

from cuvis_ai_core.plugins.worker import crash_logs
from cuvis_ai_core.plugins.worker.crash_logs import keep_words


def test_what_was_said_is_kept_under_plugin_time_and_process(tmp_path: Path) -> None:
    """Nothing but blanks is nothing; where nothing can be written nothing is kept, and that is no error."""
    logs = tmp_path / "logs"
    assert keep_words(logs, "echo", 7, " \n\t") is None
    assert not logs.exists()
    kept = keep_words(logs, "echo", 7, "some words\n")
    assert kept is not None
    assert kept.read_text() == "some words\n"
    name, time, process = kept.stem.rsplit("-", 2)
    assert (name, process, kept.suffix, kept.parent) == ("echo", "7", ".log", logs)
    assert len(time) == len("20240501T120000")
    assert time[8] == "T"
    (tmp_path / "file").touch()
    assert keep_words(tmp_path / "file" / "logs", "echo", 7, "x") is None


def test_the_oldest_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the time of their last change, and no other files; somebody else may forget them at the same time."""
    most = crash_logs._MOST
    for number in range(most + 3):
        (tmp_path / f"{number:03}.log").touch()
        os.utime(tmp_path / f"{number:03}.log", (1000 - number, 1000 - number))
    (tmp_path / "other.txt").touch()
    os.utime(tmp_path / "other.txt", (1, 1))
    kept = keep_words(tmp_path, "echo", 7, "x")
    assert kept is not None
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == sorted([*(f"{number:03}.log" for number in range(most - 1)), kept.name, "other.txt"])
    (tmp_path / "zzz.log").touch()
    os.utime(tmp_path / "zzz.log", (1, 1))
    unlink = Path.unlink

    def gone(path: Path, **options: bool) -> None:
        unlink(path)
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", gone)
    second = keep_words(tmp_path, "echo", 8, "x")
    assert second is not None
    assert len(list(tmp_path.glob("*.log"))) == most
