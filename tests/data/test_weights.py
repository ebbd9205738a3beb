"""Weights of models: declared, fetched from a hub on loopback, carried and removed, on real files."""

import errno
import hashlib
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Event, Thread
from threading import enumerate as enumerate_threads
from typing import Any

import filelock
import pytest
from loopback_hub import COMMIT, Hub  # type: ignore[import-not-found]

from cuvis_ai_core.cli.downloads.command_parts import ForPeople
from cuvis_ai_core.data import model_weights
from cuvis_ai_core.data.downloads import fetched_weights, weights_export_and_import, weights_folder
from cuvis_ai_core.data.downloads.folder_lock import working_in
from cuvis_ai_core.data.downloads.hub import is_offline
from cuvis_ai_core.data.downloads.progress_events import ProgressEmitter
from cuvis_ai_core.data.downloads.weight_entries import entry_of
from cuvis_ai_core.data.downloads.weights_status import staging_of
from cuvis_ai_core.data.model_weights import (
    ModelDownloadError,
    ModelRegistryConflict,
    ModelWeights,
    ModelWeightsMissingError,
    RegisteredWeight,
    download_model_cli,
    index_json,
)
from cuvis_ai_core.errors import ManifestError

CONTENT, CONFIG = b"trained" * 100, b"{}"
FILES = {"small.pt": CONTENT, "cfg/c.json": CONFIG, "tall.pt": CONTENT}


def digest(content: bytes) -> str:
    """Return a hash."""
    return hashlib.sha256(content).hexdigest()


def entry(name: str = "small", **changed: Any) -> dict[str, Any]:
    """Return what a manifest says of weights."""
    row: dict[str, Any] = {
        "name": name,
        "display_name": name.title(),
        "used_for": ["Backbone"],
        "repo_id": "lab/Belt",
        "filename": f"{name}.pt",
        "revision": COMMIT,
        "sha256": digest(CONTENT),
        "size_bytes": len(CONTENT),
        "license": "MIT",
    }
    return row | changed


AUX = [{"path": "cfg/c.json", "size_bytes": 2, "sha256": digest(CONFIG)}]


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    """Have two weights known."""
    ModelWeights.reset()
    ModelWeights.register("belt", [entry(aliases=["tiny"], aux_files=AUX), entry("tall")])
    yield
    ModelWeights.reset()


@pytest.fixture
def hub(hub: Hub) -> Hub:
    """Serve their repository."""
    hub.files |= {f"models/lab/Belt/{name}": content for name, content in FILES.items()}
    return hub


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return a folder of weights in which nothing is yet."""
    return tmp_path / "hub"


def put(cache: Path, *names: str) -> None:
    """Put files of the repository where a download puts them."""
    for name in names:
        path = cache / "models--lab--Belt" / "snapshots" / COMMIT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(FILES[name])


def files(folder: Path) -> list[str]:
    """Return the files below a folder, without the lock."""
    found = (each.relative_to(folder).as_posix() for each in folder.rglob("*") if not each.is_dir())
    return sorted(each for each in found if each != ".cuvis-cache.lock")


HERE = [f"models--lab--Belt/snapshots/{COMMIT}/{name}" for name in ("cfg/c.json", "small.pt")]
MAIN = "models--lab--Belt/refs/main"


def test_weights_are_fetched_without_a_token(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what goes with them; nothing else is left, and the second time nobody is asked."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert ModelWeights.status("tiny", cache).state == "absent"
    path = ModelWeights.resolve("tiny", cache_dir=cache)
    assert path.read_bytes() == CONTENT
    assert files(cache) == [MAIN, *HERE]
    assert set(hub.tokens) == {None}
    hub.asked.clear()
    assert (
        ModelWeights.download("small", cache) == path == ModelWeights.resolve("small", download=False, cache_dir=cache)
    )
    assert hub.asked == []
    assert ModelWeights.status("small", cache, verify=True).sha256_ok


@pytest.mark.parametrize("name", ["small.pt", "cfg/c.json"])
def test_what_is_not_the_declared_file_is_not_kept(hub: Hub, cache: Path, name: str) -> None:
    """Also where it has the same size."""
    hub.files[f"models/lab/Belt/{name}"] = b"x" * len(FILES[name])
    with pytest.raises(ModelDownloadError, match="Nothing of it was kept"):
        ModelWeights.download("small", cache)
    assert files(cache) == []
    assert ModelWeights.status("small", cache).state == "absent"


def test_damaged_weights_are_fetched_anew(hub: Hub, cache: Path) -> None:
    """Those of another size by themselves, those of another content if asked."""
    put(cache, "small.pt", "cfg/c.json")
    path = ModelWeights.status("small", cache).path
    path.write_bytes(b"short")
    assert ModelWeights.status("small", cache).state == "damaged"
    ModelWeights.download("small", cache)
    assert path.read_bytes() == CONTENT
    path.write_bytes(b"x" * len(CONTENT))
    assert ModelWeights.status("small", cache).state == "present"
    assert ModelWeights.status("small", cache, verify=True).state == "damaged"
    ModelWeights.download("small", cache, force=True)
    assert path.read_bytes() == CONTENT


def test_why_nothing_can_be_fetched(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file or a repository that is not there, and no connection, are told apart in one line."""
    ModelWeights.register("belt", [entry("gone"), entry("other", repo_id="lab/Nowhere")])
    with pytest.raises(ModelDownloadError, match="the repository has no such file"):
        ModelWeights.download("gone", cache)
    with pytest.raises(ModelDownloadError, match="there is no such repository"):
        ModelWeights.download("other", cache)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelWeightsMissingError, match="download-model download small"):
        ModelWeights.resolve("small", cache_dir=cache)
    with pytest.raises(ModelDownloadError, match="no connection may be opened"):
        ModelWeights.download("small", cache)
    with pytest.raises(ModelDownloadError, match="Did you mean 'small'"):
        ModelWeights.download("smal", cache)


def test_a_repository_that_is_not_open_to_all(hub: Hub, cache: Path) -> None:
    """A token is spoken of only where one would be sent."""
    hub.gated.add("models/lab/Belt")
    with pytest.raises(
        ModelDownloadError, match=r"its owner lets in those alone[^\n]*\n.*No token is sent"
    ) as declared:
        ModelWeights.download("small", cache)
    assert "--token" not in str(declared.value)
    with pytest.raises(ModelDownloadError, match=r"its owner lets in those alone[^\n]*\n.*--token"):
        ModelWeights.download_model(repo_id="lab/Belt", filename="small.pt", cache_dir=cache)
    with pytest.raises(ModelDownloadError, match=r"there is no such repository[^\n]*\n.*--token"):
        ModelWeights.download_model(repo_id="lab/Nowhere", filename="small.pt", cache_dir=cache)


