"""Pipelines by gRPC: loaded, described, run, drawn, saved."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc import Client
from cuvis_ai_core.grpc.helpers import numpy_to_proto, proto_to_numpy
from cuvis_ai_core.grpc.messages.schema_generations import messages
from cuvis_ai_core.grpc.messages.zero_copy_inference import read_inference, write_inference
from cuvis_ai_core.grpc.server.server import Server
from cuvis_ai_core.grpc.server.settings import Settings
from cuvis_ai_core.pipeline.pipeline import Pipeline

PIPELINE: dict[str, Any] = {
    "metadata": {"name": "colours", "tags": ["rgb"]},
    "nodes": [
        {"name": "selector", "class_name": "WavelengthSelector", "params": {"targets": [650, 550, 450]}},
        {"name": "scaler", "class_name": "MinMaxNormalizer"},
    ],
    "edges": [{"source": "selector.outputs.image", "target": "scaler.inputs.cube"}],
}
CUBE = np.random.default_rng(0).integers(0, 4096, (1, 5, 6, 61), dtype=np.uint16)
WAVELENGTHS = np.linspace(400, 900, 61).astype(np.int32)[None]


def tensor(array: Any) -> Any:
    """Return an array as a message of the pool of all generations."""
    return messages().Tensor.FromString(numpy_to_proto(array).SerializeToString())


def load(stub: Any, session: str, content: Any = PIPELINE) -> Any:
    """Give a session a pipeline."""
    return stub.LoadPipeline(
        session_id=session, pipeline=stub.m.PipelineConfig(config_bytes=json.dumps(content).encode())
    )


def batch(stub: Any, **more: Any) -> Any:
    """Return a batch as the catalogue's clients send it."""
    return stub.m.InputBatch(cube=tensor(CUBE), wavelengths=tensor(WAVELENGTHS), **more)


def plugin(folder: Path, code: str) -> Path:
    """Write a plugin of one module, `oddities`."""
    (folder / "src" / "oddities").mkdir(parents=True)
    (folder / "src" / "oddities" / "__init__.py").write_text(
        "import numpy as np\nfrom cuvis_ai_core.node import ArrayNode, PortSpec\n" + code
    )
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["uv_build"]\nbuild-backend = "uv_build"\n'
        '[project]\nname = "oddities"\nversion = "1.0.0"\ndependencies = []\n'
    )
    return folder


def test_a_cube_runs_as_it_does_in_this_process(stub: Any, session: str) -> None:
    """Types and wavelengths of clients are understood: uint16, and int32 with an axis before."""
    told = load(stub, session)
    assert told.success
    assert (told.metadata.name, list(told.metadata.tags)) == ("colours", ["rgb"])
    answer = stub.Inference(session_id=session, inputs=batch(stub), output_specs=["scaler.cube"])
    (name,) = answer.outputs
    expected = Pipeline.from_dict(PIPELINE).forward({"cube": CUBE, "wavelengths": WAVELENGTHS[0]})
    assert name == "scaler.cube"
    np.testing.assert_array_equal(proto_to_numpy(answer.outputs[name]), expected["scaler", "cube"])


def test_outputs_are_named_in_full_by_the_port_or_not_at_all(
    stub: Any, session: str, refused: Callable[..., Any]
) -> None:
    """No names mean all outputs; an unknown one is refused with the nearest."""
    load(stub, session)
    assert {"selector.image", "scaler.cube"} <= set(stub.Inference(session_id=session, inputs=batch(stub)).outputs)
    bare = stub.Inference(session_id=session, inputs=batch(stub), output_specs=["image"])
    assert set(bare.outputs) == {"selector.image"}
    error = refused(
        "INVALID_ARGUMENT", stub.Inference, session_id=session, inputs=batch(stub), output_specs=["scaler.cub"]
    )
    assert "scaler.cube" in error.details()


def test_ports_are_described_by_what_clients_hand_in_and_get(stub: Any, session: str) -> None:
    """Inputs by the names of fields, outputs as node.port; families of dtypes are unspecified."""
    load(stub, session)
    inputs = stub.GetPipelineInputs(session_id=session)
    assert set(inputs.input_names) == {"cube", "wavelengths"} == set(inputs.input_specs)
    assert list(inputs.input_specs["cube"].shape) == [-1, -1, -1, -1]
    assert inputs.input_specs["cube"].required
    outputs = stub.GetPipelineOutputs(session_id=session)
    assert list(outputs.output_specs["selector.image"].shape) == [-1, -1, -1, 3]


@pytest.mark.parametrize(
    "method", ["GetPipelineInputs", "GetPipelineOutputs", "GetPipelineVisualization", "Inference", "SavePipeline"]
)
def test_without_a_pipeline_it_is_a_precondition(
    stub: Any, session: str, refused: Callable[..., Any], method: str
) -> None:
    """No bug of the server, and nothing that the arguments could mend."""
    refused("FAILED_PRECONDITION", getattr(stub, method), session_id=session)


