"""A channel to a server; and what is told where none answers, since gRPC tells of its own layers and not what to do."""

import re
from types import TracebackType
from typing import Any, Final

from cuvis_ai_core import errors
from cuvis_ai_core.errors import CuvisError, ServiceError
from cuvis_ai_core.grpc.http_proxies import proxy_hint, without_proxy
from cuvis_ai_core.grpc.server.rpc_dispatch import ERROR, ERROR_ID
from cuvis_ai_core.grpc.server.settings import MIB

LARGEST: Final = 1024 * MIB
"""Bytes of a message."""

_RUNS_THERE: Final = "See that it runs there (cuvis-ai serve), and give host:port or unix:/path, without http://."

_BEGUN_AGAIN: Final = "Start it again (cuvis-ai serve), and make a new client: its sessions are gone."

_HTTP_STATUS: Final = re.compile(r"http2 header with status: (\d{3})")
"""Words of gRPC where something that knows HTTP/2 answers, and no gRPC: a proxy, or a server of another kind."""

_HTTP_STEPS: Final = {
    "401": "Give what it asks for: token=, --token-file; or go to the server itself, past the proxy.",
    "403": "Have whoever runs it let you in; or go to the server itself, past the proxy.",
    "413": "Have whoever runs it raise its limit of a request's size, or send smaller cubes.",
    "429": "It asks to be asked less: try again later.",
}

# Words of gRPC 1.x and BoringSSL: the status is UNAVAILABLE for all of them. The first that fits counts.
_CAUSES: Final = (
    (
        "certificate has expired",
        "the server's certificate has expired",
        "Have its operator renew it (--tls-cert), and start the server again.",
    ),
    (
        "certificate is not yet valid",
        "the server's certificate is not valid yet",
        "Compare the clocks of both machines.",
    ),
    (
        "Hostname Verification",
        "the server's certificate is for another name",
        "Use the name or address that the certificate is for.",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "the server's certificate is not known",
        "Give the certificate of its authority: root_certificates=, --tls-ca.",
    ),
    ("WRONG_VERSION_NUMBER", "the server speaks no TLS", "Leave root_certificates= (--tls-ca) away."),
    (
        "Socket closed",
        "it closes the connection, as a server does that asks for TLS",
        "Give the certificate of its authority: root_certificates=, --tls-ca.",
    ),
    ("Cancelling all calls", "it was stopped during the call", _BEGUN_AGAIN),
    ("Stream removed", "it ended, or the connection broke off, during the call", _BEGUN_AGAIN),
    ("Connection refused", "nothing listens there", _RUNS_THERE),
    ("No such file or directory", "there is no such socket", _RUNS_THERE),
    ("Domain name not found", "there is no machine of that name", _RUNS_THERE),
    ("Failed parsing HTTP/2", "what listens there speaks no gRPC", _RUNS_THERE),
    ("DNS resolution failed", "there is no machine of that name", _RUNS_THERE),
)


def open_channel(grpc: Any, address: str, root_certificates: Any, certificate: Any) -> Any:
    """Return a channel; it connects when something is called.

    Args:
        grpc: The module.
        address: As of `Client`.
        root_certificates: As of `Client`.
        certificate: As of `Client`.

    Raises:
        ServiceError: Certificates are given as something else than PEM.
    """
    # gRPC's own limit is 4 MiB, less than one cube.
    options = [("grpc.max_receive_message_length", LARGEST), ("grpc.max_send_message_length", LARGEST)]
    options += without_proxy(address)
    if root_certificates is None:
        return grpc.insecure_channel(address, options)
    # Checked here: gRPC tells a wrong PEM by its log alone, and later as a server that is not there.
    chain, key = certificate or (None, None)
    for name, pem in (("root_certificates", root_certificates), ("certificate", chain), ("certificate", key)):
        if pem is not None and not (isinstance(pem, bytes) and b"-----BEGIN " in pem):
            raise ServiceError(
                f"{name} is {_shown(pem)}; it is the content of a PEM file, as bytes.",
                hint="Read the file: Path('ca.pem').read_bytes().",
                code="INVALID_ARGUMENT",
            )
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(root_certificates, key, chain), options)


def authorization(token: str | None) -> list[tuple[str, str]]:
    """Return the metadata that a token is sent by.

    Raises:
        ServiceError: It has characters that cannot be sent.
    """
    if token is None:
        return []
    if not (token.isascii() and token.isprintable()):
        raise ServiceError(
            "The token has characters that cannot be sent: it is ASCII, on one line.",
            hint="Compare it with the server's --token-file; a line break at its end is not part of it.",
            code="INVALID_ARGUMENT",
        )
    return [("authorization", f"Bearer {token}")]


class Again:
    """Raises what the server refused as the error that it was there."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import grpc

        if isinstance(error, grpc.RpcError):
            # Without gRPC's own: its text repeats the status, with addresses of files in C++.
            raise _error_of(error, self._address) from None


def _error_of(error: Any, address: str) -> CuvisError:
    trailing = dict(error.trailing_metadata() or ())
    code, words = error.code().name, error.details() or error.code().name
    status = _HTTP_STATUS.search(words)
    if status is not None and ERROR not in trailing:
        return _no_grpc(address, status[1], code)
    # Servers of ours name their class of error; without that the words are of the connection.
    if code == "UNAVAILABLE" and ERROR not in trailing:  # said by gRPC itself
        return _unreachable(address, words)
    kind = getattr(errors, str(trailing.get(ERROR, "")), None)
    usable = isinstance(kind, type) and issubclass(kind, CuvisError) and kind is not errors.PluginsLoadError
    found: CuvisError = kind(words) if usable else ServiceError(words)  # type: ignore[misc]
    vars(found).update(code=code, id=trailing.get(ERROR_ID))
    return found


def _shown(pem: object) -> str:
    return f"{len(pem)} bytes without a PEM block" if isinstance(pem, bytes) else f"a {type(pem).__name__}"


def _no_grpc(address: str, status: str, code: str) -> ServiceError:
    """Return the error for an answer of HTTP that no gRPC server gives.

    Args:
        address: The server's address.
        status: Of HTTP.
        code: The status that gRPC makes of it.
    """
    has_trouble = status.startswith("5")
    step = "Try again later, and see that the server behind it runs (cuvis-ai serve)." if has_trouble else _RUNS_THERE
    return ServiceError(
        f"The server '{address}' answers with the HTTP status {status}, which no gRPC server does: it is another one, "
        "or a proxy before it.",
        hint=_HTTP_STEPS.get(status, step),
        code=code,
    )


def _unreachable(address: str, words: str) -> ServiceError:
    """Return the error for a server that cannot be reached.

    Args:
        address: Its address.
        words: Details of gRPC's status.
    """
    found = next(((what, hint) for sign, what, hint in _CAUSES if sign in words), None)
    what, hint = found or (words, _RUNS_THERE)
    if hint is _RUNS_THERE:
        hint += proxy_hint(address)
    return ServiceError(f"The server '{address}' cannot be reached: {what}.", hint=hint, code="UNAVAILABLE")