def test_any_file_of_a_repository(hub: Hub, cache: Path, tmp_path: Path) -> None:
    """With a token, copied to a place, and not kept where it is another than is asked for."""
    path = ModelWeights.download_model(
        repo_id="lab/Belt", filename="cfg/c.json", token="hf_mine", cache_dir=cache, out=tmp_path / "a" / "c.json"
    )
    assert path.read_bytes() == CONFIG
    assert "Bearer hf_mine" in hub.tokens
    with pytest.raises(ModelDownloadError, match="has another SHA-256"):
        ModelWeights.download_model(repo_id="lab/Belt", filename="cfg/c.json", sha256="0" * 64, cache_dir=cache)
    assert not [each for each in files(cache) if each.endswith("c.json")]
    with pytest.raises(ModelDownloadError, match="Give the name of weights"):
        ModelWeights.download_model("small", repo_id="lab/Belt")


def test_a_file_of_a_revision_is_the_one_that_loaders_find(hub: Hub, cache: Path, tmp_path: Path) -> None:
    """Without asking for a revision, and without a connection; a hash is compared in any case."""
    path = ModelWeights.download_model(
        repo_id="lab/Belt",
        filename="cfg/c.json",
        revision=COMMIT,
        sha256=digest(CONFIG).upper(),
        cache_dir=cache,
        out=tmp_path,
    )
    assert (path, path.read_bytes()) == (tmp_path / "c.json", CONFIG)
    assert (cache / MAIN).read_text() == COMMIT


def test_weights_where_a_loader_reads_them(cache: Path, tmp_path: Path) -> None:
    """In its folder, in none other, and a file that is there is left alone."""
    put(cache, "small.pt", "cfg/c.json")
    place = ModelWeights.materialize("small", tmp_path / "own", cache_dir=cache)
    assert (place, place.read_bytes()) == (tmp_path / "own" / "small.pt", CONTENT)
    assert ModelWeights.materialize("small", tmp_path / "own", filename="a/b.pt", cache_dir=cache).is_file()
    kept = tmp_path / "own" / "kept.pt"
    kept.write_bytes(b"mine")
    ModelWeights.materialize("small", tmp_path / "own", filename="kept.pt", cache_dir=cache)
    assert kept.read_bytes() == b"mine"
    for name in ("../x.pt", "/tmp/x.pt", "a\\..\\..\\x", ""):
        with pytest.raises(ModelDownloadError, match="is no name of a file"):
            ModelWeights.materialize("small", tmp_path / "own", filename=name, cache_dir=cache)


def test_weights_are_carried(cache: Path, tmp_path: Path) -> None:
    """To a folder that is one of weights itself, more than once, and from there to another machine."""
    put(cache, "small.pt", "cfg/c.json")
    carried, there = tmp_path / "carried", tmp_path / "there"
    rows = {row["name"]: row["exported"] for row in ModelWeights.export_to(carried, None, cache)}
    assert (rows["small"], rows["tall"]) == (True, False)
    put(cache, "tall.pt")
    ModelWeights.export_to(carried, ["tall"], cache)
    assert ModelWeights.status("small", carried, verify=True).state == "present"
    listed = json.loads((carried / "cuvis-model-weights.json").read_text())["models"]
    assert [row["name"] for row in listed] == ["small", "tall"]
    taken = ModelWeights.import_from(carried, ["tiny"], there)
    assert [(row["name"], row["imported"]) for row in taken] == [("small", True)]
    assert files(there) == [MAIN, *HERE]
    taken = ModelWeights.import_from(carried, None, there)
    assert [(row["name"], row.get("reason")) for row in taken] == [("small", "present"), ("tall", None)]


@pytest.mark.parametrize("fault", ["content", "size", "gone", "pipe", "aux"])
def test_a_carried_folder_of_a_stranger_changes_nothing(cache: Path, tmp_path: Path, fault: str) -> None:
    """A file that is not the declared one: none is taken in, also none that is right."""
    put(cache, *FILES)
    carried, there = tmp_path / "carried", tmp_path / "there"
    ModelWeights.export_to(carried, ["small", "tall"], cache)
    file = ModelWeights.status("tall", carried).path
    if fault == "aux":
        (file.parent / "cfg" / "c.json").write_bytes(b"[]")
    elif fault in {"content", "size"}:
        file.write_bytes(b"x" * len(CONTENT) if fault == "content" else CONTENT + b"x")
    else:
        file.unlink()
        if fault == "pipe":
            os.mkfifo(file)
    with pytest.raises(ModelDownloadError, match=r"weights '(tall|small)'"):
        ModelWeights.import_from(carried, None, there)
    assert files(there) == []


@pytest.mark.parametrize("name", ["small", "tiny"])
def test_what_to_do_about_absent_weights_names_those_alone(name: str, tmp_path: Path) -> None:
    """By their name or by another one of theirs: where they would lie, whose file they are, and how to fetch them."""
    found = ModelWeights.missing_guidance(name, tmp_path)
    assert found.startswith(f"The weights '{name}' (")
    assert found.count("lab/Belt") == 1
    assert f"are not in {tmp_path}" in found
    assert f"download-model download {name};" in found


