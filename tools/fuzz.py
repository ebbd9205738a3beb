"""Change honest files at random, and see that each is read or is one error of ours, in bounded time and memory.

python tools/fuzz.py                        each kind of file for a minute
python tools/fuzz.py --seconds 3600 coco    one kind for an hour
python tools/fuzz.py --guided envi          changes that reach other lines are changed on (needs atheris)
python tools/fuzz.py --list                 which kinds there are

A kind runs in a process of its own, at low priority, with 4 GiB of memory. Prints how many files were tried; what ends
in anything else is printed as the bytes that did it, to become a test, and the status is 1. CI runs a short part of it
(tests/test_fuzz.py).
"""

import argparse
import base64
import copy
import gzip
import importlib
import io
import json
import logging
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import tomli_w
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from cuvis_ai_core.errors import CuvisError

MEMORY: Final = 4 * 1024**3
SLOWEST: Final = 20.0
"""Seconds of a processor that one file may take: a machine that does other things too gives none for a while."""

_PIPELINE: Final = b"""\
metadata: {name: find anomalies, n: 3, q: "0.9", class_names: {mask: {mask: {"1": odd}}}}
plugins: [lab]
nodes:
  - &rx {name: rx, class_name: RXDetector, params: {regularization: 0.1}}
  - {name: mask, class: QuantileDecider, hparams: {quantile: "${oc.decode:${metadata.q}}"}}
  - {name: other, class_name: lab.nodes.Other, params: {a: [1, 2.5, null, true], b: "${metadata.n}"}}
connections:
  - {from: rx.outputs.scores, to: mask.inputs.scores}
"""
_TRAINRUN: Final = b"""\
name: lentils
pipeline: {nodes: [{name: rx, class: RXDetector}], edges: []}
data: {cubes: scenes, masks: {train: a.png}, train_ids: [0, 1], batch_size: 2}
training: {seed: 1, trainer: {max_epochs: 3, callbacks: {checkpoint: {monitor: val_loss, filename: "a-{epoch:03d}"}}}}
loss_nodes: [rx]
output_dir: out/${name}
tags: {a: "b"}
"""
_MANIFEST: Final = b"""\
plugins:
  lab: {repo: "https://host/lab.git", tag: v1.0, provides: [lab.nodes.Other], isolation: process, python: "3.12"}
  here: {path: ../here, provides: [here.A, here.B], extras: [gpu], build: [x]}
"""
_LOCK: Final = b"""\
version = 1
[plugins.lab]
repo = "https://host/lab.git"
tag = "v1.0"
commit = "0123456789012345678901234567890123456789"
content = "0123456789012345678901234567890123456789"
isolation = "scoped"
signer = "mira@lab.org"
key = "SHA256:x"
extras = ["gpu"]
[plugins.here]
path = "../here"
requirements = ["x>=1"]
isolation = "process"
apart_by = "policy"
[environments.cpython-311-x86_64-linux-gnu]
built = ["y==2"]
dependencies = {lab = ["x==1.0", "y==2"], here = ["z @ git+https://host/z.git@0123456789012345678901234567890123456789"]}
builds = {lab = ["hatchling==1.27.0"]}
[environments.cpython-311-x86_64-linux-gnu.hashes]
"x==1.0" = ["sha256:0000000000000000000000000000000000000000000000000000000000000000"]
"y==2" = ["sha256:0000000000000000000000000000000000000000000000000000000000000001"]
"hatchling==1.27.0" = ["sha256:0000000000000000000000000000000000000000000000000000000000000002"]
"""
_ENVI: Final = b"""\
ENVI
description = {a, b}
samples = 2
lines = 2
bands = 3
header offset = 0
data type = 1
interleave = bip
byte order = 0
wavelength units = Nanometers
wavelength = {400, 500, 600}
fwhm = {1, 1, 1}
bbl = {1, 0, 1}
data ignore value = 0
data gain values = {1, 2, 3}
map info = {UTM, 1, 1, 0, 0, 1, 1, 32, North}
"""
_COCO: Final = {
    "images": [{"id": 0, "file_name": "x.npy", "height": 4, "width": 4, "extra": {"name": "x"}}],
    "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
    "annotations": [
        {"id": 1, "image_id": 0, "category_id": 1, "segmentation": [[0, 0, 3, 0, 3, 3]]},
        {"id": 2, "image_id": 0, "category_id": 2, "segmentation": {"size": [4, 4], "counts": [4, 4, 8]}},
        {"id": 3, "image_id": 0, "category_id": 2, "segmentation": {"size": [4, 4], "counts": "52203"}},
    ],
}
_MESSAGE: Final = {
    "!": "dict",
    "of": ["a", {"!": "array", "dtype": "<f4", "shape": [2], "at": 0, "size": 8}, "b", [1, None, "x", 2.5]],
}
_POLICY: Final = b"""\
allow:
  - {repo: "https://github.com/our-lab/*", kind: official}
  - {path: "/srv/plugins/*", kind: private}
require: {lock: true, bounded_dependencies: true, wheels_only: true}
isolation: {community: process}
"""
_RECORD: Final = b"""\
{"trainrun": {}, "files": [{"file": "a"}], "written": {"a": "00"}, "nodes": [{"name": "n", "class": "c"}]}
"""
_RESULT: Final = b"""\
{"batch": {"fingerprint": "f", "cube_state": null, "name": "u", "seconds": 1.5, "worker": "w", "tries": 1},
 "files": [{"file": "a", "key": "rx.scores", "node": "rx", "port": "scores", "min": 0.0, "max": null}],
 "written": {"a": "fb8e20fc2e4c3f248c60c39bd652f3c1347298bb977b8b4d5903b85055620603"}, "sizes": {"a": 2}}
"""


