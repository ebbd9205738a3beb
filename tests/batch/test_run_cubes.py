"""Many cubes: each has its results, whatever happens to the others, and nothing is done twice."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core.batch import Limits, Local, Report, run_cubes
from cuvis_ai_core.errors import BatchError, CubeError, NodeNotFoundError, OutputError

pytestmark = pytest.mark.usefixtures("warm_commands")

Cubes = Callable[..., None]


def results(folder: Path) -> dict[str, str]:
    """Return the hash of the arrays of each cube that has results."""
    return {
        str(file.parent.relative_to(folder)): json.loads(file.read_text())["written"]["outputs.npz"]
        for file in folder.glob("*/**/run.json")
        if not str(file.relative_to(folder)).startswith(".")  # of a cube whose worker was ended while it wrote
    }


def results_of(folder: Path, name: str) -> dict[str, str]:
    """Return the hash of a file of each cube as its record has it."""
    return {file.parent.name: json.loads(file.read_text())["written"][name] for file in folder.glob("*/run.json")}


def test_each_cube_has_a_folder_as_its_path_says(folder: Path, cubes: Cubes) -> None:
    """The part of the path below the pattern's fixed begin; with arrays, pictures and a record of its own."""
    cubes("fine", 2)
    cubes("fine", 1, "deep/er")
    report = run_cubes("rx.yaml", "cubes/**/*.npy", "out", engine=Local(workers=2))
    assert (report.done, report.failed, report.skipped, report.left, report.ended) == (3, 0, 0, 0, True)
    assert set(results(folder / "out")) == {"fine0", "fine1", "deep/er/fine0"}
    record = json.loads((folder / "out" / "fine0" / "run.json").read_text())
    assert record["batch"]["name"] == "fine0"
    assert Path(record["cube"]["file"]).name == "fine0.npy"


def test_the_same_call_goes_on_and_does_nothing_twice(folder: Path, cubes: Cubes) -> None:
    """What is done stays as it is; a new cube and a changed one are done, a lost result again."""
    cubes("fine", 3)
    run_cubes("rx.yaml", "cubes/*.npy", "out")
    before = {name: (folder / "out" / name / "run.json").stat().st_mtime_ns for name in results(folder / "out")}
    again = run_cubes("rx.yaml", "cubes/*.npy", "out")
    assert (again.done, again.skipped) == (0, 3)
    np.save(folder / "cubes" / "new.npy", np.ones((3, 4, 5), np.float32))
    np.save(folder / "cubes" / "fine0.npy", np.zeros((6, 5, 3), np.float32))
    (folder / "out" / "fine1" / "outputs.npz").unlink()
    later = run_cubes("rx.yaml", "cubes/*.npy", "out")
    assert (later.done, later.skipped) == (3, 1)
    assert (folder / "out" / "fine2" / "run.json").stat().st_mtime_ns == before["fine2"]


@pytest.mark.usefixtures("new_interpreters")
def test_the_driver_imports_nothing_that_computes(folder: Path, cubes: Cubes) -> None:
    """It plans and listens, and is as small as that."""
    cubes("fine")
    code = "import sys; from cuvis_ai_core.batch import run_cubes; r = run_cubes('rx.yaml', 'cubes/*.npy', 'out'); "
    code += "print(r.done, *(each for each in ('numpy', 'cuvis_ai_core.pipeline.pipeline') if each in sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert ended.stdout.strip() == "1", ended.stdout + ended.stderr


@pytest.mark.parametrize("output", ["cubes/out", "cubes"])
def test_results_among_the_cubes_are_no_cubes(folder: Path, cubes: Cubes, output: str) -> None:
    """Where the output folder lies below the pattern, or is the folder of the cubes, the same call finds the same."""
    cubes("fine", 1, "deep")
    for _ in range(2):
        report = run_cubes("rx.yaml", "cubes/**/*.np[yz]", output)
        assert (report.total, report.failed) == (1, 0)


@pytest.mark.parametrize("limits", [{"timeout": 0}, {"timeout": float("nan")}, {"shard": (2, 2)}])
def test_limits_that_allow_nothing_are_refused(limits: dict[str, Any]) -> None:
    """Before anything is begun."""
    with pytest.raises(ValueError, match=next(iter(limits))):
        Limits(**limits)


