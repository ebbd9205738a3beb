"""The environment that this program runs in, as plugins meet it: interpreter, installed distributions, hard limits."""

import hashlib
import os
import re
from collections.abc import Iterable
from importlib.metadata import DistributionFinder, MetadataPathFinder
from typing import Final

from cuvis_ai_core.errors import DependencyConflictError, MissingExtraError
from cuvis_ai_core.plugins.dependencies.distribution import normalised
from cuvis_ai_core.plugins.dependencies.requirements import (
    WAY_OUT,
    applies,
    conflict,
    host_version,
    needed_name,
    satisfies,
)
from cuvis_ai_core.plugins.dependencies.search_path import ReadOnce, interpreter, search_path, site_folders

EXCHANGE: Final = ("cuvis-ai-core", "cuvis-ai-hookspecs", "cuvis-ai-schemas", "numpy", "torch")
"""Packages whose objects cross between host and plugins: there is one of each, the host's."""


# A model of pydantic, a configuration of OmegaConf and a hook of pluggy are told by `isinstance`, which two copies
# fail.
_CROSSING: Final = frozenset({*EXCHANGE, "omegaconf", "pluggy", "pydantic"})
"""These, and what else this core has whose objects plugins get to see, or give."""


def fingerprint() -> str:
    """Return a hash of the interpreter and the names and versions of everything installed, from folder names alone."""
    digest = hashlib.sha256(interpreter().encode())
    for folder in site_folders():
        # Names say the versions: no METADATA is read.
        names = [name for name in os.listdir(folder) if name.endswith((".dist-info", ".egg-info"))]
        digest.update("\n".join(sorted(names)).encode())
    return digest.hexdigest()[:16]


def constraints() -> list[str]:
    """Return the versions that plugins get wherever they can: the exchange packages, and all that the core needs."""
    return sorted(f"{name}=={version}" for name, version in _fixed().items())


def limits() -> list[str]:
    """Return those of them that no plugin may change; of the others, pure Python, it can have a copy of its own."""
    return sorted(f"{name}=={version}" for name, version in _fixed().items() if _is_limit(name))


def _is_limit(name: str) -> bool:
    return name in _CROSSING or not _is_pure(name)


def _is_pure(name: str) -> bool:
    found = search_path().distribution(name)
    # Without a WHEEL file (eggs, distribution packages of Linux) nobody knows: then it counts as compiled.
    return "-none-any" in ((found.read_text("WHEEL") if found else None) or "")


def _needed_by(name: str) -> tuple[str, ...]:
    found = next(iter(MetadataPathFinder.find_distributions(DistributionFinder.Context(name=name))), None)
    return tuple(needed_name(text) for text in (ReadOnce(found).requires if found else None) or () if applies(text))


def _fixed() -> dict[str, str]:
    """Return name and version of every distribution that this core depends on, however indirectly."""
    fixed: dict[str, str] = {}
    # With torch: what the host has of it, its CUDA libraries among them, is not to be doubled.
    waiting = list(EXCHANGE)
    while waiting:
        name = waiting.pop()
        version = None if name in fixed else host_version(name)
        if version is not None:
            fixed[name] = version
            waiting += _needed_by(name)
    return fixed


def missing_requirements(plugin: str, requirements: tuple[str, ...]) -> list[str]:
    """Return the requirements that the host does not meet.

    Raises:
        DependencyConflictError: One concerns a package of which there is only the host's, in another version.
        MissingExtraError: The plugin needs torch, and the host has none.
    """
    return [requirement for requirement in requirements if not _met(plugin, requirement)]


def has(pin: str) -> bool:
    """Tell whether the host has a distribution in just the version of a pin `name==version`."""
    name, _, version = pin.partition("==")
    return bool(version) and host_version(name) == version


def not_among(requirements: Iterable[str], pins: Iterable[str]) -> list[str]:
    """Return the requirements for which there is no pin."""
    pinned = {re.split(r"==| @ ", pin)[0] for pin in pins}
    return [text for text in requirements if needed_name(text) not in pinned]


def refuse_exchange(plugin: str, names: list[str]) -> None:
    """Refuse to install a second copy of an exchange package.

    Raises:
        MissingExtraError: The plugin needs torch, and the host has none.
        DependencyConflictError: It is another package.
    """
    for name in names:
        if name == "torch":
            raise MissingExtraError(
                f"Plugin package {plugin} needs torch, which is not installed here. "
                "Tensors cross between host and plugins, so torch is the host's.",
                hint="pip install 'cuvis-ai-core[torch]'",
                extra="torch",
            )
        if name in EXCHANGE:
            raise DependencyConflictError(
                f"Dependency conflict: package {plugin} requires {name}, which only the host may have.",
                hint=WAY_OUT,
                requirement=name,
            )


def _met(plugin: str, text: str) -> bool:
    from packaging.requirements import Requirement

    requirement, name = Requirement(text), needed_name(text)
    if not applies(text):
        return True
    found = host_version(name)
    if name in EXCHANGE:
        if found is None:
            refuse_exchange(plugin, [name])
        elif not satisfies(found, text):
            raise conflict(plugin, text, found, "in the host environment", None)
        return True
    # An extra or an address says more than a version does: uv has to look.
    plain = not requirement.extras and requirement.url is None
    if found is None or satisfies(found, text):
        return plain and found is not None
    if name in _fixed() and _is_limit(name):
        raise conflict(plugin, text, found, "in the host environment; cuvis-ai-core itself needs it", None)
    return False


def without_exchange(requirements: tuple[str, ...]) -> list[str]:
    """Return the requirements that uv is asked about: those on exchange packages are checked by us alone."""
    return [text for text in requirements if needed_name(text) not in EXCHANGE]


def with_addresses(pins: list[str], requirements: tuple[str, ...]) -> list[str]:
    """Return pins with the addresses of direct requirements in place of versions: uv's answer drops them."""
    from packaging.requirements import Requirement

    # uv's JSON has a version in place of the address: the index would be asked for what only that file is.
    addressed = {normalised(each.name): str(each) for text in requirements if (each := Requirement(text)).url}
    return [addressed.get(needed_name(pin), pin) for pin in pins]