class SlowError(BaseException):
    """A file took too long."""


def _archive() -> bytes:
    from cuvis_ai_core.plugins.bundle.member_names import FORMAT, HEADER
    from cuvis_ai_core.plugins.dependencies.search_path import interpreter

    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as tar:
        said = {"format": FORMAT, "interpreter": interpreter(), "tags": {"lab": "0123456789" * 4}}
        header = json.dumps(said).encode()
        for name, content in ((HEADER, header), ("plugins.yaml", _MANIFEST), ("plugins.lock", _LOCK)):
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
    return whole.getvalue()


def _wheel() -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/__init__.py", "a = 1\n" * 9)
        archive.writestr("x-1.dist-info/RECORD", "x/__init__.py,,\n")
    return whole.getvalue()


def _arrays(kind: str) -> bytes:
    file = io.BytesIO()
    if kind == "npy":
        np.save(file, np.zeros((2, 2, 3), np.float32))
    else:
        np.savez(file, cube=np.zeros((2, 2, 3), np.float32), wavelengths=np.array([400.0, 500, 600]))
    return file.getvalue()


def _picture() -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(file, "png")
    return file.getvalue()


def _weights(suffix: str) -> bytes:
    from cuvis_ai_core.pipeline.weights.weights_file import write_weights

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"w{suffix}")
        write_weights(path, {"n": {"k": np.zeros(3, np.float32)}}, {"about": "x"})
        return path.read_bytes()


def _cube(path: Path) -> Any:
    from cuvis_ai_core.data import Cube

    return Cube(np.zeros((4, 4, 2), np.float32), source=path.with_name("x.npy"))


def _manifest(path: Path) -> None:
    from cuvis_ai_core.plugins.manifest.manifest_schema import read_manifest

    read_manifest(path)


def _lock(path: Path) -> None:
    from cuvis_ai_core.plugins.lock.lockfile import read_lock

    read_lock(path.with_suffix(".yaml"))


def _bundle(path: Path) -> None:
    from cuvis_ai_core.plugins.bundle.size_limits import Limits
    from cuvis_ai_core.plugins.bundle.tar_reader import read_archive

    path.write_bytes(gzip.compress(path.read_bytes(), 1))
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        read_archive(path, Path(folder), Limits())


def _meter(path: Path) -> Any:
    from cuvis_ai_core.plugins.bundle.size_limits import Limits, Meter

    return Meter("The file", path.stat().st_size, Limits())


def _read_wheel(path: Path) -> None:
    from cuvis_ai_core.plugins.bundle.wheel_size import check_wheel

    check_wheel(path, _meter(path))


def _read_source(path: Path) -> None:
    path.write_bytes(gzip.compress(path.read_bytes(), 1))
    _read_wheel(path)


def _pipeline(path: Path) -> None:
    from cuvis_ai_core.pipeline import Pipeline
    from cuvis_ai_core.pipeline.drawing import markdown

    with Pipeline.load(path, outline=True) as pipeline:
        markdown(pipeline)


def _trainrun(path: Path) -> None:
    from cuvis_ai_core.training.trainrun import read_trainrun, recorded_manifest

    read_trainrun(path)
    recorded_manifest(path)


