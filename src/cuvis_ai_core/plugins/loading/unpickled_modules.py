"""Back to a plugin's modules from their private name alone: files name classes by it."""

from collections.abc import Iterator
from pathlib import Path

from cuvis_ai_core.errors import DependencyConflictError, PluginModuleError
from cuvis_ai_core.plugins.cache import policy_checks
from cuvis_ai_core.plugins.cache.store import listed
from cuvis_ai_core.plugins.cache.target_entry import MARKER, Target, complete_targets
from cuvis_ai_core.plugins.dependencies import host_environment, live_versions
from cuvis_ai_core.plugins.isolation.private_names import PREFIX, first_name, private_name
from cuvis_ai_core.plugins.isolation.scope import Scope
from cuvis_ai_core.plugins.private_code import open_code, publish


def revive(package: str, cache: Path) -> Scope:
    """Open the code of a plugin that the cache holds, for the life of this process.

    Raises:
        NotAllowedError: The policy does not allow it.
        PluginModuleError: It is not in the cache, or was installed for another environment only.
        DependencyConflictError: One of its dependencies cannot be had beside what is loaded.
    """
    found = list(_targets(package, cache))
    here = host_environment.fingerprint()
    # A key says also with which plugins, or by which lock file, versions were chosen (see `Versions.keys`).
    # Another environment's choice may lack what this one has not.
    fitting = [target for target in found if any(key.partition(":")[0] == here for key in target.hosts)]
    refused: DependencyConflictError | None = None
    # Versions in a target may conflict with what is live: then an older choice may do.
    for target in sorted(fitting, key=_changed, reverse=True):
        policy_checks.refuse_unlocked(target.plugin.name)
        policy_checks.refuse_requirements(target.plugin.name, target.plugin.requires)
        policy_checks.refuse_stored(target.folder.parents[2], target.title, [*target.code.values(), target.built_from])
        try:
            return _opened(target)
        except DependencyConflictError as error:
            refused = refused or error
    raise refused or _missing(package, cache, found)


def _opened(target: Target) -> Scope:
    lease = live_versions.acquire(target.plugin, target.needed, target.folder)
    try:
        scope = open_code(target, lease.private)
    except BaseException:
        lease.release()
        raise
    publish()
    return scope


def _changed(target: Target) -> int:
    """Return when a target directory was made, or was chosen last for something new."""
    return (target.folder / MARKER).stat().st_mtime_ns


def _targets(package: str, cache: Path) -> Iterator[Target]:
    wanted = first_name(package)
    for place in listed(cache / ".targets"):
        yield from (target for target in complete_targets(place) if private_name(target.title) == wanted)


def _missing(package: str, cache: Path, elsewhere: list[Target]) -> PluginModuleError:
    title = elsewhere[0].title if elsewhere else first_name(package).removeprefix(PREFIX)
    where = f"is in the plugin cache {cache} for another environment only" if elsewhere else f"is not in {cache} either"
    error = PluginModuleError(
        f"This data names a class of plugin '{title}' (name and tag, or name and a hash of its path), which is not "
        f"loaded and {where}.",
        hint="Load that plugin at that tag first: registry.load_plugins('plugins.yaml')\n"
        "Or name the plugin cache of the program that wrote it: CUVIS_PLUGINS_DIR.",
        plugin=title.partition("@")[0],
    )
    # As the import system sets it: pickle and others look at `name` of an ImportError.
    error.name = package
    return error
