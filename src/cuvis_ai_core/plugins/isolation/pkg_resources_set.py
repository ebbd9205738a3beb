"""What `pkg_resources`, where a plugin has it for itself, is told of the plugin's distributions.

It reads the folders of `sys.path` while it is imported, and asks no finder: it would know the host's alone.
"""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from cuvis_ai_core.plugins.dependencies.distribution import normalised


def add_own(module: ModuleType, distributions: Mapping[str, Path]) -> None:
    """Put a plugin's distributions into the working set of its own `pkg_resources`, before those of the host.

    Args:
        module: The plugin's own `pkg_resources`.
        distributions: The directory of each distribution, by normalised name.
    """
    known = module.working_set
    # It would put the folder on `sys.path`, where everybody finds it.
    listeners, known.callbacks = known.callbacks, []
    for folder in dict.fromkeys(distributions.values()):
        known.entries.insert(0, str(folder))
        for found in module.find_distributions(str(folder), only=True):
            if distributions.get(normalised(found.project_name)) == folder:
                # Instead of the host's: `require` compares with what is known by a name already.
                known.add(found, str(folder), insert=False, replace=True)
    known.callbacks = listeners
