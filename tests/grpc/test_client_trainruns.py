"""Trainruns that clients send: each path in them lies below a root, and what breaks a rule is told."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.server.call_context import Call, Service
from cuvis_ai_core.grpc.server.open_sessions import Session
from cuvis_ai_core.grpc.server.settings import Settings
from cuvis_ai_core.grpc.server.training.client_trainruns import (
    check_data,
    located_data,
    read_trainrun,
    refuse_data_module,
    with_sections,
)
from cuvis_ai_core.training.config import DataConfig, ModuleDataConfig, TrainRunConfig

NODES = {"nodes": [{"name": "rx", "class_name": "RXDetector"}]}
ELSEWHERE = Settings(host="0.0.0.0", insecure=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder that clients may name files in, with some; beside it lies what they may not."""
    for name in ("root/one.npy", "root/own/two.npy", "root/masks/a.png", "root/w.pt", "beside/x.npy"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "root/splits.json").write_text("{}")
    (tmp_path / "root/configs/pipeline").mkdir(parents=True)
    (tmp_path / "root/configs/pipeline/p.yaml").write_text(json.dumps({"name": "p", **NODES}))
    return tmp_path / "root"


@pytest.fixture
def call(root: Path) -> Iterator[Call]:
    """Return a call of a session that looks in the folder `own` first."""
    service = Service(Settings(working_directory=root, configs_dir=root / "configs"))
    with NodeRegistry(discover=False) as registry:
        session = Session(registry=lambda: registry)
        session.search_paths = [root / "own"]
        yield Call(service, None, None, session)


def refusal(action: Any, *arguments: Any) -> ServiceError:
    """Return the error with which something is refused."""
    with pytest.raises(ServiceError) as caught:
        action(*arguments)
    return caught.value


def test_places_of_data_become_absolute(call: Call, root: Path) -> None:
    """Files, folders, patterns, lists of them and masks by cube; other keys stay."""
    data = {
        "cubes": ["one.npy", "two.npy", "masks/*.png", "*.npy", ["own"]],
        "cu3s_file_path": "one.npy",
        "annotation_json_path": "splits.json",
        "masks": {"one": "masks/a.png", "two": None},
        "batch_size": 2,
        "num_workers": 32,
        "format": "one.npy",
    }
    assert located_data(call, data) == {
        "cubes": [
            *(str(root / name) for name in ("one.npy", "own/two.npy", "masks/*.png", "own/*.npy")),
            [str(root / "own")],
        ],
        "cu3s_file_path": str(root / "one.npy"),
        "annotation_json_path": str(root / "splits.json"),
        "masks": {"one": str(root / "masks/a.png"), "two": None},
        "batch_size": 2,
        "num_workers": 32,
        "format": "one.npy",
    }
    assert located_data(call, {"masks": "masks"}) == {"masks": str(root / "masks")}
    assert located_data(call, {"cubes": "masks/*"}) == {"cubes": str(root / "masks/*")}


def test_splits_are_read_and_a_data_module_keeps_its_own(call: Call) -> None:
    """What its parameters mean it knows alone."""
    data = {"data_module": "a.B", "params": {"cubes": "/etc"}, "cubes": "/etc/passwd"}
    assert located_data(call, data) == data
    assert located_data(call, {"splits": "splits.json"})["splits"] == {}
    assert located_data(call, {"splits": {"train": [1]}})["splits"] == {"train": [1]}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"cubes": "../beside/x.npy"}, "PERMISSION_DENIED"),
        ({"cubes": "../beside/*"}, "PERMISSION_DENIED"),
        ({"cubes": "*/../../beside/x.npy"}, "PERMISSION_DENIED"),
        ({"cubes": ["one.npy", "gone.npy"]}, "NOT_FOUND"),
        ({"masks": {"one": "../beside/x.npy"}}, "PERMISSION_DENIED"),
        ({"annotation_json_path": "gone"}, "NOT_FOUND"),
        ({"num_workers": 33}, "INVALID_ARGUMENT"),
    ],
)
def test_places_that_clients_may_not_name_are_refused(call: Call, data: dict[str, Any], code: str) -> None:
    """And so are more readers than a machine bears."""
    assert refusal(located_data, call, data).code == code


