"""Public data sets: listed, fetched from a hub on loopback, taken over and removed, on real files."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import filelock
import pytest
from loopback_hub import Hub  # type: ignore[import-not-found]

from cuvis_ai_core._folder_removal import remove_tree
from cuvis_ai_core._printable_text import shown_size
from cuvis_ai_core.data.downloads import fetched_datasets
from cuvis_ai_core.data.downloads.progress_events import ProgressEmitter
from cuvis_ai_core.data.downloads.repository_files import RepositoryFile
from cuvis_ai_core.data.public_datasets import DatasetError, DatasetSpec, PublicDatasets, download_data_cli

SPEC = PublicDatasets.get_spec("Lentils")
HOME = f"datasets/{SPEC.repo_id}"
FILES = {"README.md": b"read me", "day/cube.cu3s": bytes(range(250)) * 8, "day/labels.json": b"{}"}
EARLIER = "1" * 40
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def hub(hub: Hub) -> Hub:
    """Serve the data set."""
    hub.files |= {f"{HOME}/{name}": content for name, content in FILES.items()}
    return hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of the data set, which is not there yet."""
    return tmp_path / "data" / SPEC.target_dir


def marker(folder: Path) -> dict[str, Any]:
    """Return what the marker of a data set says."""
    found: dict[str, Any] = json.loads((folder / ".cuvis-dataset.json").read_text())
    return found


def write(folder: Path, content: dict[str, bytes] | None = None, /, **said: Any) -> None:
    """Put files into a folder, and a marker that says they are all of the data set, or something else."""
    there = FILES if content is None else content
    for name, each in there.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(each)
    rows = [{"path": name, "size_bytes": len(each)} for name, each in there.items()]
    row = {"state": "complete", "repo_id": SPEC.repo_id, "revision": SPEC.revision, "files": rows}
    (folder / ".cuvis-dataset.json").write_text(json.dumps(row | said))


def state(folder: Path) -> str:
    """Return the state of the data set."""
    return PublicDatasets.status("lentils", folder.parent).state


def content(folder: Path) -> dict[str, bytes]:
    """Return the files of a data set, without what programs put beside them."""
    found = {each.relative_to(folder).as_posix(): each for each in folder.rglob("*") if each.is_file()}
    return {name: path.read_bytes() for name, path in sorted(found.items()) if not name.startswith((".cache", ".cuv"))}


def asked(hub: Hub) -> list[str]:
    """Return the names of the files whose content was asked for since the last time, sorted."""
    begin = f"GET /{HOME}/resolve/{SPEC.revision}/"
    names = sorted(each.removeprefix(begin) for each in hub.asked if each.startswith(begin))
    hub.asked.clear()
    return names


@pytest.mark.parametrize("name", ["Industrial_FOD_Lentils", "industrial-fod-lentils", "INDUSTRIAL_fod_LENTILS"])
def test_a_data_set_is_found_by_its_name(name: str) -> None:
    """In upper and lower case, with hyphens; another name is asked back for."""
    assert PublicDatasets.get_spec(name).repo_id == "cubert-gmbh/XMR_Industrial_Foreign_Object_Detection_Lentils"
    with pytest.raises(DatasetError, match="Did you mean 'Lentils'"):
        PublicDatasets.get_spec("Lentlis")


def test_the_list_of_data_sets() -> None:
    """Has a revision, a licence and a size of each, names no folder twice, and is its own row in JSON."""
    payload = PublicDatasets.list_payload()
    specs = PublicDatasets.list_specs()
    assert [spec.to_json_dict() for spec in specs] == payload["datasets"]
    assert len({spec.target_dir for spec in specs}) == len({spec.revision for spec in specs}) == len(specs) == 7
    for spec in specs:
        assert set(spec.tags) <= set(payload["tags"])
        assert spec.camera in payload["cameras"]
        assert DatasetSpec(**{**spec.to_json_dict(), "tags": spec.tags, "aliases": spec.aliases}) == spec
    assert PublicDatasets.dataset_dir(SPEC, "data") == Path("data") / "Lentils"


