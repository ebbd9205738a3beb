"""The published import path of the node registry."""

from collections.abc import Iterable

from cuvis_ai_core.plugins.isolation.scope import drop_idle
from cuvis_ai_core.registry import NodeRegistry

__all__ = ["NodeRegistry", "clear_package_modules"]


def clear_package_modules(packages: Iterable[str]) -> None:
    """Drop the idle loaded copies of plugins that own one of these top-level packages; live ones stay.

    The next load of such a plugin runs its code anew.

    Args:
        packages: Top-level package names.
    """
    drop_idle(frozenset(packages))
