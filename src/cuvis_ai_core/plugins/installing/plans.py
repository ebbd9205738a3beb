"""How versions of dependencies come about: chosen for all plugins that are loaded together, or as they are locked."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from cuvis_ai_core.plugins.cache.sources import Source
from cuvis_ai_core.plugins.cache.store import short_hash
from cuvis_ai_core.plugins.dependencies import host

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.installing.choices import Choice, Needs
    from cuvis_ai_core.plugins.installing.uv import Uv
    from cuvis_ai_core.plugins.manifest import GitPlugin, LocalPlugin
    from cuvis_ai_core.plugins.parallel import Crew


class Plan(Protocol):
    """How versions come about for some plugins."""

    def check(self, name: str, source: Source) -> None:
        """Raise if the code of a plugin is not what is meant.

        Raises:
            LockError: It is not.
        """

    def isolation(self, name: str, declared: "GitPlugin | LocalPlugin") -> str:
        """Return how a plugin is isolated: `scoped`, `process`, or `auto`."""

    def environment(self, name: str) -> "Choice | None":
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

    def choose(self, plugins: "Mapping[str, Needs]", uv: "Uv", crew: "Crew") -> "dict[str, Choice]":
        """Return what is chosen for each plugin.

        Args:
            plugins: What each plugin needs, in the order of the manifest.
            uv: Runs uv for all of them.
            crew: Threads to work with.
        """


class Together(Plan):
    """Without a lock file: what suits all plugins that are loaded together, and this environment.

    Args:
        preferred: Pins to keep, if that is possible.
    """

    def __init__(self, preferred: Sequence[str] = ()) -> None:
        self._preferred = preferred

    def check(self, name: str, source: Source) -> None:
        """Accept what is there."""

    def isolation(self, name: str, declared: "GitPlugin | LocalPlugin") -> str:  # noqa: ARG002
        """Return what the manifest says."""
        return declared.isolation

    def environment(self, name: str) -> "Choice | None":  # noqa: ARG002
        """Return nothing: an environment has room for whatever is newest."""
        return None

    def keys(self, places: Mapping[str, Path]) -> dict[str, str]:
        """Return one key for all: this environment, and the plugins that are resolved together."""
        key = host.fingerprint()
        if len(places) > 1:  # a plugin by itself is the same plugin under every name
            key += f":{short_hash(*(place.name for place in places.values()))}"
        return dict.fromkeys(places, key)

    def choose(self, plugins: "Mapping[str, Needs]", uv: "Uv", crew: "Crew") -> "dict[str, Choice]":
        """Resolve all requirements together."""
        from cuvis_ai_core.plugins.installing.resolution import Resolution

        return Resolution(plugins, uv, crew, self._preferred).choose()
