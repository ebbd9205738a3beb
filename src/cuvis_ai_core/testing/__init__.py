"""What authors of plugins need to test them as users will load them; pytest finds the fixtures by itself.

The names are imported when they are first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cuvis_ai_core.testing.git_host import GitHost
    from cuvis_ai_core.testing.node_checks import NodeCheckError, check_node
    from cuvis_ai_core.testing.reader_checks import ReaderCheckError, check_reader
    from cuvis_ai_core.testing.scenes import small_scene

__all__ = ["GitHost", "NodeCheckError", "ReaderCheckError", "check_node", "check_reader", "small_scene"]

_HOMES = {
    "GitHost": "cuvis_ai_core.testing.git_host",
    "NodeCheckError": "cuvis_ai_core.testing.node_checks",
    "check_node": "cuvis_ai_core.testing.node_checks",
    "ReaderCheckError": "cuvis_ai_core.testing.reader_checks",
    "check_reader": "cuvis_ai_core.testing.reader_checks",
    "small_scene": "cuvis_ai_core.testing.scenes",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
