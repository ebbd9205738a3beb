"""The published place of the calls about plugins; thin, over `server.calls.plugins`."""

from typing import Any

from cuvis_ai_core.grpc.server.call_context import Call, Service
from cuvis_ai_core.grpc.server.calls import plugins
from cuvis_ai_core.grpc.server.open_sessions import Sessions


class PluginService:
    """The calls about plugins, as a servicer has them: each takes a request and gRPC's context.

    Args:
        sessions: Whose sessions requests name; by default new ones, which `sessions` gives.
    """

    def __init__(self, sessions: Sessions | None = None) -> None:
        self._service = Service()
        if sessions is not None:
            self._service.sessions = sessions

    @property
    def sessions(self) -> Sessions:
        """The sessions that requests name."""
        return self._service.sessions

    def load_plugins(self, request: Any, context: Any = None) -> Any:
        """Load the plugins of a manifest."""
        return plugins.load_plugins(self._call(request, context))

    def load_plugin(self, request: Any, context: Any = None) -> Any:
        """Load the plugin of a manifest."""
        return plugins.load_plugin(self._call(request, context))

    def list_loaded_plugins(self, request: Any, context: Any = None) -> Any:
        """List the plugins of a session."""
        return plugins.list_loaded_plugins(self._call(request, context))

    def get_plugin_info(self, request: Any, context: Any = None) -> Any:
        """Say what was loaded under a name."""
        return plugins.get_plugin_info(self._call(request, context))

    def list_available_nodes(self, request: Any, context: Any = None) -> Any:
        """List all nodes with their ports."""
        return plugins.list_available_nodes(self._call(request, context))

    def clear_plugin_cache(self, request: Any, context: Any = None) -> Any:
        """Remove from the plugin cache what is not in use."""
        return plugins.clear_plugin_cache(self._call(request, context))

    def _call(self, request: Any, context: Any) -> Call:
        # Not every message has a session.
        owner = self.sessions.get(request.session_id) if hasattr(request, "session_id") else None
        return Call(self._service, request, context or _NoContext(), owner)


class _NoContext:
    """The context of a call that came by no wire."""

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata: none."""
        return ()
