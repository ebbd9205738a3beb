"""Messages between host and worker: a header of JSON, bytes behind it, and handles of shared memory.

JSON and bytes are data, whatever they hold: reading a message executes nothing.
"""

import json
import os
import select
import socket
import struct
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

_Received = TypeVar("_Received")

_PREFIX: Final = struct.Struct("!IQH")
"""Length of the header, length of the bytes, number of handles."""

# SCM_MAX_FD of Linux is 253; what is above it fails as a whole.
_MOST_HANDLES: Final = 200
"""How many handles cross at once; Linux takes 253."""

_ROOM_FOR_HANDLES: Final = socket.CMSG_LEN(_MOST_HANDLES * array("i").itemsize)

# A peer that went wrong must not have us ask the system for any number that its eight bytes can name.
_LONGEST_HEADER: Final = 2**28
_LONGEST_BYTES: Final = 2**36

_AT_ONCE: Final = 2**16
"""Bytes that are asked for at once: most messages are smaller."""

_IMPATIENCE: Final = 0.0002 if (os.cpu_count() or 1) > 1 else 0.0
"""Seconds for which the socket is asked again and again. Who sleeps is woken late, by some 50 µs for the call and for
its answer; most answers come sooner. Where there is only one processor, the other end needs it."""

# Made once: `json.dumps` with separators makes an encoder for each call.
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
        # `poll`, not `select`: that knows no file number above 1023, and refuses others with a ValueError.
        self._readable = select.poll()
        self._readable.register(end, select.POLLIN)
        self._writable = select.poll()
        self._writable.register(end, select.POLLOUT)
        self._waiting = bytearray()
        self._handles: list[int] = []

    def send(
        self,
        header: object,
        data: Iterable[bytes | bytearray] = (),
        handles: Sequence[int] = (),
        seconds: float | None = None,
    ) -> None:
        """Send a message.

        Args:
            header: Whatever JSON can hold.
            data: The bytes behind it.
            handles: File descriptors, of which the receiver gets copies.
            seconds: How long to wait for the other end to take a part of it; None means without end.

        Raises:
            OSError: The other end is gone, or time is up.
        """
        text = _encode(header).encode()
        parts = list(data)
        # One copy and one call of the system: a small message in three parts would take three.
        message = b"".join((_PREFIX.pack(len(text), sum(map(len, parts)), len(handles)), text, *parts))
        # Handles travel with a byte each time; a text that tells of so many is longer than that.
        begun = 0
        for first in range(0, len(handles), _MOST_HANDLES):
            # Linux drops handles that come with no byte at all.
            socket.send_fds(self._end, [message[begun : begun + 1]], handles[first : first + _MOST_HANDLES])
            begun += 1
        self._send_all(memoryview(message)[begun:], seconds)

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
        length, size, count = _PREFIX.unpack(self._take(_PREFIX.size, seconds))
        if length > _LONGEST_HEADER or size > _LONGEST_BYTES:
            raise ValueError("a message too long")
        text = self._take(length, seconds).decode()
        try:
            header = json.loads(text)
        # The parser of JSON calls itself for each level; a header may be of a plugin's making.
        except RecursionError:
            raise ValueError("a message that is nested too deeply") from None
        data = self._take(size, seconds)
        handles, self._handles = self._handles[:count], self._handles[count:]
        return Message(header, data, handles)

    def _send_all(self, rest: memoryview, seconds: float | None) -> None:
        while rest:
            try:
                # Per call, not by `setblocking`: the socket's mode would be changed for the other thread that reads.
                rest = rest[self._end.send(rest, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                if not self._writable.poll(_milliseconds(seconds)):
                    raise TimeoutError from None

    def close(self) -> None:
        """End the connection; whoever waits at either end is told."""
        try:
            # `close` alone wakes nobody: a thread in `recvmsg` goes on waiting at a file that has no number any more.
            self._end.shutdown(socket.SHUT_RDWR)
        except OSError:  # it is broken already
            return

    def dispose(self) -> None:
        """Give the socket back, when nobody waits any more."""
        self._end.close()

    def _take(self, size: int, seconds: float | None) -> bytearray:
        """Return the next bytes; what comes with them waits for the next time."""
        if size > _AT_ONCE:
            return self._take_many(size, seconds)
        while len(self._waiting) < size:
            data, sent_along, *_ = self._when_there(self._receive, seconds)
            if not data:
                raise EOFError
            self._waiting += data
            for _, _, handles in sent_along:
                self._handles += array("i", handles)
        taken = self._waiting[:size]
        del self._waiting[:size]
        return taken

    def _receive(self) -> Any:
        # Not `socket.recv_fds`, which up to Python 3.13 forgets the flags.
        return self._end.recvmsg(_AT_ONCE, _ROOM_FOR_HANDLES, _CLOSE_ON_EXEC | socket.MSG_DONTWAIT)

    def _take_many(self, size: int, seconds: float | None) -> bytearray:
        data = bytearray(size)
        begun = min(size, len(self._waiting))
        data[:begun] = self._waiting[:begun]
        del self._waiting[:begun]
        rest = memoryview(data)[begun:]
        while rest:
            count = self._when_there(partial(self._end.recv_into, rest, 0, socket.MSG_DONTWAIT), seconds)
            if not count:
                raise EOFError
            rest = rest[count:]
        return data

    def _when_there(self, receive: Callable[[], _Received], seconds: float | None) -> _Received:
        """Return what there is to be received, once there is something."""
        patient = time.perf_counter() + _IMPATIENCE
        while True:
            try:
                return receive()
            except BlockingIOError:
                if time.perf_counter() < patient:
                    continue
            if not self._readable.poll(_milliseconds(seconds)):
                raise TimeoutError


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000
