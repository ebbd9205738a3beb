"""Clients who want in: files beside the roots, classes by roundabout names, messages that cost more than they say."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core.grpc.messages.schema_generations import SERVICE
from cuvis_ai_core.grpc.server.server import Server
from cuvis_ai_core.grpc.server.settings import Settings

PIPELINE: dict[str, Any] = {"nodes": [{"name": "a", "class_name": "MinMaxNormalizer"}]}
CANARY = "canary-in-a-file-beside"


def config(stub: Any, **content: Any) -> Any:
    """Return a pipeline as a message."""
    return stub.m.PipelineConfig(config_bytes=json.dumps(content).encode())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the folder that is served, beside one that is not."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key.yaml").write_text(f"password: {CANARY}\n")
    root = tmp_path / "served"
    (root / "configs").mkdir(parents=True)
    np.savez(root / "scene.npz", cube=np.ones((2, 2, 4), np.float32))
    return root


@pytest.fixture
def strangers(root: Path, connect: Callable[..., Any]) -> Iterator[Any]:
    """Return a client of a server for other machines."""
    settings = Settings(
        host="0.0.0.0",
        port=0,
        insecure=True,
        configs_dir=root / "configs",
        roots=(root,),
        working_directory=root,
    )
    with Server(settings) as server:
        yield connect(f"127.0.0.1:{server.address.rpartition(':')[2]}")


@pytest.mark.parametrize("named", ["secret/key@stolen", "/secret/key@stolen"])
def test_defaults_of_a_file_in_the_root_lead_to_nothing_beside_it(
    strangers: Any, root: Path, refused: Callable[..., Any], named: str
) -> None:
    """Groups are looked for in the folder above that of a file, which is not served."""
    pytest.importorskip("hydra")
    (root / "run.yaml").write_text(json.dumps({"defaults": [named, "_self_"], "name": "a"}))
    session = strangers.CreateSession().session_id
    error = refused("INVALID_ARGUMENT", strangers.ResolveConfig, session_id=session, config_type="data", path="run")
    assert CANARY not in error.details()
    (root / "own").mkdir()
    (root / "own" / "part.yaml").write_text("b: 1")
    (root / "good.yaml").write_text(json.dumps({"defaults": ["own/part@part", "_self_"], "name": "a"}))
    answer = strangers.ResolveConfig(session_id=session, config_type="data", path="good")
    assert json.loads(answer.config_bytes) == {"part": {"b": 1}, "name": "a"}


@pytest.mark.parametrize(
    "content",
    [
        {"metadata": {"name": "wsgiref.headers.Headers"}, "nodes": [{"name": "a", "class_name": "${metadata.name}"}]},
        {"metadata": {"tags": [{"name": "a", "class_name": "numpy.ndarray"}]}, "nodes": "${metadata.tags}"},
    ],
)
def test_classes_that_an_interpolation_names_are_looked_at(
    strangers: Any, refused: Callable[..., Any], content: dict[str, Any]
) -> None:
    """They are none of a loaded plugin, whichever way they are written; nothing is imported for them."""
    session = strangers.CreateSession().session_id
    calls: list[Callable[[], Any]] = [
        lambda: strangers.LoadPipeline(session_id=session, pipeline=config(strangers, **content)),
        lambda: strangers.GetPipelineVisualization(format="dot", config_content=json.dumps(content)),
    ]
    for call in calls:
        assert "There is no node class" in refused("INVALID_ARGUMENT", call).details()


@pytest.mark.parametrize("text", ["${${metadata.name}:HOME}", "${oc.${metadata.name}:HOME}", "${ oc.env :HOME}"])
def test_the_name_of_a_function_is_one_however_it_is_written(
    stub: Any, session: str, refused: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Also where whoever runs the server allows the variable in files of their own."""
    monkeypatch.setenv("CUVIS_ALLOW_ENV", "HOME")
    content = {"metadata": {"name": "oc.env" if "${${" in text else "env", "description": text}, **PIPELINE}
    sent = config(stub, **content)
    assert (
        "server's machine"
        in refused("INVALID_ARGUMENT", stub.LoadPipeline, session_id=session, pipeline=sent).details()
    )
    good = {"metadata": {"name": "a", "description": "${metadata.name}: {a: b}"}, **PIPELINE}
    answer = stub.LoadPipeline(session_id=session, pipeline=config(stub, **good))
    assert answer.metadata.description == "a: {a: b}"


