"""Naming in a pipeline file the plugins that its nodes come from."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cuvis_ai_core.plugins.manifest.folders import BUILTIN, manifests_in
from cuvis_ai_core.plugins.manifest.published import class_paths

__all__ = ["reorder_pipeline_with_plugins", "suggest_plugins_field"]


def suggest_plugins_field(
    pipeline: Any,
    raw: Mapping[str, Any],
    plugins_dirs: Iterable[str | Path],
) -> tuple[list[str], dict[str, Any]]:
    """Return the names of the plugins that the nodes of a pipeline come from, and the file's content with them.

    Args:
        pipeline: The pipeline, which is not looked at.
        raw: The content of its file.
        plugins_dirs: Folders with a manifest for each plugin.

    Raises:
        ManifestError: A manifest cannot be read.
    """
    del pipeline
    owners = {
        path: name for name, manifest in manifests_in(plugins_dirs).items() for path in class_paths(manifest) or ()
    }
    classes = [str(node.get("class_name", node.get("class", ""))) for node in raw.get("nodes") or ()]
    own = [BUILTIN] if any(each.startswith("cuvis_ai.") for each in classes) else []
    names = list(dict.fromkeys([*own, *(owners[each] for each in classes if each in owners)]))
    return names, reorder_pipeline_with_plugins(raw, names)


def reorder_pipeline_with_plugins(raw: Mapping[str, Any], plugins: Iterable[str]) -> dict[str, Any]:
    """Return the content of a pipeline file with `metadata` first and `plugins` behind it."""
    metadata = {"metadata": raw["metadata"]} if "metadata" in raw else {}
    rest = {key: value for key, value in raw.items() if key not in {"metadata", "plugins"}}
    return {**metadata, "plugins": list(plugins), **rest}
