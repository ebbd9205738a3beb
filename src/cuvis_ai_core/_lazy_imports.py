"""Imports that wait: names of a package until somebody asks for them, modules until there is time for them."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def late(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package; by the second, shells and notebooks complete the names.

    Args:
        package: Its name.
        homes: Module of each name.
    """

    def found(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return found, lambda: sorted({*vars(sys.modules[package]), *homes})


def import_modules(*modules: str) -> None:
    """Import modules, so that they are there when something needs them."""
    for module in modules:
        import_module(module)
