"""Every call that the stubs of a generation have, with nothing but grpc and the schemas of that generation.

python every_call.py ADDRESS PLUGIN FOLDER: PLUGIN has the node classes `Centre` and `Mirror`, FOLDER is a root of the
server. Prints, as JSON, what each call came to, the calls that were not made, and the status of what is refused.
"""

import json
import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from cuvis_ai_schemas.grpc.v1 import cuvis_ai_pb2 as pb
from cuvis_ai_schemas.grpc.v1 import cuvis_ai_pb2_grpc as rpc

CENTRE = {"nodes": [{"name": "centre", "class_name": "Centre"}]}
MIRROR = {"metadata": {"name": "mirror"}, "nodes": [{"name": "mirror", "class_name": "Mirror"}]}
SERVICE = pb.DESCRIPTOR.services_by_name["CuvisAIService"]
DTYPES = {each.name: each.number for each in pb.DESCRIPTOR.enum_types_by_name["DType"].values if each.number}


class Client:
    """Makes calls by name, and knows which it made."""

    def __init__(self, address: str) -> None:
        self.stub = rpc.CuvisAIServiceStub(grpc.insecure_channel(address))
        self.session = ""
        self.made: set[str] = set()

    def __call__(self, name: str, **fields: Any) -> Any:
        """Make a call in the session; a stream is read to its end."""
        self.made.add(name)
        kind = getattr(pb, SERVICE.methods_by_name[name].input_type.name)
        if name != "RestoreTrainRun" and "session_id" in kind.DESCRIPTOR.fields_by_name:
            fields.setdefault("session_id", self.session)
        known = {key: value for key, value in fields.items() if key in kind.DESCRIPTOR.fields_by_name}
        answer = getattr(self.stub, name)(kind(**known), timeout=120)
        return list(answer) if name == "Train" else answer

    def status(self, name: str, **fields: Any) -> str:
        """Return the status that a call ends with."""
        try:
            self(name, **fields)
        except grpc.RpcError as error:
            traced = "Traceback" in (error.details() or "")
            return "a traceback" if traced else str(error.code().name)
        return "OK"


def packed(kind: str, content: Any) -> Any:
    """Return a message that holds JSON."""
    return getattr(pb, kind)(config_bytes=json.dumps(content).encode())


def tensor(array: Any, dtype: str) -> Any:
    """Return an array as the protocol has it."""
    return pb.Tensor(shape=array.shape, dtype=DTYPES[dtype], raw_data=array.tobytes())


def load(client: Client, plugin: str) -> list[str]:
    """Load the plugin in the words of the generation."""
    paths = ["centre.nodes.Centre", "centre.nodes.Mirror"]
    classes = [{"class_name": path} for path in paths]
    if hasattr(pb, "LoadPluginRequest"):
        one = packed("PluginManifest", {"name": "every", "path": plugin, "capabilities": classes})
        answer = client("LoadPlugin", manifest=one)
        assert not answer.error
        return [answer.registered_plugin]
    newer = "registered_plugins" in pb.LoadPluginsResponse.DESCRIPTOR.fields_by_name
    many = {"plugins": {"every": {"path": plugin, "provides": classes if newer else paths}}}
    answer = client("LoadPlugins", manifest=packed("PluginManifest", many))
    assert not answer.failed_plugins
    return list(answer.registered_plugins if newer else answer.loaded_plugins)


def plugins_and_configurations(client: Client, plugin: str, folder: Path) -> dict[str, Any]:
    """Make the calls of these groups."""
    found: dict[str, Any] = {"loaded": load(client, plugin)}
    found["listed"] = [(each.name, each.type) for each in client("ListLoadedPlugins").plugins]
    found["info"] = client("GetPluginInfo", plugin_name="every").plugin.source == plugin
    nodes = {each.class_name: each for each in client("ListAvailableNodes").nodes}
    port = nodes["Centre"].input_specs["cube"]
    found["port"] = list((port.specs[0] if hasattr(port, "specs") else port).shape)
    paths = client("SetSessionSearchPaths", search_paths=[str(folder)], append=False)
    found["paths"] = list(paths.current_paths) == [str(folder)]
    (folder / "mirror.yaml").write_text(json.dumps(MIRROR))
    config = client("ResolveConfig", config_type="pipeline", path="mirror", overrides=["metadata.name=other"])
    found["resolved"] = json.loads(config.config_bytes)["metadata"]["name"]
    found["schema"] = "properties" in json.loads(client("GetParameterSchema", config_type="training").json_schema)
    checked = client("ValidateConfig", config_type="training", config_bytes=b'{"max_epochs": 0}')
    found["valid"] = (checked.valid, len(checked.errors))
    return found