@pytest.mark.parametrize("size", [1, len(CONTENT) - 1, 3 << 20])
def test_no_more_is_read_of_a_file_than_it_may_have(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """A byte more tells that it is another one; the file of a stranger may have no end."""
    put(cache, "tall.pt")
    carried = tmp_path / "carried"
    ModelWeights.export_to(carried, ["tall"], cache)
    path = ModelWeights.status("tall", carried).path
    path.unlink()
    path.write_bytes(b"x" * (3 << 20))
    ModelWeights.reset()
    ModelWeights.register("belt", [entry("tall", size_bytes=size)])
    read: list[int] = []
    from cuvis_ai_core._untrusted_files import open_file

    class Counted:
        def __init__(self, stream: Any) -> None:
            self.stream = stream

        def read(self, count: int) -> bytes:
            piece: bytes = self.stream.read(count)
            read.append(len(piece))
            return piece

    @contextmanager
    def counting(source: Path) -> Iterator[Any]:
        with open_file(source) as stream:
            yield Counted(stream)

    monkeypatch.setattr(weights_export_and_import, "open_file", counting)
    with pytest.raises(ModelDownloadError, match=r"it has another (size|SHA-256)"):
        ModelWeights.import_from(carried, None, tmp_path / "there")
    assert sum(read) == min(size + 1, 3 << 20)


def test_a_list_of_a_stranger_names_nothing_else(cache: Path, tmp_path: Path) -> None:
    """What its rows say of files does not count, and what is no list is said."""
    put(cache, "tall.pt")
    carried, there = tmp_path / "carried", tmp_path / "there"
    ModelWeights.export_to(carried, ["tall"], cache)
    rows = [{"name": "tall", "filename": "../../../evil", "revision": "../.."}, {"name": "../evil\x1b"}]
    (carried / "cuvis-model-weights.json").write_text(json.dumps({"models": rows}))
    taken = ModelWeights.import_from(carried, None, there)
    assert [(row["name"], row.get("reason")) for row in taken] == [("tall", None), ("../evil\\x1b", "unknown model")]
    assert files(there) == [MAIN, f"models--lab--Belt/snapshots/{COMMIT}/tall.pt"]
    for text in ("[]", "nope", '{"models": 3}'):
        (carried / "cuvis-model-weights.json").write_text(text)
        with pytest.raises(ModelDownloadError, match="is no list of exported weights"):
            ModelWeights.import_from(carried, None, there)
    with pytest.raises(ModelDownloadError, match="is no folder of exported weights"):
        ModelWeights.import_from(tmp_path, None, there)


def test_how_far_a_copy_is_is_told(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each so many bytes, but for the last; then that it is compared, and where it is."""
    told: list[tuple[object, ...]] = []

    class Told(ProgressEmitter):
        def progress(self, *row: object) -> None:
            told.append(row)

        def verifying(self, name: str) -> None:
            told.append((name,))

        def done(self, name: str, path: Path | str) -> None:
            told.append((name, path))

    put(cache, "tall.pt")
    monkeypatch.setattr(weights_export_and_import, "_PIECE", 5)
    ModelWeights.export_to(tmp_path / "carried", ["tall"], cache, progress=Told())
    assert told == [
        ("tall", 320, 700, 45.7),
        ("tall", 640, 700, 91.4),
        ("tall",),
        ("tall", ModelWeights.status("tall", tmp_path / "carried").path),
    ]
    told.clear()
    ModelWeights.import_from(tmp_path / "carried", None, tmp_path / "there", progress=Told())
    assert told[-1] == ("tall", ModelWeights.status("tall", tmp_path / "there").path)


@pytest.mark.parametrize(("count", "fits"), [(10_000, True), (10_001, False)])
def test_a_list_of_a_stranger_has_an_end(cache: Path, tmp_path: Path, count: int, *, fits: bool) -> None:
    """However many rows it has."""
    (tmp_path / "cuvis-model-weights.json").write_text(json.dumps({"models": [{"name": "x"}] * count}))
    if fits:
        assert len(ModelWeights.import_from(tmp_path, None, cache)) == count
        return
    with pytest.raises(ModelDownloadError, match="is no list of exported weights"):
        ModelWeights.import_from(tmp_path, None, cache)


def test_an_import_that_was_ended_leaves_nothing(cache: Path, tmp_path: Path) -> None:
    """The next one removes what it had begun; a link in its place is not followed."""
    put(cache, "tall.pt")
    ModelWeights.export_to(tmp_path / "carried", ["tall"], cache)
    (cache / ".import-dead").mkdir()
    (cache / ".import-dead" / "half.pt").write_bytes(b"half")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "kept").write_bytes(b"mine")
    (cache / ".import-link").symlink_to(tmp_path / "own")
    ModelWeights.import_from(tmp_path / "carried", None, cache)
    assert not list(cache.glob(".import-*"))
    assert (tmp_path / "own" / "kept").read_bytes() == b"mine"


@pytest.mark.skipif(sys.platform == "win32", reason="rights of POSIX")
def test_what_is_being_taken_in_is_for_nobody_else_to_read(cache: Path, tmp_path: Path) -> None:
    """The folder with it lies beside the weights, where others of the machine may look."""
    put(cache, "small.pt", "cfg/c.json")
    ModelWeights.export_to(tmp_path / "carried", ["small"], cache)
    there, seen = tmp_path / "there", set[str]()

    class Looking(ProgressEmitter):
        def done(self, name: str, path: Path | str) -> None:
            seen.update(f"{name} {each.stat().st_mode:o}" for each in there.glob(".import-*"))

    before = os.umask(0)
    try:
        ModelWeights.import_from(tmp_path / "carried", None, there, progress=Looking(enabled=False))
    finally:
        os.umask(before)
    assert seen == {"small 40700"}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_imports_at_once_and_imports_that_are_killed_end_in_whole_weights(cache: Path, tmp_path: Path) -> None:
    """One program takes them in while the others wait; after a kill they are absent or whole, and can be had again."""
    content = bytes(20_000_000)
    ModelWeights.reset()
    row = entry("large", sha256=digest(content), size_bytes=len(content))
    ModelWeights.register("belt", [row])
    source = tmp_path / "source" / "models--lab--Belt" / "snapshots" / COMMIT / "large.pt"
    source.parent.mkdir(parents=True)
    source.write_bytes(content)
    ModelWeights.export_to(tmp_path / "carried", None, tmp_path / "source")
    (tmp_path / "belt.yaml").write_text(f"name: belt\nweights: {json.dumps([row])}\n")
    program = "from cuvis_ai_core.data.model_weights import download_model_cli; download_model_cli()"

    def begin(folder: Path) -> subprocess.Popen[bytes]:
        places = ("--cache-dir", str(folder), "--plugins-dir", str(tmp_path), str(tmp_path / "carried"))
        return subprocess.Popen([sys.executable, "-c", program, "import", *places], stdout=subprocess.DEVNULL)

    together = [begin(cache) for _ in range(4)]
    assert [each.wait(120) for each in together] == [0] * 4
    assert ModelWeights.status("large", cache, verify=True).state == "present"
    for number in range(6):
        folder = tmp_path / f"killed {number}"
        killed = begin(folder)
        until = time.monotonic() + 60
        while not list(folder.glob(".import-*/*")) and killed.poll() is None and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(number * 0.005)
        killed.kill()
        killed.wait(60)
        assert ModelWeights.status("large", folder, verify=True).state in {"absent", "present"}
        ModelWeights.import_from(tmp_path / "carried", None, folder)
        assert ModelWeights.status("large", folder, verify=True).state == "present"
        assert not list(folder.glob(".import-*/*"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cfg/c.json", "small.pt"])
def test_a_download_that_is_killed_leaves_no_half(hub: Hub, cache: Path, tmp_path: Path, name: str) -> None:
    """Nor a lock, nor what the next one stumbles over; and it goes on."""
    (tmp_path / "belt.yaml").write_text(f"name: belt\nweights: {json.dumps([entry(aux_files=AUX)])}\n")
    program = "from cuvis_ai_core.data.model_weights import download_model_cli; download_model_cli()"
    places = ("--cache-dir", str(cache), "--plugins-dir", str(tmp_path))
    hub.held.add(f"models/lab/Belt/{name}")
    killed = subprocess.Popen([sys.executable, "-c", program, "download", "small", *places], stderr=subprocess.DEVNULL)
    try:
        assert hub.halfway.wait(120)
    finally:
        killed.kill()
        killed.wait(60)
    hub.go_on.set()
    assert ModelWeights.status("small", cache).state in {"absent", "partial"}
    assert not list(cache.glob("models--*"))
    assert ModelWeights.resolve("small", cache_dir=cache).read_bytes() == CONTENT
    assert files(cache) == [MAIN, *HERE]


@pytest.mark.parametrize("done", [0, 1])
def test_files_that_are_put_come_after_what_goes_with_them(
    hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch, done: int
) -> None:
    """Whoever is ended between them leaves weights that are not there, or that are still known as damaged."""
    moves = iter([weights_folder._move] * done)

    def end(staged: Path, place: Path) -> None:
        if (move := next(moves, None)) is None:
            raise KeyboardInterrupt
        move(staged, place)

    with monkeypatch.context() as patched:
        patched.setattr(weights_folder, "_move", end)
        with pytest.raises(KeyboardInterrupt):
            ModelWeights.download("small", cache)
    assert ModelWeights.status("small", cache).state == "absent"
    ModelWeights.download("small", cache)
    assert files(cache) == [MAIN, *HERE]


def test_weights_whose_repository_is_on_another_disk(hub: Hub, cache: Path, tmp_path: Path) -> None:
    """Where a file cannot be moved, it is copied, and is there at once."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one disk")
    with tempfile.TemporaryDirectory(dir=memory, prefix="disk-") as folder:  # tests of shared memory see it
        cache.mkdir()
        (cache / "models--lab--Belt").symlink_to(folder)
        ModelWeights.download("small", cache)
        assert ModelWeights.status("small", cache, verify=True).state == "present"
        assert files(Path(folder)) == ["refs/main", *(each.partition("/")[2] for each in HERE)]
        assert not (cache / ".cuvis-fetching").exists()


@pytest.mark.parametrize(
    ("error", "is_of_disk"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (PermissionError(errno.EACCES, "Permission denied"), True),
        (FileExistsError(errno.EEXIST, "File exists"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), False),
        (socket.gaierror(errno.ENOENT, "a number that files have too"), False),
        (ssl.SSLError(1, "wrong version number"), False),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), False),
        (OSError(errno.EHOSTUNREACH, "No route to host"), False),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), False),
        (TimeoutError(errno.ETIMEDOUT, "timed out"), False),
        (OSError("an error of a library"), False),
    ],
)
def test_an_error_is_of_the_disk_or_of_the_network(
    cache: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, error: OSError, *, is_of_disk: bool
) -> None:
    """The next step is to look at the one that it is of."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    looked_at = "the folder and the room on its disk" if is_of_disk else "the connection"
    with pytest.raises(ModelDownloadError, match=f"\nLook at {looked_at}"):
        ModelWeights.download("small", cache)


def test_nobody_looks_how_far_it_is_for_people_who_are_not_told(
    cache: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is told is looked for: events, and emitters of others."""
    begun: list[object] = []

    class Noted(Thread):
        def start(self) -> None:
            begun.append(self)
            super().start()

    class OfOthers(ForPeople):
        def progress(self, *_: object) -> None:
            """Count it."""

    monkeypatch.setattr(fetched_weights, "Thread", Noted)
    ModelWeights.download("small", cache, force=True, progress=ForPeople())
    assert begun == []
    for told in (ProgressEmitter(), OfOthers()):
        ModelWeights.download("small", cache, force=True, progress=told)
        assert begun
        begun.clear()


