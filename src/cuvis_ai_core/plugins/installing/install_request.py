"""What is to be installed together, and how the versions of its dependencies come about."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from cuvis_ai_core.plugins.cache.sources import Source
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.hooks.load_events import Announcement
from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.cache.prefetch import EarlyFetch
    from cuvis_ai_core.plugins.cancellable_threads import Crew
    from cuvis_ai_core.plugins.installing.uv_commands import Uv


class Needs(NamedTuple):
    """What one plugin needs.

    Attributes:
        distribution: Name of the plugin's distribution.
        requirements: Its requirements.
        uv: Runs uv for this plugin.
        resolving: Told what is resolved for it, such as what the host lacks.
    """

    distribution: str
    requirements: tuple[str, ...]
    uv: "Uv"
    resolving: Callable[[str], None]


class Choice(NamedTuple):
    """What was chosen for one plugin.

    Attributes:
        pins: `name==version`, or `name @ address`, of everything that the host lacks for it; empty after an error.
        hashes: Hashes that the wheels of these must have, where that is known.
        error: Why nothing could be chosen.
        built: Names of those that a lock file has as built from source.
    """

    pins: tuple[str, ...] = ()
    # A default that nobody writes to: NamedTuple has no factories.
    hashes: Mapping[str, tuple[str, ...]] = {}
    error: Exception | None = None
    built: frozenset[str] = frozenset()


class Carried(NamedTuple):
    """What of the wheels that were carried along serves one plugin, and nobody else.

    Attributes:
        dependencies: Hashes by pin.
        builds: Hashes by pin, of what builds need.
    """

    dependencies: Mapping[str, tuple[str, ...]]
    builds: Mapping[str, tuple[str, ...]]


class Versions(Protocol):
    """How versions come about for some plugins.

    Attributes:
        locked: Whether a lock file says them.
    """

    locked: ClassVar[bool] = False

    def check(self, name: str, source: Source) -> None:
        """Raise if the code of a plugin is not what is meant.

        Raises:
            LockError: It is not.
        """

    def carried(self, name: str) -> Carried | None:
        """Return which of the wheels that bundles brought a plugin may have; None for none."""

    def isolation(self, name: str, declared: GitPlugin | LocalPlugin) -> str:
        """Return how a plugin is isolated: `scoped`, `process`, or `auto`."""

    def environment(self, name: str) -> Choice | None:
        """Return what is locked for the environment of a plugin in a process of its own; None without a lock file.

        Raises:
            LockError: The lock file says nothing about it.
        """

    def keys(self, places: Mapping[str, Path]) -> dict[str, str]:
        """Return for each plugin what the choice of its versions depends on.

        A target directory remembers for which of these it was chosen, so that it is found again without choosing.

        Args:
            places: The folders below which the target directories of each plugin's content lie.
        """

    def choose(self, plugins: Mapping[str, Needs], uv: "Uv", crew: "Crew") -> dict[str, Choice]:
        """Return what is chosen for each plugin.

        Args:
            plugins: What each plugin needs, in the order of the manifest.
            uv: Runs uv for all of them.
            crew: Threads to work with.
        """


class InstallRequest(NamedTuple):
    """Plugins that are to be there together.

    Attributes:
        plugins: Manifest entries by the plugins' names, in the order of the manifest.
        versions: How versions of their dependencies come about.
        store: The plugin cache.
        announce: Told of the states that each plugin enters, with a detail to show.
        offline: Whether no connection may be opened.
        processes: Names of those that get a process, and an environment, of their own.
        dry: Whether no code of a plugin or of what it needs may run.
        early: A fetch that began already.
    """

    plugins: Mapping[str, GitPlugin | LocalPlugin]
    versions: Versions
    store: Store
    announce: Announcement
    offline: bool
    processes: frozenset[str] = frozenset()
    dry: bool = False
    early: "EarlyFetch | None" = None
