"""From the plugins that a pipeline file names to their manifests, as newer published catalogues keep them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cuvis_ai_core._nearest import did_you_mean
from cuvis_ai_core._yaml import load_yaml
from cuvis_ai_core.errors import ManifestError, YamlError

__all__ = ["resolve_pipeline_plugins"]

BUILTIN = "cuvis_ai_builtin"
"""Stands in such files for the catalogue itself, which is installed."""


def resolve_pipeline_plugins(pipeline: Any, plugins_dirs: Iterable[str | Path]) -> dict[str, Any]:
    """Return what the manifests of the plugins say that a pipeline names, without the catalogue itself.

    Args:
        pipeline: The content of a pipeline file, or a model of the schemas.
        plugins_dirs: Folders with a manifest for each plugin; in a later one it goes before one in an earlier one.

    Returns:
        Name to the content of the manifest; relative paths in it are absolute.

    Raises:
        ManifestError: There is no manifest of a plugin, or it cannot be read.
    """
    folders = list(plugins_dirs)
    named = pipeline.get("plugins") if isinstance(pipeline, Mapping) else getattr(pipeline, "plugins", None)
    known = manifests_in(folders)
    resolved = {}
    for name in named or ():
        if name in known:
            resolved[name] = known[name]
        elif name != BUILTIN:
            raise ManifestError(
                f"The pipeline names the plugin '{name}', and there is no manifest of it.{did_you_mean(name, known)}",
                hint=f"Searched in {', '.join(map(str, folders)) or 'no folder'}. Name another: --plugins-dir",
                plugin=name,
            )
    return resolved


def manifests_in(folders: Iterable[str | Path]) -> dict[str, dict[str, Any]]:
    """Return the manifests in folders by the names of their plugins.

    Raises:
        ManifestError: One cannot be read.
    """
    found: dict[str, dict[str, Any]] = {}
    for folder in folders:
        for file in sorted(Path(folder).glob("*.yaml")):
            content = _read(file)
            if "name" in content and ("repo" in content or "path" in content):
                found[content["name"]] = _absolute(content, file)
    return found


def folders_above(anchor: str | Path) -> list[Path]:
    """Return the folders of manifests that go with a file: `plugins` and `configs/plugins` above it, nearest last."""
    return [
        folder
        for parent in reversed(Path(anchor).absolute().parents)
        for folder in (parent / "plugins", parent / "configs" / "plugins")
        if folder.is_dir()
    ]


def _read(file: Path) -> dict[str, Any]:
    try:
        content = load_yaml(file).data
    except YamlError as error:
        raise ManifestError(f"{file}: it cannot be read: {error.message}.", path=file) from error
    return content if isinstance(content, dict) else {}


def _absolute(content: dict[str, Any], file: Path) -> dict[str, Any]:
    if "path" not in content:
        return content
    return {**content, "path": str((file.parent / Path(content["path"]).expanduser()).resolve())}