def pipelines(client: Client, folder: Path) -> dict[str, Any]:
    """Make the calls of this group."""
    found: dict[str, Any] = {}
    found["pipeline"] = client("LoadPipeline", pipeline=packed("PipelineConfig", MIRROR)).metadata.name
    inputs, outputs = client("GetPipelineInputs"), client("GetPipelineOutputs")
    found["ports"] = (list(inputs.input_names), list(outputs.output_names))
    shape = list(inputs.input_specs["cube"].shape)
    found["spec"] = (shape, inputs.input_specs["cube"].dtype, inputs.input_specs["cube"].required)
    for kind in ("dot", "mermaid"):
        found[kind] = b"mirror" in client("GetPipelineVisualization", format=kind).image_data
    saved = client("SavePipeline", pipeline_path=str(folder / "configs" / "pipeline" / "saved"))
    found["saved"] = Path(saved.pipeline_path).is_file()
    known = pb.PipelineInfo.DESCRIPTOR.fields_by_name
    listed = client("ListAvailablePipelines").pipelines
    found["available"] = [each.name if "name" in known else each.pipeline_path for each in listed]
    named = {"pipeline_name": "saved", "pipeline_path": "saved.yaml"}
    info = client("GetPipelineInfo", **named).pipeline_info
    found["content"] = "Mirror" in info.yaml_content if "yaml_content" in known else True
    return found


def running(client: Client) -> dict[str, Any]:
    """Run a cube of each dtype, and take the times of nodes."""
    found: dict[str, Any] = {}
    profiles = "SetProfiling" in SERVICE.methods_by_name
    if profiles:
        found["profiling"] = client("SetProfiling", enabled=True).profiling_enabled
    for name, number in DTYPES.items():
        dtype = np.dtype(name.removeprefix("D_TYPE_").lower())
        cube = (np.arange(24).reshape(1, 2, 3, 4) % 3).astype(dtype)
        answer = client("Inference", inputs=pb.InputBatch(cube=tensor(cube, name)))
        given = answer.outputs["mirror.cube"]
        assert list(given.shape) == [1, 2, 3, 4]
        assert given.dtype == number, (given.dtype, name)
        assert np.array_equal(np.frombuffer(given.raw_data, dtype).reshape(1, 2, 3, 4), cube)
    found["dtypes"] = len(DTYPES)
    if profiles:
        found["times"] = [(each.node_name, each.count) for each in client("GetProfilingSummary").node_stats]
    cube = pb.InputBatch(cube=tensor(np.zeros((1, 1, 1, 1), np.float32), "D_TYPE_FLOAT32"))
    found["asked"] = sorted(client("Inference", inputs=cube, output_specs=["mirror.mean"]).outputs)
    found["metrics"] = dict(client("Inference", inputs=cube).metrics)
    return found


def training(client: Client, folder: Path) -> dict[str, Any]:
    """Train in a session of its own, save, restore, and give the weights to a fresh pipeline."""
    found: dict[str, Any] = {}
    found["capabilities"] = "Adam" in client("GetTrainingCapabilities").supported_optimizers
    trainrun = {"name": "run", "pipeline": CENTRE, "data": {"cubes": [str(folder / "cube.npz")]}}
    found["brought"] = client("SetTrainRunConfig", config=packed("TrainRunConfig", trainrun)).pipeline_from_config
    found["before"] = client("GetTrainStatus").latest_progress.status
    words = client("Train", trainer_type=pb.TRAINER_TYPE_STATISTICAL)
    found["trained"] = (words[0].status, words[-1].status)
    found["after"] = client("GetTrainStatus").latest_progress.status
    if "StopTrain" in SERVICE.methods_by_name:
        found["stopped"] = client("StopTrain").accepted
    saved = client("SavePipeline", pipeline_path=str(folder / "centre.yaml"))
    run = client("SaveTrainRun", trainrun_path=str(folder / "run.yaml"), save_weights=True)
    restored = client("RestoreTrainRun", trainrun_path=run.trainrun_path)
    found["restored"] = json.loads(restored.trainrun.config_bytes)["name"]
    client("CloseSession", session_id=restored.session_id)
    client("LoadPipeline", pipeline=packed("PipelineConfig", CENTRE))
    path = client("LoadPipelineWeights", weights_path=saved.weights_path)
    sent = client("LoadPipelineWeights", weights_bytes=Path(saved.weights_path).read_bytes())
    found["weights"] = (path.resolved_path == saved.weights_path, sent.resolved_path)
    cube = np.full((1, 1, 1, 4), 9, np.float32)
    answer = client("Inference", inputs=pb.InputBatch(cube=tensor(cube, "D_TYPE_FLOAT32")))
    found["centred"] = np.frombuffer(answer.outputs["centre.cube"].raw_data, np.float32).tolist()
    return found


