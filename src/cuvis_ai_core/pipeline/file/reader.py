"""Reading a pipeline file: checked, with what is laid over it, and what is said where it breaks a rule."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cuvis_ai_core._nearest import advice
from cuvis_ai_core._untrusted_files import load_yaml
from cuvis_ai_core.errors import PipelineError, YamlError
from cuvis_ai_core.pipeline.file.config_models import EdgeConfig, NodeConfig, PipelineConfig, Section
from cuvis_ai_core.pipeline.file.interpolation import filled_in
from cuvis_ai_core.pipeline.file.overrides import override

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


def read_config(path: Path, overrides: Sequence[str] = ()) -> PipelineConfig:
    """Read and check a pipeline file.

    Args:
        path: The file.
        overrides: Each `key.path=value`, laid over its content (see `overrides.override`).

    Raises:
        PipelineError: The file cannot be read, or something in it breaks a rule.
    """
    try:
        document = load_yaml(path)
    except YamlError as error:
        line = f"line {error.line}: " if error.line else ""
        raise PipelineError(f"Pipeline file {path}: {line}{error.message}.", hint=EXAMPLE, path=path) from error
    data = document.data
    if overrides and isinstance(data, Mapping):
        data = override(data, overrides)
    return parse_config(data, path=path, line_of=document.line_of)


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
        return PipelineConfig.model_validate(filled_in(dict(data)))
    except PipelineError as error:
        raise PipelineError(f"{where}: {error.message}", hint=error.hint, path=path) from error
    except ValidationError as error:
        problems = [_explain(details, line_of) for details in error.errors(include_url=False)]
    shown = problems[:_SHOWN_PROBLEMS]
    if rest := len(problems) - len(shown):
        shown.append(f"... and {rest} more")
    text = shown[0] if len(shown) == 1 else "".join(f"\n  {problem}" for problem in shown)
    raise PipelineError(f"{where}: {text}", hint=EXAMPLE, path=path)


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
    sections: dict[object, type[Section]] = {"nodes": NodeConfig, "edges": EdgeConfig}
    section = sections.get(loc[0] if len(loc) > 1 else None, PipelineConfig)
    known = [*section.model_fields, *map(str, section.spellings())]
    return "is an unknown key; " + advice(str(loc[-1]), known, f"known keys are {', '.join(section.model_fields)}")
