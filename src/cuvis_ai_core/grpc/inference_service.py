"""The published inference of a server in the process that asks, without a network."""

from typing import Any

from cuvis_ai_core.grpc.messages.tensors import from_raw
from cuvis_ai_core.grpc.messages.zero_copy_inference import RawTensor, read_inference
from cuvis_ai_core.grpc.server.call_context import Call
from cuvis_ai_core.grpc.server.calls.inference import infer
from cuvis_ai_core.grpc.server.inference_inputs import batch_of
from cuvis_ai_core.grpc.session_manager import SessionManager
from cuvis_ai_core.grpc.v1 import cuvis_ai_pb2


class InferenceService:
    """Answers requests as the server does.

    Args:
        session_manager: Its sessions.
    """

    def __init__(self, session_manager: SessionManager) -> None:
        self.session_manager = session_manager

    def inference(self, request: Any, context: Any) -> Any:
        """Return the `InferenceResponse` to an `InferenceRequest`.

        Args:
            request: The request.
            context: gRPC's, of the call.

        Raises:
            ServiceError: The session is not there or has no pipeline, or the batch does not fit it.
        """
        session = self.session_manager.get_session(request.session_id)
        # As bytes: the server reads these messages itself, where protobuf would copy every array twice.
        raw = read_inference(request.SerializeToString())
        with session.turn(context.is_active):
            answer = infer(Call(self.session_manager.service, raw, context, session))
        return cuvis_ai_pb2.InferenceResponse.FromString(answer)

    def _parse_input_batch(self, inputs: Any) -> dict[str, Any]:
        """Return the batch of an `InputBatch`, as torch tensors; tests of pipelines call it."""
        import torch

        def read(name: str, tensor: RawTensor) -> Any:
            # A copy: what was read is a view of the message, and torch warns of arrays that cannot be written.
            return torch.from_numpy(from_raw(tensor.raw, tensor.shape, tensor.dtype, name).copy())

        request = cuvis_ai_pb2.InferenceRequest(inputs=inputs)
        return batch_of(read_inference(request.SerializeToString()), read)
