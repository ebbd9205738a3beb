"""The manifest (`plugins.yaml`): its schema and its readers.

What a single value may be stands in `field_checks`, what is said about a manifest that breaks a rule in
`validation_errors`.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    Tag,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import PydanticKnownError

from cuvis_ai_core._redact import redact
from cuvis_ai_core.errors import ManifestError, YamlError
from cuvis_ai_core.plugins.manifest import field_checks
from cuvis_ai_core.plugins.manifest.published_catalogue import plugin_entry, with_plugins

if TYPE_CHECKING:
    from cuvis_ai_core._yaml import YamlDocument

_Text: TypeAlias = Annotated[str, Strict()]
# For editors; what these let pass, the rules check.
_NAME_PATTERN: Final = r"^[^\W\d]\w*$"
_CLASS_PATTERN: Final = Field(json_schema_extra={"pattern": r"^[^\W\d]\w*(\.[^\W\d]\w*)+$"})
_PYTHON_PATTERN: Final = Field(json_schema_extra={"pattern": r"^3\.[0-9]{1,2}$"})


def _absolute(path: object, info: ValidationInfo) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise PydanticKnownError("string_type")
    return field_checks.check_path(os.fspath(path), (info.context or {}).get("base") or Path())


def _only_for_process(version: str | None, info: ValidationInfo) -> str | None:
    # An isolation that is wrong itself is not among the data: it has its own error.
    if version is not None and info.data.get("isolation", "process") != "process":
        raise ManifestError("goes only with 'isolation: process'; a plugin in this process has its Python")
    return version


def _not_empty(paths: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    if not paths and not info.data.get("data_modules"):
        # An error of pydantic's own, for which there are words already.
        raise PydanticKnownError("too_short", {"field_type": "Tuple", "min_length": 1, "actual_length": 0})
    return paths


class _Modules(dict[str, str]):
    """Name to class path; entries are hashed."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


def _listed(names: object) -> object:
    if not isinstance(names, list | tuple):
        raise PydanticKnownError("list_type")
    return names


def _kind_of(plugin: object) -> str | None:
    """Return which model fits an entry: git or local, or None where its keys do not tell."""
    if isinstance(plugin, GitPlugin | LocalPlugin):
        return "git" if isinstance(plugin, GitPlugin) else "local"
    if not isinstance(plugin, Mapping):
        return None
    from_git, from_folder = "repo" in plugin or "tag" in plugin, "path" in plugin
    if from_git == from_folder:
        from cuvis_ai_core.plugins.manifest import validation_errors  # which only bad manifests need

        return None if from_git else validation_errors.meant_kind(plugin)
    return "git" if from_git else "local"


class _Plugin(BaseModel):
    """What the entries of all plugins have."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    data_modules: Annotated[
        dict[_Text, Annotated[_Text, AfterValidator(field_checks.check_class_path), _CLASS_PATTERN]],
        AfterValidator(_Modules),
    ] = Field(
        default_factory=_Modules,
        description="Data modules that the plugin provides, for trainruns: name to the full path of the class.",
    )
    provides: Annotated[
        tuple[Annotated[_Text, AfterValidator(field_checks.check_class_path), _CLASS_PATTERN], ...],
        Field(
            description="Full paths of the node classes that the plugin provides: package.module.Class. It may be "
            "empty only where there are data modules.",
            examples=[["my_plugin.nodes.MyNode"]],
        ),
        BeforeValidator(_listed),
        AfterValidator(field_checks.check_paths_differ),
        AfterValidator(_not_empty),
    ]
    isolation: Literal["scoped", "process", "auto"] = Field(
        default="scoped",
        description="scoped: private modules in this process; process: an environment and a process of its "
        "own; auto: scoped where that is possible.",
    )
    extras: Annotated[
        tuple[Annotated[_Text, AfterValidator(field_checks.check_extra)], ...],
        BeforeValidator(_listed),
        AfterValidator(lambda extras: tuple(sorted(set(extras)))),
    ] = Field(default=(), description="Extras of the plugin's project to install with it.")
    build: Annotated[
        tuple[Annotated[_Text, AfterValidator(field_checks.check_distribution)], ...],
        BeforeValidator(_listed),
        AfterValidator(lambda names: tuple(sorted(set(names)))),
    ] = Field(default=(), description="Dependencies that may be built from source, because they have no wheel.")
    subdirectory: Annotated[_Text, AfterValidator(field_checks.check_subdirectory)] | None = Field(
        default=None, description="Folder of the plugin's project, where that is not the top folder."
    )
    python: Annotated[
        Annotated[_Text, AfterValidator(field_checks.check_python), _PYTHON_PATTERN] | None,
        AfterValidator(_only_for_process),
    ] = Field(default=None, description="Python version of the process, such as '3.12'; only with process.")


class GitPlugin(_Plugin):
    """A plugin from a tag of a Git repository."""

    repo: Annotated[_Text, AfterValidator(field_checks.check_repo)] = Field(
        description="Address of the Git repository: git@host:path, https://…, http://… or ssh://….",
        examples=["https://github.com/cubert-hyperspectral/cuvis-ai-adaclip.git"],
    )
    tag: Annotated[_Text, AfterValidator(field_checks.check_tag)] = Field(
        description="A tag of the repository; no branch, no commit.", examples=["v0.1.1"]
    )

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        return ((key, redact(value) if key == "repo" else value) for key, value in super().__repr_args__())


class LocalPlugin(_Plugin):
    """A plugin from a folder; a relative `path` begins at the manifest's folder."""

    path: Annotated[Path, BeforeValidator(_absolute)] = Field(
        description="Folder of the plugin's project: absolute, or relative to this file; ~ is the home folder.",
        examples=["../my-custom-plugin"],
    )


