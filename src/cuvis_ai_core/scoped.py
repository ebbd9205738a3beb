"""The package above the private packages of plugins.

`cuvis_ai_core.scoped.adaclip_v0_1_2.models.net` is the module `models.net` of plugin `adaclip` at tag `v0.1.2`. Pickles
name classes so, and read them in any process that has this core: a plugin that is not loaded there is brought back
from the plugin cache.
"""

from importlib import import_module
from types import ModuleType

from cuvis_ai_core.plugins.isolation.finder import install_finder
from cuvis_ai_core.plugins.isolation.private_module_lookup import ask_for_missing
from cuvis_ai_core.plugins.isolation.scope import Scope
from cuvis_ai_core.plugins.loading.unpickled_modules import revive

__path__: list[str] = []


def _from_cache(package: str) -> Scope:
    # Loaded children have no need of the registry.
    from cuvis_ai_core.registry import NodeRegistry

    return revive(package, NodeRegistry.get_cache_dir())


def __getattr__(name: str) -> ModuleType:
    # As everywhere, what lies in a package is an attribute of it.
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return import_module(f"{__name__}.{name}")
    except ImportError as error:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}: {error}") from error


ask_for_missing(_from_cache)
install_finder()