def test_what_has_come_of_a_file_is_told_meanwhile(cache: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """How much, of how much, and the share; never more than all of it."""
    rows: list[tuple[object, ...]] = []
    heard = Event()

    class Heard(ProgressEmitter):
        def progress(self, *row: object) -> None:
            rows.append(row)
            heard.set()

    def slow(repo_id: str, path: str, *, local_dir: str, **_: object) -> None:
        part = Path(local_dir, ".cache", f"x.{digest(FILES[path])}.incomplete")
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(b"x" * (350 if path == "small.pt" else 5))
        heard.clear()
        assert heard.wait(30)
        place = Path(local_dir, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(FILES[path])

    monkeypatch.setattr(fetched_weights, "_BETWEEN", 0.01)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", slow)
    ModelWeights.download("small", cache, progress=Heard())
    assert set(rows) == {("small", 5, 2, 100.0), ("small", 350, 700, 50.0)}
    assert not [each for each in enumerate_threads() if "tell" in each.name]
    assert files(cache) == [MAIN, *HERE]


@pytest.mark.parametrize(
    ("parts", "came"),
    [
        ({}, None),
        ({"a/x.SHA.incomplete": 5}, 5),
        ({"a/SHA.incomplete": 5, "b/c/y.SHA.z.incomplete": 9}, 9),
        ({"SHA": 5, "other.incomplete": 7, "SHA.part": 3}, None),
    ],
)
@pytest.mark.parametrize("where", ["staging", "blobs"])
def test_what_came_in_part_is_known(cache: Path, parts: dict[str, int], came: int | None, where: str) -> None:
    """Of this program, or of the library; the largest part counts, and none once the file is there."""
    weight = ModelWeights.get("tall")
    folder = staging_of(weight, cache) if where == "staging" else cache / "models--lab--Belt" / "blobs"
    for name, size in parts.items():
        path = folder / name.replace("SHA", weight.entry.sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    found = ModelWeights.status("tall", cache)
    assert (found.partial_bytes, found.state) == (came, "absent" if came is None else "partial")
    put(cache, "tall.pt")
    assert ModelWeights.status("tall", cache).partial_bytes is None


@pytest.mark.parametrize(
    ("damage", "size_ok", "sha256_ok", "aux_ok", "state"),
    [
        ("", True, True, True, "present"),
        ("small.pt", False, None, True, "damaged"),
        ("cfg/c.json", True, None, False, "damaged"),
        ("content", True, False, True, "damaged"),
        ("content of cfg/c.json", True, False, True, "damaged"),
    ],
)
def test_what_is_known_of_weights_that_are_there(
    cache: Path, damage: str, state: str, *, size_ok: bool, sha256_ok: bool | None, aux_ok: bool
) -> None:
    """Sizes first: a file of another size is another one, whatever its hash, and is not read for it."""
    put(cache, "small.pt", "cfg/c.json")
    folder = ModelWeights.status("small", cache).path.parent
    if damage in FILES:
        (folder / damage).write_bytes(b"short one")
    elif damage:
        name = damage.partition(" of ")[2] or "small.pt"
        (folder / name).write_bytes(b"x" * len(FILES[name]))
    found = ModelWeights.status("small", cache, verify=True)
    assert (found.size_ok, found.sha256_ok, found.aux_ok, found.state) == (size_ok, sha256_ok, aux_ok, state)
    assert ModelWeights.status("small", cache).sha256_ok is None
    assert ModelWeights.status("tall", cache, verify=True).aux_ok is None


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"HF_HUB_CACHE": "/a", "HUGGINGFACE_HUB_CACHE": "/b", "HF_HOME": "/c"}, "/a"),
        ({"HUGGINGFACE_HUB_CACHE": "/b", "HF_HOME": "/c", "XDG_CACHE_HOME": "/d"}, "/b"),
        ({"HF_HOME": "/c", "XDG_CACHE_HOME": "/d"}, "/c/hub"),
        ({"XDG_CACHE_HOME": "/d"}, "/d/huggingface/hub"),
        ({"HF_HUB_CACHE": "", "HF_HOME": "~/c"}, "/home/me/c/hub"),
        ({}, "/home/me/.cache/huggingface/hub"),
    ],
)
def test_the_folder_that_programs_share(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], folder: str
) -> None:
    """By the variables of the hub's library, in its order."""
    monkeypatch.setenv("HOME", "/home/me")
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ModelWeights.default_cache_dir() == Path(folder)
    assert ModelWeights.resolve_cache_dir(None) == Path(folder)
    assert ModelWeights.resolve_cache_dir("~/x") == Path("/home/me/x")


