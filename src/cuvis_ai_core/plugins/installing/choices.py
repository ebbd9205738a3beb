"""What a plugin needs, and what was chosen for it."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.installing.uv import Uv


class Needs(NamedTuple):
    """What one plugin needs.

    Attributes:
        distribution: Name of the plugin's distribution.
        requirements: Its requirements.
        uv: Runs uv for this plugin.
        resolving: Told what the host lacks for it.
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
    hashes: Mapping[str, tuple[str, ...]] = {}
    error: Exception | None = None
    built: frozenset[str] = frozenset()
