"""The published models of a manifest; `NodeRegistry.load_plugins` reads the file itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from cuvis_ai_core._deprecated import say_once
from cuvis_ai_core._yaml import YamlDumper
from cuvis_ai_core.plugins.manifest.manifest_schema import parse_plugin

__all__ = ["GitPluginConfig", "LocalPluginConfig", "PluginManifest"]


class _Source(BaseModel):
    """What the entry of any plugin has; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    provides: list[str]

    @model_validator(mode="before")
    @classmethod
    def _says_what_is_new(cls, data: Any) -> Any:
        say_once(f"{__name__}.{cls.__name__}", "NodeRegistry.load_plugin")
        return data

    @field_validator("provides")
    @classmethod
    def _are_class_paths(cls, provides: list[str]) -> list[str]:
        if not provides:
            raise ValueError("names no class: a plugin provides one or more")
        for path in provides:
            parts = path.split(".")
            if len(parts) < 2 or not all(part.isidentifier() for part in parts):  # noqa: PLR2004
                raise ValueError(f"'{path}' is no path of a class: write package.module.TheClass")
        return provides


class GitPluginConfig(_Source):
    """A plugin that is a tag of a Git repository."""

    repo: str
    tag: str

    @field_validator("repo", "tag")
    @classmethod
    def _are_of_git(cls, value: str, info: Any) -> str:
        # Beside a good value of the other key: the rules are those of whole entries.
        entry = {"repo": "https://example.org/plugin.git", "tag": "v1", "provides": ["a.B"], info.field_name: value}
        parse_plugin("plugin", entry, base=Path())  # the rules of the manifest, whose error is a ValueError
        return value


class LocalPluginConfig(_Source):
    """A plugin in a folder of this machine."""

    path: str

    @field_validator("path")
    @classmethod
    def _is_there(cls, path: str) -> str:
        if not path.strip():
            raise ValueError("is empty: it is the folder of the plugin")
        return path

    def resolve_path(self, manifest_dir: Path) -> Path:
        """Return the folder: a relative one begins at that of the manifest."""
        return (Path(manifest_dir) / Path(self.path).expanduser()).resolve()


class PluginManifest(BaseModel):
    """The plugins of a manifest, by their names."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    plugins: dict[str, GitPluginConfig | LocalPluginConfig]

    @model_validator(mode="before")
    @classmethod
    def _says_what_is_new(cls, data: Any) -> Any:
        say_once(f"{__name__}.{cls.__name__}", "NodeRegistry.load_plugins")
        return data

    @field_validator("plugins")
    @classmethod
    def _have_names(cls, plugins: dict[str, Any]) -> dict[str, Any]:
        for name in plugins:
            if not name.isidentifier():
                raise ValueError(
                    f"'{name}' is no name of a plugin: letters, digits and '_', as {name.replace('-', '_')}"
                )
        return plugins

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Read a manifest.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It breaks a rule.
        """
        from cuvis_ai_core._untrusted_files import load_yaml
        from cuvis_ai_core.errors import YamlError

        if not Path(path).is_file():
            raise FileNotFoundError(f"There is no manifest '{path}'.")
        try:
            return cls.from_dict(load_yaml(Path(path)).data or {"plugins": {}})
        except YamlError as error:
            raise ValueError(f"The manifest '{path}' cannot be read: {error.message}.") from error

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the manifest that a mapping with the key `plugins` holds.

        Raises:
            ValueError: It breaks a rule.
        """
        return cls.model_validate(data)

    def to_yaml(self, path: str | Path) -> None:
        """Write the manifest; its folder is made if it is not there."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = yaml.dump(self.model_dump(), Dumper=YamlDumper, sort_keys=False, allow_unicode=True)
        target.write_text(text, encoding="utf-8")