def test_a_data_set_is_fetched_whole_and_once(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a token; its marker is the published one, and the second time nobody is asked."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert state(folder) == "absent"
    done = PublicDatasets.download("lentils", folder.parent)
    assert (done.path, done.stale_files, content(folder)) == (folder, (), FILES)
    found = marker(folder)
    assert found.pop("finished_at")
    assert found == {
        "state": "complete",
        "repo_id": SPEC.repo_id,
        "revision": SPEC.revision,
        "file_count": 3,
        "size_bytes": sum(map(len, FILES.values())),
        "files": [{"path": name, "size_bytes": len(each)} for name, each in sorted(FILES.items())],
    }
    assert set(hub.tokens) == {None}
    assert asked(hub) == sorted(FILES)
    status = PublicDatasets.status("lentils", folder.parent)
    assert (status.present, status.files_ok, status.bytes_on_disk) == (True, True, found["size_bytes"])
    assert PublicDatasets.download_dataset("lentils", download_path=str(folder.parent))
    assert hub.asked == []
    PublicDatasets.download("lentils", folder.parent, force=True)
    assert asked(hub) == sorted(FILES)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, "present"),
        ({"state": "downloading"}, "incomplete"),
        ({"state": ["complete"]}, "incomplete"),
        ({"revision": EARLIER}, "outdated"),
        ({"revision": None}, "outdated"),
        ({"repo_id": "other/data"}, "foreign"),
        ({"repo_id": 3}, "foreign"),
        ({"files": []}, "damaged"),
        ({"files": "README.md"}, "damaged"),
        ({"files": [3]}, "damaged"),
        ({"files": [{"path": "../Lentils/README.md", "size_bytes": 7}]}, "damaged"),
        ({"files": [{"path": "README.md", "size_bytes": 8}]}, "damaged"),
        ({"files": [{"path": "day", "size_bytes": 4096}]}, "damaged"),
        ({"files": [{"path": "gone.txt", "size_bytes": 0}]}, "damaged"),
    ],
)
def test_states_are_what_the_marker_and_the_sizes_say(folder: Path, said: dict[str, Any], expected: str) -> None:
    """Of published programs, too."""
    write(folder, **said)
    assert state(folder) == expected
    assert PublicDatasets.read_marker(folder) == marker(folder)


def test_how_much_is_there(folder: Path) -> None:
    """Of the files of the data set where it was fetched to the end, else of all that lies there."""

    def found() -> tuple[str, int | None, bool | None]:
        status = PublicDatasets.status("lentils", folder.parent)
        assert status.to_json_dict()["files_ok"] == status.files_ok
        return status.state, status.bytes_on_disk, status.files_ok

    assert found() == ("absent", None, None)
    size = sum(map(len, FILES.values()))
    for said, state, ok in (({}, "present", True), ({"revision": EARLIER}, "outdated", True)):
        write(folder, **said)
        (folder / "own.txt").write_bytes(b"mine")
        assert found() == (state, size, ok)
    for said, state in (({"state": "downloading"}, "incomplete"), ({"repo_id": "other/data"}, "foreign")):
        write(folder, **said)
        total = size + 4 + (folder / ".cuvis-dataset.json").stat().st_size
        assert found() == (state, total, None)
    write(folder)
    (folder / "README.md").unlink()
    assert found() == ("damaged", size - 7, False)
    write(folder, {}, revision=EARLIER, files=[{"path": "README.md", "size_bytes": 7}])
    assert found() == ("outdated", 0, False)


def test_of_many_files_in_the_way_some_are_named(hub: Hub, folder: Path) -> None:
    """And the number of the others."""
    names = [f"{number}.txt" for number in range(5)]
    hub.files |= {f"{HOME}/{name}": b"hub" for name in names}
    for count, words in ((3, "2.txt. Nothing was changed"), (5, "2.txt, and 2 more. Nothing was changed")):
        write(folder, dict.fromkeys(names[:count], b"mine"), repo_id="other/data")
        with pytest.raises(DatasetError) as error:
            PublicDatasets.download("lentils", folder.parent, adopt=True)
        assert words in str(error.value)


def test_stale_files_that_cannot_be_removed_are_still_told(hub: Hub, folder: Path) -> None:
    """In the answer, and in the marker for the next time."""
    write(folder, FILES | {"old/a.txt": b"old", "old/b.txt": b"old"}, revision=EARLIER)
    (folder / "old" / "a.txt").unlink()
    (folder / "old" / "a.txt").mkdir()
    done = PublicDatasets.download("lentils", folder.parent, prune_stale=True)
    assert done.stale_files == ("old/a.txt",)
    assert (marker(folder)["stale_files"], marker(folder)["file_count"]) == (["old/a.txt"], 3)
    assert not (folder / "old" / "b.txt").exists()
    (folder / "old" / "a.txt").rmdir()
    assert PublicDatasets.download("lentils", folder.parent, prune_stale=True).stale_files == ()
    assert state(folder) == "present"


