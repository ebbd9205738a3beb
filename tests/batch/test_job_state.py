"""What a run on many cubes knows of each, whose its folder is, what its workers may take; seen without workers."""

import errno
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from cuvis_ai_core.batch import worker, worker_memory
from cuvis_ai_core.batch.cube_records import Outcome, Records
from cuvis_ai_core.batch.failure_limits import Limits
from cuvis_ai_core.batch.folder_ownership import alone_in, check_nodes, leave
from cuvis_ai_core.batch.job import Job, fingerprint, job_data
from cuvis_ai_core.batch.job_cubes import Unit, batch_record, find_units, part_of, without_results
from cuvis_ai_core.batch.worker_memory import Room, peak_memory
from cuvis_ai_core.errors import BatchError, OutputError
from cuvis_ai_core.pipeline.pipeline import Pipeline


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    """Return a cube."""
    (tmp_path / "a.npy").write_bytes(b"x")
    return Unit(str(tmp_path / "a.npy"), "a")


def known(unit: Unit, output: Path, fingerprint: str = "job") -> Outcome | None:
    """Return what is known of a cube."""
    return next(each for _, each in Records(output, fingerprint).known([unit]))


def note_done(unit: Unit, output: Path, **more: object) -> None:
    """Note that a cube is done."""
    (output / unit.name).mkdir(parents=True, exist_ok=True)
    record = {"batch": batch_record(unit, "job", unit.state(), **more), "files": []}
    (output / unit.name / "run.json").write_text(json.dumps(record))


def test_results_are_those_of_the_job_and_of_the_cube_as_it_is(unit: Unit, tmp_path: Path) -> None:
    """Those of another job, or of a cube that was changed, are none."""
    note_done(unit, tmp_path, seconds=2.5, worker="w", tries=2)
    found = known(unit, tmp_path)
    assert found is not None
    assert (found.error, found.seconds, found.worker, found.tries) == (None, 2.5, "w", 2)
    assert known(unit, tmp_path, "another") is None
    Path(unit.cube).write_bytes(b"y")
    os.utime(unit.cube, (1, 1))
    assert known(unit, tmp_path) is None


@pytest.mark.parametrize("wrong", [{"tries": float("inf")}, {"tries": "many"}, {"seconds": [1]}])
def test_a_record_that_somebody_changed_is_none(unit: Unit, tmp_path: Path, wrong: dict[str, Any]) -> None:
    """Of a cube that is done, and of one that failed."""
    note_done(unit, tmp_path, **wrong)
    assert known(unit, tmp_path) is None
    records = Records(tmp_path, "job")
    records.fail(Outcome(unit, error="it is bad"))
    (file,) = tmp_path.glob(".cuvis-batch/failed/*.json")
    failed = known(unit, tmp_path)
    assert failed is not None
    assert failed.error == "it is bad"
    file.write_text(json.dumps(json.loads(file.read_text()) | wrong))
    assert known(unit, tmp_path) is None


def test_a_cube_of_two_files_is_changed_by_either(tmp_path: Path) -> None:
    """By size, and by time alone."""
    header, data = tmp_path / "a.hdr", tmp_path / "a.dat"
    header.write_text("ENVI\n")
    data.write_bytes(b"x")
    cube = Unit(str(header), "a")
    states = []
    for file in (header, data):
        for seconds in (1, 2):
            os.utime(file, (seconds, seconds))
            states.append(cube.state())
    data.write_bytes(b"xx")
    os.utime(data, (2, 2))
    states.append(cube.state())
    assert len({tuple(each) for each in states}) == 5


def test_only_results_of_the_run_itself_are_no_cubes(tmp_path: Path) -> None:
    """Others may have been written beside cubes, too."""
    units = []
    for folder in ("cubes", "output/a"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "run.json").write_text("{}")
        units.append(Unit(str(tmp_path / folder / "b.npy"), folder))
    assert without_results(units, tmp_path / "output") == units[:1]


