"""What arrives on a connection is a message, or refused."""

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from cuvis_ai_core.plugins.worker import message_framing
from cuvis_ai_core.plugins.worker.message_framing import Channel


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    """Return both ends of a connection."""
    here, there = socket.socketpair()
    with here, there:
        yield Channel(here), Channel(there)


@pytest.mark.parametrize(("header", "data"), [(2**28 + 1, 0), (2, 2**36 + 1)])
def test_a_message_that_says_it_is_endless_is_refused(header: int, data: int) -> None:
    """Before memory is taken for it, or anything waited for."""
    here, there = socket.socketpair()
    with here, there:
        there.sendall(message_framing._PREFIX.pack(header, data, 0) + b"{}")
        with pytest.raises(ValueError, match="too long"):
            Channel(here).receive(seconds=1)


def test_a_header_without_bottom_is_refused() -> None:
    """As what is no message, not as a fault of ours."""
    here, there = socket.socketpair()
    with here, there:
        there.sendall(message_framing._PREFIX.pack(100_000, 0, 0) + b"[" * 100_000)
        with pytest.raises(ValueError, match="nested too deeply"):
            Channel(here).receive(seconds=1)


def test_a_message_comes_through_as_it_was_sent() -> None:
    """Header and bytes."""
    here, there = socket.socketpair()
    with here, there:
        Channel(there).send({"what": ["call", 1.5]}, [b"some", b" bytes"])
        message = Channel(here).receive(seconds=10)
    assert (message.header, bytes(message.data), message.handles) == ({"what": ["call", 1.5]}, b"some bytes", [])


def test_messages_come_one_after_the_other(ends: tuple[Channel, Channel]) -> None:
    """Whether they came with the one before or in pieces, and were waited for; none is cut or runs into the next."""
    here, there = ends
    sizes = [0, 1, 2**16 - 1, 2**16, 2**16 + 1, 500_000, 3]

    def send() -> None:
        for number, size in enumerate(sizes):
            there.send({"number": number}, [bytes([number]) * size], seconds=60)

    sender = threading.Thread(target=send)
    threading.Timer(0.01, sender.start).start()
    for number, size in enumerate(sizes):
        message = here.receive(seconds=60)
        assert (message.header, bytes(message.data)) == ({"number": number}, bytes([number]) * size)
    sender.join(60)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="handles cross to no worker there")
def test_more_handles_cross_than_the_system_takes_at_once(ends: tuple[Channel, Channel]) -> None:
    """In their order, each with its own message, and not to a program that is started meanwhile."""
    here, there = ends
    files = [os.memfd_create(f"{number}") for number in range(201)]
    received: list[int] = []
    try:
        there.send("some", [b"bytes"], files[:200])
        there.send("more", [b"of", b"them"], files)
        there.send("none")
        for said, data, sent in (("some", b"bytes", files[:200]), ("more", b"ofthem", files), ("none", b"", [])):
            message = here.receive(seconds=60)
            received += message.handles
            assert (message.header, bytes(message.data)) == (said, data)
            assert [os.fstat(each).st_ino for each in message.handles] == [os.fstat(each).st_ino for each in sent]
            assert not any(map(os.get_inheritable, message.handles))
    finally:
        for handle in (*files, *received):
            os.close(handle)


def test_nobody_is_waited_for_longer_than_is_said(ends: tuple[Channel, Channel]) -> None:
    """Neither for the beginning or the middle of a message, nor for somebody to take one."""
    here, there = ends
    for begun in (b"", message_framing._PREFIX.pack(2, 0, 0) + b"1", message_framing._PREFIX.pack(1, 2**17, 0) + b"1"):
        there._end.sendall(begun)
        with pytest.raises(TimeoutError):
            here.receive(seconds=0.01)
        here._waiting.clear()
    with pytest.raises(TimeoutError):
        there.send("much", [bytes(10_000_000)], seconds=0.01)


@pytest.mark.parametrize("size", [0, 2**17])
def test_whoever_waits_is_told_of_the_end(ends: tuple[Channel, Channel], size: int) -> None:
    """Whether he waits for a message or for more of one; at both ends, and what is given back is closed."""
    here, there = ends
    if size:
        there._end.sendall(message_framing._PREFIX.pack(1, size, 0) + b"1")
    threading.Timer(0.01, here.close).start()
    with pytest.raises(EOFError):
        here.receive(seconds=60)
    with pytest.raises(EOFError):
        there.receive(seconds=60)
    here.dispose()
    here.close()
    assert here._end.fileno() == -1
