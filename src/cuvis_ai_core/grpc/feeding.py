"""From an InferenceRequest to the batch that a pipeline takes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

from cuvis_ai_core.grpc.raw import RawInference, RawTensor

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline

_POINT_TYPES: Final = {1: "positive", 2: "negative", 3: "neutral"}
_ROWS: Final = 2

Reader = Callable[[str, RawTensor], NDArray[Any]]
"""Returns the array of a tensor that is called by a name."""


def batch_of(request: RawInference, pipeline: "Pipeline", read: Reader) -> dict[str, Any]:
    """Return the values of a request by the names of inputs; what it does not have is not in it.

    Args:
        request: The request.
        pipeline: Whose inputs say how many axes wavelengths have.
        read: Reads a tensor.

    Raises:
        ServiceError: A tensor's shape, dtype and bytes do not go together.
    """
    batch: dict[str, Any] = {name: read(name, tensor) for name, tensor in request.tensors.items()}
    if "wavelengths" in batch:
        batch["wavelengths"] = _fitting(batch["wavelengths"], _axes(pipeline, "wavelengths"))
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


def _axes(pipeline: "Pipeline", name: str) -> set[int]:
    return {len(port.sizes) for port in open_inputs(pipeline).get(name, ())}


def _fitting(array: NDArray[Any], axes: set[int]) -> NDArray[Any]:
    """Return wavelengths with as many axes as nodes take: clients send [1, channel], cubes have [channel]."""
    if array.ndim == _ROWS and array.shape[0] == 1 and axes == {1}:
        found: NDArray[Any] = array[0]
        return found
    return array[None] if array.ndim == 1 and axes == {_ROWS} else array


def _box(box: Any) -> dict[str, Any]:
    values = {name: getattr(box, name) for name in ("element_id", "x_min", "y_min", "x_max", "y_max")}
    return {**values, "object_id": box.object_id} if box.HasField("object_id") else values


def _point(point: Any) -> dict[str, Any]:
    kind = _POINT_TYPES.get(point.type, "unspecified")
    return {"element_id": point.element_id, "x": point.x, "y": point.y, "type": kind}