def _envi(path: Path) -> None:
    from cuvis_ai_core.data.formats.envi.reader import read_envi

    path.with_suffix(".img").write_bytes(bytes(range(12)))
    cube = read_envi(path)
    np.asarray(cube.data)


def _annotations(path: Path) -> None:
    from cuvis_ai_core.data import open_annotations

    annotations = open_annotations(path)
    place = (path.with_name("x.npy"), 0)
    annotations.check([place], [place])
    annotations.mask(_cube(path))


def _cube_file(path: Path) -> None:
    from cuvis_ai_core.data import read_cube
    from cuvis_ai_core.registry import NodeRegistry

    np.asarray(read_cube(path, NodeRegistry(discover=False).cube_readers()).data)


def _read_weights(path: Path) -> None:
    from cuvis_ai_core.pipeline.weights.weights_file import read_weights

    read_weights(path)


def _message(path: Path) -> None:
    from cuvis_ai_core.plugins.worker.message_framing import _PREFIX, Channel
    from cuvis_ai_core.plugins.worker.value_encoding import Reader

    content = path.read_bytes()
    here, there = socket.socketpair()
    with here, there:
        there.sendall(_PREFIX.pack(len(content), 16, 0) + content + bytes(16))
        try:
            message = Channel(here).receive(seconds=5)
            Reader(message.data, lambda _, size: memoryview(bytearray(min(size, 64)))).read(message.header)
        except ValueError as error:  # which is how a worker, or its host, is told
            raise CuvisError(str(error)) from error


def _policy(path: Path) -> None:
    from cuvis_ai_core.plugins.policy.policy_rules import find_policy

    os.environ["CUVIS_POLICY"] = str(path)
    try:
        find_policy()
    finally:
        del os.environ["CUVIS_POLICY"]


def _record(path: Path) -> None:
    import click

    from cuvis_ai_core.cli.restore.completed_training import finished_training
    from cuvis_ai_core.pipeline.file.reader import parse_config
    from cuvis_ai_core.training.config import TrainRunConfig

    (path.parent / "trainrun.yaml").write_bytes(_TRAINRUN)
    config = TrainRunConfig.model_validate(yaml.safe_load(_TRAINRUN))
    assert isinstance(config.pipeline, dict)
    config = config.model_copy(update={"pipeline": parse_config(config.pipeline).to_dict()})
    try:
        finished_training(path.parent, "trainrun.yaml", config, [{"name": "n", "class": "c"}])
    except click.BadParameter as error:
        raise CuvisError(error.message) from error


def _result(path: Path) -> None:
    from cuvis_ai_core.batch.cube_records import Records
    from cuvis_ai_core.batch.job_cubes import Unit

    outside, unit, records = path.parent / "outside", Unit("missing.npy", "u"), Records(path.parent, "f")
    outside.write_text("kept")
    (path.parent / "u").mkdir(exist_ok=True)
    (path.parent / "u" / "a").write_text("ab")
    path.replace(path.parent / "u" / "run.json")
    known = all(outcome is not None for _, outcome in records.known([unit]))
    records.make_way(unit)
    assert outside.read_text() == "kept"
    if not known:
        raise CuvisError("It is done again.")


Read = Callable[[Path], None]
KINDS: Final[dict[str, tuple[str, Callable[[], bytes], Read]]] = {
    "manifest": ("plugins.yaml", lambda: _MANIFEST, _manifest),
    "lock": ("plugins.lock", lambda: _LOCK, _lock),
    "policy": ("policy.yaml", lambda: _POLICY, _policy),
    "bundle": ("bundle.tar.gz", _archive, _bundle),
    "wheel": ("x-1-py3-none-any.whl", _wheel, _read_wheel),
    "source": ("x-1.tar.gz", _archive, _read_source),
    "pipeline": ("p.yaml", lambda: _PIPELINE, _pipeline),
    "trainrun": ("t.yaml", lambda: _TRAINRUN, _trainrun),
    "envi": ("x.hdr", lambda: _ENVI, _envi),
    "coco": ("x.json", lambda: json.dumps(_COCO).encode(), _annotations),
    "mask": ("x.png", _picture, _annotations),
    "npy": ("x.npy", lambda: _arrays("npy"), _cube_file),
    "npz": ("x.npz", lambda: _arrays("npz"), _cube_file),
    "torch": ("w.pt", lambda: _weights(".pt"), _read_weights),
    "safetensors": ("w.safetensors", lambda: _weights(".safetensors"), _read_weights),
    "message": ("message.json", lambda: json.dumps(_MESSAGE).encode(), _message),
    "record": ("run.json", lambda: _RECORD, _record),
    "result": ("result.json", lambda: _RESULT, _result),
}
"""Name to: how its file is called, an honest one, and what reads it."""

