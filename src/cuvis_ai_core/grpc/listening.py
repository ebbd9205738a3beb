"""What a server listens with: its certificates and its token; and why it cannot listen somewhere."""

import logging
import os
import re
import socket
import ssl
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.settings import Settings

_LONGEST_SOCKET: Final = 107
"""Bytes of the path of a Unix socket."""

_TOKEN: Final = re.compile(rb"[!-~]+")
"""What a header can carry."""

_NOT_NOW: Final = {9: "is not valid yet", 10: "has expired"}
"""What OpenSSL calls X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""

_STEPS: Final = 4
"""So often both sides have to answer until one has seen the other's certificate."""

logger = logging.getLogger(__name__)


def credentials(grpc: Any, settings: Settings) -> Any:
    """Return the credentials of a server with TLS; of a certificate that clients will refuse today, warn.

    Raises:
        ServiceError: A file cannot be read, or holds something else.
    """
    assert settings.tls_certificate is not None
    assert settings.tls_key is not None
    key, chain = _read(settings.tls_key, "--tls-key"), _read(settings.tls_certificate, "--tls-cert")
    authority = read_authority(settings.client_ca, "--client-ca") if settings.client_ca is not None else None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # gRPC says of a wrong file no more than that it cannot listen; it asks for no password.
        context.load_cert_chain(settings.tls_certificate, settings.tls_key, password=lambda: "")
    except (OSError, ValueError) as error:
        raise _refused(
            f"'{settings.tls_certificate}' and '{settings.tls_key}' cannot be used: {_reason(error)}.",
            "Give a certificate chain and its private key without a password, both as PEM: --tls-cert and --tls-key.",
        ) from error
    if refused := _refused_today(context, settings.tls_certificate):
        logger.warning("the certificate '%s' %s: clients refuse it", settings.tls_certificate, refused)
    return grpc.ssl_server_credentials(
        [(key, chain)], root_certificates=authority, require_client_auth=authority is not None
    )


def read_authority(file: Path, option: str) -> bytes:
    """Return the certificates of authorities that a file has.

    Raises:
        ServiceError: It cannot be read, or has none.
    """
    read = _read(file, option)
    try:
        ssl.create_default_context(cafile=file)
    except (OSError, ValueError) as error:
        raise _refused(
            f"'{file}' cannot be used: {_reason(error)}.", f"Give the certificate of an authority as PEM: {option}."
        ) from error
    return read


def read_token(file: Path) -> bytes:
    """Return the token of a file.

    Raises:
        ServiceError: It cannot be read, or holds none that a client could send.
    """
    token = _read(file, "--token-file").strip()
    if not _TOKEN.fullmatch(token):
        what = "no token that a header could carry" if token else "no token"
        raise _refused(f"'{file}' holds {what}.", "Write one line of letters, digits and signs without spaces there.")
    return token


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


def _refused_today(context: ssl.SSLContext, chain: Path) -> str | None:
    """Return what is wrong with the time of a certificate: by a client that trusts it, on a line in memory."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    trusting.load_verify_locations(chain)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (trusting.wrap_bio(back, there), context.wrap_bio(there, back, server_side=True))
    for _ in range(_STEPS):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return _NOT_NOW.get(error.verify_code)
    return None


def _why_no_socket(path: Path) -> str:
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


def _read(file: Path, option: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise _refused(f"'{file}' cannot be read: {error.strerror}.", f"Check the path of {option}.") from error


def _reason(error: Exception) -> str:
    # Some errors of OpenSSL have no reason.
    return (getattr(error, "reason", None) or "they are no PEM, or do not belong together").replace("_", " ").lower()


def _refused(text: str, hint: str) -> ServiceError:
    return ServiceError(text, hint=hint, code="FAILED_PRECONDITION")
