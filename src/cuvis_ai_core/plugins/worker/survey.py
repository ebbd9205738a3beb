"""What the environment of a plugin consists of, for a lock file."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from cuvis_ai_core.plugins.cache.sources import Source
from cuvis_ai_core.plugins.failing import failing
from cuvis_ai_core.plugins.installing.uv import Uv
from cuvis_ai_core.plugins.installing.wheels import Wheels
from cuvis_ai_core.plugins.manager import PluginState
from cuvis_ai_core.plugins.ready import Request
from cuvis_ai_core.plugins.worker.installing import environment_for
from cuvis_ai_core.plugins.worker.wanted import source_of, wanted_for


class Surveyed(NamedTuple):
    """What was found out about a plugin.

    Attributes:
        source: Its code.
        wheels: The wheels of everything in its environment, but for the plugin and this package.
    """

    source: Source
    wheels: Sequence[Wheels]


def survey(name: str, request: Request) -> Surveyed:
    """Have the environment of a plugin, and return what is in it.

    Args:
        name: Name of the plugin in its manifest.
        request: What is wanted.

    Raises:
        PluginLoadError: A step failed.
    """
    with failing(name, partial(request.announce, name), PluginState.DOWNLOADING) as enter:
        declared = request.plugins[name]
        source = source_of(name, declared, request)
        enter(PluginState.INSTALLING, None)
        wanted = wanted_for(name, declared, source, request)
        environment = environment_for(wanted, request.store, offline=request.offline, enter=enter)
        with request.store.workspace() as folder:
            uv = Uv(name, folder, request.offline, request.store.wheels)
            return Surveyed(source, uv.wheels(environment.pins, environment.python) if environment.pins else ())