def test_what_has_no_marker_is_somebody_elses(folder: Path) -> None:
    """But an empty folder; a marker that cannot be read, or names no repository, is nobody's."""
    folder.mkdir(parents=True)
    assert (state(folder), PublicDatasets.read_marker(folder)) == ("absent", None)
    (folder / "own").write_bytes(b"mine")
    assert state(folder) == "foreign"
    for text in ("[]", "nope", "", "{}"):
        (folder / ".cuvis-dataset.json").write_text(text)
        assert (state(folder), PublicDatasets.read_marker(folder)) == ("foreign", {})
        for refused in (PublicDatasets.remove, PublicDatasets.download):
            with pytest.raises(DatasetError, match="was not fetched as the data set"):
                refused("lentils", folder.parent)
    assert (folder / "own").read_bytes() == b"mine"
    file = folder.parent / "file"
    file.mkdir()
    (file / SPEC.target_dir).write_text("a file")
    assert state(file / SPEC.target_dir) == "foreign"
    assert [each.state for each in PublicDatasets.status_all(folder.parent, ["lentils", "blood-perfusion"])] == [
        "foreign",
        "absent",
    ]


@pytest.mark.parametrize("damage", ["short", "gone", "folder"])
def test_a_damaged_file_alone_is_fetched_anew(hub: Hub, folder: Path, damage: str) -> None:
    """Also just after it was fetched, when the library takes every file for right."""
    PublicDatasets.download("lentils", folder.parent)
    asked(hub)
    cube = folder / "day" / "cube.cu3s"
    if damage == "short":
        cube.write_bytes(b"short")
    else:
        cube.unlink()
    if damage == "folder":
        cube.mkdir()
        assert state(folder) == "damaged"
        with pytest.raises(DatasetError, match=r"cube\.cu3s"):
            PublicDatasets.download("lentils", folder.parent)
        cube.rmdir()
    assert state(folder) != "present"
    PublicDatasets.download("lentils", folder.parent)
    assert (content(folder), state(folder)) == (FILES, "present")
    assert set(asked(hub)) == {"day/cube.cu3s"}


@pytest.mark.parametrize("name", ["README.md", "day/cube.cu3s"])
def test_a_file_that_is_not_the_listed_one_is_not_kept(hub: Hub, folder: Path, name: str) -> None:
    """Also of the same size; the rest stays, and only that file is fetched the next time."""
    hub.instead[f"{HOME}/{name}"] = b"x" * len(FILES[name])
    with pytest.raises(DatasetError, match="It was not kept"):
        PublicDatasets.download("lentils", folder.parent)
    assert (state(folder), name in content(folder)) == ("incomplete", False)
    hub.instead.clear()
    asked(hub)
    PublicDatasets.download("lentils", folder.parent)
    assert content(folder) == FILES
    assert name in asked(hub)
    assert state(folder) == "present"


def test_a_file_of_the_right_size_and_another_content_is_found(hub: Hub, folder: Path) -> None:
    """When a download goes on, whatever its dates say."""
    PublicDatasets.download("lentils", folder.parent)
    cube = folder / "day" / "cube.cu3s"
    times = cube.stat()
    cube.write_bytes(b"x" * len(FILES["day/cube.cu3s"]))
    os.utime(cube, ns=(times.st_atime_ns, times.st_mtime_ns))
    write(folder, {}, state="downloading")
    PublicDatasets.download("lentils", folder.parent)
    assert content(folder) == FILES


