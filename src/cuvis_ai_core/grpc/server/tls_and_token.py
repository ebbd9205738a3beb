"""What a server knows its clients by, and they it: certificates and the token."""

import hmac
import logging
import re
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.server.settings import Settings
from cuvis_ai_core.grpc.server.slow_clients import HEALTH

_TOKEN: Final = re.compile(rb"[!-~]+")
"""What a header can carry."""

_NOT_NOW: Final = {9: "is not valid yet", 10: "has expired"}
"""What OpenSSL calls X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""

_AT_ANY_TIME: Final = 0x200000
"""What OpenSSL calls X509_V_FLAG_NO_CHECK_TIME; the `ssl` module has no name for it."""

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
        # With an empty password: OpenSSL would ask for one at the terminal.
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
    # Editors end a file with a line break.
    token = _read(file, "--token-file").strip()
    if not _TOKEN.fullmatch(token):
        what = "no token that a header could carry" if token else "no token"
        raise _refused(f"'{file}' holds {what}.", "Write one line of letters, digits and signs without spaces there.")
    return token


def token_guard(settings: Settings) -> Any:
    """Return what lets no call pass without the token, but for those that ask for the server's health."""
    import grpc

    assert settings.token_file is not None
    expected = b"Bearer " + read_token(settings.token_file)

    def refuse(_: Any, context: Any) -> None:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "The call has no valid token: send 'authorization: Bearer …'.")

    refusal = grpc.stream_unary_rpc_method_handler(refuse)  # its message is not waited for
    streaming = grpc.stream_stream_rpc_method_handler(refuse)

    class Guard(grpc.ServerInterceptor):
        """Looks at the token of each call."""

        def intercept_service(self, continuation: Any, details: Any) -> Any:
            if details.method.startswith(HEALTH):
                return continuation(details)
            sent = [value for key, value in details.invocation_metadata if key == "authorization"]
            # Two headers of that name: which one counts would be a matter of who reads them.
            given = sent[0] if len(sent) == 1 else ""
            # In constant time: the length of a comparison would tell how much of a token is right.
            if hmac.compare_digest(given.encode() if isinstance(given, str) else given, expected):
                return continuation(details)
            return streaming if "reflection" in details.method else refusal

    return Guard()


def _refused_today(context: ssl.SSLContext, chain: Path) -> str | None:
    """Return what is wrong with the time of a certificate, and what times it names."""
    fault, _ = _seen_by_client(context, chain)
    if fault not in _NOT_NOW:
        return None
    _, seen = _seen_by_client(context, chain, _AT_ANY_TIME)
    times = f" (it is valid from {seen['notBefore']} to {seen['notAfter']})" if seen else ""
    return f"{_NOT_NOW[fault]}{times}"


def _seen_by_client(context: ssl.SSLContext, chain: Path, flags: int = 0) -> tuple[int, dict[str, Any]]:
    """Return what is wrong with a certificate by OpenSSL's number, and itself, as a client sees it that trusts it."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    # A certificate of an authority that is not in the file is judged by its own dates.
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | flags
    trusting.load_verify_locations(chain)
    # The `ssl` module has no way to read the dates of a certificate but a handshake.
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (trusting.wrap_bio(back, there), context.wrap_bio(there, back, server_side=True))
    try:
        for _ in range(_STEPS):
            for side in sides:
                with suppress(ssl.SSLWantReadError):
                    side.do_handshake()
        return 0, sides[0].getpeercert() or {}
    # Also where the two do not come to terms at all: this is for a warning, and ends no start.
    except (ssl.SSLError, ValueError) as error:
        return getattr(error, "verify_code", 0), {}


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
