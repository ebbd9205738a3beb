"""Why a server cannot listen where it was told to: its port or its Unix socket."""

import os
import socket
from pathlib import Path
from typing import Final

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.server.settings import Settings

_LONGEST_SOCKET: Final = 107
"""Bytes of the path of a Unix socket."""


def why_not(settings: Settings) -> ServiceError:
    """Return the error that says why a server cannot listen where it was told to."""
    if settings.uds is not None:
        return ServiceError(
            f"'{settings.uds}' cannot be listened on: {_why_no_socket(settings.uds.absolute())}.",
            hint="Choose another path with --uds.",
            code="UNAVAILABLE",
        )
    return ServiceError(
        f"{settings.host}:{settings.port} cannot be listened on: {_why_no_port(settings.host, settings.port)}.",
        hint="Choose another with --port or --host; --port 0 takes a free one.",
        code="UNAVAILABLE",
    )


def _why_no_socket(path: Path) -> str:
    # `sun_path` has 108 bytes on Linux, one of them the zero; gRPC says only that it failed.
    if len(os.fsencode(path)) > _LONGEST_SOCKET:
        return f"it is longer than the {_LONGEST_SOCKET} bytes that a socket's path may have"
    if not path.parent.is_dir():
        return f"there is no folder '{path.parent}'"
    if path.exists():
        return "something else is there, or another server listens on it"
    return "its folder cannot be written"


def _why_no_port(host: str, port: int) -> str:
    """Try what gRPC tried, which says no more than that it failed."""
    try:
        family, kind, *_, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as asked:
            asked.bind(address)
    except socket.gaierror:
        return f"'{host}' is no address and no name of this machine"
    except OSError as error:
        return error.strerror or str(error)
    return "it is in use, or no address of this machine"