Plugin: TypeAlias = Annotated[
    Annotated[GitPlugin, Tag("git")] | Annotated[LocalPlugin, Tag("local")], Discriminator(_kind_of)
]


class Manifest(BaseModel):
    """The plugins of a manifest by their names, in the order in which they stand there."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    plugins: Annotated[
        dict[Annotated[_Text, AfterValidator(field_checks.check_name)], Plugin],
        AfterValidator(field_checks.check_names_differ),
        Field(description="Name of the plugin, a Python identifier, to where it comes from and what it provides."),
    ]

    def named(self, names: Iterable[str]) -> dict[str, Plugin]:
        """Return the plugins of some names, in the order of the manifest.

        Raises:
            ManifestError: There is none of that name.
        """
        wanted = set(names)
        unknown = min(wanted - set(self.plugins), default=None)
        if unknown is not None:
            raise ManifestError(
                f"The manifest has no plugin '{unknown}'; it has: {', '.join(self.plugins) or 'none'}.", plugin=unknown
            )
        return {name: plugin for name, plugin in self.plugins.items() if name in wanted}


def manifest_path(path: str | os.PathLike[str]) -> Path:
    """Return the path of a manifest; `~` is the home folder."""
    with suppress(RuntimeError):  # no home folder: the path stays as it is, and is not there
        return Path(path).expanduser()
    return Path(path)


def lock_path(manifest: Path) -> Path:
    """Return where the lock file of a manifest lies."""
    return manifest.with_suffix(".lock")


def read_manifest(path: Path) -> Manifest:
    """Read the manifest at `path`; relative paths in it begin at its folder.

    Raises:
        ManifestError: The file cannot be read, or breaks a rule; all broken rules are named.
    """
    # PyYAML stays away from those who only check a configuration in memory.
    from cuvis_ai_core._untrusted_files import load_yaml

    path = manifest_path(path)
    try:
        document = load_yaml(path)
    except YamlError as error:
        from cuvis_ai_core.plugins.manifest import validation_errors

        raise validation_errors.unreadable(error, path) from error
    return _checked(_content(document.data), base=path.absolute().parent, path=path, document=document)


def parse_plugin(
    name: str, config: "Mapping[str, Any] | GitPlugin | LocalPlugin", *, base: Path
) -> GitPlugin | LocalPlugin:
    """Check the configuration of one plugin; a relative `path` in it begins at `base`.

    Raises:
        ManifestError: The name or the configuration breaks a rule; all broken rules are named.
    """
    plugin: object = config
    if isinstance(config, BaseModel):
        plugin = config.model_dump()
    elif isinstance(config, Mapping):
        plugin = plugin_entry(dict(config))
    return _good(name, plugin, base) or _checked({"plugins": {name: plugin}}, base=base).plugins[name]


def _good(name: object, plugin: object, base: Path) -> GitPlugin | LocalPlugin | None:
    """Return one plugin that breaks no rule, without what pydantic prepares to check a whole manifest; else nothing."""
    plain = field_checks.plain_entry(name, plugin)
    if plain is not None:
        return GitPlugin.model_construct(**plain)
    models: dict[str | None, type[GitPlugin | LocalPlugin]] = {"git": GitPlugin, "local": LocalPlugin}
    model = models.get(_kind_of(plugin))
    if model is None or not isinstance(name, str):
        return None
    # What is wrong the check of a whole manifest says, in all its places.
    with suppress(ValueError):
        field_checks.check_name(name)
        return model.model_validate(plugin, context={"base": base})
    return None


def manifest_schema() -> dict[str, Any]:
    """Return the JSON Schema of a manifest, for editors; `docs/reference/plugins.schema.json` holds it."""
    schema = Manifest.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    plugins = schema["properties"]["plugins"]
    # `plugins:` with nothing behind it is a manifest without plugins.
    plugins["type"] = ["object", "null"]
    plugins["propertyNames"] = {"pattern": _NAME_PATTERN}
    return schema


def _content(data: object) -> object:
    """Return the data of a file, where nothing at all means no plugins."""
    if data is None or data == {}:
        return {"plugins": {}}
    if isinstance(data, dict) and "plugins" in data and data["plugins"] is None:
        return {**data, "plugins": {}}
    return with_plugins(data)


def _checked(
    content: object, *, base: Path, path: Path | None = None, document: "YamlDocument | None" = None
) -> Manifest:
    try:
        return Manifest.model_validate(content, context={"base": base})
    except ValidationError as error:
        errors = error.errors(include_url=False)
    from cuvis_ai_core.plugins.manifest import validation_errors

    # Outside of the handler: pydantic's text quotes values, credentials among them.
    fields = {"git": tuple(GitPlugin.model_fields), "local": tuple(LocalPlugin.model_fields)}
    raise validation_errors.broken(errors, fields, path, document)
