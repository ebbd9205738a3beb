"""What arrives on a connection is a message, or refused."""

import socket

import pytest

from cuvis_ai_core.plugins.worker import message_framing
from cuvis_ai_core.plugins.worker.message_framing import Channel


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