def test_a_trainrun_is_read_with_all_that_it_names(call: Call, root: Path) -> None:
    """Its pipeline by name or as it is; what belongs to a program is left out."""
    given = {
        "name": "run",
        "pipeline": "p",
        "data": {"cubes": "${files}"},
        "weights": "w.pt",
        "defaults": ["x"],
        "hydra": {},
        "plugins_path": "plugins.yaml",
    }
    content = {**given, "data": {"cubes": ["one.npy"]}}
    config = read_trainrun(call, content)
    assert (config.name, config.weights) == ("run", str(root / "w.pt"))
    assert isinstance(config.pipeline, dict)
    assert config.pipeline["nodes"][0]["name"] == "rx"
    assert isinstance(config.data, DataConfig)
    assert config.data.cubes == [str(root / "one.npy")]
    assert read_trainrun(call, {**content, "pipeline": NODES}).pipeline == NODES
    assert refusal(read_trainrun, call, {**content, "weights": "../beside/x.npy"}).code == "PERMISSION_DENIED"
    assert refusal(read_trainrun, call, {**content, "data": {"cubes": "${oc.env:HOME}"}}).code == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("checkpoint", "is_taken"),
    [
        ({"dirpath": "below", "filename": "{epoch}"}, True),
        ({"dirpath": "/tmp"}, False),
        ({"dirpath": "a/../.."}, False),
        ({"filename": "../x"}, False),
    ],
)
def test_checkpoints_lie_in_the_folder_of_the_results(
    call: Call, checkpoint: dict[str, Any], *, is_taken: bool
) -> None:
    """In the trainrun, and in a section that is laid over it."""
    training = {"max_epochs": 1, "callbacks": {"checkpoint": checkpoint}}
    content = {"name": "run", "pipeline": NODES, "data": {"cubes": "one.npy"}}
    if is_taken:
        assert read_trainrun(call, {**content, "training": training}).training is not None
        return
    error = refusal(read_trainrun, call, {**content, "training": training})
    assert error.message.startswith("The trainrun breaks a rule: training.callbacks.checkpoint.")
    call.request = SimpleNamespace(
        data=SimpleNamespace(config_bytes=b""), training=SimpleNamespace(config_bytes=json.dumps(training).encode())
    )
    error = refusal(with_sections, call, read_trainrun(call, content))
    assert error.message.startswith("The trainrun breaks a rule: callbacks.checkpoint.")


def test_rules_that_are_broken_are_told_five_at_a_time(call: Call) -> None:
    """Each with its key."""
    unknown = {f"key{number}": 1 for number in range(7)}
    error = refusal(read_trainrun, call, {"name": "run", "pipeline": NODES, "data": {"cubes": "one.npy"}, **unknown})
    assert error.message.startswith("The trainrun breaks a rule: key0: ")
    assert (error.message.count("; "), error.code) == (4, "INVALID_ARGUMENT")


def test_sections_of_a_call_take_the_place_of_those_of_the_trainrun(call: Call, root: Path) -> None:
    """Those that it brings; a section with a data module is another kind of data."""
    config = read_trainrun(call, {"name": "run", "pipeline": NODES, "data": {"cubes": "one.npy"}})

    def laid_over(data: object = None, training: object = None) -> TrainRunConfig:
        given = {
            name: SimpleNamespace(config_bytes=json.dumps(each).encode() if each is not None else b"")
            for name, each in (("data", data), ("training", training))
        }
        call.request = SimpleNamespace(**given)
        return with_sections(call, config)

    assert laid_over() == config
    done = laid_over({"cubes": "two.npy"}, {"max_epochs": 3})
    assert isinstance(done.data, DataConfig)
    assert done.data.cubes == [str(root / "own/two.npy")]
    assert done.training is not None
    assert done.training.max_epochs == 3
    assert isinstance(laid_over({"data_module": "a.B"}).data, ModuleDataConfig)
    assert refusal(laid_over, {"cubes": "../beside/x.npy"}).code == "PERMISSION_DENIED"
    assert refusal(laid_over, None, {"max_epochs": "many"}).code == "INVALID_ARGUMENT"
    call.service = Service(ELSEWHERE)
    error = refusal(refuse_data_module, call, config.model_copy(update={"data": ModuleDataConfig(data_module="a.B")}))
    assert error.message.startswith("data.data_module: this server reads no data by the data module 'a.B'")
    refuse_data_module(call, config)


@pytest.mark.parametrize(("link", "is_refused"), [("masks/out", True), ("own/out", True), ("out", False)])
def test_links_beside_data_lead_nowhere_else(call: Call, root: Path, link: str, *, is_refused: bool) -> None:
    """Where clients may not have any code run; a folder is looked through to its end, and a file's only beside it."""
    data = DataConfig(cubes=[str(root / "own/two.npy")], masks=str(root / "masks"))
    readers = call.session.node_registry.cube_readers()
    (root / link).symlink_to(root.parent / "beside")
    check_data(call, data, readers)
    call.service.settings = ELSEWHERE
    if is_refused:
        assert refusal(check_data, call, data, readers).code == "PERMISSION_DENIED"
    else:
        check_data(call, data, readers)
    (root / link).unlink()
    (root / "masks/deep").mkdir()
    (root / "masks/deep/out").symlink_to(root.parent / "beside")
    assert refusal(check_data, call, data, readers).code == "PERMISSION_DENIED"
    (root / "masks/deep/out").unlink()
    (root / "own/deep").mkdir()
    (root / "own/deep/out").symlink_to(root.parent / "beside")
    check_data(call, data, readers)