@pytest.mark.parametrize("trouble", ["offline", "gone", "revision", "gated", "name"])
def test_what_cannot_be_fetched_leaves_nothing(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """And says why in a line; nothing is begun before the hub has said what there is."""
    words = {
        "offline": "no connection may be opened",
        "gone": "there is no such repository",
        "revision": "the repository has no such revision",
        "gated": "its owner lets in those alone",
        "name": "is no name of a",
    }
    if trouble == "offline":
        monkeypatch.setenv("CUVIS_OFFLINE", "1")
    elif trouble == "name":
        hub.files[f"{HOME}/../evil"] = b"e"
    elif trouble == "gated":
        hub.gated.add(HOME)
    elif trouble == "revision":
        hub.lacks.add(SPEC.revision)
    else:
        hub.files.clear()
    with pytest.raises(DatasetError, match=words[trouble]) as error:
        PublicDatasets.download("lentils", folder.parent)
    assert "--token" not in str(error.value)
    assert not list(folder.parent.rglob("evil"))
    assert (folder.exists(), state(folder)) in {(False, "absent")} | (
        {(True, "incomplete")} if trouble == "gated" else set()
    )


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", ".cuvis-dataset.json", ".CACHE/huggingface/x", "a\\..\\b", "C:x"]
)
def test_names_of_a_stranger_are_files_of_the_data_set(hub: Hub, folder: Path, name: str) -> None:
    """Or nothing is fetched at all."""
    hub.files[f"{HOME}/{name}"] = b"evil"
    with pytest.raises(DatasetError, match=r"is no name of a file in it\.\nNothing was fetched\. Ask"):
        PublicDatasets.download("lentils", folder.parent)
    assert not folder.exists()


def test_a_folder_is_taken_over_where_its_files_are_right(hub: Hub, folder: Path) -> None:
    """They are not fetched again, what is missing is, and what is no file of the data set stays."""
    write(folder, {"day/cube.cu3s": FILES["day/cube.cu3s"], "own.txt": b"mine"})
    (folder / ".cuvis-dataset.json").unlink()
    for force in (False, True):
        with pytest.raises(DatasetError, match="was not fetched as the data set"):
            PublicDatasets.download("lentils", folder.parent, force=force)
    assert hub.asked == []
    PublicDatasets.download("lentils", folder.parent, adopt=True)
    assert content(folder) == FILES | {"own.txt": b"mine"}
    assert asked(hub) == ["README.md", "day/labels.json"]
    assert "own.txt" not in str(marker(folder))


def test_a_folder_whose_files_are_others_is_not_taken_over(hub: Hub, folder: Path) -> None:
    """Nothing of it is changed, unless that is asked for too."""
    before = {"README.md": b"my own", "day/cube.cu3s": b"x" * len(FILES["day/cube.cu3s"]), "own.txt": b"mine"}
    write(folder, before, repo_id="other/data")
    with pytest.raises(DatasetError, match=r"README\.md.*cube\.cu3s\. Nothing was changed"):
        PublicDatasets.download("lentils", folder.parent, adopt=True)
    assert (content(folder), state(folder), asked(hub)) == (before, "foreign", [])
    PublicDatasets.download("lentils", folder.parent, adopt=True, force=True)
    assert content(folder) == FILES | {"own.txt": b"mine"}


def test_a_file_in_the_place_of_a_folder_is_not_taken_over(hub: Hub, folder: Path) -> None:
    """Nor replaced, if that is asked for: the error is of the folder, not of the connection."""
    write(folder, {"day": b"mine"})
    (folder / ".cuvis-dataset.json").unlink()
    with pytest.raises(DatasetError, match=r"day\. Nothing was changed"):
        PublicDatasets.download("lentils", folder.parent, adopt=True)
    assert (content(folder), state(folder)) == ({"day": b"mine"}, "foreign")
    with pytest.raises(DatasetError, match=r"File exists[^\n]*\nLook at the folder"):
        PublicDatasets.download("lentils", folder.parent, adopt=True, force=True)
    assert content(folder)["day"] == b"mine"


@pytest.mark.parametrize("link", ["day", ".cache", ".cache/huggingface", ".cache/huggingface/download/day"])
@pytest.mark.parametrize("how", [{}, {"force": True}, {"adopt": True, "force": True}])
def test_nothing_is_fetched_through_a_link_to_elsewhere(
    hub: Hub, folder: Path, tmp_path: Path, link: str, how: dict[str, Any]
) -> None:
    """Whoever asks: what lies there is not of the data set."""
    write(folder, {"README.md": b"read me"}, state="downloading", repo_id="o/d" if "adopt" in how else SPEC.repo_id)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "cube.cu3s").write_bytes(b"mine")
    (folder / link).parent.mkdir(parents=True, exist_ok=True)
    (folder / link).symlink_to(elsewhere)
    before = (marker(folder), sorted(elsewhere.rglob("*")))
    with pytest.raises(DatasetError, match=r"lies outside of.*Nothing was changed"):
        PublicDatasets.download("lentils", folder.parent, **how)
    assert (marker(folder), sorted(elsewhere.rglob("*"))) == before
    assert (elsewhere / "cube.cu3s").read_bytes() == b"mine"
    assert asked(hub) == []


