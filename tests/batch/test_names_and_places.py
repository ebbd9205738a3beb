"""Cubes and folders as strangers have them: odd names, links, file systems without locks, disks that are full."""

import csv
import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cuvis_ai_core.batch import Limits, run_cubes
from cuvis_ai_core.batch.folder_ownership import alone_in
from cuvis_ai_core.batch.worker import told
from cuvis_ai_core.cli.restore.restore_pipeline import main
from cuvis_ai_core.data import read_cube
from cuvis_ai_core.data.cube_files import find_cube_files
from cuvis_ai_core.data.numpy_files import read_npy
from cuvis_ai_core.errors import CubeError, OutputError

pytestmark = pytest.mark.usefixtures("warm_commands")

Cubes = Callable[..., None]
posix = pytest.mark.skipif(sys.platform != "linux", reason="names and links as Linux has them")


def write(file: Path) -> None:
    """Write a small cube."""
    with file.open("wb") as content:
        np.save(content, np.random.default_rng(0).random((3, 4, 5), np.float32))


@pytest.mark.slow
@posix
def test_names_that_differ_only_in_odd_signs_have_folders_of_their_own(folder: Path) -> None:
    """Also those that are cut, that no text can hold, and that are called as files of the job."""
    names = [*(f"a{sign}b" for sign in " #%'\"\n&;$\\*?[=\u202e\udcff"), "x" * 200, "x" * 199 + "y"]
    names += ["cubes.csv", "run.json", "report.html"]
    for name in names:
        write(folder / "cubes" / f"{name}.npy")
    report = run_cubes("rx.yaml", "cubes/*.npy", "out")
    assert (report.done, report.failed) == (len(names), 0)
    with (folder / "out" / "cubes.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len({row["cube"] for row in rows}) == len(names)
    assert any(row["file"].endswith("a\\udcffb.npy") for row in rows)
    write(folder / "cubes" / "a_b-0.npy")
    assert run_cubes("rx.yaml", "cubes/*.npy", "out").skipped == len(names)


def test_all_that_would_share_a_folder_are_told_of_at_once(folder: Path, cubes: Cubes) -> None:
    """With the pattern that takes one kind of file alone."""
    cubes("fine", 3)
    for number in range(3):
        np.savez(folder / "cubes" / f"fine{number}.npz", cube=np.ones((3, 4, 5)))
    with pytest.raises(OutputError, match=r"both go to 'fine0'\. So it is with 2 more\.\nName one kind .*'\*\.np.'"):
        run_cubes("rx.yaml", "cubes/*", "out")


@posix
def test_a_folder_counts_once_however_many_links_lead_to_it(tmp_path: Path) -> None:
    """Also one in itself; what lies in a link alone is found there."""
    scenes = tmp_path / "scenes"
    (scenes / "b").mkdir(parents=True)
    write(scenes / "b" / "one.npy")
    for name in ("a", "z"):
        (scenes / name).symlink_to(scenes / "b")
    for name in ("up", "again"):
        (scenes / "b" / name).symlink_to(scenes)
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "elsewhere" / "two.npy")
    (scenes / "mounted").symlink_to(tmp_path / "elsewhere")
    found = find_cube_files(scenes / "**" / "*.npy", [".npy"])
    assert found == [scenes / "b" / "one.npy", scenes / "mounted" / "two.npy"]


@posix
@pytest.mark.parametrize("pattern", ["scenes", "scenes/*.npy", "scenes/**/*.npy"])
def test_a_link_that_leads_nowhere_is_a_cube_that_is_lost(tmp_path: Path, pattern: str) -> None:
    """Without it the others would take its number; where links lead in a circle, too."""
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    (scenes / "b.npy").symlink_to(tmp_path / "unmounted" / "b.npy")
    (scenes / "c.npy").symlink_to("c.npy")
    np.save(scenes / "a.npy", np.ones((2, 2, 2)))
    np.save(scenes / "d.npy", np.ones((2, 2, 2)))
    found = find_cube_files(tmp_path / pattern, [".npy"])
    assert [file.name for file in found] == ["a.npy", "b.npy", "c.npy", "d.npy"]
    for file, to in zip(found[1:3], ("unmounted/b.npy", "c.npy"), strict=True):
        with pytest.raises(CubeError, match=f"is a link to '.*{to}', where there is nothing"):
            read_cube(file, {".npy": read_npy})


def test_results_that_a_link_leads_to_are_no_cubes(folder: Path, cubes: Cubes) -> None:
    """Though they lie below the pattern."""
    cubes("fine")
    (folder / "cubes" / "all").symlink_to(folder)
    for _ in range(2):
        assert run_cubes("rx.yaml", "cubes/**/*.np[yz]", "out").total == 1