@pytest.mark.parametrize(
    "change", [{"shape": [1, 5, 6, 60]}, {"dtype": 0}, {"shape": [1 << 40, 5, 6, 61]}, {"shape": [-1]}]
)
def test_tensors_that_lie_are_refused(
    stub: Any, session: str, refused: Callable[..., Any], change: dict[str, Any]
) -> None:
    """Nothing is allocated for a shape that the bytes do not have."""
    load(stub, session)
    cube = tensor(CUBE)
    for name, value in change.items():
        cube.ClearField(name)
        getattr(cube, name).extend(value) if name == "shape" else setattr(cube, name, value)
    inputs = stub.m.InputBatch(cube=cube, wavelengths=tensor(WAVELENGTHS))
    refused("INVALID_ARGUMENT", stub.Inference, session_id=session, inputs=inputs)


def test_missing_inputs_and_bad_pipelines_are_the_clients(stub: Any, session: str, refused: Callable[..., Any]) -> None:
    """INVALID_ARGUMENT, and the session stays usable."""
    load(stub, session)
    refused("INVALID_ARGUMENT", stub.Inference, session_id=session, inputs=stub.m.InputBatch())
    for content in (b"", b"{", b"[1]", b'{"nodes": []}', b'{"nodes": [{"name": "a", "class_name": "Nobody"}]}'):
        config = stub.m.PipelineConfig(config_bytes=content)
        refused("INVALID_ARGUMENT", stub.LoadPipeline, session_id=session, pipeline=config)
    assert stub.Inference(session_id=session, inputs=batch(stub)).outputs


