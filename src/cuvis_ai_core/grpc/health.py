"""`python -m cuvis_ai_core.grpc.health [ADDRESS]`: exit status 0 where a server serves, for containers and scripts.

Without an address it asks the server at `GRPC_PORT` of this machine, also where that speaks TLS: such a server answers
health checks of its own machine, or container, by a socket of their own, without certificates.
"""

import os
import sys
from typing import Final

from cuvis_ai_core.grpc.http_proxies import without_proxy
from cuvis_ai_core.grpc.missing_extra import explain_missing

_SECONDS: Final = 4.0


def health_address(port: int) -> str:
    """Return where the server at a port answers health checks of its own machine, if it speaks TLS."""
    # Abstract: no file that needs a folder, rights and removal, and only this network namespace sees it.
    return f"unix-abstract:cuvis-ai-health-{port}"


def is_serving(address: str) -> bool:
    """Tell whether a server serves."""
    with explain_missing():
        import grpc
        from grpc_health.v1 import health_pb2, health_pb2_grpc

    # A server that speaks TLS has a socket without it for this alone.
    with grpc.insecure_channel(address, without_proxy(address)) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=_SECONDS)
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def main(arguments: list[str]) -> int:
    """Ask the server and return the exit status: 0 where it serves, 1 where not, 2 where nobody can be asked."""
    port = os.environ.get("GRPC_PORT", "50051")
    if not arguments and not port.isdecimal():
        sys.stderr.write(f"GRPC_PORT is '{port}', which is no port; give the server's, or its address: HOST:PORT\n")
        return 2
    addresses = arguments[:1] or [health_address(int(port)), f"localhost:{port}"]
    return 0 if any(map(is_serving, addresses)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
