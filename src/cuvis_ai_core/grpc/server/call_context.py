"""What all calls have at hand: settings, sessions, roots; and one call with what belongs to it."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.messages.schema_generations import parse_generation
from cuvis_ai_core.grpc.server.access_log import Watch
from cuvis_ai_core.grpc.server.allowed_paths import Roots
from cuvis_ai_core.grpc.server.open_sessions import Session, Sessions
from cuvis_ai_core.grpc.server.settings import Settings
from cuvis_ai_core.grpc.server.telemetry import Metrics
from cuvis_ai_core.grpc.shared_memory.dev_shm_blocks import sweep
from cuvis_ai_core.plugins.policy import policy
from cuvis_ai_core.registry import NodeRegistry

MOST_NODES, MOST_EDGES = 1000, 5000
"""Of a pipeline that a client sends: building one takes time that nothing stops."""

GENERATION = "cuvis-schemas"
"""Metadata with which a client says which version of the schemas it speaks."""


class Service:
    """The state of a server.

    Args:
        settings: How it is set up.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.sessions = Sessions(
            self.settings.max_sessions,
            self.settings.max_queue,
            idle=self.settings.session_idle,
            tidy=sweep,
            registry=self._registry,
        )
        self.roots = Roots(self.settings.read_roots(), self.settings.writable_roots())
        self.metrics = Metrics(lambda: len(self.sessions)) if self.settings.metrics_port is not None else None
        self.watch = Watch(self.metrics)
        self.working = threading.BoundedSemaphore(self.settings.workers)
        """Held by each call that is worked on: threads are as many as calls, since some wait for their messages."""
        # Half of the places: a training takes one for hours.
        self._trainings = threading.Semaphore(max(self.settings.workers // 2, 1))

    @contextmanager
    def training(self) -> Iterator[None]:
        """Count a training: each has a process, and some processors are to be left.

        Raises:
            ServiceError: As many as there may be are under way.
        """
        if not self._trainings.acquire(blocking=False):
            raise ServiceError("As many trainings as this server does are under way.", code="RESOURCE_EXHAUSTED")
        try:
            yield
        finally:
            self._trainings.release()

    def _registry(self) -> NodeRegistry:
        """Return a registry for a session; installed plugins take part where the server may load them."""
        return NodeRegistry(discover=self.discovers)

    @property
    def discovers(self) -> bool:
        """Whether installed plugins take part."""
        return self.settings.is_local or policy() is not None

    @property
    def runs_anything(self) -> bool:
        """Whether clients may have any code of this machine run: those on it, where no policy says otherwise."""
        return self.settings.is_local and policy() is None

    def policy_words(self) -> str:
        """Return what is said of the plugins that clients may have loaded."""
        found = policy()
        if found is not None:
            return f"as {found.path} says"
        return "all" if self.settings.is_local else "none (no policy)"

    def check_nodes(self, registry: NodeRegistry, content: Mapping[str, Any]) -> None:
        """Refuse a pipeline of too many nodes, and nodes of other classes where other machines send pipelines.

        Those that are built in, and those of loaded plugins, are taken.

        Args:
            registry: The session's.
            content: The pipeline, its interpolations resolved.

        Raises:
            ServiceError: It has too many, or a class would be imported from wherever it may lie.
        """
        nodes, edges = content.get("nodes"), content.get("edges")
        if _is_longer(nodes, MOST_NODES) or _is_longer(edges, MOST_EDGES):
            raise ServiceError(
                f"A pipeline has up to {MOST_NODES} nodes and {MOST_EDGES} edges here.", code="RESOURCE_EXHAUSTED"
            )
        if self.settings.is_local or not isinstance(nodes, list):
            return
        known = {name for entry in registry.nodes() for name in (entry.name, entry.path)}
        for node in nodes:
            # Both spellings: a published client writes `class_name`, our own files may have `class`.
            name = (node.get("class_name") or node.get("class")) if isinstance(node, Mapping) else None
            if isinstance(name, str) and name not in known:
                raise ServiceError(
                    f"There is no node class '{name[:200]}': it is not built in, and of no plugin of the session.",
                    code="INVALID_ARGUMENT",
                )

    def check_plugin(self, name: str, plugin: Any) -> None:  # noqa: ARG002
        """Refuse a plugin where other machines reach this server, and no policy says what may be loaded.

        Where there is a policy, whoever loads asks it.

        Raises:
            ServiceError: There is none.
            PolicyError: It is broken.
        """
        if self.settings.is_local or policy() is not None:
            return
        raise ServiceError(
            f"Plugin '{name}' may not be loaded: this server can be reached from other machines, and has no policy.",
            hint="Whoever runs the server names in a policy (CUVIS_POLICY) what may be loaded.",
            code="PERMISSION_DENIED",
        )


@dataclass(slots=True)
class Call:
    """One call.

    Attributes:
        service: The state of the server.
        request: What was sent.
        context: gRPC's context of the call.
        owner: The session that the request names, if it names one.
    """

    service: Service
    request: Any
    context: Any
    owner: Session | None = None

    @property
    def session(self) -> Session:
        """The session of the request.

        Raises:
            ServiceError: It names none.
        """
        if self.owner is None:
            raise ServiceError("The call names no session.", code="NOT_FOUND")
        return self.owner

    def metadata(self, key: str) -> str | None:
        """Return what the client sent under a key of the call's metadata."""
        found = next((value for name, value in self.context.invocation_metadata() or () if name == key), None)
        return found if isinstance(found, str) else None

    @property
    def generation(self) -> tuple[int, int]:
        """The version of the schemas that the client speaks: told by it, shown by its calls, or that of the server."""
        given = self.metadata(GENERATION)
        if given is not None:
            return parse_generation(given)
        known = self.owner.generation if self.owner is not None else None
        return known or self.service.settings.generation


Handler = Callable[[Call], Any]
"""From a call to the message that answers it."""


def _is_longer(value: object, most: int) -> bool:
    return isinstance(value, list) and len(value) > most