def test_links_that_lead_to_right_files_or_stay_in_the_folder_are_left(hub: Hub, folder: Path, tmp_path: Path) -> None:
    """A folder of files on another disk counts; one of links in itself is written."""
    write(tmp_path / "elsewhere", FILES)
    write(folder, {"own.txt": b"mine"}, state="downloading", files=[])
    (folder / "day").symlink_to(tmp_path / "elsewhere" / "day")
    PublicDatasets.download("lentils", folder.parent)
    assert (asked(hub), state(folder)) == (["README.md"], "present")
    (folder / "day").unlink()
    (folder / "other").mkdir()
    (folder / "day").symlink_to("other")
    PublicDatasets.download("lentils", folder.parent)
    assert sorted(each.name for each in (folder / "other").iterdir()) == ["cube.cu3s", "labels.json"]


def test_what_is_taken_over_is_read_once_and_told_of(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """However large it is."""
    write(folder, {"README.md": FILES["README.md"], "day/cube.cu3s": FILES["day/cube.cu3s"]}, repo_id="other/data")
    read: list[str] = []
    is_at = RepositoryFile.is_at

    def noted(file: RepositoryFile, place: Path) -> bool:
        read.append(file.path)
        return is_at(file, place)

    monkeypatch.setattr(RepositoryFile, "is_at", noted)
    PublicDatasets.download("lentils", folder.parent, adopt=True, progress=ProgressEmitter())
    assert sorted(read) == ["README.md", "day/cube.cu3s", "day/labels.json", "day/labels.json"]
    told = [json.loads(line)["files_done"] for line in capsys.readouterr().out.splitlines()]
    assert told == [1, 2, 3]


def test_names_of_files_may_be_odd(hub: Hub, folder: Path) -> None:
    """They are fetched once, under these names."""
    odd = {"a [b]*?.txt": b"1", "ü/é.txt": b"2", "#h/%20x": b"3", "empty": b"", "a b/c": b"4"}
    hub.files |= {f"{HOME}/{name}": each for name, each in odd.items()}
    PublicDatasets.download("lentils", folder.parent)
    assert (content(folder), state(folder)) == (dict(sorted((FILES | odd).items())), "present")


def test_files_of_an_earlier_revision_are_told_until_they_are_removed(hub: Hub, folder: Path) -> None:
    """Though the download of the later one is ended in between."""
    write(folder, FILES | {"old/a.txt": b"old", "b.txt": b"old"}, revision=EARLIER)
    (folder / "own.txt").write_bytes(b"mine")
    hub.files[f"{HOME}/new.txt"] = b"new"
    hub.broken.add(f"{HOME}/new.txt")
    with pytest.raises(DatasetError):
        PublicDatasets.download("lentils", folder.parent)
    assert state(folder) == "incomplete"
    hub.broken.clear()
    for _ in range(2):
        assert PublicDatasets.download("lentils", folder.parent).stale_files == ("b.txt", "old/a.txt")
    assert state(folder) == "present"
    assert PublicDatasets.download("lentils", folder.parent, prune_stale=True).stale_files == ()
    assert content(folder) == FILES | {"new.txt": b"new", "own.txt": b"mine"}
    assert not (folder / "old").exists()
    assert (state(folder), PublicDatasets.download("lentils", folder.parent).stale_files) == ("present", ())


def test_only_files_of_the_folder_are_removed_as_stale(hub: Hub, folder: Path, tmp_path: Path) -> None:
    """Whatever a marker says, and wherever links lead."""
    (tmp_path / "elsewhere").mkdir()
    kept = [tmp_path / "elsewhere" / "a.txt", tmp_path / "evil", folder.parent / "evil"]
    write(folder, FILES | {"old.txt": b"old"}, revision=EARLIER)
    for each in kept:
        each.write_bytes(b"mine")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "sub").mkdir()
    paths = ["old.txt", "link/a.txt", "sub", ".cuvis-dataset.json", "../evil", "../../evil", str(tmp_path / "evil")]
    for names in (paths[:4], paths):
        rows = [{"path": path, "size_bytes": 1} for path in names]
        write(folder, revision=EARLIER, files=rows, stale_files=names)
        PublicDatasets.download("lentils", folder.parent, prune_stale=True)
        assert [each.read_bytes() for each in kept] == [b"mine"] * 3
        assert (folder / "sub").is_dir()
        assert not (folder / "old.txt").exists()
        assert state(folder) == "present"


