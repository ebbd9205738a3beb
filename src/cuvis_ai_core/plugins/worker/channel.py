"""Messages between host and worker: a header of JSON, bytes behind it, and handles of shared memory.

JSON and bytes are data, whatever they hold: reading a message executes nothing.
"""

import json
import socket
import struct
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

_PREFIX: Final = struct.Struct("!IQH")
"""Length of the header, length of the bytes, number of handles."""

_MOST_HANDLES: Final = 200
"""How many handles cross at once; Linux takes 253."""

_LONGEST_HEADER: Final = 2**28
_LONGEST_BYTES: Final = 2**36

_CLOSE_ON_EXEC: Final = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Message(NamedTuple):
    """What arrived.

    Attributes:
        header: Whatever JSON can hold.
        data: The bytes behind it.
        handles: File descriptors, which are the receiver's now.
    """

    header: Any
    data: bytearray
    handles: list[int]


class Channel:
    """One end of a connection.

    Args:
        end: A connected stream socket of the Unix family.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def send(self, header: object, data: Iterable[bytes | bytearray] = (), handles: Sequence[int] = ()) -> None:
        """Send a message.

        Raises:
            OSError: The other end is gone.
        """
        text = json.dumps(header, separators=(",", ":")).encode()
        parts = list(data)
        prefix = _PREFIX.pack(len(text), sum(map(len, parts)), len(handles))
        if not handles:
            self._end.sendall(b"".join((prefix, text, *parts)))
            return
        socket.send_fds(self._end, [prefix], handles[:_MOST_HANDLES])
        for first in range(_MOST_HANDLES, len(handles), _MOST_HANDLES):
            socket.send_fds(self._end, [b"+"], handles[first : first + _MOST_HANDLES])
        self._end.sendall(b"".join((text, *parts)))

    def receive(self, seconds: float | None = None) -> Message:
        """Return the next message.

        Args:
            seconds: How long to wait for it; None means without end.

        Raises:
            EOFError: The other end is gone.
            TimeoutError: Time is up.
            OSError: The connection is broken.
            ValueError: What arrived is no message.
        """
        self._end.settimeout(seconds)
        prefix, handles = self._with_handles(_PREFIX.size)
        self._end.settimeout(None)  # the rest follows at once
        prefix += self._exactly(_PREFIX.size - len(prefix))
        length, size, count = _PREFIX.unpack(prefix)
        if length > _LONGEST_HEADER or size > _LONGEST_BYTES:
            raise ValueError("a header too long")
        while len(handles) < count:
            handles += self._with_handles(1)[1]
        return Message(json.loads(self._exactly(length)), self._exactly(size), handles)

    def close(self) -> None:
        """End the connection; whoever waits at either end is told."""
        try:
            self._end.shutdown(socket.SHUT_RDWR)
        except OSError:  # it is broken already
            return

    def dispose(self) -> None:
        """Give the socket back, when nobody waits any more."""
        self._end.close()

    def _with_handles(self, size: int) -> tuple[bytes, list[int]]:
        data, handles, _, _ = socket.recv_fds(self._end, size, _MOST_HANDLES, _CLOSE_ON_EXEC)
        if not data:
            raise EOFError
        return data, list(handles)

    def _exactly(self, size: int) -> bytearray:
        data = bytearray(size)
        rest = memoryview(data)
        while rest:
            count = self._end.recv_into(rest)
            if not count:
                raise EOFError
            rest = rest[count:]
        return data
