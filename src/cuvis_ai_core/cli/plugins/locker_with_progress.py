"""What the commands that make lock files share."""

from collections.abc import Iterator
from contextlib import contextmanager

from cuvis_ai_core.cli.shared.plugin_loading import plugin_progress
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.lock.locker import Locker
from cuvis_ai_core.plugins.offline import is_offline
from cuvis_ai_core.registry import NodeRegistry


@contextmanager
def locker() -> Iterator[Locker]:
    """Have somebody who makes lock files and shows what happens."""
    with plugin_progress() as display:
        yield Locker(Store(NodeRegistry.get_cache_dir()), display.cuvis_ai_plugin_state, offline=is_offline())
