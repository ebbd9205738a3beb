"""Writing a pipeline: the YAML file, and its weights beside it."""

import logging
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_core._atomic_writes import replacing
from cuvis_ai_core.errors import PipelineError
from cuvis_ai_core.node.hyper_parameters import holds_unwritable, plain
from cuvis_ai_core.pipeline.file.interpolation import hide_environment
from cuvis_ai_core.pipeline.weights.node_weights import check_state
from cuvis_ai_core.pipeline.weights.stored_arrays import State
from cuvis_ai_core.pipeline.weights.weights_file import SAFETENSORS, SUFFIXES, TORCH, write_weights

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline

logger = logging.getLogger(__name__)

_YAML: Final = (".yaml", ".yml")
_BREAKS: Final = frozenset("\x85\u2028\u2029\ufeff")
"""Signs that a reader of YAML takes for the end of a line, or for none: PyYAML does not escape them beside letters."""


def save_pipeline(
    path: Path,
    pipeline: "Pipeline",
    weights_format: str | None,
    *,
    content: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    weights: bool = True,
) -> None:
    """Write a pipeline; weights of an earlier one in its place go.

    Args:
        path: The YAML file.
        pipeline: The pipeline.
        weights_format: `pt` or `safetensors`; by default `pt` if a node is one of torch.
        content: What the file says, by default `pipeline.to_dict()`.
        metadata: Laid over that of the pipeline.
        weights: Whether weights are written.

    Raises:
        PipelineError: The path is of no YAML file, the format is unknown, or something cannot be written.
        MissingExtraError: `pt` is asked for, and torch is not installed.
        OSError: The folder cannot be written.
    """
    if path.suffix not in _YAML:
        raise PipelineError(f"'{path}' is no name of a pipeline file: it ends in .yaml.", path=path)
    if not pipeline.nodes:
        raise PipelineError("The pipeline has no nodes; a pipeline file has one or more.", path=path)
    text = _text(content or pipeline.to_dict(), path, metadata or {})
    state = pipeline.state_dict() if weights else {}
    suffix = _suffix(state, weights_format)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(text.encode())
        if state:
            about = {"pipeline": pipeline.name, "cuvis_ai_version": version("cuvis-ai-core")}
            write_weights(path.with_suffix(suffix), state, about)
    logger.info("wrote %s%s", path, f" and {path.with_suffix(suffix).name}" if state else "")
    for other in SUFFIXES:  # what an earlier pipeline of this name left would be loaded with this one
        if other != suffix or not state:
            path.with_suffix(other).unlink(missing_ok=True)


def check_saving(pipeline: "Pipeline") -> None:
    """Check before a training that the pipeline could be saved after it.

    Raises:
        PipelineError: A parameter of a node, or what it keeps beside arrays, cannot be written.
    """
    _text(pipeline.to_dict(), Path("pipeline.yaml"), {})
    check_state(dict(pipeline.nodes.items()))


def _text(content: Mapping[str, Any], path: Path, metadata: Mapping[str, Any]) -> str:
    nodes = [_written(node, path) for node in content["nodes"]]
    return to_yaml(hide_environment({**content, "metadata": {**content["metadata"], **metadata}, "nodes": nodes}))


def _written(node: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the entry of a node in the types of a pipeline file."""
    key = "params" if "params" in node else "hparams"
    params = {name: plain(value) for name, value in node[key].items()}
    for name, value in params.items():
        if kind := holds_unwritable(value):
            raise PipelineError(
                f"Node '{node['name']}' cannot be written: its parameter '{name}' holds a value of type {kind}, "
                "which a pipeline file cannot hold.",
                hint="Hand it numbers, texts, lists or mappings; or have its class keep such in hparams by this name.",
                node=node["name"],
                path=path,
            )
    return {**node, key: params}


def to_yaml(data: dict[str, Any]) -> str:
    """Return data as YAML, in their order.

    Raises:
        PipelineError: A value is of a type that YAML does not have.
    """
    import yaml

    from cuvis_ai_core._yaml import YamlDumper

    def dump(*, allow_unicode: bool) -> str:
        return yaml.dump(data, Dumper=YamlDumper, sort_keys=False, allow_unicode=allow_unicode, width=120)

    try:
        text = dump(allow_unicode=True)
        return dump(allow_unicode=False) if _BREAKS.intersection(text) else text
    except yaml.representer.RepresenterError as error:
        # PyYAML has what it could not write there, behind its words.
        value = error.args[1] if len(error.args) > 1 else error
        raise PipelineError(
            f"The pipeline cannot be written: a parameter is of type {type(value).__name__}, which YAML does not have.",
            hint="Give nodes numbers, texts, lists and mappings as parameters.",
        ) from error


def _suffix(state: State, weights_format: str | None) -> str:
    if weights_format is None:
        is_torch = any(hasattr(value, "detach") for values in state.values() for value in values.values())
        return TORCH if is_torch else SAFETENSORS
    if (suffix := f".{weights_format}") not in SUFFIXES:
        raise PipelineError(f"There is no format of weights '{weights_format}'.", hint="Formats: pt, safetensors.")
    return suffix
