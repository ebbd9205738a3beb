"""`${...}` in configuration files, as OmegaConf means it: `${metadata.name}`, `${oc.env:HOME}`."""

from collections.abc import Mapping
from typing import Any

from cuvis_ai_core.errors import PipelineError

_SIGN = "${"


def resolve(data: Any) -> Any:  # noqa: ANN401 - whatever a YAML file holds
    """Return data with every interpolation resolved; without any, the data as they are.

    Raises:
        PipelineError: One names a key or a variable that is not there, or a value has no place in a file.
    """
    if not _has_interpolation(data):
        return data
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return OmegaConf.to_container(OmegaConf.create(data), resolve=True)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        problem = str(error).partition("\n")[0].rstrip(".")
        raise PipelineError(
            f"{f'{key}: ' if key else ''}{problem}.",
            hint="${a.b} is the value of key 'b' below key 'a' of this file, ${oc.env:NAME} an environment variable.",
        ) from error


def _has_interpolation(data: object) -> bool:
    if isinstance(data, str):
        return _SIGN in data
    if isinstance(data, Mapping):
        return any(map(_has_interpolation, data.values()))
    return isinstance(data, list | tuple) and any(map(_has_interpolation, data))
