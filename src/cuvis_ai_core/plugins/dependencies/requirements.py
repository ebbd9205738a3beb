"""Whether a version meets a requirement, and what is said where it does not."""

from collections.abc import Collection
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cuvis_ai_core.errors import DependencyConflictError
from cuvis_ai_core.plugins.dependencies.distribution import normalised
from cuvis_ai_core.plugins.dependencies.search_path import search_path

if TYPE_CHECKING:
    from packaging.requirements import Requirement

WAY_OUT: Final = (
    "Let the plugin accept that version, or change what is installed. A plugin that cannot agree runs in a process of "
    "its own: write isolation: process (or auto) in its manifest entry."
)
"""The next step for whoever meets a dependency conflict."""


def host_version(name: str) -> str | None:
    """Return the version of a distribution in the host environment, or None."""
    return search_path().version(name)


# Each load asks for the same some hundred texts again.
@lru_cache(4096)
def needed_name(requirement: str) -> str:
    """Return the normalised name of the distribution that a requirement is about."""
    # By hand: packaging takes 66 ms to import, more than all of a warm load.
    end = next((i for i, char in enumerate(requirement) if not (char.isalnum() or char in "-_.")), None)
    return normalised(requirement[:end])


@lru_cache(4096)
def extras_in(requirement: str) -> frozenset[str]:
    """Return the extras that a requirement asks for; read by hand, for a load must not wait for a parser's import."""
    _, _, rest = requirement.partition(";")[0].partition("[")
    return frozenset(filter(None, map(str.strip, rest.partition("]")[0].split(","))))


def applies(requirement: str, extras: Collection[str] = ()) -> bool:
    """Tell whether a requirement counts here, for the extras that are wanted of the distribution that states it."""
    _, _, condition = requirement.partition(";")
    # Metadata has dozens of these, and to parse one takes as long as to find a module.
    only_for_extra = "extra ==" in condition and " or " not in condition
    if not condition or (only_for_extra and not extras):
        return not condition
    marker = _parsed(requirement).marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def applies_for(requirement: str, extras: Collection[str]) -> bool:
    """Tell whether a requirement counts here because of one of these extras, and not without."""
    return "extra" in requirement.partition(";")[2] and applies(requirement, extras) and not applies(requirement)


def satisfies(version: str, requirement: str, extras: Collection[str] = ()) -> bool:
    """Tell whether a version meets a requirement; one whose marker does not apply here is met."""
    if not applies(requirement, extras):
        return True
    # What is installed was chosen by somebody: a pre-release meets `>=2` then, as for pip.
    return _parsed(requirement).specifier.contains(version, prereleases=True)


def conflict(who: str, requirement: str, installed: str, where: str, plugin: str | None) -> DependencyConflictError:
    """Return the error for an installed or live version that a requirement refuses."""
    needed = requirement.partition(";")[0].strip()
    return DependencyConflictError(
        f"Dependency conflict: package {who} requires {needed}, but {installed} is installed ({where}).",
        hint=WAY_OUT,
        plugin=plugin,
        requirement=requirement,
        installed=installed,
    )


@lru_cache(4096)
def _parsed(requirement: str) -> "Requirement":
    from packaging.requirements import Requirement

    return Requirement(requirement)
