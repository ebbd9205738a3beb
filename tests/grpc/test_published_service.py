"""What published programs use of a server's inside: sessions, inference without a network, where messages are."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cuvis_ai_schemas.grpc.v1 import cuvis_ai_pb2, cuvis_ai_pb2_grpc

from cuvis_ai_core import grpc
from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc import helpers, v1
from cuvis_ai_core.grpc.inference_service import InferenceService
from cuvis_ai_core.grpc.session_manager import SessionManager
from cuvis_ai_core.pipeline.pipeline import Pipeline
from tests.grpc.test_inference import CUBE, PIPELINE, WAVELENGTHS


def _context() -> Any:
    """Return what gRPC tells of a call whose client waits."""
    return SimpleNamespace(
        is_active=lambda: True,
        add_callback=lambda _: True,
        invocation_metadata=tuple,
        set_trailing_metadata=lambda _: None,
    )


def _inputs() -> Any:
    return cuvis_ai_pb2.InputBatch(cube=helpers.numpy_to_proto(CUBE), wavelengths=helpers.numpy_to_proto(WAVELENGTHS))


def test_messages_are_those_of_the_schemas() -> None:
    """Under both published paths; another name is none."""
    assert grpc.cuvis_ai_pb2 is v1.cuvis_ai_pb2 is cuvis_ai_pb2
    assert grpc.cuvis_ai_pb2_grpc is v1.cuvis_ai_pb2_grpc is cuvis_ai_pb2_grpc
    with pytest.raises(AttributeError, match="cuvis_ai_pb3"):
        _ = v1.cuvis_ai_pb3


def test_the_folder_of_configurations(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of the environment, or below the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CUVIS_CONFIGS_DIR", raising=False)
    assert helpers.get_server_base_dir() == tmp_path / "configs"
    monkeypatch.setenv("CUVIS_CONFIGS_DIR", str(tmp_path / "mine"))
    assert helpers.get_server_base_dir() == tmp_path / "mine"


def test_a_session_runs_its_pipeline() -> None:
    """As the server does; when the session is closed, nothing of it is left."""
    sessions = SessionManager()
    number = sessions.create_session(search_paths=["here"])
    assert sessions.get_session(number).search_paths == [Path("here")]
    sessions.set_pipeline(number, Pipeline.from_dict(PIPELINE))
    request = cuvis_ai_pb2.InferenceRequest(session_id=number, inputs=_inputs(), output_specs=["scaler.cube"])
    answer = InferenceService(sessions).inference(request, _context())
    expected = Pipeline.from_dict(PIPELINE).forward({"cube": CUBE, "wavelengths": WAVELENGTHS[0]})
    assert list(answer.outputs) == ["scaler.cube"]
    np.testing.assert_array_equal(helpers.proto_to_numpy(answer.outputs["scaler.cube"]), expected["scaler", "cube"])
    assert (sessions.list_sessions(), sessions.has_session(number)) == ([number], True)
    sessions.close_session(number)
    assert (sessions.list_sessions(), sessions.has_session(number)) == ([], False)
    with pytest.raises(ServiceError, match="There is no session"):
        InferenceService(sessions).inference(request, _context())


def test_a_batch_is_read_as_tensors() -> None:
    """With the sizes, types and names that were sent."""
    torch = pytest.importorskip("torch")
    batch = InferenceService(SessionManager())._parse_input_batch(_inputs())
    assert set(batch) == {"cube", "wavelengths"}
    assert torch.equal(batch["wavelengths"], torch.from_numpy(WAVELENGTHS))
