"""What authors of plugins need to test them as users will load them; pytest finds the fixtures by itself.

The names are imported when they are first asked for.
"""

from typing import TYPE_CHECKING

from cuvis_ai_core._lazy_imports import late

if TYPE_CHECKING:
    from cuvis_ai_core.testing.git_host import GitHost
    from cuvis_ai_core.testing.node_checks import NodeCheckError, check_node
    from cuvis_ai_core.testing.reader_checks import ReaderCheckError, check_reader
    from cuvis_ai_core.testing.real_scene import small_scene

__all__ = ["GitHost", "NodeCheckError", "ReaderCheckError", "check_node", "check_reader", "small_scene"]

__getattr__, __dir__ = late(
    __name__,
    {
        "GitHost": "cuvis_ai_core.testing.git_host",
        "NodeCheckError": "cuvis_ai_core.testing.node_checks",
        "check_node": "cuvis_ai_core.testing.node_checks",
        "ReaderCheckError": "cuvis_ai_core.testing.reader_checks",
        "check_reader": "cuvis_ai_core.testing.reader_checks",
        "small_scene": "cuvis_ai_core.testing.real_scene",
    },
)
