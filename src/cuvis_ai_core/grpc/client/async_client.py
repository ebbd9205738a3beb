"""The client for programs with an event loop."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cuvis_ai_core.grpc.client.cancellable_calls import Calls, waited_for
from cuvis_ai_core.grpc.client.client import Client
from cuvis_ai_core.grpc.client.training_progress import Progress


class AsyncClient:
    """The same client for programs with an event loop: every method of `Client` can be awaited, `train` iterated.

    Whoever cancels what is awaited cancels the call: the server stops the work.

    Args:
        address: As of `Client`, and so are all other arguments.
    """

    def __init__(self, address: str = "localhost:50051", **options: Any) -> None:
        self._address = address
        self._options = options
        self._client: Client | None = None

    async def __aenter__(self) -> Self:
        self._client = await asyncio.to_thread(Client, self._address, **self._options)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._client is not None
        await asyncio.to_thread(self._client.close)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return partial(_awaited, Calls, method) if callable(method) else method

    async def train(
        self, trainrun: Mapping[str, Any] | str | Path | None = None, *, kind: str = "gradient"
    ) -> AsyncGenerator[Progress, None]:
        """Train, and yield how far it is, as `Client.train`."""
        assert self._client is not None
        steps, calls, end = self._client.train(trainrun, kind=kind), Calls(), object()
        try:
            # With a default: a StopIteration cannot be raised into a future (asyncio refuses it).
            while (progress := await _awaited(lambda: calls, next, steps, end)) is not end:
                yield progress
        finally:
            calls.cancel()
            with suppress(ValueError):  # a thread is in it still; its stream is cancelled, which ends it
                steps.close()


async def _awaited(calls: Callable[[], Calls], method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run a method of the client in a thread, and cancel its calls with the await."""
    began = calls()
    token = waited_for.set(began)
    try:
        return await asyncio.to_thread(method, *args, **kwargs)
    except asyncio.CancelledError:
        # A thread cannot be ended: cancelling its call of gRPC has it return.
        began.cancel()
        raise
    finally:
        waited_for.reset(token)
