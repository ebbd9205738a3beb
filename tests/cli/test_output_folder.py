import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuvis_ai_core.errors import OutputError
from cuvis_ai_core.results.folder import OutputFolder, not_as_written, safe_name


def write(folder: Path, files: dict[str, str]) -> None:
    """Publish some files, with the record that names them."""
    with OutputFolder(folder) as output:
        for name, text in files.items():
            (output.staging / name).write_text(text)
        record = {"files": [{"file": name} for name in files]}
        (output.staging / "run.json").write_text(json.dumps(record))
        output.publish()


def content(folder: Path) -> dict[str, str]:
    """Return the files of a folder, the record left out."""
    return {path.name: path.read_text() for path in folder.iterdir() if path.name != "run.json"}


def test_a_new_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    """It has the permissions of any folder, not of a temporary one, and nothing else is left beside it."""
    write(tmp_path / "a" / "b", {"x": "1"})
    (tmp_path / "plain").mkdir()
    assert content(tmp_path / "a" / "b") == {"x": "1"}
    assert (tmp_path / "a" / "b").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "plain"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_without_room_is_told_with_the_folder(tmp_path: Path) -> None:
    """The operating system names no file where one is written; nothing is left."""
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device") as caught, OutputFolder(tmp_path / "out"):
        (tmp_path / "full").write_bytes(b"1")
    assert caught.value.filename == str(tmp_path / "out")
    assert [each.name for each in tmp_path.iterdir()] == ["full"]


def test_a_second_run_replaces_the_files_of_the_first(tmp_path: Path) -> None:
    """What the first run wrote and the second did not is gone; what somebody else put there stays."""
    write(tmp_path / "out", {"x": "1", "old": "1"})
    (tmp_path / "out" / "notes").write_text("mine")
    write(tmp_path / "out", {"x": "2", "new": "2"})
    assert content(tmp_path / "out") == {"x": "2", "new": "2", "notes": "mine"}


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(
    ("text", "told"),
    [("1", "never"), ("12", "always"), ("2", "later")],
)
def test_files_that_were_changed_since_are_told(tmp_path: Path, text: str, told: str, *, later: bool) -> None:
    """By their size, and by their content where their time is later than that of the record."""
    write(tmp_path / "out", {"x": "1", "y": "1"})
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert list(not_as_written(tmp_path / "out", record)) == []
    written = (tmp_path / "out" / "run.json").stat().st_mtime_ns
    (tmp_path / "out" / "x").write_text(text)
    time = written + 10**9 if later else written
    os.utime(tmp_path / "out" / "x", ns=(time, time))
    is_told = told == "always" or (told == "later" and later)
    assert list(not_as_written(tmp_path / "out", record)) == ["x"] * is_told


def test_files_that_are_gone_or_of_other_folders_are_told(tmp_path: Path) -> None:
    """A record of a stranger may name any."""
    write(tmp_path / "out", {"x": "1"})
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    record["written"] |= {"../out/x": record["written"]["x"], "gone": "0", "a\0b": "0", "..": "0"}
    assert list(not_as_written(tmp_path / "out", record)) == ["../out/x", "gone", "a\0b", ".."]
    assert list(not_as_written(tmp_path / "out", {})) == []
    assert list(not_as_written(tmp_path / "out", {"written": 3, "sizes": [1]})) == []


def test_a_file_of_somebody_else_is_not_overwritten(tmp_path: Path) -> None:
    """The error names the file, and the folder is as it was."""
    write(tmp_path / "out", {"x": "1"})
    (tmp_path / "out" / "y").write_text("mine")
    with pytest.raises(OutputError, match=r"holds 'y', which no earlier run wrote"):
        write(tmp_path / "out", {"x": "2", "y": "2"})
    assert content(tmp_path / "out") == {"x": "1", "y": "mine"}


