"""What systemd is told of a server that it has started, where its unit is of the type `notify`."""

import os
import socket
from contextlib import suppress


def tell(state: str) -> None:
    """Say what the server does now, as `READY=1`; nothing happens where nobody asked for it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
        return
    # Some ten lines of a protocol that does not change: systemd's own library would be a dependency in C.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        # '@' stands for the zero byte of an abstract socket (sd_notify(3)).
        end.sendto(state.encode(), address.replace("@", "\0", 1) if address.startswith("@") else address)