_PIECES: Final = (
    *(b"", b"\0", b"\xff", b"\n", b"{", b"}", b"[", b"]", b"${", b"&a ", b"*a", b"<<: *a", b": ", b"- ", b"'", b'"'),
    *(b"-1", b"0", b"1e400", b"nan", b"null", b"true", b"9" * 30, b"9" * 5000, b"4294967296", b"1e9", b"../"),
    *(b"/dev/zero", b"[" * 2000, b"{" * 300, b"${a:" * 50, b"\x1b]0;x\x07", "\u202e".encode(), b"\xed\xa0\x80"),
    *(b"pickle", b"|O", b"!!python/x"),
)

edits: Final = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 40), st.sampled_from(_PIECES) | st.binary(max_size=8), st.booleans()),
    min_size=1,
    max_size=6,
)
"""What is changed: where, how many bytes go, what comes, and whether a piece of the file itself comes too."""


def changed(sample: bytes, changes: list[tuple[float, int, bytes, bool]]) -> bytes:
    """Return a file with some changes."""
    for share, length, piece, repeats in changes:
        at = int(share * len(sample))
        again = sample[max(0, at - 30) : at] if repeats else b""
        sample = sample[:at] + piece + again + sample[at + length :]
    return sample


_VALUES: Final[tuple[Any, ...]] = (
    *(None, True, 0, -1, 2**70, 1.5, float("nan"), "", "x", "../x", "a" * 3000, "\u202e", "\0", "${a}", "1e9"),
    *([], {}, [None], [[]], {"": None}, {"a": {"b": [1]}}, ["x", "x"], "sha256:00", "x @ https://h/x.whl"),
)

_HOW: Final = ("delete", "replace", "copy", "rename", "append", "wrap")
_KEYS: Final = ("x", "str", "a.b", "", "[0]", "NAME", "../x", "\0", "\ud800")

reshapings: Final = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.sampled_from(_HOW),
        st.sampled_from(_VALUES),
        st.sampled_from(_KEYS),
    ),
    min_size=1,
    max_size=4,
)
"""What is changed in the tree that a file holds: where, how, what comes, and under which key."""


def reshaped(kind: str, sample: bytes, changes: list[tuple[float, str, Any, str]]) -> bytes:
    """Return a file that can be parsed, with some changes in what it holds."""
    tree = _parsed(kind, sample)
    for share, how, value, key in changes:
        places = list(_places(tree))
        if not places:
            break
        tree = copy.deepcopy(tree)
        place = list(_places(tree))[int(share * len(places))]
        _reshape(*place, how, value, key)
    return _unparsed(kind, tree)


def _parsed(kind: str, content: bytes) -> Any:
    return tomllib.loads(content.decode()) if kind == "lock" else yaml.safe_load(content)


def _unparsed(kind: str, tree: Any) -> bytes:
    if kind == "lock":
        return tomli_w.dumps(_without_none(tree)).encode(errors="surrogatepass")
    return json.dumps(tree).encode()


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield tree, key
        yield from _places(tree[key])


def _reshape(parent: Any, at: Any, how: str, value: Any, key: str) -> None:
    old = parent[at]
    if how == "delete":
        del parent[at]
    elif how == "rename" and isinstance(parent, dict):
        parent[key] = parent.pop(at)
    elif how == "copy" and isinstance(parent, dict):
        parent[key] = copy.deepcopy(old)
    elif how == "append" and isinstance(parent, list):
        parent.append(copy.deepcopy(old))
    else:
        parent[at] = [old] if how == "wrap" else value


def _without_none(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _without_none(value) for key, value in tree.items() if value is not None}
    return [_without_none(each) for each in tree if each is not None] if isinstance(tree, list) else tree


def _is_tree(kind: str) -> bool:
    return KINDS[kind][0].endswith((".yaml", ".json", ".lock"))


def files(kind: str, sample: bytes) -> st.SearchStrategy[bytes]:
    """Return files of a kind that differ from an honest one: in its bytes, or in what it holds."""
    bytewise = edits.map(lambda changes: changed(sample, changes))
    if not _is_tree(kind):
        return bytewise
    return bytewise | reshapings.map(lambda changes: reshaped(kind, sample, changes))


