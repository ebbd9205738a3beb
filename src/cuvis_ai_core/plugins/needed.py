"""Which plugins of folders with manifests are loaded for a pipeline and its data."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cuvis_ai_core.plugins.importable import is_importable
from cuvis_ai_core.plugins.manifest.folders import BUILTIN, module_plugins, resolve_pipeline_plugins


def needed_plugins(pipeline: Any, folders: Sequence[str | Path], data_module: str | None) -> dict[str, Any]:
    """Return the plugins to load, name to entry: those that a pipeline names, and that of a data module.

    The catalogue itself is left out where it is installed: its classes are known by their full paths. So is the plugin
    of a data module that is installed.

    Args:
        pipeline: The content of a pipeline file, or its model.
        folders: Folders with a manifest for each plugin.
        data_module: The name of a data module, or the full path of its class.

    Raises:
        ManifestError: There is no manifest of a plugin, or it cannot be read.
    """
    found = {name: _entry(manifest) for name, manifest in resolve_pipeline_plugins(pipeline, folders).items()}
    if find_spec("cuvis_ai"):
        found.pop(BUILTIN, None)
    known = module_plugins(folders).get(data_module) if data_module else None
    if known is not None and not is_importable(known.path.rpartition(".")[0]):
        found[known.plugin] = known.entry
    return found


def _entry(manifest: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in manifest.items() if key != "name"}
