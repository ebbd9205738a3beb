"""Which code and which environment a plugin in a process of its own is to have."""

from functools import partial

from cuvis_ai_core.errors import PluginLoadError
from cuvis_ai_core.plugins.cache.environment import Environment, read_environment
from cuvis_ai_core.plugins.cache.sources import Source, content_of
from cuvis_ai_core.plugins.installing.installed import announce_source, source_on_disk
from cuvis_ai_core.plugins.installing.request import InstallRequest
from cuvis_ai_core.plugins.installing.virtual_environment import Wanted
from cuvis_ai_core.plugins.manager import PluginState
from cuvis_ai_core.plugins.manifest import GitPlugin, LocalPlugin


def known_environment(
    name: str, declared: GitPlugin | LocalPlugin, source: Source, request: InstallRequest
) -> Environment | None:
    """Return the environment of a plugin that is there already, as its marker describes it; None where there is none.

    Raises:
        CuvisError: The plugin's code is not what is meant.
    """
    return read_environment(wanted_for(name, declared, source, request).folder)


def wanted_for(name: str, declared: GitPlugin | LocalPlugin, source: Source, request: InstallRequest) -> Wanted:
    """Return which environment a plugin is to have.

    Raises:
        CuvisError: The plugin's code, or what is locked of it, is not what is meant.
    """
    place = request.store.environments(name, content_of(declared, source))
    return Wanted(name, declared, source, place, request.versions.environment(name))


def source_of(name: str, declared: GitPlugin | LocalPlugin, request: InstallRequest) -> Source:
    """Return the code of a plugin, fetched where it is not there.

    Raises:
        SourceError: It cannot be had.
        LockError: It is not what is locked.
    """
    found = source_on_disk(name, declared, request.store)
    if found is not None:
        request.versions.check(name, found)
        announce_source(request, name, found)
        return found
    from cuvis_ai_core.plugins.installing.installer import Installer

    quiet = partial(_tell_all_but_failure, request)
    preparation = Installer(request._replace(plugins={name: declared}, announce=quiet))
    preparation.fetch()
    failed = preparation.results().get(name)
    if isinstance(failed, PluginLoadError):
        raise failed.__cause__ or failed
    return preparation.source(name)


def _tell_all_but_failure(request: InstallRequest, name: str, state: PluginState, detail: str) -> None:
    if state is not PluginState.FAILED:  # which whoever asked says
        request.announce(name, state, detail)
