"""Folders with a manifest for each plugin, as newer published catalogues keep them, and what is needed of them."""

from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from cuvis_ai_core._nearest import did_you_mean
from cuvis_ai_core._untrusted_files import load_yaml
from cuvis_ai_core.errors import ManifestError, YamlError
from cuvis_ai_core.plugins.allowed_imports import is_importable
from cuvis_ai_core.plugins.manifest.manifest_schema import manifest_path
from cuvis_ai_core.plugins.manifest.published_catalogue import class_paths, module_capabilities

__all__ = ["resolve_pipeline_plugins"]

BUILTIN = "cuvis_ai_builtin"
"""Stands in such files for the catalogue itself, which is installed."""


def resolve_pipeline_plugins(
    pipeline_config: Any, plugins_dirs: Iterable[str | Path], data_module: str | None = None
) -> dict[str, Any]:
    """Return what the manifests of the plugins say that a pipeline names, without the catalogue itself.

    Args:
        pipeline_config: The content of a pipeline file, or a model of the schemas.
        plugins_dirs: Folders with a manifest for each plugin; in a later one it goes before one in an earlier one.
        data_module: The name of a data module, or the full path of its class, whose plugin is needed too.

    Returns:
        Name to the content of the manifest; relative paths in it are absolute.

    Raises:
        ManifestError: There is no manifest of a plugin or of the data module, or one cannot be read.
    """
    folders = list(plugins_dirs)
    named = (
        pipeline_config.get("plugins")
        if isinstance(pipeline_config, Mapping)
        else getattr(pipeline_config, "plugins", None)
    )
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
    if data_module is not None:
        modules = module_plugins(folders)
        if data_module not in modules:
            raise ManifestError(
                f"No manifest has the data module '{data_module}'.{did_you_mean(data_module, modules)}",
                hint=f"Searched in {', '.join(map(str, folders)) or 'no folder'}. Name another: --plugins-dir",
            )
        resolved[modules[data_module].plugin] = modules[data_module].manifest
    return resolved


def manifests_in(folders: Iterable[str | Path]) -> dict[str, dict[str, Any]]:
    """Return the manifests in folders by the names of their plugins.

    Raises:
        ManifestError: One cannot be read.
    """
    found: dict[str, dict[str, Any]] = {}
    for folder in folders:
        # Sorted: of two manifests of one name the last counts, and folders list files in the order of the file system.
        for file in sorted(Path(folder).glob("*.yaml")):
            content = manifest_in(file)
            if content is not None:
                found[content["name"]] = content
    return found


def manifest_in(file: Path) -> dict[str, Any] | None:
    """Return what the manifest of one plugin says, with an absolute path; None where the file is none.

    Raises:
        ManifestError: It cannot be read.
    """
    content = _read(file)
    if "name" not in content or not ("repo" in content or "path" in content):
        return None
    if "path" in content:
        content |= {"path": str((file.parent / Path(content["path"]).expanduser()).resolve())}
    return content


def manifest_of_one(path: str | PathLike[str]) -> tuple[str, dict[str, Any]]:
    """Return the name of the one plugin of a manifest and what the manifest says, with an absolute path.

    Raises:
        ManifestError: It cannot be read, or is no manifest of one plugin.
    """
    found = manifest_in(manifest_path(path))
    if found is None:
        raise ManifestError(
            f"{path}: it is no manifest of one plugin, which has a 'name', and a 'repo' or a 'path'.",
            hint="A manifest of many is loaded: registry.load_plugins(path)",
            path=manifest_path(path),
        )
    return found["name"], found


def is_installed(manifest: Mapping[str, Any]) -> bool:
    """Tell whether the classes of a plugin are those of an installed package."""
    named = [*(class_paths(manifest) or ()), *(each["class_name"] for each in module_capabilities(manifest))]
    return bool(named) and all(is_importable(path.rpartition(".")[0]) for path in named)


class ModulePlugin(NamedTuple):
    """A data module of a plugin, as its manifest tells of it.

    Attributes:
        path: Full path of its class.
        plugin: Name of the plugin.
        manifest: What the manifest says.
        extras: Extras of the plugin's project that it needs.
    """

    path: str
    plugin: str
    manifest: dict[str, Any]
    extras: tuple[str, ...]

    @property
    def entry(self) -> dict[str, Any]:
        """What the plugin is loaded by: its manifest, with the extras of the data module."""
        extras = sorted({*(self.manifest.get("extras") or ()), *self.extras})
        return _without_name(self.manifest) | ({"extras": extras} if extras else {})


def module_plugins(folders: Iterable[str | Path]) -> dict[str, ModulePlugin]:
    """Return the data modules of the manifests in folders, by their names and by the full paths of their classes.

    Raises:
        ManifestError: A manifest cannot be read.
    """
    found: dict[str, ModulePlugin] = {}
    for plugin, manifest in manifests_in(folders).items():
        for each in module_capabilities(manifest):
            known = ModulePlugin(str(each["class_name"]), plugin, manifest, tuple(map(str, each.get("extras") or ())))
            found |= {known.path: known, str(each["data_module_name"]): known}
    return found


def folders_above(anchor: str | Path) -> list[Path]:
    """Return the folders of manifests that go with a file: `plugins` and `configs/plugins` above it, nearest last."""
    return [
        folder
        # Nearest last: what a later folder has goes before what an earlier one has.
        for parent in reversed(Path(anchor).absolute().parents)
        for folder in (parent / "plugins", parent / "configs" / "plugins")
        if folder.is_dir()
    ]


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
    found = {name: _without_name(manifest) for name, manifest in resolve_pipeline_plugins(pipeline, folders).items()}
    if find_spec("cuvis_ai"):
        found.pop(BUILTIN, None)
    known = module_plugins(folders).get(data_module) if data_module else None
    if known is not None and not is_importable(known.path.rpartition(".")[0]):
        found[known.plugin] = known.entry
    return found


def _without_name(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in manifest.items() if key != "name"}


def _read(file: Path) -> dict[str, Any]:
    try:
        content = load_yaml(file).data
    except YamlError as error:
        raise ManifestError(f"{file}: it cannot be read: {error.message}.", path=file) from error
    return content if isinstance(content, dict) else {}
