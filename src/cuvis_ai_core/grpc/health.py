"""`python -m cuvis_ai_core.grpc.health [ADDRESS]`: exit status 0 where a server serves, for containers and scripts.

Without an address it asks `GRPC_PORT` of this machine. With TLS (`GRPC_TLS_CERT_PATH`, or a certificate in
`/run/secrets/tls.crt`) the server's own certificate is what it is checked with.
"""

import os
import sys
from pathlib import Path
from typing import Final

from cuvis_ai_core.grpc.extra import explain_missing

_SECRET: Final = "/run/secrets/tls.crt"  # noqa: S105 - a path
_SECONDS: Final = 4.0


def is_serving(address: str, certificate: Path | None = None) -> bool:
    """Tell whether a server serves, by the name in its certificate if it has one."""
    with explain_missing():
        import grpc
        from grpc_health.v1 import health_pb2, health_pb2_grpc

    if certificate is None:
        channel = grpc.insecure_channel(address)
    else:
        channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(certificate.read_bytes()))
    with channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=_SECONDS)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def main(arguments: list[str]) -> int:
    """Ask the server and return the exit status."""
    given = os.environ.get("GRPC_TLS_CERT_PATH", _SECRET)
    certificate = Path(given) if not arguments and Path(given).is_file() else None
    address = arguments[0] if arguments else f"localhost:{os.environ.get('GRPC_PORT', '50051')}"
    return 0 if is_serving(address, certificate) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
