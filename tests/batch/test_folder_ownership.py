"""Whose a folder of results is, seen in the files that say so and in what is refused."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import pytest

from cuvis_ai_core.batch import folder_ownership
from cuvis_ai_core.batch.folder_ownership import alone_in, check_nodes, claim, is_new, leave, refuse_linked_cubes
from cuvis_ai_core.batch.job import fingerprint
from cuvis_ai_core.errors import BatchError, OutputError

CONTENTS: dict[str, Any] = {"pipeline": "a", "keep": []}
NODES: list[dict[str, Any]] = [
    {"name": "x", "class": "p.X", "sha256": "1" * 8, "commit": "a", "changed": False, "edited": None},
    {"name": "y", "class": "p.Y", "commit": "a"},
]


@contextmanager
def refused(message: str, hint: str = "Choose another folder with --output-dir") -> Iterator[None]:
    """Have something be refused with a message and a hint."""
    with pytest.raises((OutputError, BatchError)) as caught:
        yield
    assert (caught.value.message, str(caught.value.hint)[: len(hint)]) == (message, hint)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Return a folder that is not there, with a job."""
    return tmp_path / "deep" / "out"


def test_a_folder_belongs_to_the_job_that_claimed_it(output: Path) -> None:
    """Which is written once; others are told what differs."""
    claim(output, CONTENTS)
    file = output / ".cuvis-batch/job.json"
    assert json.loads(file.read_text()) == {"fingerprint": fingerprint(CONTENTS), "contents": CONTENTS}
    file.write_text(json.dumps({"contents": CONTENTS, "kept": 1}))
    claim(output, CONTENTS)
    assert json.loads(file.read_text()) == {"contents": CONTENTS, "kept": 1}
    other = f"'{output}' holds results of another job; what differs: "
    with refused(f"{other}keep."):
        claim(output, {**CONTENTS, "keep": ["a.b"]})
    with refused(f"{other}pipeline, device."):
        claim(output, {**CONTENTS, "pipeline": "b", "device": "cpu"})
    with refused(f"{other}all."):
        claim(output, {"pipeline": "a"})
    for broken in ({"contents": [1]}, {}):
        file.write_text(json.dumps(broken))
        with refused(f"{other}pipeline, keep."):
            claim(output, CONTENTS)


@pytest.mark.parametrize("name", ["run.json", "cubes.csv", "report.html"])
def test_a_folder_of_something_else_is_not_claimed(output: Path, name: str) -> None:
    """Not even where a file of it leads nowhere; other files beside are no matter."""
    output.mkdir(parents=True)
    (output / "notes.txt").touch()
    (output / name).symlink_to("nowhere")
    with refused(f"'{output}' holds '{name}', which no run on many cubes wrote; it is not overwritten."):
        claim(output, CONTENTS)
    assert not (output / ".cuvis-batch").exists()
    (output / name).unlink()
    claim(output, CONTENTS)
    (output / name).touch()
    claim(output, CONTENTS)


def test_results_belong_to_the_code_that_made_them(output: Path) -> None:
    """Where it has a hash, the commit around it may be another; which node is of other code is said."""
    claim(output, CONTENTS)
    check_nodes(output, NODES)
    file = output / ".cuvis-batch/nodes.json"
    assert json.loads(file.read_text()) == {"nodes": NODES}
    check_nodes(output, [{**NODES[0], "commit": "b", "changed": True, "edited": "now"}, NODES[1]])
    assert json.loads(file.read_text()) == {"nodes": NODES}
    other = f"'{output}' holds results of other code: node "
    with refused(f"{other}y comes from elsewhere now."):
        check_nodes(output, [NODES[0], {**NODES[1], "commit": "b"}])
    with refused(f"{other}x comes from elsewhere now."):
        check_nodes(output, [{**NODES[0], "sha256": "2" * 8}, NODES[1]])
    with refused(f"{other} comes from elsewhere now."):
        check_nodes(output, NODES[:1])
    for broken in ({"nodes": 1}, {"nodes": [1]}, {}):
        file.write_text(json.dumps(broken))
        with refused(f"{other}x, y comes from elsewhere now."):
            check_nodes(output, NODES)


def test_a_run_is_alone_until_it_ends(output: Path) -> None:
    """Whoever comes meanwhile is told at once, and so is whoever shares the cubes otherwise."""
    message = f"Another run works in '{output}'."
    hint = "Wait for its end, or share the cubes out: --shard 0/2 here and --shard 1/2 there."
    alone = alone_in(output, (1, 2))
    with alone as remark:
        assert remark is None
        assert sorted(file.name for file in (output / ".cuvis-batch").iterdir()) == ["begin.lock", "run-1-of-2.lock"]
        with alone_in(output, (0, 2)):
            pass
        for shard in ((1, 2), (0, 1), (1, 12)):
            with refused(message, hint), alone_in(output, shard):
                pytest.fail("it was not alone")
    with alone_in(output, (0, 1)) as remark:
        assert remark is None


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what the system says, and at once where a disk breaks off."""
    (tmp_path / "file").touch()
    with refused(f"'{tmp_path / 'file'}' cannot be written: Not a directory."), alone_in(tmp_path / "file", (0, 1)):
        pytest.fail("it was written")

    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(filelock.FileLock, "acquire", fail)
        patch.setattr(folder_ownership.tempfile, "mkstemp", fail)
        with refused(f"'{tmp_path}' cannot be written: Input/output error."), alone_in(tmp_path, (0, 1)):
            pytest.fail("it was written")
    with monkeypatch.context() as patch:
        patch.setattr(filelock.FileLock, "acquire", fail)
        with alone_in(tmp_path, (0, 1)) as remark:
            assert remark == (
                f"The file system of '{tmp_path}' has no locks: see to it yourself that no other run works there."
            )
    assert [file.name for file in (tmp_path / ".cuvis-batch").iterdir() if not file.name.endswith(".lock")] == []


@pytest.mark.parametrize("name", ["a", "a/b", "c/d/e"])
def test_a_cube_behind_a_link_is_refused(output: Path, name: str) -> None:
    """Also where a folder above it is the link; links elsewhere are no matter."""
    (output / name).parent.mkdir(parents=True)
    refuse_linked_cubes(output, [name, "new/one"])
    top = output / name.split("/", 1)[0]
    if "/" in name:
        top.rename(output / "moved")
    top.symlink_to(output / "moved")
    (output / "other").symlink_to(output)
    message = f"'{output}' has a link, '{top.name}', which no run made; nothing is written by way of it."
    with refused(message, "Remove the link, or choose another folder with --output-dir."):
        refuse_linked_cubes(output, ["b/x", name])


def test_a_new_folder_is_left_as_if_nothing_had_been(output: Path) -> None:
    """But not where a worker had begun, or another run is at work."""
    assert is_new(output)
    for kept in (False, True):
        with alone_in(output, (0, 2)):
            claim(output, CONTENTS)
            assert not is_new(output)
            if kept:
                check_nodes(output, NODES)
            leave(output)
        assert output.is_dir() is kept
    (output / ".cuvis-batch/nodes.json").unlink()
    (output / ".cuvis-batch/run-1-of-2.lock").touch()
    leave(output)
    assert output.is_dir()
    (output / ".cuvis-batch/run-1-of-2.lock").unlink()
    leave(output)
    assert is_new(output)
    output.mkdir()
    assert is_new(output)