def test_a_data_set_is_removed(folder: Path, tmp_path: Path) -> None:
    """With all that is in its folder; what was not fetched as this data set, and a link, are left alone."""
    assert PublicDatasets.remove("lentils", folder.parent) == 0
    assert not folder.parent.exists()
    for said in ({"repo_id": "other/data"}, {"repo_id": None}):
        write(folder, **said)
        with pytest.raises(DatasetError, match="is not removed"):
            PublicDatasets.remove("lentils", folder.parent)
    assert content(folder) == FILES
    write(folder, state="downloading")
    before = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
    assert PublicDatasets.remove("lentils", folder.parent) == before
    assert not folder.exists()
    write(tmp_path / "real")
    folder.symlink_to(tmp_path / "real")
    assert state(folder) == "present"
    with pytest.raises(DatasetError, match="it is a link"):
        PublicDatasets.remove("lentils", folder.parent)
    assert content(tmp_path / "real") == FILES


@pytest.mark.parametrize("steps", [0, 1, 5, 29])
@pytest.mark.parametrize("is_full", [False, True])
def test_a_removal_that_was_ended_can_be_done_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, steps: int, *, is_full: bool
) -> None:
    """What is left counts as incomplete, or as damaged where the disk is full, never as somebody else's."""
    write(folder, {f"{number}.txt": b"data" for number in range(30)})
    left = list(range(steps))

    def end(path: Path) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        remove_tree(path)

    with monkeypatch.context() as patched:
        patched.setattr(fetched_datasets, "remove_tree", end)
        if is_full:
            patched.setattr(fetched_datasets, "write_json", refuse_to_write)
        with pytest.raises(KeyboardInterrupt):
            PublicDatasets.remove("lentils", folder.parent)
    assert len(content(folder)) == 30 - steps
    assert state(folder) == (("damaged" if steps else "present") if is_full else "incomplete")
    PublicDatasets.remove("lentils", folder.parent)
    assert state(folder) == "absent"


def refuse_to_write(*_: object) -> None:
    """Be a disk that is full."""
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_data_set_is_removed_from_a_full_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is why it is removed."""
    write(folder)
    monkeypatch.setattr(fetched_datasets, "write_json", refuse_to_write)
    assert PublicDatasets.remove("lentils", folder.parent) > sum(map(len, FILES.values()))
    assert state(folder) == "absent"


def test_what_cannot_be_removed_or_written_has_a_next_step(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the second line."""
    write(folder, state="downloading")
    monkeypatch.setattr(fetched_datasets, "write_json", refuse_to_write)
    with pytest.raises(DatasetError, match=r"No space left on device\.\nLook at .* the room on its disk"):
        PublicDatasets.download("lentils", folder.parent)
    monkeypatch.setattr(fetched_datasets, "remove_tree", refuse_to_write)
    with pytest.raises(DatasetError, match=r"cannot be removed: No space left on device\.\n.* the same command again"):
        PublicDatasets.remove("lentils", folder.parent)


def test_a_data_folder_that_cannot_be_written_is_said(hub: Hub, tmp_path: Path) -> None:
    """As one error, as is a file in the place of the data set."""
    (tmp_path / "file").write_text("a file")
    with pytest.raises(DatasetError, match=r"nothing can be written there.*Choose another folder"):
        PublicDatasets.download("lentils", tmp_path / "file")
    (tmp_path / SPEC.target_dir).write_text("a file")
    for adopt, force in ((False, False), (True, False), (True, True)):
        with pytest.raises(DatasetError):
            PublicDatasets.download("lentils", tmp_path, adopt=adopt, force=force)
    with pytest.raises(DatasetError, match="is not removed"):
        PublicDatasets.remove("lentils", tmp_path)
    assert (tmp_path / SPEC.target_dir).read_text() == "a file"


