"""The pipeline file: its schema, the published spellings, and what is wrong with a bad one."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from cuvis_ai_core._nearest import advice
from cuvis_ai_core.errors import PipelineError
from cuvis_ai_core.pipeline.file.interpolation import resolve
from cuvis_ai_core.pipeline.file.published_keys import SPELLINGS

EXAMPLE: Final = """\
A pipeline file looks like this:
  metadata: {name: false_colour}
  nodes:
    - {name: selector, class_name: WavelengthSelector, params: {targets: [650, 550, 450]}}
    - {name: scaler, class_name: MinMaxNormalizer}
  edges:
    - {source: selector.outputs.image, target: scaler.inputs.cube}"""
_MAPPING_RULE = "must be a mapping, not {given}"
_RULES: Final = {
    "missing": "is missing",
    "invalid_key": "must be text: put it in quotes",
    "string_type": "must be text, not {given} (put it in quotes)",
    "list_type": "must be a list, not {given}",
    "dict_type": _MAPPING_RULE,
    "model_type": _MAPPING_RULE,
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}
_SHOWN_PROBLEMS: Final = 5

LineOf = Callable[..., int | None]


class _Section(BaseModel):
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


class NodeConfig(_Section):
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


class EdgeConfig(_Section):
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


class PipelineConfig(_Section):
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


def with_hparams(content: Mapping[str, Any], nodes: Collection[str]) -> dict[str, Any]:
    """Return the content of a pipeline file in which some nodes have `hparams` for `params`."""

    def spelled(node: Mapping[str, Any]) -> dict[str, Any]:
        change = node["name"] in nodes
        return {"hparams" if change and key == "params" else key: value for key, value in node.items()}

    return {**content, "nodes": [spelled(node) for node in content["nodes"]]}


def parse_config(data: object, *, path: Path | None = None, line_of: LineOf | None = None) -> PipelineConfig:
    """Check the content of a pipeline file.

    Args:
        data: What the file holds.
        path: The file, for messages.
        line_of: Keys to the line on which they stand, where that is known.

    Raises:
        PipelineError: A key or a value breaks a rule; all such places are named.
    """
    where = f"Pipeline file {path}" if path else "Pipeline"
    if not isinstance(data, Mapping):
        kind = {str: "single text", bool: "truth value"}.get(type(data), type(data).__name__)
        found = "is empty" if data is None else f"is a {kind}"
        raise PipelineError(f"{where} {found}; it must be a mapping with the key 'nodes'.", hint=EXAMPLE, path=path)
    try:
        return PipelineConfig.model_validate(resolve(dict(data)))
    except PipelineError as error:
        raise PipelineError(f"{where}: {error.message}", hint=error.hint, path=path) from error
    except ValidationError as error:
        problems = [_explain(details, line_of) for details in error.errors(include_url=False)]
    shown = problems[:_SHOWN_PROBLEMS]
    if rest := len(problems) - len(shown):
        shown.append(f"... and {rest} more")
    text = shown[0] if len(shown) == 1 else "".join(f"\n  {problem}" for problem in shown)
    raise PipelineError(f"{where}: {text}", hint=EXAMPLE, path=path)


def parse_endpoint(endpoint: str, side: str) -> tuple[str, str]:
    """Split `node.outputs.port`, `node.inputs.port` or `node.port` into node and port.

    Args:
        endpoint: The text.
        side: `outputs` or `inputs`: the end of the edge at which it stands.

    Raises:
        ValueError: It is none of these, or names the other side.
    """
    match endpoint.split("."):
        case [node, port] | [node, ("outputs" | "inputs"), port] if not node or not port:
            pass
        case [node, port]:
            return node, port
        case [node, given, port] if given == side:
            return node, port
        case [_, ("outputs" | "inputs"), _]:
            raise ValueError(f"'{endpoint}' is on the wrong side: an edge runs from outputs to inputs")
    raise ValueError(f"'{endpoint}' is no port: write 'node.{side}.port' or 'node.port'")


def _explain(details: ErrorDetails, line_of: LineOf | None) -> str:
    # pydantic adds `[key]` where it is a key that is wrong, and not its value.
    keys = tuple(key for key in details["loc"] if key != "[key]")
    line = _nearest_line(keys, line_of)
    place = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")
    return " ".join(filter(None, [f"line {line}:" if line else "", f"{place}:" if place else "", _rule(details)]))


def _nearest_line(keys: tuple[int | str, ...], line_of: LineOf | None) -> int | None:
    """Return the line of the key, or of the innermost key around it that the file has."""
    if line_of is None:
        return None
    lines = (line_of(*keys[:depth]) for depth in range(len(keys), 0, -1))
    return next((line for line in lines if line is not None), None)


def _rule(details: ErrorDetails) -> str:
    kind = details["type"]
    if kind == "extra_forbidden":
        return _unknown_key(details["loc"])
    if kind == "string_type" and details["loc"][-1] == "[key]":
        kind = "invalid_key"
    if rule := _RULES.get(kind):
        return rule.format(given=f"{details['input']!r:.60}")
    # pydantic begins so what a validator of ours raised.
    return details["msg"].removeprefix("Value error, ")


def _unknown_key(loc: tuple[int | str, ...]) -> str:
    sections: dict[object, type[_Section]] = {"nodes": NodeConfig, "edges": EdgeConfig}
    section = sections.get(loc[0] if len(loc) > 1 else None, PipelineConfig)
    known = [*section.model_fields, *map(str, section.spellings())]
    return "is an unknown key; " + advice(str(loc[-1]), known, f"known keys are {', '.join(section.model_fields)}")
