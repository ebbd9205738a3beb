"""Folders that are swapped for links after a path was looked at, and before it is opened."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuvis_ai_core.grpc.server.allowed_paths import Roots
from cuvis_ai_core.grpc.server.symlink_races import _CAN

pytestmark = pytest.mark.skipif(not _CAN, reason="handles of folders, as Linux has them")

PIPELINE: dict[str, Any] = {
    "metadata": {"name": "good"},
    "nodes": [{"name": "a", "class_name": "MinMaxNormalizer"}],
}
RUN: dict[str, Any] = {"name": "run", "pipeline": PIPELINE, "data": {"cubes": ["*.npz"]}}


@pytest.fixture
def folder(server: Any, shared_root: Path) -> Iterator[Path]:
    """Return a folder below the root, and of the server's pipelines, with a file of each kind."""
    made = shared_root / "configs" / "pipeline" / "swapped"
    made.mkdir(parents=True)
    for name, content in (("p.yaml", PIPELINE), ("run.yaml", RUN)):
        (made / name).write_text(json.dumps(content))
    np.savez(made / "x.npz", cube=np.ones((2, 2, 1)))
    yield made
    if made.is_symlink():
        made.unlink()
    for each in made.parent.glob("swapped*"):
        shutil.rmtree(each)


@pytest.fixture
def swap(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Path]:
    """Return a function that has the folder swapped for a link as soon as a path in it was looked at."""

    def begin() -> Path:
        outside = tmp_path / "outside"
        shutil.copytree(folder, outside)
        for file in outside.glob("*.yaml"):
            file.write_text(file.read_text().replace("good", "secret"))

        def swapping(looked: Callable[..., Path]) -> Callable[..., Path]:
            def found(*arguments: Any, **named: Any) -> Path:
                path = looked(*arguments, **named)
                if folder in path.parents and not folder.is_symlink():
                    folder.rename(folder.with_name("swapped-away"))
                    folder.symlink_to(outside)
                return path

            return found

        for name in ("file", "target"):
            monkeypatch.setattr(Roots, name, swapping(getattr(Roots, name)))
        return outside

    return begin


CALLS: dict[str, Callable[[Any, str, str], Any]] = {
    "ResolveConfig": lambda stub, session, folder: stub.ResolveConfig(
        session_id=session, config_type="pipeline", path=f"{folder}/p.yaml"
    ),
    "GetPipelineInfo": lambda stub, session, folder: stub.GetPipelineInfo(pipeline_path="swapped/p.yaml"),
    "RestoreTrainRun": lambda stub, session, folder: stub.RestoreTrainRun(trainrun_path=f"{folder}/run.yaml"),
    "LoadPipelineWeights": lambda stub, session, folder: stub.LoadPipelineWeights(
        session_id=session, weights_path=f"{folder}/w.safetensors"
    ),
    "SetTrainRunConfig": lambda stub, session, folder: stub.SetTrainRunConfig(
        session_id=stub.CreateSession().session_id,
        config=stub.m.TrainRunConfig(config_bytes=json.dumps({**RUN, "pipeline": f"{folder}/p.yaml"}).encode()),
    ),
    "SetTrainRunConfig with weights": lambda stub, session, folder: stub.SetTrainRunConfig(
        session_id=stub.CreateSession().session_id,
        config=stub.m.TrainRunConfig(
            config_bytes=json.dumps({**RUN, "initial_weights": f"{folder}/w.safetensors"}).encode()
        ),
    ),
    "SavePipeline": lambda stub, session, folder: stub.SavePipeline(
        session_id=session, pipeline_path=f"{folder}/new.yaml"
    ),
    "SaveTrainRun": lambda stub, session, folder: stub.SaveTrainRun(
        session_id=session, trainrun_path=f"{folder}/new.yaml"
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_folder_that_became_a_link_is_neither_read_nor_written(
    stub: Any, session: str, folder: Path, swap: Callable[[], Path], refused: Callable[..., Any], name: str
) -> None:
    """Nothing of the other folder is told, and nothing is written there."""
    (folder / "w.safetensors").write_bytes(b"")
    config = stub.m.TrainRunConfig(config_bytes=json.dumps(RUN).encode())
    stub.SetTrainRunConfig(session_id=session, config=config)
    outside = swap()
    before = sorted(outside.iterdir())
    error = refused("PERMISSION_DENIED", lambda: CALLS[name](stub, session, str(folder)))
    assert "secret" not in error.details()
    assert sorted(outside.iterdir()) == before


@pytest.mark.parametrize("name", sorted(name for name in CALLS if name[:4] not in {"Load", "SetT"}))
def test_without_a_swap_paths_are_as_clients_know_them(
    stub: Any, session: str, folder: Path, server: Any, name: str
) -> None:
    """Also those in the answers; folders that are not there are made."""
    stub.SetTrainRunConfig(session_id=session, config=stub.m.TrainRunConfig(config_bytes=json.dumps(RUN).encode()))
    place = folder / "new" / "er" if name.startswith("Save") else folder
    answer = CALLS[name](stub, session, str(place))
    assert "/proc/" not in str(answer)
    assert "cuvis-read" not in str(answer)
    if name.startswith("Save"):
        assert (place / "new.yaml").is_file()
        assert answer.pipeline_path.startswith(str(place))
    if name == "RestoreTrainRun":
        stub.CloseSession(session_id=answer.session_id)


def test_errors_name_a_file_as_its_client_knows_it(
    stub: Any, session: str, folder: Path, refused: Callable[..., Any]
) -> None:
    """Not where it was held."""
    bad = folder / "bad.yaml"
    bad.write_text("a: [")
    asked = {"config_type": "pipeline", "path": str(bad)}
    error = refused("INVALID_ARGUMENT", stub.ResolveConfig, session_id=session, **asked)
    assert str(bad) in error.details()
    error = refused("INVALID_ARGUMENT", stub.RestoreTrainRun, trainrun_path=str(bad))
    assert str(bad) in error.details()
