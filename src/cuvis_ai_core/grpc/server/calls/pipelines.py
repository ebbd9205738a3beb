"""Pipelines: found, loaded, given weights, saved, described, drawn."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_core._yaml import parse_yaml
from cuvis_ai_core.errors import PipelineError, ServiceError, YamlError
from cuvis_ai_core.grpc.messages.manifest_json import read_json
from cuvis_ai_core.grpc.messages.node_infos import shape_of
from cuvis_ai_core.grpc.messages.schema_generations import messages
from cuvis_ai_core.grpc.messages.tensors import dtype_number
from cuvis_ai_core.grpc.server.call_context import Call, Handler
from cuvis_ai_core.grpc.server.config_resolution import without_resolvers
from cuvis_ai_core.grpc.server.inference_inputs import open_inputs
from cuvis_ai_core.grpc.server.pipeline_listing import (
    FOLDER,
    find_pipeline,
    metadata_message,
    pipeline_info,
    pipeline_infos,
)
from cuvis_ai_core.grpc.server.symlink_races import reading, writing
from cuvis_ai_core.pipeline.file.interpolation import resolve
from cuvis_ai_core.pipeline.file.lookup import find_weights

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline
    from cuvis_ai_core.registry import NodeRegistry

CLIENT_BYTES: Final = "(client-bytes)"
"""What is answered for the path of weights that came in the message."""

_ZIP: Final = b"PK"
_PICTURES: Final = ("png", "svg", "dot", "mermaid")


def list_pipelines(call: Call) -> Any:
    """List the pipeline files of the server's configurations."""
    configs, roots = call.service.settings.configs_dir, call.service.roots
    found = pipeline_infos(configs, roots, call.request.filter_tag, call.generation)
    return messages().ListAvailablePipelinesResponse(pipelines=found)


def get_pipeline_info(call: Call) -> Any:
    """Describe a pipeline file, with its content."""
    configs, roots = call.service.settings.configs_dir, call.service.roots
    file = find_pipeline(configs, roots, call.request.pipeline_path)
    by_name = (0, 2) if file.suffix not in call.request.pipeline_path else call.generation
    info = pipeline_info(file, configs.resolve(), roots, by_name, content=True)
    return messages().GetPipelineInfoResponse(pipeline_info=info)


def load_pipeline(call: Call) -> Any:
    """Build the session's pipeline, in the place of the one before."""
    from cuvis_ai_core.pipeline.pipeline import Pipeline

    # Before anything is resolved: `${oc.env:...}` of a client would read the server's variables.
    content = without_resolvers(read_json(call.request.pipeline.config_bytes, "pipeline"))
    if "nodes" not in content and isinstance(content.get("pipeline"), dict):
        content = content["pipeline"]  # a trainrun, or a nested group as Hydra composes it
    content = resolve(content)  # before its classes are looked at
    call.service.check_nodes(call.session.node_registry, content)
    pipeline = Pipeline.from_dict(content, node_registry=call.session.node_registry)
    pipeline.prepare_inference()
    call.session.set_pipeline(pipeline)
    metadata = metadata_message({"name": pipeline.name, **pipeline.metadata})
    return messages().LoadPipelineResponse(success=True, metadata=metadata)


def load_weights(call: Call) -> Any:
    """Give the pipeline weights, from a file of the server or from the message."""
    pipeline, request = call.session.needed_pipeline(), call.request
    strict = request.strict if request.HasField("strict") else True
    source = request.WhichOneof("weights_source")
    if source is None:
        raise ServiceError("Neither weights_path nor weights_bytes is given.", code="INVALID_ARGUMENT")
    if source == "weights_path":
        folders = [*call.session.search_paths, call.service.settings.configs_dir.resolve() / FOLDER]
        path = call.service.roots.file(request.weights_path, folders)
        with reading(call.service.roots, path) as held:
            give_weights(pipeline, held, strict=strict)
        return messages().LoadPipelineWeightsResponse(success=True, resolved_path=str(path))
    with tempfile.TemporaryDirectory() as folder:
        # torch writes zip archives since 1.6; safetensors begins with the length of its header.
        suffix = ".pt" if request.weights_bytes.startswith(_ZIP) else ".safetensors"
        path = Path(folder) / f"weights{suffix}"
        path.write_bytes(request.weights_bytes)
        try:
            give_weights(pipeline, path, strict=strict)
        except PipelineError as error:  # the client knows no such file
            message = error.message.removeprefix(f"{path}: ").replace(f"'{path}'", "that were sent")
            raise PipelineError(message, hint=error.hint) from error
    return messages().LoadPipelineWeightsResponse(success=True, resolved_path=CLIENT_BYTES)


