"""What `pkgutil` is told of the modules of plugins and their dependencies: it walks `sys.path`, where these are not."""

import pkgutil
from collections.abc import Iterator

from cuvis_ai_core.plugins.dependencies.live_versions import served_roots
from cuvis_ai_core.plugins.isolation.calling_plugin import asking_scope


def list_modules(prefix: str = "") -> Iterator[tuple[str, bool]]:
    """Return the top-level modules of live dependencies, and in a plugin's code those that it has for itself.

    Args:
        prefix: What is put before each name.

    Returns:
        Names, and whether each is a package.
    """
    scope = asking_scope()
    wanted = dict.fromkeys(scope.tops, scope.path_of_tops()) if scope is not None else {}
    for root, folder in served_roots().items():
        if "." not in root:
            wanted.setdefault(root, [folder])
    # All tops of one folder at once: listing it is what costs.
    for path in {tuple(path) for path in wanted.values()}:
        for _, name, is_package in pkgutil.iter_modules(path):
            if tuple(wanted.get(name, ())) == path:
                yield prefix + name, is_package