def refusals(client: Client) -> dict[str, str]:
    """Return the status of calls that are refused; the session has a pipeline."""
    cube = np.zeros((1, 1, 1, 4), np.float32)
    short = pb.Tensor(shape=[1, 1, 1, 5], dtype=1, raw_data=cube.tobytes())
    wrong = pb.Tensor(shape=[4], dtype=1, raw_data=cube.tobytes())
    loading = "LoadPlugin" if hasattr(pb, "LoadPluginRequest") else "LoadPlugins"
    brings = packed("TrainRunConfig", {"name": "a", "pipeline": CENTRE, "data": {"cubes": ["."]}})
    status = client.status
    return {
        "unknown session": status("Inference", session_id="no"),
        "unknown session, a stream": status("Train", session_id="no", trainer_type=1),
        "unknown plugin": status("GetPluginInfo", plugin_name="no"),
        "unknown schema": status("GetParameterSchema", config_type="no"),
        "unknown file": status("ResolveConfig", config_type="pipeline", path="no"),
        "unknown weights": status("LoadPipelineWeights", weights_path="no.pt"),
        "no weights": status("LoadPipelineWeights"),
        "unknown pipeline": status("GetPipelineInfo", pipeline_name="no", pipeline_path="no.yaml"),
        "unknown trainrun": status("RestoreTrainRun", trainrun_path="no.yaml"),
        "empty manifest": status(loading, manifest=pb.PluginManifest()),
        "empty pipeline": status("LoadPipeline", pipeline=pb.PipelineConfig()),
        "no JSON": status("LoadPipeline", pipeline=pb.PipelineConfig(config_bytes=b"{")),
        "empty trainrun": status("SetTrainRunConfig", config=pb.TrainRunConfig()),
        "two pipelines": status("SetTrainRunConfig", config=brings),
        "unknown trainer": status("Train", trainer_type=0),
        "unknown picture": status("GetPipelineVisualization", format="bmp"),
        "too few bytes": status("Inference", inputs=pb.InputBatch(cube=short)),
        "wrong shape": status("Inference", inputs=pb.InputBatch(cube=wrong)),
        "no cube": status("Inference", inputs=pb.InputBatch()),
        "outside": status("SavePipeline", pipeline_path="/etc/evil.yaml"),
        "without path": status("SavePipeline"),
    }


def main(address: str, plugin: str, place: str) -> None:
    """Make all calls."""
    client, folder = Client(address), Path(place)
    client.session = client("CreateSession").session_id
    found = {
        "no pipeline yet": [
            client.status(name) for name in ("GetPipelineInputs", "GetPipelineOutputs", "Inference", "SavePipeline")
        ],
        **plugins_and_configurations(client, plugin, folder),
        **pipelines(client, folder),
        **running(client),
    }
    client("CloseSession")
    found["closed twice"] = client.status("CloseSession")
    client.session = client("CreateSession").session_id
    load(client, plugin)
    found |= training(client, folder)
    found["refused"] = refusals(client)
    if "ClearPluginCache" in SERVICE.methods_by_name:
        found["cleared"] = client("ClearPluginCache", plugin_name="no").cleared_count
    found["closed"] = client("CloseSession").success
    found["not made"] = sorted(set(SERVICE.methods_by_name) - client.made)
    print(json.dumps(found))  # noqa: T201 - this is a program


if __name__ == "__main__":
    main(*sys.argv[1:])