def trained(stub: Any, **data: Any) -> Callable[[], Any]:
    """Return a training on data."""

    def train() -> Any:
        session = stub.CreateSession().session_id
        run = stub.m.TrainRunConfig(config_bytes=json.dumps({"name": "a", "pipeline": PIPELINE, "data": data}).encode())
        stub.SetTrainRunConfig(session_id=session, config=run)
        return stub.Train(session_id=session, trainer_type=1)

    return train


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"cubes": "*/../../secret/*.npz"}, "PERMISSION_DENIED"),
        ({"cubes": "scene.npz", "masks": "a[1]/../../secret"}, "PERMISSION_DENIED"),
        ({"cubes": "scene.npz", "masks": "masks[1]"}, "PERMISSION_DENIED"),
        ({"cubes": "beside/*.npz"}, "PERMISSION_DENIED"),
        ({"cubes": "scene.npz", "masks": "masks"}, "PERMISSION_DENIED"),
        ({"cubes": "store.zarr"}, "PERMISSION_DENIED"),
        ({"cubes": "scene.npz", "masks": "*.png"}, "NOT_FOUND"),
    ],
)
def test_data_of_a_training_lie_below_the_root_with_all_that_is_beside_them(
    strangers: Any, root: Path, refused: Callable[..., Any], data: dict[str, Any], code: str
) -> None:
    """Whatever signs a name has, and whichever links there are."""
    secret = root.parent / "secret"
    for folder in ("a[1]", "beside", "masks", "store.zarr"):
        (root / folder).mkdir()
    (root / "masks[1]").symlink_to(secret)
    (root / "beside" / "cube.npz").write_bytes((root / "scene.npz").read_bytes())
    (root / "store.zarr" / "zarr.json").write_text("{}")
    for link in ("beside/part.h5", "masks/scene.png", "store.zarr/c"):
        (root / link).symlink_to(secret / "key.yaml")
    error = refused(code, trained(strangers, **data))
    assert str(secret) not in error.details()


def varint(number: int) -> bytes:
    """Return a number as protobuf writes it."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def field(number: int, content: bytes) -> bytes:
    """Return a field of bytes."""
    return bytes([number << 3 | 2]) + varint(len(content)) + content


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (field(2, field(2, field(1, b"\x01" * 100_000))), "INVALID_ARGUMENT"),
        (field(2, field(2, b"\x08\x01" * 100)), "INVALID_ARGUMENT"),
        (field(2, field(4, b"\x0a\x00" * (2**21 + 1))), "RESOURCE_EXHAUSTED"),
        (field(2, field(5, b"\x0a\x00" * (2**21 + 1))), "RESOURCE_EXHAUSTED"),
    ],
    ids=["packed sizes", "sizes", "boxes", "points"],
)
def test_a_batch_that_takes_many_times_its_bytes_is_refused(
    stub: Any, session: str, refused: Callable[..., Any], content: bytes, code: str
) -> None:
    """Before it is taken apart."""
    call = stub.channel.unary_unary(f"/{SERVICE}/Inference")
    refused(code, lambda: call(field(1, session.encode()) + content, timeout=60))


def test_words_have_their_limits_and_are_not_looked_up_beyond_them(
    stub: Any, session: str, refused: Callable[..., Any]
) -> None:
    """Of bytes, of parts, of nodes, of folders; what is within them is taken."""
    pipeline = stub.m.PipelineConfig
    many = json.dumps({"nodes": [{"name": f"n{number}", "class_name": "MinMaxNormalizer"} for number in range(1001)]})
    for content, code in (
        (b'{"a": "%s"}' % (b"a" * 2**22), "RESOURCE_EXHAUSTED"),
        (b'{"nodes": [%s{}]}' % (b"{}," * 50_000), "INVALID_ARGUMENT"),
        (many.encode(), "RESOURCE_EXHAUSTED"),
    ):
        refused(code, stub.LoadPipeline, session_id=session, pipeline=pipeline(config_bytes=content))
    refused("RESOURCE_EXHAUSTED", stub.SetSessionSearchPaths, session_id=session, search_paths=[""] * 65)
    refused("RESOURCE_EXHAUSTED", stub.GetPipelineVisualization, format="dot", config_content=many)
    bad = b'{"nodes": [%s{}]}' % (b"{}," * 5_000)
    found = stub.ValidateConfig(config_type="pipeline", config_bytes=bad).errors
    assert len(found) == 1001
    assert found[-1].endswith("left out.")
    assert stub.LoadPipeline(session_id=session, pipeline=config(stub, **PIPELINE)).success


@pytest.mark.parametrize("place", ["secret/key.yaml", "secret/pipe", "secret/none"])
def test_a_file_of_splits_lies_below_the_root(
    strangers: Any, root: Path, refused: Callable[..., Any], pipe: Callable[[Path], None], place: str
) -> None:
    """Who names another one learns nothing of it, and a pipe keeps nobody waiting."""
    pytest.importorskip("cuvis_ai_schemas.training.data")
    pipe(root.parent / "secret" / "pipe")
    session = strangers.CreateSession().session_id

    def named(file: Path) -> bytes:
        data = {"data_module": "cu3s", "splits": str(file)}
        return json.dumps({"name": "a", "pipeline": PIPELINE, "data": data}).encode()

    sent = strangers.m.TrainRunConfig(config_bytes=named(root.parent / place))
    refused("PERMISSION_DENIED", strangers.SetTrainRunConfig, session_id=session, config=sent)
    checked = {"config_type": "trainrun", "config_bytes": named(root.parent / place)}
    assert strangers.ValidateConfig(**checked, timeout=20).valid
    (root / "splits.json").write_text("{}")
    good = strangers.m.TrainRunConfig(config_bytes=named(root / "splits.json"))
    assert strangers.SetTrainRunConfig(session_id=session, config=good).success