def test_what_was_staged_goes_with_weights_that_are_removed(cache: Path) -> None:
    """And counts; the file of others that are not there, or are of another revision, keeps nothing."""
    ModelWeights.reset()
    other = entry("other", filename="tall.pt", revision="f" * 40)
    ModelWeights.register("belt", [entry(aux_files=AUX), entry("tall", aux_files=AUX), other])
    put(cache, "small.pt", "cfg/c.json")
    staged = staging_of(ModelWeights.get("small"), cache) / "part"
    staged.parent.mkdir(parents=True)
    staged.write_bytes(bytes(9))
    assert ModelWeights.remove("small", cache) == len(CONTENT) + 2 + 9
    assert files(cache) == []
    assert not (cache / "models--lab--Belt").exists()


def test_of_two_manifests_of_one_plugin_both_are_named(tmp_path: Path) -> None:
    """A manifest without weights is no second one, and one without a name is called as its file."""
    (tmp_path / "a.yaml").write_text(f"name: belt\nweights: [{json.dumps(entry('new'))}]\n")
    (tmp_path / "b.yaml").write_text("name: belt\n")
    (tmp_path / "c.yaml").write_text("[1]")
    (tmp_path / "lab.yaml").write_text(f"weights: [{json.dumps(entry('odd'))}]\n")
    assert ModelWeights.load_manifests([tmp_path]) == 2
    assert [ModelWeights.get(name).plugin for name in ("new", "odd")] == ["belt", "lab"]
    assert ModelWeights.load_manifests([tmp_path]) == 0
    (tmp_path / "d.yaml").write_text(f"name: belt\nweights: [{json.dumps(entry('newer'))}]\n")
    with pytest.raises(ModelRegistryConflict, match=r"d\.yaml: there are two manifests of .*'belt', also .*b\.yaml"):
        ModelWeights.load_manifests([tmp_path])
    assert "newer" not in ModelWeights.names()
    for text, key in (("name: 3\nweights: []", "name"), ("name: ''\nweights: []", "name"), ("weights: 3", "weights")):
        (tmp_path / "d.yaml").write_text(text)
        with pytest.raises(ManifestError, match=rf"d\.yaml: '{key}' is a") as error:
            ModelWeights.load_manifests([tmp_path])
        assert error.value.key == key
    (tmp_path / "d.yaml").write_text("a: [")
    with pytest.raises(ManifestError, match=r"d\.yaml: it cannot be read"):
        ModelWeights.load_manifests([tmp_path])


@pytest.mark.parametrize(
    ("manifest_first", "revision", "mismatch"), [(True, "f" * 40, True), (False, "f" * 40, True), (True, COMMIT, False)]
)
def test_a_plugin_goes_before_its_manifest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, manifest_first: bool, revision: str, mismatch: bool
) -> None:
    """Whichever comes first; that they mean two revisions is kept, and said once."""
    ModelWeights.reset()
    (tmp_path / "belt.yaml").write_text(f"name: belt\nweights: [{json.dumps(entry(revision=revision))}]\n")
    steps: list[Callable[[], object]] = [
        lambda: ModelWeights.load_manifests([tmp_path]),
        lambda: ModelWeights.register("belt", [entry()]),
    ]
    for step in (steps if manifest_first else steps[::-1]) * 2:
        step()
    found = ModelWeights.get("small")
    assert (found.source, found.pin_mismatch, found.entry.revision) == ("plugin", mismatch, COMMIT)
    assert caplog.text.count("mean two revisions") == mismatch