def save_pipeline(call: Call) -> Any:
    """Write the pipeline file, and its weights beside it."""
    pipeline, request = call.session.needed_pipeline(), call.request
    text = request.pipeline_path
    named = text if text.endswith((".yaml", ".yml")) else f"{text}.yaml" if text.strip() else text
    target = call.service.roots.target(named)
    # The folder is held open: one that is exchanged for a link meanwhile leads nowhere.
    with writing(call.service.roots, target) as held:
        save(pipeline, held, {field.name: value for field, value in request.metadata.ListFields()})
        weights = find_weights(held)
    beside = str(target.with_name(weights.name)) if weights else ""
    return messages().SavePipelineResponse(success=True, pipeline_path=str(target), weights_path=beside)


def get_inputs(call: Call) -> Any:
    """Say what is handed in: the inputs that no edge feeds, each by its port's name."""
    specs = {name: _spec(name, ports) for name, ports in open_inputs(call.session.needed_pipeline()).items()}
    return messages().GetPipelineInputsResponse(input_names=specs, input_specs=specs)


def get_outputs(call: Call) -> Any:
    """Say what comes out: the outputs of all nodes, each as `node.port`."""
    pipeline = call.session.needed_pipeline()
    ports = {port.name: port for each in pipeline.outputs.values() for port in each.values()}
    specs = {name: _spec(name, [port]) for name, port in ports.items()}
    return messages().GetPipelineOutputsResponse(output_names=specs, output_specs=specs)


def draw(call: Call) -> Any:
    """Draw the graph, of the session's pipeline or of one in the request."""
    from cuvis_ai_core.pipeline.drawing import picture

    kind = call.request.format.lower() or "png"
    if kind not in _PICTURES:
        raise ServiceError(
            f"There is no picture format '{kind[:40]}'; formats are {', '.join(_PICTURES)}.", code="INVALID_ARGUMENT"
        )
    registry = call.owner.node_registry if call.owner is not None else None
    content = call.request.config_content
    pipeline = _outline(call, content, registry) if content else call.session.needed_pipeline()
    return messages().GetPipelineVisualizationResponse(image_data=picture(pipeline, kind), format=kind)


def save(pipeline: "Pipeline", target: Path, metadata: Mapping[str, Any]) -> None:
    """Write a pipeline with what is said about it, in the published spelling: its clients read the file, too.

    Raises:
        ServiceError: The folder cannot be written.
        PipelineError: Something in the pipeline cannot be written.
    """
    said = {name: list(value) if name == "tags" else value for name, value in metadata.items()}
    pipeline.metadata = {**pipeline.metadata, **said}
    pipeline.save_to_file(target)


def give_weights(pipeline: "Pipeline", path: Path, *, strict: bool) -> None:
    """Give a pipeline the weights of a file; without `strict` those that fit, and what is left out is logged.

    Raises:
        PipelineError: The file cannot be read, or does not fit.
    """
    if strict:
        pipeline.load_weights(path)
        return
    from cuvis_ai_core.pipeline.weights.node_weights import apply_fitting
    from cuvis_ai_core.pipeline.weights.weights_file import read_weights

    apply_fitting(dict(pipeline.nodes.items()), read_weights(path).state)
    pipeline.prepare_inference()


def _spec(name: str, ports: list[Any]) -> Any:
    port = ports[0]
    return messages().TensorSpec(
        name=name,
        shape=shape_of(port.sizes),
        dtype=dtype_number(port.port.dtype),
        required=any(not each.port.optional for each in ports),
    )


def _outline(call: Call, text: str, registry: "NodeRegistry | None") -> "Pipeline":
    from cuvis_ai_core.pipeline.pipeline import Pipeline
    from cuvis_ai_core.registry import NodeRegistry

    try:
        data = parse_yaml(text).data
    except YamlError as error:
        raise ServiceError(f"config_content: {error}", code="INVALID_ARGUMENT") from error
    if not isinstance(data, dict):
        raise ServiceError("config_content holds no mapping.", code="INVALID_ARGUMENT")
    # Through JSON: a date or a set of YAML has no place in a pipeline, and is an error here.
    content = resolve(json.loads(json.dumps(without_resolvers(data))))
    own = registry or NodeRegistry()
    call.service.check_nodes(own, content)
    return Pipeline.from_dict(content, node_registry=own, outline=True)


CALLS: Final[Mapping[str, Handler]] = {
    "ListAvailablePipelines": list_pipelines,
    "GetPipelineInfo": get_pipeline_info,
    "LoadPipeline": load_pipeline,
    "LoadPipelineWeights": load_weights,
    "SavePipeline": save_pipeline,
    "GetPipelineInputs": get_inputs,
    "GetPipelineOutputs": get_outputs,
    "GetPipelineVisualization": draw,
}
