"""Inference: a batch in, outputs out; and how long the nodes took."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_core._nearest import did_you_mean
from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.messages.schema_generations import enum_value, messages
from cuvis_ai_core.grpc.messages.tensors import to_array, why_not
from cuvis_ai_core.grpc.messages.zero_copy_inference import write_inference
from cuvis_ai_core.grpc.server.call_context import Call, Handler
from cuvis_ai_core.grpc.server.inference_inputs import batch_of
from cuvis_ai_core.grpc.server.node_timings import Timings, timings_of
from cuvis_ai_core.grpc.server.run_cancellation import Stopped, stopper_of
from cuvis_ai_core.grpc.shared_memory.session_tensors import KEPT, kept_by_nodes, read_tensor, shared

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline

Address = tuple[str, str]

LEFT_OUT: Final = "cuvis-left-out"
"""Metadata after a call: outputs that are no arrays, which nobody asked for by name."""


def infer(call: Call) -> bytes:
    """Run the pipeline on a batch."""
    try:
        content, left = _inferred(call)
    finally:
        # After the inner function has ended: its own variables would count as holding the memory.
        kept = kept_by_nodes(call)
    told = [(LEFT_OUT, ",".join(left)), (KEPT, ",".join(kept))]
    if found := [(key, value) for key, value in told if value]:
        call.context.set_trailing_metadata(tuple(found))
    return content


def _inferred(call: Call) -> tuple[bytes, list[str]]:
    """Return the answer, and the names of outputs that are not in it; nothing here outlives the call."""
    pipeline = call.session.needed_pipeline()
    wanted = _wanted(pipeline, call.request.output_specs)
    batch = batch_of(call.request, partial(read_tensor, call))
    with _stoppable(call):
        values = pipeline.forward(batch, keep_ports=wanted or None)
    outputs, metrics, left = _sorted(values, asked=bool(wanted))
    answered = shared(call, outputs)
    # Before the answer is put together: it would be in memory twice only to be refused.
    size = sum(each.nbytes for each in answered.values() if hasattr(each, "nbytes"))
    if size > call.service.settings.max_message:
        raise ServiceError(
            f"The outputs have {size} bytes, and a message up to {call.service.settings.max_message}.",
            hint="Name those that you need in output_specs.",
            code="RESOURCE_EXHAUSTED",
        )
    return write_inference(answered, metrics), left


def set_profiling(call: Call) -> Any:
    """Begin or end to take the time of nodes."""
    request, timings = call.request, timings_of(call.session)
    if request.HasField("reset") and request.reset:
        timings.clear()
    skip = request.skip_first_n if request.HasField("skip_first_n") else 0
    if skip < 0:
        raise ServiceError("skip_first_n must not be negative.", code="INVALID_ARGUMENT")
    timings.enabled, timings.skip = request.enabled, skip
    return messages().SetProfilingResponse(profiling_enabled=timings.enabled)


def get_profiling_summary(call: Call) -> Any:
    """Say how long the nodes took, of one stage or of all."""
    timings: Timings = timings_of(call.session)
    wanted = call.request.stage if call.request.HasField("stage") else 0
    stats = []
    for (node, stage), values in timings.summary().items():
        number = _stage_number(stage)
        if wanted in {0, number}:
            stats.append(messages().NodeProfilingStats(node_name=node, stage=number, **values))
    return messages().GetProfilingSummaryResponse(node_stats=stats)


@contextmanager
def _stoppable(call: Call) -> Iterator[None]:
    """Have the run in the block stop when its client goes away, or its deadline is over.

    Raises:
        ServiceError: It did.
    """
    run = stopper_of(call.session).begin(call.session)
    # gRPC calls nobody back of a call that is over, and says so by False.
    if not call.context.add_callback(run.ask):  # the call is over before it began
        run.ask()
    try:
        run.look()
        yield
        run.look()
    except Stopped as error:
        raise ServiceError("The client did not wait for the end.", code="CANCELLED") from error
    finally:
        run.end()


def _wanted(pipeline: "Pipeline", names: list[str]) -> list[Address]:
    """Return the outputs that a request names as `node.port`, or by the bare port.

    Raises:
        ServiceError: There is no such output.
    """
    known = [(node, port) for node, ports in pipeline.outputs.items() for port in ports]
    found: list[Address] = []
    for name in names:
        matches = [each for each in known if name in {".".join(each), each[1]}]
        if not matches:
            # Of a client's text only the beginning is compared: difflib takes the square of its length.
            full = [".".join(each) for each in known]
            raise ServiceError(
                f"The pipeline has no output '{name[:200]}'.{did_you_mean(name[:200], full)}",
                hint=f"Outputs: {', '.join(full)}.",
                code="INVALID_ARGUMENT",
            )
        found += matches
    return list(dict.fromkeys(found))


def _sorted(values: Mapping[Address, Any], *, asked: bool) -> tuple[dict[str, Any], dict[str, float], list[str]]:
    """Return arrays, plain numbers, and the names of what is neither.

    Raises:
        ServiceError: An output was asked for by name, and is neither.
    """
    outputs: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    left: list[str] = []
    for (node, port), value in values.items():
        name = f"{node}.{port}"
        if value is None:
            continue
        # Python's own numbers only: those of NumPy keep their type as arrays.
        if isinstance(value, bool | int | float):
            metrics[name] = float(value)
        elif (found := _named_numbers(node, value)) is not None:
            metrics |= found
        elif (array := to_array(value)) is not None:
            outputs[name] = array
        elif asked:
            raise ServiceError(
                f"Output '{name}' is {why_not(value)}.",
                code="INVALID_ARGUMENT",
            )
        else:
            left.append(name)
    return outputs, metrics, left


def _named_numbers(node: str, value: Any) -> dict[str, float] | None:
    """Return what a metric node reports: a list of objects with name and value."""
    if (
        not isinstance(value, list)
        or not value
        or not all(hasattr(each, "name") and hasattr(each, "value") for each in value)
    ):
        return None
    return {f"{node}.{each.name}": float(each.value) for each in value}


def _stage_number(stage: str) -> int:
    try:
        return enum_value("ExecutionStage", f"EXECUTION_STAGE_{stage.upper()}")
    except KeyError:
        return 0


CALLS: Final[Mapping[str, Handler]] = {
    "Inference": infer,
    "SetProfiling": set_profiling,
    "GetProfilingSummary": get_profiling_summary,
}