def test_names_of_folders_are_safe_short_and_told_apart(tmp_path: Path) -> None:
    """Those of a run's own files are not taken; where case does not count, two names are one."""
    for name in ("Run.JSON.npy", "e\u0301.npy", f"{'x' * 150}?.npy"):
        (tmp_path / name).write_bytes(b"x")
    names = [each.name for each in find_units(tmp_path, [".npy"])]
    assert sorted(map(len, names)) == [1, 9, 89]
    assert "_Run.JSON" in names
    assert "\u00e9" in names
    (tmp_path / "A").mkdir()
    for name in ("scene.npy", "SCENE.npy"):
        (tmp_path / "A" / name).write_bytes(b"x")
    if len(list((tmp_path / "A").iterdir())) == 2:
        with pytest.raises(OutputError, match="would both go to"):
            find_units(tmp_path / "A", [".npy"])


def test_each_part_of_a_run_has_cubes_of_its_own() -> None:
    """All parts together have all of them, whatever else there is."""
    units = [Unit(f"{number}.npy", str(number)) for number in range(40)]
    parts = [part_of(units, (number, 3)) for number in range(3)]
    assert sorted(unit.name for part in parts for unit in part) == sorted(unit.name for unit in units)
    assert part_of(units[:7], (1, 3)) == [unit for unit in units[:7] if unit in parts[1]]
    assert int(hashlib.sha256(parts[2][0].name.encode()).hexdigest()[:8], 16) % 3 == 2


