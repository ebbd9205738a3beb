"""What of a manifest is installed already: no process, no connection and no lock is needed to see that."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core.errors import CuvisError, DependencyConflictError, MissingExtraError, OperatorConflictError
from cuvis_ai_core.plugins.cache import policy_checks
from cuvis_ai_core.plugins.cache.sources import Source, content_of, local_source, usable_source
from cuvis_ai_core.plugins.cache.store import Store, leads_out
from cuvis_ai_core.plugins.cache.target_entry import target_for
from cuvis_ai_core.plugins.dependencies import host_environment
from cuvis_ai_core.plugins.installing.install_request import InstallRequest
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin
from cuvis_ai_core.plugins.plugin_info import PluginState, code_is_there

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.cache.environment_entry import Environment
    from cuvis_ai_core.plugins.cache.target_entry import Target

Place: TypeAlias = "Target | Environment"
"""Where a plugin is installed: in a target directory for this process, in an environment for one of its own."""

NEED_PROCESS: Final = (DependencyConflictError, OperatorConflictError, MissingExtraError)
"""Why a plugin cannot live in this process, but in one of its own (`isolation: auto`)."""


class Installed(NamedTuple):
    """A plugin that is fetched and installed.

    Attributes:
        source: Its code.
        place: Where it is installed.
    """

    source: Source
    place: Place


def with_processes(request: InstallRequest, wanted: Collection[str]) -> InstallRequest:
    """Return a request in which it is decided which plugins get a process of their own; of those only the wanted ones.

    Args:
        request: What is to be there together.
        wanted: Names of those that are to be loaded; the others are loaded already.
    """
    apart = frozenset(name for name in request.plugins if _needs_own_process(name, request))
    plugins = {name: each for name, each in request.plugins.items() if name not in apart or name in wanted}
    return request._replace(plugins=plugins, processes=apart & plugins.keys())


def _needs_own_process(name: str, request: InstallRequest) -> bool:
    """Tell whether a plugin runs in a process of its own: by its manifest or lock file, or because it had to before."""
    declared = request.plugins[name]
    isolation = request.versions.isolation(name, declared)
    if isolation != "auto":
        return isolation == "process"
    with suppress(CuvisError):  # whoever loads it says what is wrong
        source = source_on_disk(name, declared, request.store)
        if source is not None:
            # Few manifests have processes: a warm load without one does not pay for these imports.
            from cuvis_ai_core.plugins.cache.environment_entry import read_environment
            from cuvis_ai_core.plugins.installing.host_wheels import environment_folder

            place = request.store.environments(name, content_of(declared, source))
            known = read_environment(environment_folder(place, declared, request.versions.environment(name)))
            # An `auto` plugin remembers why it went: else each load would resolve, fail, and begin again.
            return known is not None and host_environment.fingerprint() in known.refused
    return False


def find_installed(request: InstallRequest) -> dict[str, Installed]:
    """Return the plugins, if all are installed; none where something is missing or wrong, for installing to tell."""
    places: dict[str, Path] = {}
    sources: dict[str, Source] = {}
    try:
        for name, declared in request.plugins.items():
            policy_checks.judged(name, declared, own_process=name in request.processes)
            source = source_on_disk(name, declared, request.store)
            if source is None:
                return {}
            request.versions.check(name, source)
            places[name] = place_of(name, source, request)
            sources[name] = source
        keys = keys_of(places, request)
        found = {name: usable_place(name, place, keys, request) for name, place in places.items()}
        installed = {name: Installed(sources[name], place) for name, place in found.items() if place is not None}
        if len(installed) < len(sources):
            return {}
        for name, source in sources.items():
            # Last: it may start git, and what is not there wholly is looked at again anyhow.
            policy_checks.signed(name, request.plugins[name], source)
    # Looking must not fail: installing finds the same, and says it with the step in which it happened.
    except CuvisError:
        return {}
    for name, source in sources.items():
        announce_source(request, name, source)
    return installed


def announce_source(request: InstallRequest, name: str, source: Source) -> None:
    """Tell observers that the code of a plugin is there."""
    declared = request.plugins[name]
    if isinstance(declared, LocalPlugin):
        request.announce(name, *code_is_there(str(source.folder), None, None))
    else:
        request.announce(name, *code_is_there(without_credentials(declared.repo), declared.tag, source.commit))


def first_step(declared: GitPlugin | LocalPlugin) -> PluginState:
    """Return what is done first about a plugin: its repository is asked, or its path is looked up."""
    return PluginState.RESOLVING if isinstance(declared, LocalPlugin) else PluginState.DOWNLOADING


def source_on_disk(name: str, declared: GitPlugin | LocalPlugin, store: Store) -> Source | None:
    """Return the code of a plugin, counted as in use from now on; None where it has to be fetched.

    Raises:
        SourceError: The path is not there, or the checkout was altered.
    """
    if isinstance(declared, LocalPlugin):
        return local_source(declared.path)
    return usable_source(name, declared, store)


def place_of(name: str, source: Source, request: InstallRequest) -> Path:
    """Return the folder below which what is installed of a plugin's content lies.

    Raises:
        SourceError: The subdirectory is not there, or leads out of the checkout.
    """
    content = content_of(request.plugins[name], source)
    return (request.store.environments if name in request.processes else request.store.targets)(name, content)


def keys_of(places: Mapping[str, Path], request: InstallRequest) -> dict[str, str]:
    """Return what the choice of versions depends on, for each plugin whose versions have to suit this process."""
    return request.versions.keys({name: place for name, place in places.items() if name not in request.processes})


def usable_place(name: str, place: Path, keys: Mapping[str, str], request: InstallRequest) -> "Place | None":
    """Return where a plugin is installed with the chosen versions, counted as in use from now on; None if it is not.

    Args:
        name: Name of the plugin.
        place: The folder below which what is installed of its content lies.
        keys: What the choice of versions depends on.
        request: What is wanted.

    Raises:
        CacheMismatchError: It is there, but was altered.
        LockError: A lock file says nothing about it.
        NotAllowedError: The policy does not allow what it needs.
    """
    own, shared = request.store, request.store.shared
    found = _place_in(own, name, place, keys, request, write=True)
    if found is None and shared is not None:
        shared.refuse_foreign()
        there = shared.root / place.relative_to(own.root)
        # A shared store is somebody else's to write: a link in it could have code loaded from anywhere.
        found = None if leads_out(there, shared.root) else _place_in(shared, name, there, keys, request, write=False)
    return found


def _place_in(
    store: Store, name: str, place: Path, keys: Mapping[str, str], request: InstallRequest, *, write: bool
) -> "Place | None":
    if name in request.processes:
        from cuvis_ai_core.plugins.cache.environment_entry import usable_environment
        from cuvis_ai_core.plugins.installing.host_wheels import environment_folder

        folder = environment_folder(place, request.plugins[name], request.versions.environment(name))
        environment = usable_environment(folder, store, write=write)
        if environment is not None:
            policy_checks.refuse_requirements(name, environment.requirements(), request.plugins[name].extras)
        return environment
    found = target_for(place, keys[name], write=write)
    if found is not None:
        policy_checks.refuse_requirements(name, found.plugin.requires, request.plugins[name].extras)
    # Noting the use fails where a pruning process has just taken it: then it is not there.
    return found if found is not None and store.use(found.folder) else None
