"""The JSON Schema of a pipeline file, with the nodes of a registry."""

import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_core.errors import CuvisError
from cuvis_ai_core.pipeline.file.config_models import PipelineConfig
from cuvis_ai_core.pipeline.file.published_keys import SPELLINGS

if TYPE_CHECKING:
    from cuvis_ai_core.registry import NodeRegistry

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_TYPES: Final[Mapping[object, dict[str, Any]]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    dict: {"type": "object"},
    list: {"type": "array"},
    tuple: {"type": "array"},
    type(None): {"type": "null"},
}
_INTERPOLATED: Final = {"type": "string", "pattern": r"\$\{.+\}"}
"""A value that is read from elsewhere, in place of one of any type."""


def pipeline_schema(registry: "NodeRegistry") -> dict[str, Any]:
    """Return the JSON Schema of a pipeline file.

    The names of the nodes that a registry knows are offered, others are taken too; a node that is known has its
    parameters. Published spellings of keys are valid.

    Args:
        registry: Whose nodes; each is imported, and left out where that fails.
    """
    schema = PipelineConfig.model_json_schema()
    # pydantic writes this dialect, and does not say so.
    schema["$schema"] = _DIALECT
    for section in (schema, *schema["$defs"].values()):
        _take_published(section)
    schema["properties"]["name"] = {"type": "string", "description": "Published place of metadata.name."}
    known = dict(_nodes(registry))
    node = schema["$defs"]["NodeConfig"]
    names = {"anyOf": [{"enum": sorted(known)}, {"type": "string", "minLength": 1}]}
    for key in ("class_name", "class"):
        node["properties"][key] = names
    node["allOf"] = [*node.get("allOf", ()), *(_when(name, params) for name, params in sorted(known.items()))]
    return schema


def _take_published(section: dict[str, Any]) -> None:
    """Let a section have the published spelling of a key in place of ours."""
    properties, required = section.get("properties", {}), section.get("required", [])
    for old, new in SPELLINGS.items():
        if new in properties and str(old) not in properties:
            properties[str(old)] = properties[new]
            if new in required:
                required.remove(new)
                section.setdefault("allOf", []).append({"anyOf": [{"required": [new]}, {"required": [old]}]})


def _nodes(registry: "NodeRegistry") -> Iterator[tuple[str, dict[str, Any]]]:
    counted: dict[str, int] = {}
    for entry in registry.nodes():
        counted[entry.name] = counted.get(entry.name, 0) + 1
    for entry in registry.nodes():
        try:
            params = _params(registry.get(entry.path if entry.plugin else entry.name))
        except CuvisError:  # a plugin that cannot be imported here, or needs an extra
            continue
        yield entry.path, params
        # A short name of several nodes means none of them for sure.
        if counted[entry.name] == 1:
            yield entry.name, params


def _params(node_class: type) -> dict[str, Any]:
    """Return the schema of the parameters of a class; one that takes any further ones lets any be given."""
    try:
        parameters = inspect.signature(node_class, eval_str=False).parameters.values()
    except (TypeError, ValueError):
        return {"type": ["object", "null"]}
    try:
        hints = typing.get_type_hints(vars(node_class).get("__init__", node_class))
    except Exception:  # noqa: BLE001 - names in annotations need not be there at run time
        hints = {}
    properties, required = {}, []
    for each in parameters:
        if each.kind in {each.VAR_KEYWORD, each.VAR_POSITIONAL} or each.name in {"name", "execution_stages"}:
            continue
        found = _type(hints.get(each.name))
        if each.default is each.empty:
            required.append(each.name)
        elif isinstance(each.default, bool | int | float | str | None):
            found = {**found, "default": each.default}
        properties[each.name] = found
    return {
        "type": ["object", "null"],
        "properties": properties,
        **({"description": inspect.cleandoc(node_class.__doc__)} if node_class.__doc__ else {}),
        **({"required": required} if required else {}),
    }


def _type(hint: Any) -> dict[str, Any]:
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return {"enum": [*typing.get_args(hint)]}
    if origin in {typing.Union, types.UnionType}:
        each = [_type(one) for one in typing.get_args(hint)]
        return {"anyOf": [*each, _INTERPOLATED]} if all(each) else {}
    found = _TYPES.get(origin or hint)
    return {"anyOf": [found, _INTERPOLATED]} if found else {}


def _when(name: str, params: dict[str, Any]) -> dict[str, Any]:
    """Return the rule that a node of a class has its parameters."""
    described = {"if": {"properties": {"class_name": {"const": name}}, "required": ["class_name"]}}
    rule: dict[str, Any] = {"properties": {"params": params, "hparams": params}}
    if "required" in params:
        rule["anyOf"] = [{"required": ["params"]}, {"required": ["hparams"]}]
    return {**described, "then": rule}