def test_a_record_of_something_else_is_not_trusted(tmp_path: Path) -> None:
    """A run.json that is not ours is a file of somebody else, and no record reaches outside of the folder."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text('{"files": 3}')
    with pytest.raises(OutputError, match=r"holds 'run.json'"):
        write(tmp_path / "out", {"x": "1"})
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "out" / "run.json").write_text('{"files": [{"file": "../precious"}, {"file": ""}, 4]}')
    write(tmp_path / "out", {"x": "1"})
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_file_that_is_certain_to_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    """Nobody waits for results that have no place."""
    (tmp_path / "outputs.npz").write_text("mine")
    with (
        pytest.raises(OutputError, match=r"holds 'outputs.npz'"),
        OutputFolder(tmp_path, ("outputs.npz", "run.json")),
    ):
        pytest.fail("the work began")
    assert content(tmp_path) == {"outputs.npz": "mine"}


@pytest.mark.parametrize("there", [True, False])
def test_a_run_that_fails_leaves_nothing_behind(tmp_path: Path, there: bool) -> None:  # noqa: FBT001
    """Neither in the folder nor beside it."""
    if there:
        write(tmp_path / "out", {"x": "1"})
    before = sorted(tmp_path.rglob("*"))

    def fail() -> None:
        with OutputFolder(tmp_path / "out") as output:
            (output.staging / "x").write_text("2")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert sorted(tmp_path.rglob("*")) == before
    assert not there or content(tmp_path / "out") == {"x": "1"}


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path) -> None:
    """The temporary folder of a run that was killed goes; that of a run that is under way stays."""
    code = (
        "import sys, time; from pathlib import Path; from cuvis_ai_core.results.folder import OutputFolder\n"
        "with OutputFolder(Path(sys.argv[1])) as output: print(output.staging, flush=True); time.sleep(60)"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path / "out"], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        killed, living = (Path(run.stdout.readline().strip()) for run in runs if run.stdout)
        runs[0].kill()
        runs[0].wait()
        assert killed.is_dir()
        write(tmp_path / "out", {"x": "1"})
        assert (killed.exists(), living.is_dir()) == (False, True)
    finally:
        for run in runs:
            run.kill()
            run.communicate()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")
@pytest.mark.parametrize("step", range(6))
def test_a_kill_while_files_are_exchanged_is_undone_by_the_next_run(tmp_path: Path, step: int) -> None:
    """A run that is killed between two files leaves no record; the next one first brings back what was there."""
    write(tmp_path / "out", {"a": "1", "b": "1"})
    code = (
        "import itertools, os, signal, sys; from pathlib import Path; from cuvis_ai_core.results.folder import *\n"
        "replace, calls = os.replace, itertools.count()\n"
        f"stop = lambda *each: os.kill(os.getpid(), signal.SIGKILL) if next(calls) == {step} else replace(*each)\n"
        "with OutputFolder(Path(sys.argv[1])) as output:\n"
        "    for name in 'ac': (output.staging / name).write_text('2')\n"
        "    (output.staging / 'run.json').write_text('{\"files\": []}')\n"
        "    os.replace = stop; output.publish()"
    )
    killed = subprocess.run([sys.executable, "-c", code, tmp_path / "out"], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "out" / "run.json").exists() == (step == 0)
    with pytest.raises(ZeroDivisionError), OutputFolder(tmp_path / "out"):
        raise ZeroDivisionError
    assert content(tmp_path / "out") == {"a": "1", "b": "1"}
    assert not list(OutputFolder(tmp_path / "out").doubts())
    write(tmp_path / "out", {"a": "3"})
    assert content(tmp_path / "out") == {"a": "3"}
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["a", "run.json"]


def test_an_exchange_that_was_cut_off_is_undone_file_by_file(tmp_path: Path) -> None:
    """What had arrived goes again, unless somebody changed it; what was there comes back, where nothing is now."""
    out, two = tmp_path / "out", hashlib.sha256(b"2").hexdigest()
    write(out, {"x": "1", "y": "1"})
    left = out / ".out.dead"
    for folder in (left / "old", left / "new"):
        folder.mkdir(parents=True)
    (left / "lock").touch()
    for name in ("run.json", "x", "y"):
        (out / name).rename(left / "old" / name)
    for file, text in (
        (out / "x", "2"),
        (out / "y", "mine"),
        (out / "z", "2"),
        (left / "new" / "z", "2"),
        (tmp_path / "w", "2"),
    ):
        file.write_text(text)
    record = {"files": [], "written": dict.fromkeys(("x", "y", "z", "../w"), two), "folder": out.stat().st_ino}
    (left / "new" / "run.json").write_text(json.dumps(record))
    with pytest.raises(ZeroDivisionError), OutputFolder(out):
        raise ZeroDivisionError
    assert content(out) == {"x": "1", "y": "mine", "z": "2"}
    assert json.loads((out / "run.json").read_text())["files"] == [{"file": "x"}, {"file": "y"}]
    assert (tmp_path / "w").read_text() == "2"


@pytest.mark.parametrize("record", [None, {}, {"written": 3}, {"written": {}, "folder": 1}])
@pytest.mark.parametrize("inside", [{"lock"}, {"lock", "new"}, {"lock", "new", "old"}, {"new"}, {"lock", "more"}])
def test_which_temporary_folders_are_removed(tmp_path: Path, record: dict[str, Any] | None, inside: set[str]) -> None:
    """Those of a run that was killed, and nothing else: not where files in it may be nowhere else."""
    left = tmp_path / ".out.dead"
    left.mkdir()
    for name in inside:
        (left / name).touch() if name == "lock" else (left / name).mkdir()
    has_record = "new" in inside and record is not None
    if has_record:
        (left / "new" / "run.json").write_text(json.dumps(record))
    write(tmp_path / "out", {"x": "1"})
    is_kept = "lock" not in inside or "more" in inside
    is_kept |= has_record and "old" in inside and record == {"written": {}, "folder": 1}
    assert left.exists() == is_kept


def test_the_record_goes_first_and_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is a record, all files are there that it names."""
    write(tmp_path / "out", {"x": "1"})
    replace, moved = os.replace, []

    def notes(source: Path, target: Path) -> None:
        moved.append(source.name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", notes)
    write(tmp_path / "out", {"x": "2"})
    assert moved == ["run.json", "x", "x", "run.json"]


def test_an_interrupted_exchange_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If moving stops half-way, the files of the first run are back in their place."""
    write(tmp_path / "out", {"a": "1", "b": "1"})
    replace, calls = os.replace, iter(range(100))

    def stops(source: Path, target: Path) -> None:
        if next(calls) == 4:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", stops)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "out", {"a": "2", "b": "2"})
    assert content(tmp_path / "out") == {"a": "1", "b": "1"}
    assert (tmp_path / "out" / "run.json").exists()


@pytest.mark.parametrize("path", ["file", "file/below"])
def test_a_place_that_cannot_be_a_folder_is_refused_at_once(tmp_path: Path, path: str) -> None:
    """Before any work is done."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written: Not a directory"), OutputFolder(tmp_path / path):
        pytest.fail("the work began")
    assert (tmp_path / "file").read_text() == "in the way"


def test_names_become_file_names() -> None:
    """Separators, dots at the ends, names that Windows keeps to itself, and names without end."""
    assert safe_name("rx.scores") == "rx.scores"
    assert safe_name("../a b/c:d") == "_a_b_c_d"
    assert safe_name("Größe") == "Größe"
    assert safe_name("CON.out") == "_CON.out"
    assert safe_name("...") == "_"
    assert len(safe_name("ü" * 500).encode()) <= 100
    assert safe_name("a" + "ü" * 500) == "a" + "ü" * 49, "no half of a letter is left"


@pytest.mark.slow
@given(st.text())
def test_any_name_can_be_written(name: str) -> None:
    """What comes out is one part of a path, and neither hidden nor special."""
    safe = safe_name(name)
    assert Path(safe).name == safe
    assert not safe.startswith(".")
    assert "\0" not in safe