def check(kind: str, content: bytes, folder: Path) -> bool:
    """Read a file; return whether it could be read, and raise whatever is no error of ours."""
    name, _, read = KINDS[kind]
    (folder / name).write_bytes(content)
    with warnings.catch_warnings(), _in_time():
        warnings.simplefilter("ignore")
        try:
            read(folder / name)
        except CuvisError:
            return False
    return True


@contextmanager
def _in_time() -> Iterator[None]:
    def too_slow(*_: object) -> None:
        raise SlowError(f"it took more than {SLOWEST} seconds")

    before = signal.signal(signal.SIGPROF, too_slow)
    signal.setitimer(signal.ITIMER_PROF, SLOWEST)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def explore(kind: str, seconds: float) -> int:
    """Try changed files of a kind for some time, and return how many; a crash is printed, and raised."""
    logging.disable()
    sample, end, tried = KINDS[kind][1](), time.monotonic() + seconds, 0
    with tempfile.TemporaryDirectory() as folder:

        def attempt(content: bytes) -> None:
            nonlocal tried
            if time.monotonic() > end:
                return
            tried += 1
            try:
                check(kind, content, Path(folder))
            except BaseException:
                print(f"{kind}: {base64.b64encode(content).decode()}", flush=True)
                raise

        for number in range(10**9):
            if time.monotonic() > end:
                break
            some = settings(max_examples=500, deadline=None, database=None, phases=[Phase.generate],
                            suppress_health_check=list(HealthCheck))  # fmt: skip
            seed(int(time.time()) + number)(some(given(files(kind, sample))(attempt)))()
    return tried


def explore_guided(kind: str, seconds: float) -> None:
    """Try changed files of a kind for some time, those that reached new lines of ours again; end the process.

    What is found within an hour of changes at random comes within seconds, where a reader has many ways. Of what holds
    a tree, every other change is one of the tree: bytes at random rarely get past its parser.
    """
    atheris = importlib.import_module("atheris")  # which has no wheels for every Python

    logging.disable()
    corpus, folder = Path(tempfile.mkdtemp()), Path(tempfile.mkdtemp())
    with atheris.instrument_imports(include=["cuvis_ai_core"]):
        sample = KINDS[kind][1]()
        check(kind, sample, folder)
    (corpus / "honest").write_bytes(sample)

    def attempt(content: bytes) -> None:
        try:
            check(kind, content, folder)
        except BaseException:
            print(f"{kind}: {base64.b64encode(content).decode()}", flush=True)
            raise

    def mutated(content: bytes, longest: int, number: int) -> bytes:
        chance = random.Random(number)  # noqa: S311
        if chance.getrandbits(1):
            return bytes(atheris.Mutate(content, longest))
        changes = [
            (chance.random(), chance.choice(_HOW), chance.choice(_VALUES), chance.choice(_KEYS))
            for _ in range(chance.randint(1, 3))
        ]
        try:
            new = reshaped(kind, content, changes)
        except Exception:  # noqa: BLE001 - what was changed before is no tree any more
            new = b""
        return new if 0 < len(new) <= longest else bytes(atheris.Mutate(content, longest))

    limits = [f"-max_total_time={seconds:.0f}", "-max_len=4096", f"-artifact_prefix={folder}/"]
    mutator = {"custom_mutator": mutated} if _is_tree(kind) else {}
    atheris.Setup([sys.argv[0], *limits, str(corpus)], attempt, **mutator)
    atheris.Fuzz()


def main() -> int:
    """Run kinds, each in a process of its own."""
    parser = argparse.ArgumentParser(description="Change honest files at random.")
    parser.add_argument("kinds", nargs="*", metavar="KIND")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--guided", action="store_true", help="by the lines that are reached (needs atheris)")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given_options = parser.parse_args()
    kinds = given_options.kinds or list(KINDS)
    if given_options.list:
        print(*KINDS, sep="\n")
        return 0
    if given_options.here and given_options.guided:
        explore_guided(kinds[0], given_options.seconds)
    if given_options.here:
        print(f"{kinds[0]}: {explore(kinds[0], given_options.seconds)} files", flush=True)
        return 0

    def limited() -> None:
        os.nice(19)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    status = 0
    for kind in kinds:
        command = [sys.executable, __file__, "--here", "--seconds", str(given_options.seconds), kind]
        command += ["--guided"] * given_options.guided
        status |= subprocess.run(command, check=False, preexec_fn=limited).returncode != 0
    return status


if __name__ == "__main__":
    sys.exit(main())
