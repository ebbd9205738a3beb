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

_AT_ONCE: Final = 2**16
"""Bytes that are asked for at once: most messages are smaller."""

_encode: Final = json.JSONEncoder(separators=(",", ":")).encode

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
        self._seconds: float | None = None
        self._waiting = bytearray()
        self._handles: list[int] = []

    def send(self, header: object, data: Iterable[bytes | bytearray] = (), handles: Sequence[int] = ()) -> None:
        """Send a message.

        Raises:
            OSError: The other end is gone.
        """
        text = _encode(header).encode()
        parts = list(data)
        message = b"".join((_PREFIX.pack(len(text), sum(map(len, parts)), len(handles)), text, *parts))
        # Handles travel with a byte each time; a text that tells of so many is longer than that.
        begun = 0
        for first in range(0, len(handles), _MOST_HANDLES):
            socket.send_fds(self._end, [message[begun : begun + 1]], handles[first : first + _MOST_HANDLES])
            begun += 1
        self._end.sendall(message[begun:] if begun else message)

    def receive(self, seconds: float | None = None) -> Message:
        """Return the next message.

        Args:
            seconds: How long to wait for a part of it; None means without end.

        Raises:
            EOFError: The other end is gone.
            TimeoutError: Time is up.
            OSError: The connection is broken.
            ValueError: What arrived is no message.
        """
        if seconds != self._seconds:
            self._end.settimeout(seconds)
            self._seconds = seconds
        length, size, count = _PREFIX.unpack(self._take(_PREFIX.size))
        if length > _LONGEST_HEADER or size > _LONGEST_BYTES:
            raise ValueError("a message too long")
        header = json.loads(self._take(length))
        data = self._take(size)
        handles, self._handles = self._handles[:count], self._handles[count:]
        return Message(header, data, handles)

    def close(self) -> None:
        """End the connection; whoever waits at either end is told."""
        try:
            self._end.shutdown(socket.SHUT_RDWR)
        except OSError:  # it is broken already
            return

    def dispose(self) -> None:
        """Give the socket back, when nobody waits any more."""
        self._end.close()

    def _take(self, size: int) -> bytearray:
        """Return the next bytes; what comes with them waits for the next time."""
        if size > _AT_ONCE:
            return self._take_many(size)
        while len(self._waiting) < size:
            data, handles, _, _ = socket.recv_fds(self._end, _AT_ONCE, _MOST_HANDLES, _CLOSE_ON_EXEC)
            if not data:
                raise EOFError
            self._waiting += data
            self._handles += handles
        taken = self._waiting[:size]
        del self._waiting[:size]
        return taken

    def _take_many(self, size: int) -> bytearray:
        data = bytearray(size)
        begun = min(size, len(self._waiting))
        data[:begun] = self._waiting[:begun]
        del self._waiting[:begun]
        rest = memoryview(data)[begun:]
        while rest:
            count = self._end.recv_into(rest)
            if not count:
                raise EOFError
            rest = rest[count:]
        return data