def test_the_environment_of_the_server_stays_its_own(
    stub: Any, session: str, refused: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`${oc.env:NAME}` is refused wherever clients can write it."""
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "hunter2")
    content = {**PIPELINE, "metadata": {"name": "${oc.env:SECRET_OF_THE_SERVER}"}}
    config = stub.m.PipelineConfig(config_bytes=json.dumps(content).encode())
    error = refused("INVALID_ARGUMENT", stub.LoadPipeline, session_id=session, pipeline=config)
    assert "hunter2" not in error.details()


def test_prompts_reach_nodes_as_plain_python(stub: Any, session: str, tmp_path: Path, server: Any) -> None:
    """Boxes and points are dicts, the type of a point a word, text a str; other inputs come by their names."""
    folder = plugin(
        tmp_path / "oddities",
        """
class Prompted(ArrayNode):
    INPUT_SPECS = {
        "bboxes": PortSpec(list, ()), "points": PortSpec(list, ()), "text_prompt": PortSpec(str, ()),
        "threshold": PortSpec(np.float64, ()), "frame_id": PortSpec(np.int64, (-1,)),
    }
    OUTPUT_SPECS = {"count": PortSpec(int, ()), "sum": PortSpec(np.float64, ())}

    def forward(self, bboxes, points, text_prompt, threshold, frame_id):
        assert bboxes[0]["x_max"] == 4.0 and "object_id" not in bboxes[0], bboxes
        assert [each["type"] for each in points] == ["positive", "negative"], points
        return {"count": len(text_prompt), "sum": np.float64(threshold + frame_id.sum())}
""",
    )
    answer = stub.LoadPlugin(
        session_id=session, manifest=stub.one(name="oddities", path=str(folder), capabilities=["oddities.Prompted"])
    )
    assert not answer.error
    load(stub, session, {"nodes": [{"name": "n", "class_name": "Prompted"}]})
    inputs = stub.m.InputBatch(
        bboxes=stub.m.BoundingBoxes(boxes=[stub.m.BoundingBox(x_max=4)]),
        points=stub.m.Points(points=[stub.m.Point(type=1), stub.m.Point(type=2)]),
        text_prompt="three",
        frame_id=tensor(np.array([7])),
        extra_inputs={"threshold": tensor(np.array(0.5))},
    )
    answer = stub.Inference(session_id=session, inputs=inputs)
    assert dict(answer.metrics) == {"n.count": 5.0, "n.sum": 7.5}


BAD = """
class Fussy(ArrayNode):
    INPUT_SPECS = {"cube": PortSpec(np.generic, (-1, -1, -1, -1))}
    OUTPUT_SPECS = {"out": PortSpec("any", ())}

    def __init__(self, how="", **kwargs):
        self.how = how
        super().__init__(how=how, **kwargs)

    def forward(self, cube):
        import time
        if self.how == "value":
            raise ValueError("the cube is too small")
        if self.how == "bug":
            raise KeyError("secret detail")
        if self.how == "exit":
            raise SystemExit(3)
        if self.how == "memory":
            raise MemoryError
        if self.how == "slow":
            time.sleep(0.4)
        if self.how == "written":
            cube[...] = 0
        return {"out": object() if self.how == "object" else cube}
"""


@pytest.fixture
def fussy(stub: Any, session: str, tmp_path: Path) -> Callable[[str, int], None]:
    """Return a function that gives the session a pipeline of nodes that behave oddly."""
    folder = plugin(tmp_path / "oddities", BAD)
    manifest = stub.one(name="oddities", path=str(folder), capabilities=["oddities.Fussy"])
    assert not stub.LoadPlugin(session_id=session, manifest=manifest).error

    def give(how: str, count: int = 1) -> None:
        nodes = [{"name": f"n{number}", "class_name": "Fussy", "params": {"how": how}} for number in range(count)]
        edges = [{"source": f"n{number}.out", "target": f"n{number + 1}.cube"} for number in range(count - 1)]
        load(stub, session, {"nodes": nodes, "edges": edges})

    return give


@pytest.mark.parametrize(
    ("how", "code"),
    [("value", "INVALID_ARGUMENT"), ("bug", "INTERNAL"), ("exit", "INTERNAL"), ("memory", "RESOURCE_EXHAUSTED")],
)
def test_a_node_that_fails_is_named_and_its_traceback_stays_here(
    stub: Any, session: str, refused: Callable[..., Any], fussy: Callable[..., None], how: str, code: str
) -> None:
    """Where the input is to blame the client is told; a bug has a number under which the log has it."""
    fussy(how)
    error = refused(code, stub.Inference, session_id=session, inputs=batch(stub))
    assert "n0" in error.details()
    ids = [value for key, value in error.trailing_metadata() if key == "cuvis-error-id"]
    assert bool(ids) == (code == "INTERNAL")
    assert all(each in error.details() for each in ids)


def test_an_output_that_is_no_array_is_told(
    stub: Any, session: str, refused: Callable[..., Any], fussy: Callable[..., None]
) -> None:
    """Asked for by name it is an error, else it is named beside the answer."""
    fussy("object")
    refused("INVALID_ARGUMENT", stub.Inference, session_id=session, inputs=batch(stub), output_specs=["n0.out"])
    method = stub.channel.unary_unary("/cuvis_ai.v1.CuvisAIService/Inference")
    request = stub.m.InferenceRequest(session_id=session, inputs=batch(stub)).SerializeToString()
    _, call = method.with_call(request)
    assert ("cuvis-left-out", "n0.out") in [(key, value) for key, value in call.trailing_metadata()]


def test_a_call_whose_deadline_is_over_ends_between_two_nodes(
    stub: Any, session: str, server: Any, fussy: Callable[..., None]
) -> None:
    """The session is free again long before the pipeline would have ended."""
    fussy("slow", 400)
    begun = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        stub.Inference(session_id=session, inputs=batch(stub), timeout=0.5)
    assert caught.value.code().name == "DEADLINE_EXCEEDED"
    assert stub.ListLoadedPlugins(session_id=session, timeout=60).plugins
    assert time.monotonic() - begun < 80  # half of what the nodes would take


def test_several_sessions_run_at_once(stub: Any, fussy: Callable[..., None], session: str) -> None:
    """Calls of one session run in turn, those of another do not wait for them."""
    fussy("slow", 3)
    thread = threading.Thread(target=lambda: stub.Inference(session_id=session, inputs=batch(stub)))
    thread.start()
    other = stub.CreateSession().session_id
    load(stub, other)
    assert stub.Inference(session_id=other, inputs=batch(stub)).outputs
    assert thread.is_alive()
    thread.join()
    stub.CloseSession(session_id=other)


def test_profiling_counts_what_ran_while_it_was_on(stub: Any, session: str) -> None:
    """The first runs can be left out, and all be forgotten."""
    load(stub, session)
    assert stub.SetProfiling(session_id=session, enabled=True, skip_first_n=1).profiling_enabled
    for _ in range(3):
        stub.Inference(session_id=session, inputs=batch(stub))
    stats = {each.node_name: each for each in stub.GetProfilingSummary(session_id=session).node_stats}
    assert stats["selector"].count == 2
    assert stats["selector"].stage == 4
    assert stats["selector"].min_ms <= stats["selector"].median_ms <= stats["selector"].max_ms
    stub.SetProfiling(session_id=session, enabled=False, reset=True)
    stub.Inference(session_id=session, inputs=batch(stub))
    assert not stub.GetProfilingSummary(session_id=session).node_stats


def test_times_are_told_of_the_stage_that_is_asked_for(stub: Any, session: str, refused: Callable[..., Any]) -> None:
    """And of all where none is; what cannot be left out changes nothing."""
    load(stub, session)
    stub.SetProfiling(session_id=session, enabled=True)
    stub.Inference(session_id=session, inputs=batch(stub))
    refused("INVALID_ARGUMENT", stub.SetProfiling, session_id=session, enabled=False, skip_first_n=-1)
    stub.Inference(session_id=session, inputs=batch(stub))
    for stage, count in ((0, 2), (4, 2), (1, 0)):
        stats = stub.GetProfilingSummary(session_id=session, stage=stage).node_stats
        assert [each.count for each in stats if each.node_name == "selector"] == [count] * bool(count)


def test_outputs_that_are_too_large_for_a_message_are_refused(
    tmp_path: Path, connect: Callable[..., Any], refused: Callable[..., Any]
) -> None:
    """With what to do, before they are put together; those that are named fit."""
    nodes = [{"name": name, "class_name": "MinMaxNormalizer"} for name in ("first", "second")]
    graph = {"nodes": nodes, "edges": [{"source": "first.cube", "target": "second.cube"}]}
    inputs = messages().InputBatch(cube=tensor(CUBE))
    with Server(Settings(port=0, max_message=10_000, working_directory=tmp_path)) as server:
        stub = connect(server.address)
        session = stub.CreateSession().session_id
        load(stub, session, graph)
        error = refused("RESOURCE_EXHAUSTED", stub.Inference, session_id=session, inputs=inputs)
        assert "in output_specs" in error.details()
        assert stub.Inference(session_id=session, inputs=inputs, output_specs=["second.cube"]).outputs


def test_a_cube_in_shared_memory_that_is_too_large_is_refused(tmp_path: Path) -> None:
    """With both sizes, and what to do."""
    cube = np.zeros((1, 100, 100, 100), np.float32)
    settings = Settings(port=0, max_message=1_000_000, working_directory=tmp_path)
    with Server(settings) as server, Client(server.address) as client:
        client.load_pipeline({"nodes": [{"name": "rx", "class_name": "RXDetector"}]})
        with pytest.raises(ServiceError, match=r"'cube' has 4000000 bytes.* 1000000\.\n.*--max-message 4000000"):
            client.run(cube)


def test_the_graph_is_drawn_as_asked_for_or_refused(
    stub: Any, session: str, refused: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A format is what it says; without Graphviz there is no PNG, and no text under its name."""
    load(stub, session)
    dot = stub.GetPipelineVisualization(session_id=session, format="dot")
    assert dot.image_data.startswith(b"digraph")
    mermaid = stub.GetPipelineVisualization(format="mermaid", config_content=json.dumps(PIPELINE))
    assert mermaid.image_data.startswith(b"flowchart TB")
    assert b"selector" in mermaid.image_data
    refused("INVALID_ARGUMENT", stub.GetPipelineVisualization, session_id=session, format="bmp")
    monkeypatch.setenv("PATH", "/nowhere")
    refused("FAILED_PRECONDITION", stub.GetPipelineVisualization, session_id=session, format="png")


def test_a_request_read_by_hand_says_what_protobuf_says(stub: Any) -> None:
    """Every field of a batch, in views of the bytes that came."""
    request = stub.m.InferenceRequest(
        session_id="s", inputs=batch(stub, text_prompt="t", extra_inputs={"a": tensor(CUBE)}), output_specs=["x", "y"]
    )
    data = request.SerializeToString()
    found = read_inference(data)
    assert (found.session_id, found.output_specs, found.text_prompt) == ("s", ["x", "y"], "t")
    assert found.tensors["a"].shape == [1, 5, 6, 61]
    assert bytes(found.tensors["cube"].raw) == CUBE.tobytes()
    assert found.tensors["cube"].raw.obj is data
    answer = stub.m.InferenceResponse.FromString(write_inference({"n.p": CUBE}, {"m": 2.0}))
    assert dict(answer.metrics) == {"m": 2.0}
    np.testing.assert_array_equal(proto_to_numpy(answer.outputs["n.p"]), CUBE)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(data=st.data())
def test_bytes_that_are_no_request_are_refused(data: st.DataObject) -> None:
    """Whatever comes, the answer is a request or one clear error."""
    good = (
        messages()
        .InferenceRequest(
            session_id="s", inputs=messages().InputBatch(cube=messages().Tensor(shape=[2], dtype=5, raw_data=b"ab"))
        )
        .SerializeToString()
    )
    content = bytearray(data.draw(st.one_of(st.binary(max_size=200), st.just(good))))
    for _ in range(data.draw(st.integers(0, 4))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_inference(bytes(content))
    except ServiceError as error:
        assert error.code == "INVALID_ARGUMENT"  # noqa: PT017
