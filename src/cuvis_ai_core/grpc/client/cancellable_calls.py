"""The calls that a client makes for somebody who may stop waiting for them."""

import threading
from contextvars import ContextVar
from typing import Any


class Calls:
    """Calls under way, which are cancelled together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Any] = []
        self._cancelled = False

    def add(self, call: Any) -> Any:
        """Return a call that began; where nobody waits any more it is cancelled at once."""
        with self._lock:
            self._calls.append(call)
            # Looked at under the lock, acted on outside: `cancel` runs callbacks, which may come back here.
            cancelled = self._cancelled
        if cancelled:
            call.cancel()
        return call

    def cancel(self) -> None:
        """Cancel what is under way, and what is still begun."""
        with self._lock:
            self._cancelled = True
            calls = list(self._calls)
        for call in calls:
            call.cancel()


waited_for: ContextVar[Calls | None] = ContextVar("waited_for", default=None)
"""Where the calls of a thread are kept; a thread of asyncio has the context of who awaits it."""