def begin(folder: Path, *more: str) -> subprocess.Popen[bytes]:
    """Begin a download in a process of its own."""
    program = "from cuvis_ai_core.data.public_datasets import download_data_cli; download_data_cli()"
    arguments = [sys.executable, "-c", program, "download", "lentils", "--data-dir", str(folder.parent), *more]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process, unless it has ended, and close what was read of it."""
    process.kill()
    process.communicate(timeout=60)


@pytest.mark.slow
@pytest.mark.usefixtures("warm_commands")
def test_sixteen_at_once_fetch_it_once(hub: Hub, folder: Path) -> None:
    """One fetches each file, and the others find them there."""
    together = [begin(folder) for _ in range(16)]
    try:
        said = [each.communicate(timeout=240) for each in together]
    finally:
        for each in together:
            end(each)
    assert [each.returncode for each in together] == [0] * 16, said
    assert (content(folder), state(folder)) == (FILES, "present")
    assert len([each for each in hub.asked if "/tree/" in each]) == 1
    assert asked(hub) == sorted(FILES)


@pytest.mark.slow
@pytest.mark.parametrize("as_events", [True, False])
def test_who_waits_for_another_program_says_so(hub: Hub, folder: Path, *, as_events: bool) -> None:
    """And goes on when that one is done."""
    folder.parent.mkdir()
    lock = filelock.FileLock(folder.parent / ".cuvis-cache.lock")
    lock.acquire()
    waits = begin(folder, *(["--progress-json"] if as_events else []))
    try:
        told = waits.stdout if as_events else waits.stderr
        assert told is not None
        said = told.readline().decode()
        assert ('{"event":"waiting"}' if as_events else "Another program works in this folder") in said
        assert (waits.poll(), hub.asked) == (None, [])
        lock.release()
        waits.communicate(timeout=120)
    finally:
        lock.release()
        end(waits)
    assert (waits.returncode, content(folder)) == (0, FILES)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_download_that_is_killed_goes_on(hub: Hub, folder: Path, name: str) -> None:
    """It counts as incomplete, holds nobody up, and has no file that is a half."""
    hub.held.add(f"{HOME}/{name}")
    killed = begin(folder)
    try:
        assert hub.halfway.wait(120)
    finally:
        end(killed)
    hub.go_on.set()
    found = content(folder)
    assert (state(folder), name in found) == ("incomplete", False)
    assert found.items() <= FILES.items()
    assert set(asked(hub)) == {*found, name}
    PublicDatasets.download("lentils", folder.parent)
    assert (content(folder), state(folder)) == (FILES, "present")
    assert asked(hub) == sorted(set(FILES) - set(found))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_a_download_at_once(hub: Hub, folder: Path) -> None:
    """In a sentence, with the status of all commands, while the hub has still half of a file to send."""
    hub.held.add(f"{HOME}/day/cube.cu3s")
    ended = begin(folder)
    try:
        assert hub.halfway.wait(120)
        ended.send_signal(signal.SIGINT)
        said = ended.communicate(timeout=60)[1].decode()
    finally:
        end(ended)
    assert (ended.returncode, "Interrupted" in said, "Traceback" in said, state(folder)) == (
        130,
        True,
        False,
        "incomplete",
    )


@pytest.fixture
def command(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs `dataset`, and returns its status and what it said."""

    def run(*arguments: str) -> tuple[int, str, str]:
        place = () if arguments[0] in {"list", "schema"} else ("--data-dir", str(folder.parent))
        monkeypatch.setattr(sys, "argv", ["dataset", *arguments, *place])
        with pytest.raises(SystemExit) as ended:
            download_data_cli()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_the_command_says_what_it_did(command: Command, hub: Hub, folder: Path) -> None:
    """For people and, as its schemas say, for programs."""
    jsonschema = pytest.importorskip("jsonschema")

    def answer(schema: str, *arguments: str) -> tuple[int, Any]:
        code, out, _ = command(*arguments, "--json")
        jsonschema.validate(found := json.loads(out), json.loads(command("schema", schema)[1]))
        return code, found

    assert SPEC.repo_id in command("list", "--verbose")[1]
    assert answer("dataset_list", "list")[1] == PublicDatasets.list_payload()
    assert answer("dataset_status", "status", "lentils")[1]["datasets"][0]["state"] == "absent"
    code, found = answer("dataset_status", "download", "lentils", "blood-perfusion")
    assert (code, [row["downloaded"] for row in found["datasets"]]) == (1, [True, False])
    assert command("download", "lentils")[:2] == (0, f"{folder}\n")
    code, out, _ = command("download", "Lentils", "--force", "--progress-json")
    events = [json.loads(line) for line in out.splitlines()]
    for event in events:
        jsonschema.validate(event, json.loads(command("schema", "progress_event")[1]))
    assert [each["files_done"] for each in events[:-1]] == [1, 2, 3]
    assert (code, events[-1]["event"]) == (0, "done")
    assert "present" in command("status", "lentils")[1]
    write(folder, FILES | {"old.txt": b"old"}, revision=EARLIER)
    code, _, said = command("download", "lentils")
    assert (code, "old.txt" in said, "--prune-stale" in said) == (0, True, True)
    assert answer("dataset_status", "download", "lentils")[1]["datasets"][0]["stale_files"] == ["old.txt"]
    assert command("download", "lentils", "--prune-stale")[2] == ""
    (removed,) = answer("remove", "remove", "lentils")[1]["removed"]
    assert (removed["name"], removed["freed_bytes"] > 0) == ("Lentils", True)
    assert command("remove", "lentils")[:2] == (0, "Lentils: 0 bytes removed\n")
    write(folder, {"own.txt": b"mine"})
    (folder / ".cuvis-dataset.json").unlink()
    assert command("remove", "lentils")[0] == command("download", "lentils")[0] == 1
    assert command("download", "lentils", "--adopt")[0] == 0
    assert PublicDatasets.download_dataset("nothing", download_path=str(folder.parent)) is False