def test_weights_are_removed(cache: Path) -> None:
    """Their own files; what others need stays, and folders that are empty go."""
    ModelWeights.reset()
    ModelWeights.register("belt", [entry(aux_files=AUX), entry("tall", aux_files=AUX)])
    put(cache, *FILES)
    assert ModelWeights.remove("small", cache) == len(CONTENT)
    assert ModelWeights.status("tall", cache).state == "present"
    assert ModelWeights.remove("small", cache) == 0
    assert ModelWeights.remove("tall", cache) == len(CONTENT) + 2
    assert files(cache) == []


def test_weights_that_the_library_has_put_are_removed_with_their_content(cache: Path, tmp_path: Path) -> None:
    """A link to what else leads to stays, and what lies elsewhere is not touched."""
    put(cache, "tall.pt")
    snapshot = cache / "models--lab--Belt" / "snapshots" / COMMIT
    blobs = cache / "models--lab--Belt" / "blobs"
    blobs.mkdir()
    (snapshot / "tall.pt").rename(blobs / "b")
    (snapshot / "tall.pt").symlink_to(blobs / "b")
    (snapshot / "other.pt").symlink_to(blobs / "b")
    assert ModelWeights.remove("tall", cache) == 0
    (snapshot / "tall.pt").symlink_to(blobs / "b")
    (snapshot / "other.pt").unlink()
    assert ModelWeights.remove("tall", cache) == len(CONTENT)
    own = tmp_path / "own.pt"
    own.write_bytes(CONTENT)
    snapshot.mkdir(parents=True)
    (snapshot / "tall.pt").symlink_to(own)
    assert ModelWeights.remove("tall", cache) == 0
    assert own.is_file()


def test_a_folder_of_weights_is_removed(cache: Path, tmp_path: Path) -> None:
    """One of a repository alone, and no link."""
    put(cache, "tall.pt")
    (tmp_path / "own").mkdir()
    (cache / "models--link").symlink_to(tmp_path / "own")
    for name in ("../own", "models--lab--Belt/snapshots", "models--..", "", ".locks", "models--x--y", "models--link"):
        with pytest.raises(ModelDownloadError):
            ModelWeights.remove_dir(name, cache)
    assert (tmp_path / "own").is_dir()
    assert ModelWeights.remove_dir("models--lab--Belt", cache) == len(CONTENT)
    assert files(cache) == []


