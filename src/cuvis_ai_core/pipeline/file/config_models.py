"""The schema of a pipeline file, and its published spellings."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    field_validator,
    model_validator,
)

from cuvis_ai_core.pipeline.file.endpoint_texts import parse_endpoint
from cuvis_ai_core.pipeline.file.published_keys import SPELLINGS, with_hparams


class Section(BaseModel):
    """A part of the file; keys that it does not know are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def spellings(cls) -> dict[object, str]:
        """Return the published spellings of this section's keys."""
        return {old: new for old, new in SPELLINGS.items() if new in cls.model_fields}

    @model_validator(mode="before")
    @classmethod
    def _published_spellings(cls, data: object) -> object:
        if not isinstance(data, Mapping):
            return data
        spellings = cls.spellings()
        for old, new in spellings.items():
            if old in data and new in data:
                raise ValueError(f"has both '{old}' and '{new}', which mean the same: keep '{new}'")
        # Nothing behind the colon means the default, where there is one.
        named = ((spellings.get(key, key), value) for key, value in data.items())
        return {key: value for key, value in named if value is not None or not cls._has_default(key)}

    @classmethod
    def _has_default(cls, key: object) -> bool:
        field = cls.model_fields.get(str(key))
        return field is not None and not field.is_required()


class NodeConfig(Section):
    """One node: `params` are the arguments of the class."""

    name: str = Field(min_length=1)
    class_name: str = Field(min_length=1)
    params: dict[str, Any] = Field(default_factory=dict)
    _is_published: bool = PrivateAttr(default=False)
    _keeps_unread: bool = PrivateAttr(default=False)

    @property
    def is_published(self) -> bool:
        """Whether the file has a published spelling: `hparams` for `params`, or `class` for `class_name`."""
        return self._is_published

    def keep_unread(self) -> None:
        """Have the published spelling written, since a keyword is kept that nobody reads."""
        self._keeps_unread = True

    @property
    def keeps_unread(self) -> bool:
        """Whether a keyword is kept that nobody reads."""
        return self._keeps_unread

    @model_validator(mode="wrap")
    @classmethod
    def _note_spelling(cls, data: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        made = handler(data)
        if isinstance(data, Mapping):
            # A private attribute: fields of a frozen model cannot be set, and would be written to files.
            made._is_published = not {"hparams", "class"}.isdisjoint(data)  # noqa: SLF001
        return made

    @field_validator("name")
    @classmethod
    def _is_no_endpoint(cls, name: str) -> str:
        if "." in name or name != name.strip():
            raise ValueError(f"'{name}' is no node name: it has no dot and no blank at its ends")
        return name

    @field_validator("params")
    @classmethod
    def _without_empty_name(cls, params: dict[str, Any]) -> dict[str, Any]:
        """Leave out a name that is null: published files have one, and it means the one beside `params`."""
        return {key: value for key, value in params.items() if (key, value) != ("name", None)}


class EdgeConfig(Section):
    """One edge: from an output port to an input port."""

    source: str
    target: str

    @field_validator("source")
    @classmethod
    def _is_output(cls, endpoint: str) -> str:
        return ".outputs.".join(parse_endpoint(endpoint, "outputs"))

    @field_validator("target")
    @classmethod
    def _is_input(cls, endpoint: str) -> str:
        return ".inputs.".join(parse_endpoint(endpoint, "inputs"))


class PipelineConfig(Section):
    """A whole pipeline file; `plugins` names the plugins that its nodes come from."""

    metadata: dict[str, Any] = Field(default_factory=dict)
    plugins: list[str] = Field(default_factory=list)
    nodes: list[NodeConfig] = Field(min_length=1)
    edges: list[EdgeConfig] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _frozen_by_the_trainrun(cls, data: object) -> object:
        """Leave out `frozen_nodes`, which files of the first published generation have, and as a rule an empty one."""
        if not isinstance(data, Mapping) or "frozen_nodes" not in data:
            return data
        if data["frozen_nodes"]:
            raise ValueError("'frozen_nodes' is no part of a pipeline: a trainrun names them, in freeze_nodes")
        return {key: value for key, value in data.items() if key != "frozen_nodes"}

    @model_validator(mode="before")
    @classmethod
    def _published_name(cls, data: object) -> object:
        """Take a name at the top, where published files of the first generation have it, for that in the metadata."""
        if not isinstance(data, Mapping) or "name" not in data:
            return data
        metadata = data.get("metadata")
        if not isinstance(metadata, Mapping | None):
            return data
        rest = {key: value for key, value in data.items() if key != "name"}
        named = {} if data["name"] is None else {"name": data["name"]}
        return {**rest, "metadata": {**named, **(metadata or {})}}

    def to_dict(self) -> dict[str, Any]:
        """Return the file's content in the one spelling that is written; an empty `plugins` is left out.

        Only a published node that keeps keywords that nobody reads has `hparams`, so that it can be read again.
        """
        content = self.model_dump(exclude=None if self.plugins else {"plugins"})
        return with_hparams(content, {entry.name for entry in self.nodes if entry.keeps_unread})

    @property
    def published(self) -> frozenset[str]:
        """Names of the nodes in a published spelling."""
        return frozenset(entry.name for entry in self.nodes if entry.is_published)
