"""Strangers: messages that are none, numbers that lie, calls without end."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cuvis_ai_core.errors import NodeRunError, ServiceError
from cuvis_ai_core.grpc.messages.schema_generations import wire
from cuvis_ai_core.grpc.server.server import Server
from cuvis_ai_core.grpc.server.settings import Settings
from cuvis_ai_core.grpc.server.status_codes import code_of, words_for

GOOD = {
    "OK",
    "UNIMPLEMENTED",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "FAILED_PRECONDITION",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
}
"""What strangers are answered: never INTERNAL, never UNKNOWN."""


def send(channel: grpc.Channel, method: str, content: bytes) -> str:
    """Send bytes to a method and return the status."""
    kind = channel.unary_stream if wire().methods[method].streams else channel.unary_unary
    try:
        answer = kind(f"/cuvis_ai.v1.CuvisAIService/{method}")(content, timeout=30)
        if wire().methods[method].streams:
            list(answer)
    except grpc.RpcError as error:
        assert "Traceback" not in (error.details() or "")  # noqa: PT017 - this is a helper
        assert ".py" not in (error.details() or "")  # noqa: PT017
        return str(error.code().name)
    return "OK"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(method=st.sampled_from(sorted(wire().methods)), content=st.binary(max_size=120))
def test_bytes_of_any_kind_are_answered(stub: Any, method: str, content: bytes) -> None:
    """Whatever comes, to whichever method."""
    if method == "ClearPluginCache":
        return
    assert send(stub.channel, method, content) in GOOD


TEXTS = st.sampled_from(
    [
        *("", "/", ".", "..", "~", "/dev/zero", "/dev/stdin", "/proc/self/environ", "\x1b[31m", "%s%n", "a" * 5000),
        *(
            "${oc.env:HOME}",
            "*",
            "[",
            "file:///etc/passwd",
            "trainrun/../../x",
            "ä" * 900,
            "-rf",
            "{}",
            "null",
            "x\x00y",
        ),
    ]
)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=120)
@given(data=st.data())
def test_texts_and_bytes_of_any_kind_in_every_field_are_answered(
    stub: Any, server: Server, data: st.DataObject
) -> None:
    """Messages that are well formed, with a session that is there, and nonsense in every field."""
    method = data.draw(st.sampled_from(sorted(set(wire().methods) - {"ClearPluginCache", "CloseSession", "Train"})))
    number = data.draw(st.just("") if method == "CreateSession" else st.just(kept_session(stub, server)))
    request = wire().methods[method].request()
    fill(request, data, number)
    status = send(stub.channel, method, request.SerializeToString())
    assert status in GOOD, (method, request)


def kept_session(stub: Any, server: Server) -> str:
    """Return the number of a session with a pipeline."""
    known = server.service.sessions.all()
    number: str = known[0].id if known else stub.CreateSession().session_id
    if server.service.sessions.get(number).pipeline is None:
        config = stub.m.PipelineConfig(config_bytes=b'{"nodes": [{"name": "a", "class_name": "MinMaxNormalizer"}]}')
        stub.LoadPipeline(session_id=number, pipeline=config)
    return number


def fill(message: Any, data: st.DataObject, session: str, depth: int = 0) -> None:
    """Put something into each field of a message, or nothing."""
    for field in message.DESCRIPTOR.fields:
        if field.name == "session_id":
            message.session_id = session
            continue
        if data.draw(st.booleans()) or (field.is_repeated and field.message_type is not None):
            continue
        if field.message_type is not None:
            if depth < 3:
                fill(getattr(message, field.name), data, session, depth + 1)
            continue
        value = data.draw(values_of(field))
        if field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)


def values_of(field: Any) -> st.SearchStrategy[Any]:
    """Return values for a field of a message."""
    contents = [
        b"",
        b"{}",
        b"[]",
        b"PK\x03\x04",
        b'{"nodes": 3}',
        b'{"plugins": {"../x": {"path": "/"}}}',
        b"\x80\x04.",
    ]
    return {
        field.TYPE_STRING: TEXTS.filter(lambda text: text.isprintable() or True),
        field.TYPE_BYTES: st.sampled_from(contents),
        field.TYPE_BOOL: st.booleans(),
        field.TYPE_ENUM: st.integers(-3, 200),
        field.TYPE_INT32: st.sampled_from([-1, 0, 2**31 - 1]),
        field.TYPE_INT64: st.sampled_from([-1, 0, 2**62]),
        field.TYPE_UINT64: st.sampled_from([0, 2**63]),
    }.get(field.type, st.sampled_from([0.0, float("nan"), float("inf")]))


def test_a_message_that_is_too_large_is_refused(connect: Callable[..., Any], tmp_path: Any) -> None:
    """Of what comes and of what would go."""
    with Server(Settings(port=0, max_message=100_000, working_directory=tmp_path)) as server:
        stub = connect(server.address)
        assert send(stub.channel, "LoadPipelineWeights", b"x" * 200_000) == "RESOURCE_EXHAUSTED"


def test_calls_that_are_too_many_are_refused_and_the_others_answered(
    connect: Callable[..., Any], tmp_path: Any
) -> None:
    """No queue grows without end."""
    with Server(Settings(port=0, max_calls=4, workers=2, max_queue=2, working_directory=tmp_path)) as server:
        stub = connect(server.address)
        session = server.service.sessions.create()
        found: list[str] = []
        request = wire().messages.ListLoadedPluginsRequest(session_id=session.id).SerializeToString()

        def ask() -> None:
            found.append(send(stub.channel, "ListLoadedPlugins", request))

        with session.turn():  # so that no call ends, but by being refused
            threads = [threading.Thread(target=ask) for _ in range(12)]
            for thread in threads:
                thread.start()
            for _ in range(1000):
                if found.count("RESOURCE_EXHAUSTED") >= 8:
                    break
                time.sleep(0.01)
        for thread in threads:
            thread.join()
        assert sorted(set(found)) == ["OK", "RESOURCE_EXHAUSTED"]


def test_sessions_and_plugins_have_limits(
    connect: Callable[..., Any], refused: Callable[..., Any], tmp_path: Any
) -> None:
    """One more is RESOURCE_EXHAUSTED, and a closed one makes room."""
    with Server(Settings(port=0, max_sessions=1, max_plugins=1, working_directory=tmp_path)) as server:
        stub = connect(server.address)
        session = stub.CreateSession().session_id
        refused("RESOURCE_EXHAUSTED", stub.CreateSession)
        manifest = stub.manifest(a={"path": "a", "provides": ["a.B"]}, b={"path": "b", "provides": ["b.C"]})
        refused("RESOURCE_EXHAUSTED", stub.LoadPlugins, session_id=session, manifest=manifest)
        stub.CloseSession(session_id=session)
        assert stub.CreateSession().session_id


@pytest.mark.parametrize("depth", [200, 900, 5_000, 100_000])
def test_a_configuration_that_is_nested_deeply_is_refused(
    stub: Any, session: str, refused: Callable[..., Any], depth: int
) -> None:
    """Whoever goes through it ends before the stack does."""
    content = b'{"nodes": ' + b'{"a": [' * depth + b"]}" * depth + b"}"
    refused(
        "INVALID_ARGUMENT", stub.LoadPipeline, session_id=session, pipeline=stub.m.PipelineConfig(config_bytes=content)
    )
    config = stub.m.TrainRunConfig(config_bytes=b'{"name": "a", "pipeline": ' + content + b"}")
    refused("INVALID_ARGUMENT", stub.SetTrainRunConfig, session_id=session, config=config)
    refused("INVALID_ARGUMENT", stub.GetPipelineVisualization, format="dot", config_content=content.decode())


@pytest.mark.parametrize("text", ["a" * 100_000, "ä\N{SNOWMAN}" * 20_000, "\x1b]52;c;x\x07", "\ud800"])
def test_texts_of_errors_fit_into_headers_and_obey_no_terminal(text: str) -> None:
    """A longer one would lose the status itself."""
    from urllib.parse import quote

    words = words_for(ServiceError(text, code="NOT_FOUND"), "1")
    assert len(quote(words)) <= 4100
    assert "\x1b" not in words


def test_a_bug_says_nothing_but_its_number() -> None:
    """Words of an unknown exception may hold anything."""
    words = words_for(RuntimeError("password=hunter2"), "abc123")
    assert "hunter2" not in words
    assert "abc123" in words
    assert code_of(RuntimeError()) == "INTERNAL"
    assert code_of(KeyError("x")) == "INTERNAL"
    wrapped = NodeRunError("Node 'a' failed", node="a")
    wrapped.__cause__ = ValueError()
    assert code_of(wrapped) == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "text", ["a\u200bb", "\ufeffa", "\u200fa", "a\u2066b", "\N{TAG LATIN SMALL LETTER A}", "a\u202eb"]
)
def test_what_nobody_sees_or_turns_round_what_follows_is_shown(
    stub: Any, session: str, refused: Callable[..., Any], text: str
) -> None:
    """A name that looks like another one does not in an error."""
    error = refused("NOT_FOUND", stub.GetPluginInfo, session_id=session, plugin_name=text)
    assert "?" in error.details()
    assert text not in error.details()


LONG = "ä" * 200


@pytest.mark.parametrize("path", [LONG, "a" * 100_000, "a/" * 3000, f"{LONG}/x", f"x/{LONG}"])
def test_a_name_that_no_file_can_have_is_refused_in_every_call(
    stub: Any, session: str, refused: Callable[..., Any], path: str
) -> None:
    """Whether it is read or written, said in the message or in its configuration, and in few words."""
    content = b'{"nodes": [{"name": "a", "class_name": "MinMaxNormalizer"}]}'
    stub.LoadPipeline(session_id=session, pipeline=stub.m.PipelineConfig(config_bytes=content))
    text = json.dumps(path).encode()
    trainrun = b'{"name": "run", "data": {"cubes": [%s]}, "output_dir": %s}'
    written = [stub.m.TrainRunConfig(config_bytes=trainrun % each) for each in ((b'"x.npz"', b'"out"'), (text, b'"o"'))]
    plugin = stub.m.PluginManifest(config_bytes=b'{"name": "a", "path": %s, "capabilities": ["a.B"]}' % text)
    calls: list[Callable[[], Any]] = [
        lambda: stub.SavePipeline(session_id=session, pipeline_path=path),
        lambda: stub.SaveTrainRun(session_id=session, trainrun_path=path),
        lambda: stub.RestoreTrainRun(trainrun_path=path),
        lambda: stub.LoadPipelineWeights(session_id=session, weights_path=path),
        lambda: stub.ResolveConfig(session_id=session, config_type="pipeline", path=path),
        lambda: stub.GetPipelineInfo(pipeline_path=f"{path}.yaml"),
        lambda: stub.SetTrainRunConfig(session_id=session, config=written[1]),
        lambda: stub.LoadPlugin(session_id=session, manifest=plugin),
    ]
    for number, call in enumerate(calls):
        try:
            assert call().error  # of a plugin
        except grpc.RpcError as error:
            assert error.code().name in {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION"}, number  # noqa: PT017


@pytest.mark.slow
@pytest.mark.parametrize("cubes", [f"[{'a' * 300}]/*.npz", f"*/{'a' * 300}/*", f"{'*/' * 2000}*"])
def test_a_pattern_that_no_file_can_fit_is_refused_by_a_training(
    stub: Any, session: str, refused: Callable[..., Any], cubes: str
) -> None:
    """It reaches the file system as it is."""
    content = b'{"nodes": [{"name": "a", "class_name": "MinMaxNormalizer"}]}'
    stub.LoadPipeline(session_id=session, pipeline=stub.m.PipelineConfig(config_bytes=content))
    trainrun = json.dumps({"name": "run", "data": {"cubes": [cubes]}}).encode()
    stub.SetTrainRunConfig(session_id=session, config=stub.m.TrainRunConfig(config_bytes=trainrun))
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.Train(session_id=session, trainer_type=1))
    assert caught.value.code().name in GOOD


def test_half_a_sign_is_refused_in_a_configuration(stub: Any, session: str, refused: Callable[..., Any]) -> None:
    """JSON can say it, and no file, no terminal and no message can have it."""
    for content in (b'{"name": "\\ud800"}', b'{"\\udfff": 1}', b'{"nodes": [{"name": "\\udc80", "class_name": "B"}]}'):
        config = stub.m.PipelineConfig(config_bytes=content)
        error = refused("INVALID_ARGUMENT", stub.LoadPipeline, session_id=session, pipeline=config)
        assert "config_bytes is no JSON" in error.details()


@pytest.mark.parametrize("shape", [[0, 0, 0, 0], [1, 0, 1, 2], [1, 1, 1, 0]])
def test_a_cube_without_any_value_is_to_blame_itself(
    stub: Any, session: str, refused: Callable[..., Any], shape: list[int]
) -> None:
    """The node says so, which is no bug of the server."""
    content = b'{"nodes": [{"name": "a", "class_name": "MinMaxNormalizer"}]}'
    stub.LoadPipeline(session_id=session, pipeline=stub.m.PipelineConfig(config_bytes=content))
    inputs = stub.m.InputBatch(cube=stub.m.Tensor(shape=shape, dtype=1))
    error = refused("INVALID_ARGUMENT", stub.Inference, session_id=session, inputs=inputs)
    assert "no size 0" in error.details()
