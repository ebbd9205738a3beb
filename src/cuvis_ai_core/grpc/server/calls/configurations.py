"""Configurations: resolved, described, checked."""

import json
from collections.abc import Mapping
from typing import Any, Final

from cuvis_ai_core.grpc.messages.manifest_json import read_json
from cuvis_ai_core.grpc.messages.schema_generations import messages
from cuvis_ai_core.grpc.server.call_context import Call, Handler
from cuvis_ai_core.grpc.server.config_resolution import resolved
from cuvis_ai_core.grpc.server.config_validation import problems, schema_of


def resolve_config(call: Call) -> Any:
    """Return a configuration of the search paths as JSON: composed, overridden, interpolated."""
    return messages().ResolveConfigResponse(config_bytes=json.dumps(resolved(call)).encode())


def get_parameter_schema(call: Call) -> Any:
    """Return the JSON Schema of a kind of configuration."""
    schema = schema_of(call.request.config_type).model_json_schema()
    return messages().GetParameterSchemaResponse(json_schema=json.dumps(schema))


def validate_config(call: Call) -> Any:
    """Say what is wrong with a configuration."""
    schema_of(call.request.config_type)
    found = problems(call.request.config_type, read_json(call.request.config_bytes, call.request.config_type))
    return messages().ValidateConfigResponse(valid=not found, errors=found)


CALLS: Final[Mapping[str, Handler]] = {
    "ResolveConfig": resolve_config,
    "GetParameterSchema": get_parameter_schema,
    "ValidateConfig": validate_config,
}