@pytest.mark.slow
def test_what_is_done_again_is_said(folder: Path, cubes: Cubes) -> None:
    """A cube that changed, and one whose results are gone; not one that is new."""
    cubes("fine", 4)
    run_cubes("rx.yaml", "cubes/*.npy", "out")
    write(folder / "cubes" / "fine0.npy")
    (folder / "out" / "fine1" / "outputs.npz").unlink()
    cubes("slow")
    report = run_cubes("rx.yaml", "cubes/*.npy", "out")
    assert (report.done, report.skipped) == (3, 2)
    (remark,) = report.remarks
    assert remark.startswith("Done again")
    assert remark.endswith(": 2.")


@posix
@pytest.mark.parametrize("number", [errno.ENOLCK, pytest.param(errno.ENOSYS, marks=pytest.mark.slow)])
def test_a_file_system_without_locks_is_worked_on_and_told_of(
    number: int, folder: Path, cubes: Cubes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some networks' are: nobody can see who else works there."""
    cubes("fine", 2)
    (folder / "lockless").mkdir()
    (folder / "lockless" / "sitecustomize.py").write_text(
        "import fcntl, os\n"
        "kept = fcntl.flock\n"
        "def flock(handle, how):\n"
        f"    if {str(folder / 'out')!r} in os.readlink(f'/proc/self/fd/{{handle}}'):\n"
        f"        raise OSError({number}, os.strerror({number}))\n"
        "    return kept(handle, how)\n"
        "fcntl.flock = flock\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder / "lockless"), prepend=os.pathsep)
    code = "from cuvis_ai_core.batch import run_cubes; r = run_cubes('rx.yaml', 'cubes/*.npy', 'out'); "
    code += "print([r.done, r.failed, r.remarks])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert ended.stdout.startswith("[2, 0, "), ended.stderr
    assert number == errno.ENOSYS or "has no locks" in ended.stdout


def test_a_full_disk_is_known_behind_other_errors() -> None:
    """And no cube's fault; a node's own trouble with a file is."""
    full, denied = OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EACCES, "Permission denied")
    readonly = OSError(errno.EROFS, "Read-only file system")
    for cause, number in ((full, errno.ENOSPC), (denied, None), (readonly, errno.EROFS)):
        error = OutputError("'out' cannot be written.")
        error.__cause__ = cause
        assert told(error).get("full") == number
    assert "full" not in told(readonly)


@pytest.mark.parametrize(("what", "status"), [("other", 2), ("pipeline", 2), ("engine", 2)])
def test_the_exit_status_says_that_nothing_began(what: str, status: int, folder: Path, cubes: Cubes) -> None:
    """Another run works in the folder, the pipeline cannot be set up, there is no such cluster."""
    cubes("fine")
    (folder / "none.yaml").write_text("nodes:\n  - {name: a, class_name: NoSuchNode}\n")
    pipeline = "none.yaml" if what == "pipeline" else "rx.yaml"
    given = ["--pipeline-path", pipeline, "--cube-path", "cubes/*.npy", "--output-dir", "out"]
    if what == "engine":
        pytest.importorskip("ray")
        given += ["--engine", "ray", "--ray-address", "nowhere"]
    if what == "other":
        with alone_in(folder / "out", (0, 1)):
            result = CliRunner().invoke(main, given)
    else:
        result = CliRunner().invoke(main, given)
    assert result.exit_code == status, result.output


def test_files_named_one_by_one_go_by_their_path_and_a_missing_one_fails_alone(folder: Path, cubes: Cubes) -> None:
    """Below the folder that they have in common."""
    for day in ("monday", "tuesday"):
        cubes("fine", 2, day)
    named = [str(file) for file in sorted(folder.glob("cubes/*/*.npy"))]
    report = run_cubes("rx.yaml", [*named, str(folder / "cubes" / "monday" / "gone.npy")], "out")
    assert (report.done, report.failed) == (4, 1)
    assert report.failures[0].unit.name == "monday/gone"
    assert str(report.failures[0].error).startswith("There is no cube")
    assert (folder / "out" / "tuesday" / "fine1" / "run.json").is_file()


@pytest.mark.slow
def test_shards_of_another_number_do_what_is_left(folder: Path, cubes: Cubes) -> None:
    """Whoever did the rest."""
    cubes("fine", 6)
    run_cubes("rx.yaml", "cubes/*.npy", "out", limits=Limits(shard=(0, 2)))
    report = run_cubes("rx.yaml", "cubes/*.npy", "out")
    assert (report.failed, report.left) == (0, 0)
    assert report.skipped


@pytest.mark.usefixtures("new_interpreters")
def test_a_run_that_waits_for_its_workers_says_so(folder: Path, cubes: Cubes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, and goes on as soon as there is one."""
    cubes("fine", 2)
    monkeypatch.setattr("cuvis_ai_core.batch.scheduler._PATIENCE", 0.2)
    report = run_cubes("rx.yaml", "cubes/*.npy", "out")
    assert (report.done, report.failed) == (2, 0)
    assert [each.partition(" since")[0] for each in report.remarks] == ["No worker is ready"]