class Machine(NamedTuple):
    """An engine, as far as memory is concerned."""

    workers: int
    shares_memory: bool

    def crew(self, _: object) -> Any:
        """Return nothing: nobody asks."""


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a thousand MiB free."""
    monkeypatch.setattr(worker_memory, "free_memory", lambda: 1000 * 2**20)


@pytest.mark.parametrize(
    ("shares", "wanted", "size", "allowed"),
    [(True, 9, 0, 6), (True, 3, 100, 3), (True, 9, 250, 4), (True, 9, 251, 3), (True, 9, 5000, 1), (False, 9, 5000, 6)],
)
@pytest.mark.usefixtures("free")
def test_there_are_as_many_workers_as_the_memory_holds(*, shares: bool, wanted: int, size: int, allowed: int) -> None:
    """The first one counts, as memory was looked at before it took any; that of other machines is not known."""
    room = Room(Machine(6, shares))
    assert room.begin(wanted, size * 2**20) == room.allowed == allowed
    taken = f"one takes {size} MiB, and 1000 MiB were free"
    assert room.remarks == [f"{allowed} instead of {min(wanted, 6)} workers: {taken}."] * (allowed < min(wanted, 6))


@pytest.mark.usefixtures("free")
def test_fewer_workers_go_on_where_a_cube_takes_more() -> None:
    """One is left whatever it takes, and none comes back."""
    room = Room(Machine(6, shares_memory=True))
    for peak, allowed in ((0, 6), (250, 4), (100, 4), (5000, 1)):
        room.lower(peak * 2**20)
        assert room.allowed == allowed


LIMITED = """
import resource, sys
from cuvis_ai_core.batch.worker_memory import limit_memory
resource.setrlimit(resource.RLIMIT_DATA, (2**33, resource.getrlimit(resource.RLIMIT_DATA)[1]))
limit_memory(int(sys.argv[1]))
print(resource.getrlimit(resource.RLIMIT_DATA)[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems limit other things")
def test_a_worker_gets_no_more_memory_than_it_had() -> None:
    """Whoever starts it may have set a limit of his own."""
    done = subprocess.run([sys.executable, "-c", LIMITED, str(2**40)], capture_output=True, text=True, check=True)
    assert int(done.stdout) == 2**33


@pytest.mark.parametrize(
    ("most", "least", "hard", "limit"),
    [(None, -1, -1, 1000), (None, -1, 800, 800), (300, 400, 500, 300), (300, 200, 500, 200), (300, -1, -1, 300)],
)
def test_a_worker_limits_itself(
    monkeypatch: pytest.MonkeyPatch, most: int | None, least: int, hard: int, limit: int
) -> None:
    """To what it may take or the machine has, whichever is less, and has itself ended before others are."""
    resource = pytest.importorskip("resource")
    limits: dict[int, tuple[int, int]] = {}
    written: list[tuple[str, str]] = []
    monkeypatch.setattr(worker_memory, "machine_memory", lambda: 1000)
    monkeypatch.setattr(Path, "write_text", lambda file, text, encoding: written.append((str(file), text)))
    monkeypatch.setattr(resource, "getrlimit", {resource.RLIMIT_DATA: (least, hard)}.__getitem__)
    monkeypatch.setattr(resource, "setrlimit", limits.__setitem__)
    worker_memory.limit_memory(most)
    assert limits == {resource.RLIMIT_DATA: (limit, hard)}
    assert written == [("/proc/self/oom_score_adj", "1000")]


@pytest.mark.parametrize(("platform", "peak"), [("linux", 7 * 1024), ("darwin", 7)])
def test_memory_is_told_in_bytes(monkeypatch: pytest.MonkeyPatch, platform: str, peak: int) -> None:
    """Systems tell it in other units."""
    resource = pytest.importorskip("resource")
    told = SimpleNamespace(ru_maxrss=7)
    monkeypatch.setattr(resource, "getrusage", {resource.RUSAGE_SELF: told}.__getitem__)
    monkeypatch.setattr(sys, "platform", platform)
    assert peak_memory() == peak


def test_memory_of_windows_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no such module, and is not limited."""
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setattr(Path, "write_text", lambda *_, **__: None)
    assert peak_memory() == 0
    worker_memory.limit_memory(2**30)


def test_runs_that_share_the_cubes_work_side_by_side(tmp_path: Path) -> None:
    """Two with the same part, or with parts of another kind, do not."""
    output = tmp_path / "output"
    with alone_in(output, (0, 2)) as remark:
        assert remark is None
        with alone_in(output, (1, 2)):
            leave(output)
            assert output.is_dir()
        for shard in ((0, 2), (0, 1), (0, 3)):
            with pytest.raises(BatchError, match="Another run works"), alone_in(output, shard):
                pass
    with alone_in(output, (0, 1)):
        pass


@pytest.mark.parametrize("link", [".cuvis-batch", ".cuvis-batch/logs"])
def test_what_belongs_to_a_run_is_written_by_no_link(tmp_path: Path, link: str) -> None:
    """Nothing comes to lie where it leads."""
    elsewhere, output = tmp_path / "elsewhere", tmp_path / "output"
    elsewhere.mkdir()
    (output / link).parent.mkdir(parents=True)
    (output / link).symlink_to(elsewhere)
    with pytest.raises(OutputError, match="has a link"), alone_in(output, (0, 1)):
        pass
    assert list(elsewhere.iterdir()) == []


def test_code_is_known_by_its_hash_or_else_by_its_commit(tmp_path: Path) -> None:
    """A commit around code with a hash changes nothing."""
    (tmp_path / ".cuvis-batch").mkdir()
    nodes = [{"name": "a", "sha256": "1", "commit": "x"}, {"name": "b", "commit": "x"}]
    check_nodes(tmp_path, nodes)
    check_nodes(tmp_path, [nodes[0] | {"commit": "y", "edited": True}, nodes[1]])
    with pytest.raises(OutputError, match="node a comes from elsewhere"):
        check_nodes(tmp_path, [nodes[0] | {"sha256": "2"}, nodes[1]])
    with pytest.raises(OutputError, match="node b comes from elsewhere"):
        check_nodes(tmp_path, [nodes[0], nodes[1] | {"commit": "y"}])


def test_what_is_told_of_an_error_is_bounded_and_says_whose_fault_it_is() -> None:
    """A full disk is no cube's, however far below it was met; one that may not be written only where results go."""
    assert worker.told(ValueError("x" * 10_000))["error"] == f"ValueError: {'x' * 10_000}"[:4000]
    full, closed = OSError(errno.ENOSPC, "no space"), OSError(errno.EROFS, "read-only")
    error = RuntimeError("not written")
    error.__cause__ = ValueError("not written either")
    error.__cause__.__cause__ = full
    assert worker.told(error)["full"] == errno.ENOSPC
    written = OutputError("not written")
    written.__cause__ = closed
    assert worker.told(written)["full"] == errno.EROFS
    error.__cause__ = closed
    assert "full" not in worker.told(error)
    assert "full" not in worker.told(MemoryError())


def test_a_worker_does_what_the_job_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """All of it is handed on."""
    taken: dict[str, Any] = {}

    def load(path: str, **options: Any) -> object:
        taken.update(options, pipeline=path)
        return object()

    monkeypatch.setattr(Pipeline, "load", load)
    monkeypatch.setattr(worker, "node_records", lambda *_: [])
    monkeypatch.setattr(worker, "Run", lambda **options: taken.update({**options, "pipeline": taken["pipeline"]}))
    job = Job(
        "pipeline.yaml",
        weights="weights.pt",
        overrides=("nodes.a.params.b=1",),
        keep=("a.b",),
        format="envi",
        processing_mode="Raw",
        measurement=3,
        device="cuda:0",
        allow_untrained=True,
        memory=2**30,
    )
    worker.Worker(job, tmp_path, "job", "w")
    keys = ["pipeline", "weights", "overrides", "keep", "format", "processing_mode", "measurement", "device"]
    keys += ["allow_untrained", "memory"]
    assert {key: taken[key] for key in keys} == {key: getattr(job, key) for key in keys}


def test_what_a_worker_does_with_a_cube_stands_in_its_record(tmp_path: Path) -> None:
    """By whom, in which try and how long it took; of a cube that fails no folder comes, and the next one is done."""
    (tmp_path / "rx.yaml").write_text("nodes:\n  - {name: rx, class_name: RXDetector}\n")
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((4, 5, 3), np.float32))
    (tmp_path / "bad.npy").write_bytes(b"x")
    begun = worker.Worker(Job(str(tmp_path / "rx.yaml")), tmp_path / "out", "print", "local-7")
    bad = begun.run(Unit(str(tmp_path / "bad.npy"), "bad"))
    assert (bad["kind"], bad["node"], bad["peak"] > 0, bad["seconds"] >= 0) == ("CubeError", None, True, True)
    assert "bad.npy" in bad["error"]
    unit = Unit(str(tmp_path / "a.npy"), "deep/a")
    found = begun.run(unit, tries=2)
    assert set(found) == {"seconds", "peak"}
    assert sorted(str(file.relative_to(tmp_path / "out")) for file in (tmp_path / "out").glob("**/*.*")) == [
        *(f"deep/a/{name}" for name in ("outputs.npz", "run.json", "rx.scores-map.png")),
    ]
    record = json.loads((tmp_path / "out/deep/a/run.json").read_text())
    about = record["batch"]
    assert 0 < about.pop("seconds") <= found["seconds"]
    assert about == batch_record(unit, "print", unit.state(), worker="local-7", tries=2)
    assert record["nodes"] == begun.nodes
    gone = begun.run(Unit(str(tmp_path / "gone.npy"), "gone"))
    assert (gone["kind"], gone["error"].startswith("There is no cube")) == ("CubeError", True), gone


@pytest.mark.parametrize("shard", [(-1, 2), (2, 2), (3, 2), (0, 0)])
def test_a_part_that_there_is_not_is_refused(shard: tuple[int, int]) -> None:
    """Parts count from 0."""
    with pytest.raises(ValueError, match="the number counts from 0, and is less than"):
        Limits(shard=shard)
    assert Limits(shard=(1, 2)).shard == (1, 2)


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan")])
def test_a_time_in_which_no_cube_is_done_is_refused(timeout: float) -> None:
    """Any time above 0 is one."""
    with pytest.raises(ValueError, match="no cube is done in that time"):
        Limits(timeout=timeout)
    assert Limits(timeout=1e-9).timeout == 1e-9


@pytest.mark.parametrize("about", [None, [], "job", {"fingerprint": "job"}, {"fingerprint": None}])
def test_a_record_that_says_nothing_of_this_job_is_none(unit: Unit, tmp_path: Path, about: object) -> None:
    """Whatever stands where a run on many cubes writes its own."""
    (tmp_path / unit.name).mkdir()
    (tmp_path / unit.name / "run.json").write_text(json.dumps({"batch": about, "files": []}))
    assert known(unit, tmp_path) is None


def test_what_is_known_of_a_cube_comes_back_as_it_was(unit: Unit, tmp_path: Path) -> None:
    """Done beats failed; what a record lacks is nothing, and a first try."""
    records = Records(tmp_path, "job")
    records.fail(Outcome(unit, "bad", "ValueError", "n", 1.5, "w", 3))
    assert known(unit, tmp_path) == Outcome(unit, "bad", "ValueError", "n", 1.5, "w", 3)
    records.fail(Outcome(unit, "bad"))
    assert known(unit, tmp_path) == Outcome(unit, "bad")
    Path(unit.cube).write_bytes(b"longer")
    assert known(unit, tmp_path) is None
    records.fail(Outcome(unit, "bad"))
    note_done(unit, tmp_path)
    assert known(unit, tmp_path) == Outcome(unit, values={})


@pytest.mark.parametrize(
    ("ends", "values"),
    [((None, None), (None, None)), ((0, 1.5), (0, 1.5)), (("0", 1), None), ((0, [1]), None), ((0,), None)],
)
def test_ends_of_outputs_are_numbers_or_nothing(unit: Unit, tmp_path: Path, ends: Any, values: Any) -> None:
    """A record with others is none; files without a key are pictures."""
    note_done(unit, tmp_path)
    file = tmp_path / unit.name / "run.json"
    record = json.loads(file.read_text())
    output = {"key": "k", "node": "n", "port": "p", **dict(zip(("min", "max"), ends, strict=False))}
    file.write_text(json.dumps({**record, "files": [output, {"kind": "map"}, "odd"]}))
    found = known(unit, tmp_path)
    assert (found and found.values) == (values and {"n.p": values})


def test_a_job_is_another_where_anything_decides_otherwise(tmp_path: Path) -> None:
    """Not where its outputs are named in another order, where a file lies elsewhere, or by who computes."""
    files = {}
    for name in ("p.yaml", "w.pt", "m.yaml"):
        files[name] = str(tmp_path / name)
        (tmp_path / name).write_text(name)
    job = Job(files["p.yaml"], keep=("b.x", "a.x"), overrides=("a=1",))
    mark = fingerprint(job.contents())
    same = [replace(job, keep=("a.x", "b.x")), replace(job, device="cuda"), replace(job, memory=1)]
    assert {fingerprint(each.contents()) for each in same} == {mark}
    others: list[dict[str, Any]] = [
        {"keep": ("a.x",)},
        {"overrides": ()},
        {"weights": files["w.pt"]},
        {"manifest": files["m.yaml"]},
        {"format": "zarr"},
        {"measurement": 0},
        {"processing_mode": "Raw"},
        {"allow_untrained": True},
        {"code": ("plugin 123",)},
    ]
    marks = {fingerprint(replace(job, **each).contents()) for each in others}
    with_manifest = replace(job, manifest=files["m.yaml"])
    (tmp_path / "m.lock").write_text("version = 1")
    marks |= {fingerprint(with_manifest.contents())}
    assert len(marks | {mark}) == len(others) + 2
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    secret = replace(job, overrides=("a=https://me:secret@host/x",))
    assert "secret" not in json.dumps(secret.contents())


def test_a_job_comes_back_from_json_whatever_another_version_added() -> None:
    """Lists are what tuples become there."""
    job = Job("p.yaml", keep=("a.x",), code=("c d",), measurement=0)
    data = json.loads(json.dumps(job_data(job)))
    assert Job.from_dict({**data, "of another version": [1]}) == job


@pytest.mark.parametrize(
    ("names", "hint"),
    [
        (("a.npy", "a.npz"), "Name one kind of file alone, such as '*.npy'."),
        (("a b.npy", "a_b.npy"), "Rename one of them, or give each a run and a folder of its own."),
    ],
)
def test_what_to_do_about_a_folder_for_two_cubes(tmp_path: Path, names: tuple[str, str], hint: str) -> None:
    """A pattern helps only where they are of several kinds; of one clash no number is said."""
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(OutputError) as caught:
        find_units(tmp_path, [".npy", ".npz"])
    assert caught.value.hint == hint
    assert "more" not in caught.value.message


def test_cubes_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    """Wherever they lie."""
    for name in ("b/1.npy", "a/2.npy", "c.npy"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = find_units([tmp_path / "c.npy", str(tmp_path / "*" / "*.npy")], [".npy"])
    assert [each.name for each in found] == ["a/2", "b/1", "c"]


def test_no_pattern_is_named_where_a_cube_has_no_kind(tmp_path: Path) -> None:
    """It would take all files."""
    for name in ("a", "a.npy"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(OutputError) as caught:
        find_units([tmp_path / "a", tmp_path / "a.npy"], [".npy"])
    assert caught.value.hint == "Rename one of them, or give each a run and a folder of its own."