@pytest.mark.slow
def test_a_cube_of_several_files_has_changed_where_one_of_them_has(folder: Path) -> None:
    """The data of an ENVI header in another version, a piece of a Zarr store, an older file of the same size."""
    spectral = pytest.importorskip("spectral")
    zarr = pytest.importorskip("zarr")
    data = np.random.default_rng(0).random((4, 5, 3), np.float32)
    image, other = folder / "cubes" / "image.img", folder / "other.img"
    for header in (folder / "cubes" / "image.hdr", folder / "other.hdr"):
        spectral.envi.save_image(str(header), data, interleave="bip")
    other.write_bytes(np.ascontiguousarray(data[::-1], np.float32).tobytes())
    store = zarr.create_array(folder / "cubes" / "store.zarr", shape=data.shape, chunks=(2, 5, 3), dtype="f4")
    store[:] = data
    places = ["cubes/image.hdr", "cubes/store.zarr"]
    run_cubes("rx.yaml", places, "out")
    assert run_cubes("rx.yaml", places, "out").skipped == 2
    piece = next(file for file in (folder / "cubes" / "store.zarr").rglob("*") if file.is_file() and "c" in file.parts)
    os.utime(other, ns=(0, image.stat().st_mtime_ns - 10**9))
    other.replace(image)
    assert run_cubes("rx.yaml", places, "out").done == 1
    piece.write_bytes(piece.read_bytes())
    assert run_cubes("rx.yaml", places, "out").done == 1
    assert run_cubes("rx.yaml", places, "out").skipped == 2


@pytest.mark.slow
def test_results_are_those_of_a_run_on_one_cube(folder: Path, cubes: Cubes) -> None:
    """Bit for bit, with one worker and with several."""
    from cuvis_ai_core import NodeRegistry, Pipeline
    from cuvis_ai_core.data import read_cube

    cubes("fine", 3)
    run_cubes("rx.yaml", "cubes", "one")
    run_cubes("rx.yaml", "cubes", "two", engine=Local(workers=2))
    assert results(folder / "one") == results(folder / "two")
    cube = read_cube("cubes/fine1.npy", NodeRegistry().cube_readers())
    alone = Pipeline.load("rx.yaml").forward(cube.batch())["rx", "scores"]
    with np.load(folder / "one" / "fine1" / "outputs.npz") as written:
        np.testing.assert_array_equal(written["rx.scores"], alone)


def test_a_cube_that_fails_is_noted_and_the_others_go_on(folder: Path, cubes: Cubes) -> None:
    """An exception, a crash, a kill, no memory, a file that is none: each with its cube, node and reason."""
    for mood in ("fine", "raises", "aborts", "killed", "memory"):
        cubes(mood)
    (folder / "cubes" / "broken.npy").write_bytes(b"nothing")
    report = run_cubes("moody.yaml", "cubes/*.npy", "out", plugins="plugins.yaml", engine=Local(workers=2))
    assert (report.done, report.failed, report.left) == (1, 5, 0)
    why = {each.unit.name: each for each in report.failures}
    assert "this cube is not liked" in str(why["raises0"].error)
    assert why["raises0"].node == "moody"
    assert "SIGABRT" in str(why["aborts0"].error)
    assert "SIGKILL" in str(why["killed0"].error)
    assert [why[name].tries for name in ("aborts0", "killed0", "raises0")] == [2, 2, 1]
    assert "MemoryError" in str(why["memory0"].error)
    assert "broken.npy" in str(why["broken"].error)
    with (folder / "out" / "cubes.csv").open(newline="") as file:
        rows = {row["cube"]: row["state"] for row in csv.DictReader(file)}
    assert rows == {**dict.fromkeys(why, "failed"), "fine0": "done"}
    page = (folder / "out" / "report.html").read_text()
    assert all(name in page for name in why)
    again = run_cubes("moody.yaml", "cubes/*.npy", "out", plugins="plugins.yaml")
    assert (again.done, again.failed, again.skipped) == (0, 5, 1)


