"""Sessions, plugins, pipelines and training over gRPC: the server, and a client for people.

Needs the extra `grpc`; nothing of it is imported before it is used.
"""

from typing import TYPE_CHECKING

from cuvis_ai_core._lazy_imports import late

if TYPE_CHECKING:
    from cuvis_ai_core.grpc.client.async_client import AsyncClient
    from cuvis_ai_core.grpc.client.client import Client
    from cuvis_ai_core.grpc.client.training_progress import Progress
    from cuvis_ai_core.grpc.server.server import Server
    from cuvis_ai_core.grpc.server.settings import Settings

__all__ = ["AsyncClient", "Client", "Progress", "Server", "Settings"]

__getattr__, __dir__ = late(
    __name__,
    {
        "AsyncClient": "cuvis_ai_core.grpc.client.async_client",
        "Client": "cuvis_ai_core.grpc.client.client",
        "Progress": "cuvis_ai_core.grpc.client.training_progress",
        # Where published programs look for the messages.
        **dict.fromkeys(("cuvis_ai_pb2", "cuvis_ai_pb2_grpc"), "cuvis_ai_core.grpc.v1"),
        "Server": "cuvis_ai_core.grpc.server.server",
        "Settings": "cuvis_ai_core.grpc.server.settings",
    },
)
