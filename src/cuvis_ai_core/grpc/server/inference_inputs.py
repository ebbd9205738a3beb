"""From an InferenceRequest to the batch that a pipeline takes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

from cuvis_ai_core.grpc.messages.zero_copy_inference import RawInference, RawTensor

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline

_POINT_TYPES: Final = {1: "positive", 2: "negative", 3: "neutral"}

Reader = Callable[[str, RawTensor], NDArray[Any]]
"""Returns the array of a tensor that is called by a name."""


def batch_of(request: RawInference, read: Reader) -> dict[str, Any]:
    """Return the values of a request by the names of inputs; what it does not have is not in it.

    Args:
        request: The request.
        read: Reads a tensor.

    Raises:
        ServiceError: A tensor's shape, dtype and bytes do not go together.
    """
    batch: dict[str, Any] = {name: read(name, tensor) for name, tensor in request.tensors.items()}
    if request.bboxes is not None:
        batch["bboxes"] = [_box(each) for each in request.bboxes.boxes]
    if request.points is not None:
        batch["points"] = [_point(each) for each in request.points.points]
    if request.text_prompt is not None:
        batch["text_prompt"] = request.text_prompt
    return batch


def open_inputs(pipeline: "Pipeline") -> dict[str, list[Any]]:
    """Return the input ports that no edge feeds, by the name under which values are handed in."""
    fed = {(edge.target, edge.target_port) for edge in pipeline.edges}
    found: dict[str, list[Any]] = {}
    for node, ports in pipeline.inputs.items():
        for name, port in ports.items():
            if (node, name) not in fed:
                found.setdefault(name, []).append(port)
    return found


def _box(box: Any) -> dict[str, Any]:
    values = {name: getattr(box, name) for name in ("element_id", "x_min", "y_min", "x_max", "y_max")}
    return {**values, "object_id": box.object_id} if box.HasField("object_id") else values


def _point(point: Any) -> dict[str, Any]:
    kind = _POINT_TYPES.get(point.type, "unspecified")
    return {"element_id": point.element_id, "x": point.x, "y": point.y, "type": kind}