def test_a_plugin_declares_its_weights(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """All or none, before its manifest, and no name twice."""
    for wrong in (
        [entry("new"), entry(revision="f" * 40)],
        [entry("new"), entry("other", aliases=["tall"])],
        [entry("new"), entry("tiny")],
        [entry("new"), entry("x y")],
    ):
        with pytest.raises(ModelRegistryConflict):
            ModelWeights.register("belt", wrong)
        assert "new" not in ModelWeights.names()
    row = json.dumps(entry("tall", revision="f" * 40))
    (tmp_path / "belt.yaml").write_text(f"name: belt\nweights: [{row}]\n")
    assert ModelWeights.load_manifests([tmp_path]) == 0
    tall = ModelWeights.get("tall")
    assert (tall.source, tall.pin_mismatch, tall.entry.revision) == ("plugin", True, COMMIT)
    assert "mean two revisions" in caplog.text
    schemas = pytest.importorskip("cuvis_ai_schemas.plugin")
    if hasattr(schemas, "PluginWeightEntry"):
        declared = schemas.PluginWeightEntry(**entry("wide", aux_files=AUX, aliases=["broad"]))
        ModelWeights.register("belt", [declared])
        known = ModelWeights.get("wide").entry
        assert ModelWeights.get("wide").total_bytes == len(CONTENT) + len(CONFIG)
        assert known == declared
        assert declared == known
        assert {known: 1}[entry_of(declared)] == 1
        for other in (declared.model_copy(update={"license": "BSD"}), declared.model_copy(update={"name": "a b"}), 3):
            assert known != other


def test_the_index_of_weights(tmp_path: Path) -> None:
    """Lists what manifests name, sorted, beside the published pipelines; of one name twice nothing is kept."""
    ModelWeights.reset()
    own = ModelWeights.names()
    rows = json.dumps([entry(aux_files=AUX), entry("big", selected_by="size"), entry("any", used_for=["Belts"])])
    (tmp_path / "a.yaml").write_text(f"name: a\nweights: {rows}\n")
    assert ModelWeights.load_manifests([tmp_path]) == 3
    payload = ModelWeights.list_payload()
    assert json.loads(index_json(payload)) == payload
    assert payload["used_for_labels"][-1] == "Belts"
    found = {row["name"]: row for row in payload["models"]}
    assert list(found) == sorted([*own, "small", "big", "any"])
    assert (found["small"]["total_bytes"], found["small"]["cache_dir_name"]) == (702, "models--lab--Belt")
    assert (found["small"]["plugin_default"], found["big"]["plugin_default"]) == (True, False)
    (tmp_path / "b.yaml").write_text(f"name: b\nweights: [{json.dumps(entry())}]\n")
    ModelWeights.reset()
    with pytest.raises(ManifestError, match="'small' are named twice"):
        ModelWeights.load_manifests([tmp_path])
    assert ModelWeights.names() == own


@pytest.mark.parametrize(
    "changed",
    [
        *({"name": "a\x1b]52;c;x\a"}, {"filename": "../../etc/passwd"}, {"filename": "/etc/passwd"}, {"name": ["a"]}),
        *({"filename": "b\\..\\..\\c"}, {"filename": "C:c"}, {"revision": ".."}, {"repo_id": "../a"}, {"repo_id": 5}),
        *({"aux_files": [{"path": "../b"}]}, {"aux_files": 3}, {"aliases": [["b"]]}, {"used_for": [5]}),
        *({"size_bytes": 10**30}, {"size_bytes": True}, {"sha256": "x"}, {"license": ""}, {"display_name": "a\nb"}),
    ],
)
def test_weights_of_a_stranger_are_files_of_their_repository(tmp_path: Path, changed: dict[str, Any]) -> None:
    """They name nothing elsewhere, steer no terminal, and end no program."""
    (tmp_path / "x.yaml").write_text(f"weights: [{json.dumps(entry() | {'name': 'new'} | changed)}]\n")
    with pytest.raises(ManifestError, match=f"'{next(iter(changed))}'|'path'"):
        ModelWeights.load_manifests([tmp_path])


@pytest.mark.parametrize(
    ("key", "fits", "refused"),
    [
        ("name", ["a", "A9_.-"], ["", "-a", ".a", "a b", "a\n"]),
        ("display_name", ["a b", "ü"], ["", "a\tb", 3]),
        ("summary", ["", "a b"], ["a\nb", ["a"]]),
        ("used_for", [[], ["a"], ("a", "b")], ["a", [""], {"a": 1}]),
        ("kind", ["weights", "trained_pipeline"], ["other", ""]),
        ("repo_id", ["a/b", "A-1/b.c"], ["a", "a/b/c", "/a", "a/", "-a/b"]),
        ("filename", ["a", "a/b.pt"], ["", "/a", "a/../b", "a//b", "./a"]),
        ("revision", ["0f" * 20], ["0F" * 20, "0" * 39, "0" * 41, "0" * 40 + "\n"]),
        ("sha256", ["0f" * 32], ["0F" * 32, "0" * 63, "0" * 65]),
        ("size_bytes", [1, 2**63 - 1], [0, -1, 2**63, 1.0, True]),
        ("aux_files", [[], AUX], ["a", ["a"], [3]]),
        ("license", ["MIT"], ["", 3]),
        ("license_file", ["LICENSE", None], ["../LICENSE", ""]),
        ("aliases", [[], ["a"]], ["a", ["a b"]]),
        ("selected_by", ["size", None], ["", "a\n"]),
        ("default", [True, False], [1, "yes"]),
        ("explicit_path_hparams", [["a"]], ["a", [""]]),
        ("description", ["", "a"], ["a\nb"]),
    ],
)
def test_what_may_be_declared(key: str, fits: list[Any], refused: list[Any]) -> None:
    """Each field has a rule, which the error names with the weights; a list becomes one that nobody changes."""
    for value in fits:
        found = getattr(entry_of(entry(**{key: value})), key)
        if key != "aux_files":
            assert found == (tuple(value) if isinstance(value, list) else value)
    for value in refused:
        with pytest.raises(ValueError, match=rf"^weights.*'{key}' (is|of its)|is a mapping|'{key}' is missing"):
            entry_of(entry(**{key: value}))


@pytest.mark.parametrize("key", ["path", "size_bytes", "sha256"])
def test_what_goes_with_weights_keeps_the_same_rules(key: str) -> None:
    """And needs all of them."""
    for changed in ({**AUX[0], key: None}, {each: value for each, value in AUX[0].items() if each != key}):
        with pytest.raises(ValueError, match=rf"^weights 'small': '{key}' of its 'aux_files' is"):
            entry_of(entry(aux_files=[changed]))


@pytest.mark.parametrize(
    ("changed", "needed"),
    [
        ({}, True),
        ({"selected_by": "size"}, False),
        ({"selected_by": "size", "default": True}, True),
        ({"kind": "trained_pipeline"}, False),
        ({"kind": "trained_pipeline", "default": True}, False),
    ],
)
def test_weights_that_a_node_without_parameters_needs(changed: dict[str, Any], *, needed: bool) -> None:
    """Those that nothing selects, or that are selected by default; their files are told, their own last."""
    ModelWeights.register("belt", [entry("new", aux_files=AUX, **changed)])
    found = ModelWeights.get("new")
    assert found.plugin_default == needed
    assert [each.path for each in found.files] == ["cfg/c.json", "new.pt"]
    row = found.to_json_dict()
    assert (row["plugin_default"], row["total_bytes"], row["family"], row["aux_files"]) == (needed, 702, "Belt", AUX)


def test_events_are_lines_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Each at once; where nobody hears them there are none."""
    for told in (ProgressEmitter(enabled=False), ProgressEmitter()):
        told.waiting()
        told.progress("n", 1, 3, 33.3)
        told.files_progress("n", 1, 3)
        told.files_progress("n", 0, None)
        told.verifying("n")
        told.done("n", Path("/x"))
        told.error("n", "ü")
    parts = {"name": "n", "bytes_done": None, "bytes_total": None}
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"event": "waiting"},
        {"event": "progress", "name": "n", "bytes_done": 1, "bytes_total": 3, "pct": 33.3},
        {"event": "progress", **parts, "files_done": 1, "files_total": 3, "pct": 33.3},
        {"event": "progress", **parts, "files_done": 0, "files_total": None, "pct": None},
        {"event": "verifying", "name": "n"},
        {"event": "done", "name": "n", "path": "/x"},
        {"event": "error", "name": "n", "message": "ü"},
    ]


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "CUVIS_OFFLINE"])
@pytest.mark.parametrize(
    ("value", "offline"),
    [("", False), ("0", False), (" False ", False), ("no", False), ("OFF", False), ("1", True), ("yes", True)],
)
def test_when_no_connection_may_be_opened(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, *, offline: bool
) -> None:
    """By one variable or the other, as people write them."""
    for each in ("HF_HUB_OFFLINE", "CUVIS_OFFLINE"):
        monkeypatch.delenv(each, raising=False)
    assert not is_offline()
    monkeypatch.setenv(name, value)
    assert is_offline() == offline


@pytest.fixture
def command(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs `download-model`, and returns its status and what it said."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    rows = json.dumps([entry(aliases=["tiny"], aux_files=AUX), entry("tall")])
    (folder / "belt.yaml").write_text(f"name: belt\nweights: {rows}\n")

    def run(*arguments: str) -> tuple[int, str, str]:
        more = () if arguments[0] == "schema" else ("--plugins-dir", str(folder))
        place = () if arguments[0] in {"list", "schema"} else ("--cache-dir", str(cache))
        monkeypatch.setattr(sys, "argv", ["download-model", *arguments, *more, *place])
        with pytest.raises(SystemExit) as ended:
            download_model_cli()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_the_command_says_what_it_did(
    command: Callable[..., tuple[int, str, str]], hub: Hub, tmp_path: Path, cache: Path
) -> None:
    """For people and, as its schemas say, for programs."""
    jsonschema = pytest.importorskip("jsonschema")

    def answer(schema: str, *arguments: str) -> Any:
        code, out, _ = command(*arguments, "--json")
        jsonschema.validate(found := json.loads(out), json.loads(command("schema", schema)[1]))
        return code, found

    assert "lab/Belt/small.pt" in command("list")[1]
    answer("model_list", "list")
    hub.files.pop("models/lab/Belt/tall.pt")
    code, found = answer("status", "download", "small", "tall")
    assert (code, [row["downloaded"] for row in found["models"]]) == (1, [True, False])
    code, out, _ = command("download", "tiny", "--force", "--progress-json")
    events = [json.loads(line) for line in out.splitlines()]
    for event in events:
        jsonschema.validate(event, json.loads(command("schema", "progress_event")[1]))
    assert (code, events[-1]["event"]) == (0, "done")
    assert "present" in command("status", "small")[1]
    assert answer("export", "export", "small", "--to", str(tmp_path / "out"))[0] == 0
    assert command("export", "tall", "--to", str(tmp_path / "out"))[0] == 1
    assert answer("remove", "remove", "small")[1]["removed"] == [{"name": "small", "freed_bytes": 702}]
    assert answer("status", "import", str(tmp_path / "out"))[1]["models"][0]["imported"] is True
    assert answer("remove", "remove", "--dir", "models--lab--Belt")[0] == 0
    assert command("download", "small", "--out", str(tmp_path / "copy.pt"))[0] == 0
    assert command("download", "tiny", "tiny", "--force")[1].count("Fetched to") == 1
    assert (tmp_path / "copy.pt").read_bytes() == CONTENT


def test_people_read_a_line_for_each_of_them(
    command: Callable[..., tuple[int, str, str]], cache: Path, tmp_path: Path
) -> None:
    """Name, state, size and place; what was carried and what was not, and why."""
    put(cache, *FILES)
    (tmp_path / "out").mkdir()
    small, tall = (ModelWeights.status(name, cache).path for name in ("small", "tall"))

    def rows(*arguments: str) -> list[list[str]]:
        code, out, said = command(*arguments)
        assert (code, said) == (0, "")
        return [line.split(maxsplit=4) for line in out.splitlines()]

    listed = {row[0]: row[1:] for row in rows("list")}
    assert (listed["small"], listed["tall"]) == (
        ["belt", "702", "bytes", "lab/Belt/small.pt"],
        ["belt", "700", "bytes", "lab/Belt/tall.pt"],
    )
    assert rows("status", "tall", "small") == [
        ["tall", "present", "700", "bytes", str(tall)],
        ["small", "present", "700", "bytes", str(small)],
    ]
    assert len(rows("status")) == len(listed)
    tall.unlink()
    assert rows("status", "tall") == [["tall", "absent", "-", str(tall)]]
    out = tmp_path / "out"
    carried = ModelWeights.status("small", out).path
    code, said, _ = command("export", "small", "tall", "--to", str(out))
    assert (code, said) == (0, f"small: {carried}\ntall: not there, left out\n")
    code, said, error = command("export", "tall", "--to", str(out))
    assert (code, said) == (1, "tall: not there, left out\n")
    assert "None of them is there; fetch them" in error
    assert command("import", str(out))[:2] == (0, "small: present\n")
    assert command("remove", "small")[:2] == (0, "small: 702 bytes removed\n")
    assert command("import", str(out))[:2] == (0, f"small: {small}\n")
    (out / "cuvis-model-weights.json").write_text('{"models": [{"name": "other"}, {"name": "small"}]}')
    assert command("import", str(out))[:2] == (0, "other: unknown model\nsmall: present\n")
    found = json.loads(command("import", str(out), "--json")[1])["models"]
    assert [(row["name"], row["imported"], row["reason"]) for row in found] == [("small", False, "present")]
    small.write_bytes(b"x" * len(CONTENT))
    assert [row[1] for row in rows("status", "small")] == ["present"]
    assert [row[1] for row in rows("status", "small", "--verify")] == ["damaged"]
    assert command("remove", "--dir", "models--lab--Belt")[:2] == (0, "models--lab--Belt: 742 bytes removed\n")


@pytest.mark.parametrize("what", [("small",), ("--dir", "models--lab--Belt")])
def test_who_removes_waits_for_another_program_and_says_so(
    command: Callable[..., tuple[int, str, str]],
    cache: Path,
    working_elsewhere: Callable[[Path], AbstractContextManager[None]],
    what: tuple[str, ...],
) -> None:
    """On the standard error, once."""
    put(cache, *FILES)
    with working_elsewhere(cache):
        code, out, said = command("remove", *what, "--json")
    assert (code, said.count("Another program works in this folder")) == (0, 1)
    assert json.loads(out)["removed"][0]["freed_bytes"] > 0


def test_what_can_be_removed_is_removed_and_told(
    command: Callable[..., tuple[int, str, str]], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though another cannot be."""
    put(cache, *FILES)
    take_out = weights_folder.take_out

    def refuse_tall(weight: RegisteredWeight, *more: Any) -> int:
        if weight.name == "tall":
            raise PermissionError(13, "Permission denied")
        return take_out(weight, *more)

    monkeypatch.setattr(model_weights, "take_out", refuse_tall)
    code, out, said = command("remove", "tall", "small", "--json")
    assert (code, [row["name"] for row in json.loads(out)["removed"]]) == (1, ["small"])
    assert "Permission denied" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("download", "smal"), "Did you mean 'small'"),
        (("download",), "Give names of weights"),
        (("download", "small", "--repo-id", "lab/Belt", "--filename", "x"), "Give names of weights"),
        (("download", "small", "tall", "--out", "x"), "--out is for one file"),
        (("download", "small", "--json", "--progress-json"), "not both"),
        (("remove",), "or --dir"),
        (("status", "nope"), "There are no weights 'nope'"),
    ],
)
def test_a_wrong_command_line_is_said(
    command: Callable[..., tuple[int, str, str]], arguments: tuple[str, ...], words: str
) -> None:
    """Before anything is done."""
    code, _, said = command(*arguments)
    assert (code, words in said) == (2, True), said


def test_without_the_extra_it_is_named(
    command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for all that is optional."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    code, _, said = command("download", "small")
    assert (code, "cuvis-ai-core[hf]" in said) == (1, True)


def test_who_waits_is_warned_where_nobody_listens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As a node does whose weights another program is fetching."""
    with (
        filelock.FileLock(tmp_path / ".cuvis-cache.lock"),
        pytest.raises(ModelDownloadError, match="another program has worked in it for 0 s; try again later"),
        working_in(tmp_path, ModelDownloadError, longest=0.01),
    ):
        pytest.fail("two work in it")
    assert f"waiting for another program that works in {tmp_path}" in caplog.text


def test_a_folder_on_a_file_system_without_locks_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a network file system may be mounted: with what it lacks, and where else weights may lie."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with (
        pytest.raises(ModelDownloadError, match=r"has no locks.*HF_HUB_CACHE=FOLDER"),
        working_in(tmp_path, ModelDownloadError),
    ):
        pytest.fail("nobody holds a lock")
