"""Spans of OpenTelemetry, where it is installed."""

from typing import Any

import pytest

sdk = pytest.importorskip("opentelemetry.sdk.trace")


def test_a_call_is_a_span_below_that_of_its_client(stub: Any) -> None:
    """Its parent is the one that `traceparent` names; a refused call is an error."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans, provider = InMemorySpanExporter(), sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)
    parent = f"{1:032x}", f"{2:016x}"
    stub.CreateSession(headers=[("traceparent", f"00-{parent[0]}-{parent[1]}-01")])
    with pytest.raises(Exception, match="NOT_FOUND"):
        stub.CloseSession(session_id="nobody")
    made, closed = spans.get_finished_spans()
    assert made.name == "cuvis_ai.v1.CuvisAIService/CreateSession"
    assert made.context.trace_id == 1
    assert made.parent is not None
    assert made.parent.span_id == 2
    assert (closed.attributes or {})["rpc.grpc.status"] == "NOT_FOUND"
    assert closed.status.status_code is trace.StatusCode.ERROR