@pytest.mark.slow
def test_failed_cubes_are_tried_again_where_that_is_asked_for(folder: Path, cubes: Cubes) -> None:
    """And count as done once they are."""
    cubes("fine", 1)
    (folder / "cubes" / "late.npy").write_bytes(b"not there yet")
    assert run_cubes("rx.yaml", "cubes/*.npy", "out").failed == 1
    stat = (folder / "cubes" / "late.npy").stat()
    np.save(folder / "cubes" / "late.npy", np.ones((3, 4, 5), np.float32))
    os.utime(folder / "cubes" / "late.npy", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    report = run_cubes("rx.yaml", "cubes/*.npy", "out", limits=Limits(retry_failed=True))
    assert (report.done, report.failed, report.skipped) == (1, 0, 1)
    assert run_cubes("rx.yaml", "cubes/*.npy", "out").skipped == 2


@pytest.mark.slow
def test_a_cube_that_hangs_ends_its_worker_and_not_the_run(folder: Path, cubes: Cubes) -> None:
    """The time limit is for a cube."""
    cubes("hangs")
    cubes("fine", 3)
    limits = Limits(timeout=3)
    report = run_cubes("moody.yaml", "cubes/*.npy", "out", plugins="plugins.yaml", limits=limits)
    assert (report.done, report.failed) == (3, 1)
    assert "longer than 3 s" in str(report.failures[0].error)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGRTMIN"), reason="real-time signals")
def test_a_signal_without_a_name_is_a_failure_too(folder: Path, cubes: Cubes) -> None:
    """By its number."""
    cubes("nameless")
    report = run_cubes("moody.yaml", "cubes/*.npy", "out", plugins="plugins.yaml", limits=Limits(timeout=20))
    assert report.failures[0].kind == "signal 35"


@pytest.mark.slow
def test_a_full_disk_ends_the_run_and_fails_no_cube(folder: Path, cubes: Cubes) -> None:
    """The same call goes on once there is room."""
    cubes("fine", 12)
    out = folder / "out"
    out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(out)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        with pytest.raises(OutputError, match="A disk is full"):
            run_cubes("rx.yaml", "cubes/*.npy", out)
        subprocess.run(["mount", "-o", "remount,size=50m", str(out)], check=True)
        report = run_cubes("rx.yaml", "cubes/*.npy", out)
        assert (report.failed, report.left) == (0, 0)
        assert report.skipped
    finally:
        subprocess.run(["umount", str(out)], check=True)


@pytest.mark.slow
def test_a_folder_that_becomes_read_only_ends_the_run_and_fails_no_cube(folder: Path, cubes: Cubes) -> None:
    """In the middle, as a damaged disk does; the same call goes on once it can be written."""
    cubes("slow", 8)
    out, safe = folder / "out", folder / "safe"
    out.mkdir()
    safe.mkdir()

    def mount(*options: str) -> int:
        return subprocess.run(["mount", *options], capture_output=True, check=False).returncode

    def protect(report: Report) -> None:
        if report.done >= 2 and os.access(out, os.W_OK):  # by another mount, for one with open files stays as it is
            mount("--bind", str(safe), str(out))

    def run(observe: Callable[[Report], None]) -> Report:
        engine = Local(workers=2)
        return run_cubes("moody.yaml", "cubes/*.npy", out, plugins="plugins.yaml", engine=engine, observe=observe)

    try:
        if mount("--bind", str(out), str(safe)) or mount("-o", "remount,bind,ro", str(safe)):
            pytest.skip("nothing can be mounted here")
        with pytest.raises(OutputError, match="Read-only file system"):
            run(protect)
    finally:
        subprocess.run(["umount", "-l", str(out), str(safe)], capture_output=True, check=False)
    report = run(lambda _: None)
    assert (report.failed, report.left) == (0, 0)
    assert report.skipped >= 2


def test_too_many_failures_end_the_run(folder: Path, cubes: Cubes) -> None:
    """No further cube is begun; what is done is kept."""
    cubes("raises", 5)
    report = run_cubes("moody.yaml", "cubes/*.npy", "out", plugins="plugins.yaml", limits=Limits(max_failures=2))
    assert (report.failed, report.left, report.ended) == (2, 3, False)


@pytest.mark.slow
def test_shards_share_the_cubes_and_the_folder(folder: Path, cubes: Cubes) -> None:
    """Each cube is in one of them, and the last one's summary has them all."""
    cubes("fine", 7)
    parts = [run_cubes("rx.yaml", "cubes/*.npy", "out", limits=Limits(shard=(number, 3))) for number in range(3)]
    assert sum(each.done for each in parts) == 7
    assert max(each.done for each in parts) < 7
    assert len((folder / "out" / "cubes.csv").read_text().splitlines()) == 8


def test_another_job_in_the_folder_is_refused(folder: Path, cubes: Cubes) -> None:
    """With what differs; and so is a folder with the results of a single run."""
    cubes("fine")
    run_cubes("rx.yaml", "cubes/*.npy", "out")
    with pytest.raises(OutputError, match="another job; what differs: kept outputs"):
        run_cubes("rx.yaml", "cubes/*.npy", "out", keep=["rx.scores"])
    (folder / "other").mkdir()
    (folder / "other" / "run.json").write_text("{}")
    with pytest.raises(OutputError, match=r"holds 'run\.json', which no run on many cubes wrote"):
        run_cubes("rx.yaml", "cubes/*.npy", "other")


@pytest.mark.slow
@pytest.mark.parametrize("cubes_left", [0, 1])
def test_other_code_in_the_same_folder_is_refused(folder: Path, cubes: Cubes, cubes_left: int) -> None:
    """A local plugin with another line, though its version is the same and nothing is left to do."""
    cubes("fine")
    run_cubes("moody.yaml", "cubes/*.npy", "out", plugins="plugins.yaml")
    code = folder / "moody" / "moody" / "__init__.py"
    code.write_text(code.read_text().replace("cube * 2", "cube * 3"))
    cubes("fine", 1 + cubes_left)
    with pytest.raises(OutputError, match="another job; what differs: code of plugin moody"):
        run_cubes("moody.yaml", "cubes/*.npy", "out", plugins="plugins.yaml")


@pytest.mark.slow
def test_a_commit_around_a_local_plugin_is_no_other_code(folder: Path, cubes: Cubes) -> None:
    """Its bytes are the same."""
    git = ["git", "-C", str(folder / "moody"), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    for number, mood in enumerate(("fine", "slow"), 1):
        subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", f"commit {number}"], check=True)
        cubes(mood)
        report = run_cubes("moody.yaml", "cubes/*.npy", "out", plugins="plugins.yaml")
        assert (report.done, report.skipped) == (1, number - 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["npz", "envi", "geotiff", "zarr"])
def test_a_result_that_was_changed_is_done_again_and_kept(folder: Path, cubes: Cubes, kind: str) -> None:
    """Cut off with its time kept, or with other values; one that was only touched is as it was."""
    pytest.importorskip({"geotiff": "rasterio", "zarr": "zarr"}.get(kind, "numpy"))
    cubes("fine", 4)
    run_cubes("rx.yaml", "cubes/*.npy", "out", format=kind)
    written = json.loads((folder / "out" / "fine0" / "run.json").read_text())["written"]
    name = next(each for each in written if not each.endswith((".png", ".hdr")))
    cut, other, touched = (folder / "out" / f"fine{number}" / name for number in range(3))
    times = cut.stat()
    os.truncate(cut, times.st_size // 2)
    os.utime(cut, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.write_bytes(bytes(other.stat().st_size))
    touched.touch()
    before = results_of(folder / "out", name)
    report = run_cubes("rx.yaml", "cubes/*.npy", "out", format=kind)
    assert (report.done, report.skipped, report.failed) == (2, 2, 0)
    assert any(each.startswith("Done again") and each.endswith(": 2.") for each in report.remarks)
    assert any(f"'fine0/{name}.changed' and 1 more" in each for each in report.remarks)
    assert cut.with_name(f"{name}.changed").stat().st_size == times.st_size // 2
    assert results_of(folder / "out", name) == before
    assert run_cubes("rx.yaml", "cubes/*.npy", "out", format=kind).skipped == 4


@pytest.mark.slow
@pytest.mark.parametrize("left", [b"", b'{"written": 1}'])
def test_a_cube_whose_record_cannot_be_read_is_done_again(folder: Path, cubes: Cubes, left: bytes) -> None:
    """And nothing of what lies there is lost."""
    cubes("fine", 2)
    run_cubes("rx.yaml", "cubes/*.npy", "out")
    (folder / "out" / "fine0" / "run.json").write_bytes(left)
    report = run_cubes("rx.yaml", "cubes/*.npy", "out")
    assert (report.done, report.skipped, report.failed) == (1, 1, 0)
    kept = {each.name for each in (folder / "out" / "fine0").glob("*.changed")}
    assert kept == {"outputs.npz.changed", "run.json.changed", "rx.scores-map.png.changed"}
    (folder / "out" / "fine0" / "run.json").write_bytes(left)
    assert run_cubes("rx.yaml", "cubes/*.npy", "out").done == 1
    again = {each.name for each in (folder / "out" / "fine0").glob("*.changed*")} - kept
    assert again == {"outputs.npz.changed-2", "run.json.changed-2", "rx.scores-map.png.changed-2"}


@pytest.mark.parametrize(
    "name",
    [
        "../../mine",
        *(pytest.param(odd, marks=pytest.mark.slow) for odd in ("{folder}/mine", "a\0b", "\ud800", "..", "")),
    ],
)
def test_a_record_that_names_files_elsewhere_touches_none(folder: Path, cubes: Cubes, name: str) -> None:
    """A stranger's results came in an archive: what lies outside of them keeps its name."""
    cubes("fine", 2)
    run_cubes("rx.yaml", "cubes/*.npy", "out")
    record = folder / "out" / "fine0" / "run.json"
    held = json.loads(record.read_text())
    held["written"][name.format(folder=folder)] = "00"
    record.write_text(json.dumps(held))
    (folder / "mine").write_text("kept")
    report = run_cubes("rx.yaml", "cubes/*.npy", "out")
    assert (report.done, report.skipped, report.failed) == (1, 1, 0)
    assert [each.name for each in folder.glob("mine*")] == ["mine"]


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"files": [{"key": 1}]}, {"files": 3}, {"seconds": "x"}, {"tries": {}}])
def test_a_record_that_lacks_what_is_asked_of_it_is_none(folder: Path, cubes: Cubes, change: dict[str, Any]) -> None:
    """Its cube is done again, and a failure whose note is damaged is tried again."""
    cubes("fine", 1)
    cubes("raises", 1)
    run_cubes("moody.yaml", "cubes/*.npy", "out", plugins="plugins.yaml")
    record = folder / "out" / "fine0" / "run.json"
    held = json.loads(record.read_text())
    held["batch"].update(change)
    record.write_text(json.dumps({**held, **change}))
    (failure,) = (folder / "out").rglob("failed/*.json")
    failure.write_text(json.dumps({**json.loads(failure.read_text()), **change}))
    report = run_cubes("moody.yaml", "cubes/*.npy", "out", plugins="plugins.yaml")
    assert (report.failed, report.left, report.ended) == (1, 0, True)


def test_what_cannot_start_says_why(folder: Path, cubes: Cubes) -> None:
    """No cubes, two in one folder, no such node, a weight that is missing."""
    with pytest.raises(CubeError):
        run_cubes("rx.yaml", "cubes/*.npy", "out")
    cubes("fine")
    np.savez(folder / "cubes" / "fine0.npz", cube=np.ones((3, 4, 5)))
    with pytest.raises(OutputError, match=r"fine0\.np.' and of .*fine0\.np.' would both go to 'fine0'"):
        run_cubes("rx.yaml", "cubes/*", "out")
    (folder / "none.yaml").write_text("nodes:\n  - {name: a, class_name: NoSuchNode}\n")
    with pytest.raises(BatchError, match="cannot be set up: Node 'NoSuchNode' not found"):
        run_cubes("none.yaml", "cubes/fine0.npy", "other")
    assert NodeNotFoundError.__name__
    assert not Path("other").exists()  # mended, the pipeline may have it
    assert run_cubes("rx.yaml", "cubes/fine0.npy", "other").done == 1
    with pytest.raises(OutputError, match="results of another job"):
        run_cubes("none.yaml", "cubes/fine0.npy", "other")
    assert results(folder / "other")


@pytest.mark.slow
def test_two_runs_in_one_folder_are_refused(folder: Path, cubes: Cubes) -> None:
    """The second one, while the first one works."""
    cubes("slow", 20)
    first = start()
    try:
        wait_for(lambda: len(results(folder / "out")) > 0)
        with pytest.raises(BatchError, match="Another run works in"):
            run_cubes("moody.yaml", "cubes/*.npy", "out", plugins="plugins.yaml")
        with pytest.raises(BatchError, match="Another run works in"):
            run_cubes("moody.yaml", "cubes/*.npy", "out", plugins="plugins.yaml", limits=Limits(shard=(0, 2)))
    finally:
        first.kill()
        first.communicate()


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_right(folder: Path, cubes: Cubes) -> None:
    """At random instants, the driver and a worker: never half a result, and each cube is done in the end."""
    cubes("fine", 40)
    cubes("slow", 4)
    random = np.random.default_rng()
    for _ in range(6):
        process = start()
        time.sleep(float(random.uniform(0.5, 2.5)))
        process.kill()
        process.communicate()
        for name in results(folder / "out"):
            with np.load(folder / "out" / name / "outputs.npz") as written:
                assert written["moody.cube"].shape == (1, 6, 5, 4)
    report = run_cubes("moody.yaml", "cubes/*.npy", "out", plugins="plugins.yaml", engine=Local(workers=2))
    assert report.done + report.skipped == 44
    assert not list((folder / "out").glob(".*.*/new")), "a killed run's folder is removed by the next"


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of memory as Linux has them")
def test_a_cube_that_eats_memory_fails_alone(folder: Path, cubes: Cubes) -> None:
    """As such, with its node; the next one has its worker as it was."""
    cubes("eats")
    cubes("fine", 3)
    engine = Local(workers=2, memory=2**31)
    report = run_cubes("moody.yaml", "cubes/*.npy", "out", plugins="plugins.yaml", engine=engine)
    assert (report.done, report.failed, report.left) == (3, 1, 0)
    (failure,) = report.failures
    assert (failure.unit.name, failure.node, failure.tries) == ("eats0", "moody", 1)
    assert "MemoryError" in str(failure.error)


@pytest.mark.slow
def test_workers_that_are_never_ready_end_the_run(folder: Path, cubes: Cubes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time limit is for setting them up too."""
    cubes("fine")
    monkeypatch.setattr("cuvis_ai_core.batch.scheduler._SETUP", 2.0)
    late = "import os, time\nif 'worker' in ' '.join(__import__('sys').orig_argv): time.sleep(600)\n"
    (folder / "moody" / "moody" / "__init__.py").write_text(
        late + (folder / "moody" / "moody" / "__init__.py").read_text()
    )
    with pytest.raises(BatchError, match=r"No worker was ready after 2 s"):
        run_cubes("moody.yaml", "cubes/*.npy", "out", plugins="plugins.yaml", limits=Limits(timeout=1))


@pytest.mark.slow
@pytest.mark.parametrize("mood", ["hangs", "holds"])
def test_workers_end_with_their_driver(folder: Path, cubes: Cubes, mood: str) -> None:
    """Though it was killed, and they are in the middle of a cube, which may let no other thread run."""
    import psutil

    cubes(mood)
    process = start()
    workers: list[psutil.Process] = []

    def working() -> bool:
        try:
            workers[:] = psutil.Process(process.pid).children(recursive=True)
            return any("batch.worker" in " ".join(each.cmdline()) for each in workers) and (folder / "out").is_dir()
        except psutil.Error:  # one has just ended
            return False

    wait_for(working)
    time.sleep(1)
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(workers, timeout=60)  # one may be at its imports
    assert not alive


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGINT") or os.name == "nt", reason="POSIX signals")
def test_ctrl_c_keeps_what_is_done_and_says_so(folder: Path, cubes: Cubes) -> None:
    """The same command goes on."""
    cubes("slow", 30)
    process = start(workers=1, command=True)
    wait_for(lambda: len(results(folder / "out")) > 1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "the same command goes on" in error
    done = len(results(folder / "out"))
    assert run_cubes("moody.yaml", "cubes/*.npy", "out", plugins="plugins.yaml", engine=Local(2)).skipped >= done


def start(*, workers: int = 2, command: bool = False) -> "subprocess.Popen[str]":
    """Start a run on `cubes` in a process of its own."""
    arguments = ["--pipeline-path", "moody.yaml", "--plugins-path", "plugins.yaml", "--cube-path", "cubes/*.npy"]
    # Whoever runs the tests in the background may have interrupts ignored, which children inherit.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code = f"{heard}import cuvis_ai_core.cli.restore.restore_pipeline as r; r.main()"
    if not command:
        code = (
            "from cuvis_ai_core.batch import Local, run_cubes; run_cubes('moody.yaml', 'cubes/*.npy', 'out', "
            f"plugins='plugins.yaml', engine=Local(workers={workers}))"
        )
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments, "--output-dir", "out", "--workers", str(workers)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "that did not come about"
        time.sleep(0.05)
