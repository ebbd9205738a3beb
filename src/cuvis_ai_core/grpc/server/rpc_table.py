"""All RPCs in one table."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from cuvis_ai_core.grpc.server.call_context import Call, Handler
from cuvis_ai_core.grpc.server.calls import configurations, inference, pipelines, plugins, sessions, training


@cache
def table() -> Mapping[str, Handler]:
    """Return what answers each RPC that answers one message."""
    groups = (sessions, plugins, configurations, pipelines, inference, training)
    return {name: handler for group in groups for name, handler in group.CALLS.items()}


@cache
def streams() -> Mapping[str, Callable[[Call], Iterator[Any]]]:
    """Return what answers each RPC that answers several."""
    return training.STREAMS