def test_people_read_a_line_for_each_of_them(command: Command, folder: Path) -> None:
    """Name, state, size and place; of all, or of those that are named."""
    write(folder)
    size = sum(map(len, FILES.values()))
    other = PublicDatasets.get_spec("blood-perfusion")
    code, out, said = command("status", "blood-perfusion", "lentils")
    assert (code, said) == (0, "")
    assert [line.split(maxsplit=4) for line in out.splitlines()] == [
        ["Lentils", "present", *shown_size(size).split(), str(folder)],
        [other.name, "absent", "-", str(folder.parent / other.target_dir)],
    ]
    assert len(command("status")[1].splitlines()) == len(PublicDatasets.list_specs())
    plain, verbose = command("list")[1], command("list", "--verbose")[1]
    assert len(plain.splitlines()) * 3 == len(verbose.splitlines())
    assert SPEC.repo_id not in plain


def test_who_removes_waits_for_another_program_and_says_so(
    command: Command, folder: Path, working_elsewhere: Callable[[Path], AbstractContextManager[None]]
) -> None:
    """On the standard error, once."""
    write(folder)
    with working_elsewhere(folder.parent):
        code, out, said = command("remove", "lentils", "--json")
    assert (code, said.count("Another program works in this folder")) == (0, 1)
    assert json.loads(out)["removed"][0]["name"] == "Lentils"


def test_what_can_be_removed_is_removed_and_told(command: Command, folder: Path) -> None:
    """Though another cannot be; a name that is given twice counts once."""
    write(folder)
    other = folder.parent / PublicDatasets.get_spec("blood-perfusion").target_dir
    other.mkdir()
    (other / "own.txt").write_bytes(b"mine")
    code, out, said = command("remove", "blood-perfusion", "lentils", "LENTILS", "--json")
    (row,) = json.loads(out)["removed"]
    assert (code, row["name"], row["freed_bytes"] > 0, folder.exists()) == (1, "Lentils", True, False)
    assert "Remove it by hand" in said
    assert (other / "own.txt").exists()


def test_a_name_that_is_given_twice_is_fetched_once(command: Command, hub: Hub) -> None:
    """However it is written."""
    assert command("download", "Lentils", "lentils", "--force")[0] == 0
    assert asked(hub) == sorted(FILES)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("download", "Lentlis"), "Did you mean 'Lentils'"),
        (("status", "Lentlis"), "Did you mean 'Lentils'"),
        (("remove", "lentils", "Lentlis"), "Did you mean 'Lentils'"),
        (("download",), "Missing argument"),
        (("download", "lentils", "--json", "--progress-json"), "not both"),
        (("schema", "nothing"), "dataset_list"),
    ],
)
def test_a_wrong_command_line_is_said(command: Command, arguments: tuple[str, ...], words: str) -> None:
    """Before anything is done."""
    code, _, said = command(*arguments)
    assert (code, words in said) == (2, True), said


def test_without_the_extra_it_is_named(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for all that is optional."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    code, _, said = command("download", "Lentils")
    assert (code, "cuvis-ai-core[hf]" in said, "Traceback" in said) == (1, True, False)
