"""The one finder of this package on `sys.meta_path`.

It stands before the standard path finder, so that a folder in the working directory does not shadow what a plugin
brought along, and answers only names that a plugin or a live dependency owns.

What stands on `sys.meta_path` lives nearly to the end of the interpreter, with all that its module names. With the
libraries among it, that end takes several milliseconds longer: so this module names next to nothing.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder

from cuvis_ai_core.plugins.isolation.private_names import PREFIX, TORCH_LIBRARY

# Type checkers know the name without its import: `typing` would live to the end of the interpreter with this.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from importlib.metadata import Distribution, DistributionFinder
    from types import ModuleType

_OWN = "cuvis_ai_core."


class PluginFinder:
    """Answers imports of plugin modules, private and public, and of live dependencies."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return where a module of a plugin or of a live dependency lies."""
        if fullname.startswith(PREFIX):
            from cuvis_ai_core.plugins.isolation.private_module_lookup import find_private

            return find_private(fullname, path)
        if fullname.startswith(_OWN):  # such as what is imported here
            return None
        # torch has one registry of operators for all: it is watched from its first import on, whoever makes that.
        if fullname == TORCH_LIBRARY:
            from cuvis_ai_core.plugins.isolation.torch_operators import find_watched

            return find_watched(fullname, path)
        # Within the call, as all of these: a name at the top of this module would be kept to the end of the
        # interpreter.
        from cuvis_ai_core.plugins.dependencies.live_versions import find_dependency
        from cuvis_ai_core.plugins.sys_modules_owners import is_owned

        if is_owned(fullname.partition(".")[0]):
            from cuvis_ai_core.plugins.isolation.public_module_lookup import find_public

            return find_public(fullname, path) or find_dependency(fullname, path)
        return find_dependency(fullname, path)

    def find_distributions(self, context: DistributionFinder.Context | None = None) -> Iterator[Distribution]:
        """Return the metadata of live dependencies, and in a plugin's code of the plugin and what it has for itself."""
        from cuvis_ai_core.plugins.isolation.importlib_metadata import find_distributions

        return find_distributions(context)

    def iter_modules(self, prefix: str = "") -> Iterator[tuple[str, bool]]:
        """Return the top-level modules of live dependencies, and in a plugin's code of what it has for itself."""
        from cuvis_ai_core.plugins.isolation.module_listing import list_modules

        return list_modules(prefix)


def install_finder() -> None:
    """Put the finder on `sys.meta_path`, before the standard path finder, unless it is there."""
    # It cannot ask what it would first have to find.
    from cuvis_ai_core.plugins.dependencies import live_versions  # noqa: F401
    from cuvis_ai_core.plugins.isolation import private_module_lookup  # noqa: F401

    if not any(isinstance(finder, PluginFinder) for finder in sys.meta_path):
        # Behind the finders of builtin and frozen modules, and of those that an editable install put first.
        position = next((at for at, finder in enumerate(sys.meta_path) if finder is PathFinder), len(sys.meta_path))
        sys.meta_path.insert(position, PluginFinder())
    if TORCH_LIBRARY in sys.modules:
        from cuvis_ai_core.plugins.isolation.torch_operators import watch_operators

        watch_operators()
