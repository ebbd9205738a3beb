"""What a client of some generation does, with nothing but grpc and the schemas of that generation.

python old_client.py ADDRESS PLUGIN: prints what it was answered, as JSON.
"""

import json
import sys

import grpc
import numpy as np
from cuvis_ai_schemas.grpc.v1 import cuvis_ai_pb2 as pb
from cuvis_ai_schemas.grpc.v1 import cuvis_ai_pb2_grpc as rpc

PIPELINE = {
    "metadata": {"name": "echo"},
    "nodes": [{"name": "echo", "class_name": "echo_plugin.nodes.Echo", "params": {}}],
    "edges": [],
}


def main(address: str, plugin: str) -> None:
    """Load a plugin, list nodes, run a cube, save, and end the session."""
    stub = rpc.CuvisAIServiceStub(grpc.insecure_channel(address))
    session = stub.CreateSession(pb.CreateSessionRequest()).session_id
    found: dict[str, object] = {"loaded": load(stub, session, plugin)}
    nodes = stub.ListAvailableNodes(pb.ListAvailableNodesRequest(session_id=session)).nodes
    (echo,) = [node for node in nodes if node.class_name == "Echo"]
    port = echo.input_specs["cube"]
    found["ports"] = [each.dtype for each in port.specs] if hasattr(port, "specs") else port.dtype
    stub.SetSessionSearchPaths(pb.SetSessionSearchPathsRequest(session_id=session, search_paths=["."], append=False))
    config = pb.PipelineConfig(config_bytes=json.dumps(PIPELINE).encode())
    found["name"] = stub.LoadPipeline(pb.LoadPipelineRequest(session_id=session, pipeline=config)).metadata.name
    inputs = stub.GetPipelineInputs(pb.GetPipelineInputsRequest(session_id=session))
    found["inputs"] = list(inputs.input_names)
    cube = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    tensor = pb.Tensor(shape=cube.shape, dtype=pb.D_TYPE_FLOAT32, raw_data=cube.tobytes())
    answer = stub.Inference(pb.InferenceRequest(session_id=session, inputs=pb.InputBatch(cube=tensor)))
    found["sum"] = float(np.frombuffer(answer.outputs["echo.cube"].raw_data, np.float32).sum())
    saved = stub.SavePipeline(pb.SavePipelineRequest(session_id=session, pipeline_path=f"{session}.yaml"))
    found["saved"] = saved.pipeline_path.endswith(f"{session}.yaml")
    found["status"] = stub.GetTrainStatus(pb.GetTrainStatusRequest(session_id=session)).latest_progress.status
    if hasattr(pb, "StopTrainRequest"):
        found["stopped"] = stub.StopTrain(pb.StopTrainRequest(session_id=session)).accepted
    found["plugins"] = [
        (each.name, each.type)
        for each in stub.ListLoadedPlugins(pb.ListLoadedPluginsRequest(session_id=session)).plugins
    ]
    found["closed"] = stub.CloseSession(pb.CloseSessionRequest(session_id=session)).success
    print(json.dumps(found))  # noqa: T201 - this is a program


def load(stub: rpc.CuvisAIServiceStub, session: str, plugin: str) -> list[str]:
    """Load the plugin in the words of the generation."""
    path = "echo_plugin.nodes.Echo"
    if hasattr(pb, "LoadPluginRequest"):
        one = {"name": "echo", "path": plugin, "capabilities": [{"class_name": path}]}
        manifest = pb.PluginManifest(config_bytes=json.dumps(one).encode())
        return [stub.LoadPlugin(pb.LoadPluginRequest(session_id=session, manifest=manifest)).registered_plugin]
    newer = "registered_plugins" in pb.LoadPluginsResponse.DESCRIPTOR.fields_by_name
    many = {"plugins": {"echo": {"path": plugin, "provides": [{"class_name": path}] if newer else [path]}}}
    manifest = pb.PluginManifest(config_bytes=json.dumps(many).encode())
    answer = stub.LoadPlugins(pb.LoadPluginsRequest(session_id=session, manifest=manifest))
    return list(answer.registered_plugins if newer else answer.loaded_plugins)


if __name__ == "__main__":
    main(*sys.argv[1:])
