"""The calls for pipelines, answered as a server answers them, without one: each call has a session of its own."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import CuvisError
from cuvis_ai_core.grpc.messages.schema_generations import messages
from cuvis_ai_core.grpc.server.call_context import Call, Service
from cuvis_ai_core.grpc.server.calls.pipelines import CALLS
from cuvis_ai_core.grpc.server.open_sessions import Session
from cuvis_ai_core.grpc.server.settings import Settings
from cuvis_ai_core.node import ArrayNode, PortSpec
from cuvis_ai_core.pipeline.weights.weights_file import write_weights

RX: dict[str, Any] = {
    "name": "p",
    "metadata": {"author": "me", "tags": ["a"]},
    "nodes": [{"name": "rx", "class_name": "RXDetector"}],
}
ONE = {
    "nodes": [{"name": "scaler", "class_name": "MinMaxNormalizer"}, {"name": "rx", "class_name": "RXDetector"}],
    "edges": [{"source": "scaler.cube", "target": "rx.cube"}],
}

Ask = Callable[..., Any]


class Kept(ArrayNode):
    """Keeps a number."""

    INPUT_SPECS: ClassVar[dict[str, Any]] = {"cube": PortSpec(np.floating, (-1, -1, -1, -1))}
    OUTPUT_SPECS = INPUT_SPECS

    def __init__(self, **base: Any) -> None:
        super().__init__(**base)
        self.number = np.zeros(2)

    def forward(self, cube: Any) -> dict[str, Any]:
        """Return what comes."""
        return {"cube": cube}

    def state_dict(self) -> dict[str, Any]:
        """Return the number."""
        return {"number": self.number}

    def load_state_dict(self, state_dict: Any) -> None:
        """Take one of the size that there is."""
        if set(state_dict) != {"number"}:
            raise ValueError(f"other keys than a number: {sorted(state_dict)}")
        if np.shape(state_dict["number"]) != self.number.shape:
            raise ValueError("a number of another size")
        self.number = np.asarray(state_dict["number"])


KEEPS = {"nodes": [{"name": "kept", "class_name": f"{__name__}.Kept"}]}


class Context:
    """What gRPC knows of a call: its client says which generation it speaks."""

    def __init__(self, generation: str) -> None:
        self._metadata = [("cuvis-schemas", generation)]

    def invocation_metadata(self) -> list[tuple[str, str]]:
        """Return what the client sent beside the message."""
        return self._metadata


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """Return a server's state that reads and writes in a folder."""
    return Service(Settings(working_directory=tmp_path, configs_dir=tmp_path / "configs"))


@pytest.fixture
def owner() -> Iterator[Session]:
    """Return a session."""
    with NodeRegistry(discover=False) as registry:
        yield Session(registry=lambda: registry)


@pytest.fixture
def ask(service: Service, owner: Session) -> Ask:
    """Return a function that makes a call: its name, and what the request holds."""

    def call(name: str, generation: str = "0.9", session: Session | None = owner, **fields: Any) -> Any:
        request = getattr(messages(), f"{name}Request")(**fields)
        return CALLS[name](Call(service, request, Context(generation), session))

    return call


def packed(content: Any) -> Any:
    """Return a pipeline as clients send it."""
    return messages().PipelineConfig(config_bytes=json.dumps(content).encode())


def refusal(action: Callable[..., Any], *arguments: Any, **fields: Any) -> CuvisError:
    """Return the error with which a call is refused."""
    with pytest.raises(CuvisError) as caught:
        action(*arguments, **fields)
    return caught.value


@pytest.mark.parametrize("content", [RX, {"pipeline": RX, "name": "run"}])
def test_a_pipeline_is_built_of_what_was_sent(ask: Ask, owner: Session, content: Any) -> None:
    """Also where it is a part of a trainrun; the one before is closed."""
    answer = ask("LoadPipeline", pipeline=packed(content))
    assert answer.success
    about = answer.metadata
    assert (about.name, about.author, list(about.tags)) == ("p", "me", ["a"])
    assert owner.needed_pipeline().nodes["rx"].name == "rx"


def test_what_is_no_pipeline_changes_nothing(ask: Ask, owner: Session) -> None:
    """Nor is anything of the server's machine told."""
    ask("LoadPipeline", pipeline=packed(RX))
    before = owner.pipeline
    for content in ({"nodes": [{"name": "a", "class_name": "NoSuchNode"}]}, {"name": "${oc.env:HOME}", **ONE}):
        refusal(ask, "LoadPipeline", pipeline=packed(content))
    assert owner.pipeline is before


def test_inputs_and_outputs_are_those_of_the_graph(ask: Ask) -> None:
    """What no edge feeds comes in by its port's name, and every output goes out by its node's."""
    ask("LoadPipeline", pipeline=packed(ONE))
    answer = ask("GetPipelineInputs")
    assert set(answer.input_names) == {"cube"}
    spec = answer.input_specs["cube"]
    assert (spec.name, list(spec.shape), spec.required) == ("cube", [-1] * 4, True)
    answer = ask("GetPipelineOutputs")
    assert set(answer.output_names) == set(answer.output_specs) == {"scaler.cube", "rx.scores"}
    assert answer.output_specs["rx.scores"].name == "rx.scores"


@pytest.fixture
def number(ask: Ask, owner: Session) -> Callable[[], list[float]]:
    """Have a node of the session's pipeline know a number, and return a function that tells which it knows."""
    ask("LoadPipeline", pipeline=packed(KEEPS))
    owner.needed_pipeline().nodes["kept"].number = np.array([1.0, 2.0])

    def known() -> list[float]:
        found: list[float] = owner.needed_pipeline().nodes["kept"].number.tolist()
        return found

    return known


@pytest.mark.parametrize(
    ("path", "file"), [("a", "a.yaml"), ("b.yml", "b.yml"), ("c.yaml", "c.yaml"), ("d.x", "d.x.yaml")]
)
def test_a_pipeline_is_saved_with_its_weights_and_comes_back(
    ask: Ask, owner: Session, number: Callable[[], list[float]], tmp_path: Path, path: str, file: str
) -> None:
    """As a file of a name that ends as such files do; what is said about it is laid over what it said."""
    said = messages().PipelineMetadata(name="new", tags=["x", "y"])
    answer = ask("SavePipeline", pipeline_path=path, metadata=said)
    assert (answer.success, answer.pipeline_path) == (True, str(tmp_path / file))
    weights = Path(answer.weights_path)
    assert (weights.parent, weights.is_file()) == (tmp_path, True)
    assert owner.needed_pipeline().metadata["tags"] == ["x", "y"]
    assert owner.needed_pipeline().metadata["name"] == "new"
    for source, place in (
        ({"weights_path": weights.name}, str(weights)),
        ({"weights_bytes": weights.read_bytes()}, "(client-bytes)"),
    ):
        ask("LoadPipeline", pipeline=packed(KEEPS))
        assert number() == [0, 0]
        answer = ask("LoadPipelineWeights", **source)
        assert (answer.success, answer.resolved_path, number()) == (True, place, [1, 2])


@pytest.mark.usefixtures("number")
def test_weights_lie_in_the_folders_that_are_looked_in(ask: Ask, owner: Session, tmp_path: Path) -> None:
    """Those of the session, then that of the server's pipelines."""
    weights = Path(ask("SavePipeline", pipeline_path="a").weights_path)
    for folder in ("configs/pipeline", "own"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / f"w{weights.suffix}").write_bytes(weights.read_bytes())
        owner.search_paths = [tmp_path / "own"] if (tmp_path / "own").is_dir() else []
        answer = ask("LoadPipelineWeights", weights_path=f"w{weights.suffix}")
        assert answer.resolved_path == str(tmp_path / folder / f"w{weights.suffix}")


def test_weights_that_do_not_fit_are_refused_unless_that_is_said(ask: Ask, number: Callable[[], list[float]]) -> None:
    """Then what fits is taken; who sent them knows no file."""
    path = ask("SavePipeline", pipeline_path="a").weights_path
    (kept,) = KEEPS["nodes"]
    others = [{**kept, "name": "another"}, {**kept, "name": "kept"}]
    ask("LoadPipeline", pipeline=packed({"nodes": others}))
    assert Path(path).name in refusal(ask, "LoadPipelineWeights", weights_path=path).message
    assert Path(path).name in refusal(ask, "LoadPipelineWeights", weights_path=path, strict=True).message
    error = refusal(ask, "LoadPipelineWeights", weights_bytes=Path(path).read_bytes())
    assert error.message.startswith("The weights do not fit: they have nothing for node 'another'")
    error = refusal(ask, "LoadPipelineWeights", weights_bytes=b"junk")
    assert "that were sent" in error.message
    assert "/weights." not in error.message
    assert number() == [0, 0]
    assert ask("LoadPipelineWeights", weights_path=path, strict=False).success
    assert number() == [1, 2]
    assert getattr(refusal(ask, "LoadPipelineWeights"), "code", None) == "INVALID_ARGUMENT"


def test_weights_of_another_size_are_left_out(
    ask: Ask, owner: Session, number: Callable[[], list[float]], caplog: pytest.LogCaptureFixture
) -> None:
    """Where only what fits is taken; the log says so."""
    path = ask("SavePipeline", pipeline_path="a").weights_path
    owner.needed_pipeline().nodes["kept"].number = np.zeros(3)
    assert ask("LoadPipelineWeights", weights_path=path, strict=False).success
    assert number() == [0, 0, 0]
    assert "weights are left out: The weights do not fit node 'kept' (Kept)" in caplog.text


def test_keys_that_no_node_keeps_are_named_in_the_log(
    ask: Ask, number: Callable[[], list[float]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where only what fits is taken, which is the rest."""
    state = {"kept": {"number": np.array([3.0, 4.0]), "more": np.ones(1)}, "gone": {"x": np.ones(1)}}
    write_weights(tmp_path / "w.safetensors", state, {})
    ask("LoadPipeline", pipeline=packed(KEEPS))
    assert ask("LoadPipelineWeights", weights_path="w.safetensors", strict=False).success
    assert number() == [3, 4]
    assert "fit node 'kept' (Kept) in part: it keeps no 'more'" in caplog.text
    assert "no node 'gone'" in caplog.text


@pytest.mark.parametrize(("kind", "begins"), [("dot", b"digraph"), ("DOT", b"digraph"), ("mermaid", b"")])
def test_a_graph_is_drawn_of_the_session_or_of_what_was_sent(ask: Ask, kind: str, begins: bytes) -> None:
    """In the format that is asked for; without a session, too."""
    ask("LoadPipeline", pipeline=packed(RX))
    own = ask("GetPipelineVisualization", format=kind)
    assert own.format == kind.lower()
    assert own.image_data.startswith(begins)
    assert b"rx" in own.image_data
    sent = ask("GetPipelineVisualization", session=None, format=kind, config_content=json.dumps(ONE))
    assert b"scaler" in sent.image_data


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": "gif"}, "There is no picture format 'gif'; formats are png, svg, dot, mermaid."),
        ({"format": "dot", "config_content": "[1]"}, "config_content holds no mapping."),
        ({"format": "dot", "config_content": "a: ["}, "config_content: "),
        ({"format": "dot", "config_content": "name: ${oc.env:HOME}"}, "'${oc.env:HOME}' asks for something"),
        ({"format": "dot"}, "The session has no pipeline yet."),
    ],
)
def test_what_cannot_be_drawn_is_told(ask: Ask, fields: dict[str, str], message: str) -> None:
    """Whose fault it is."""
    assert refusal(ask, "GetPipelineVisualization", **fields).message.startswith(message)


def test_a_pipeline_of_the_server_is_described_in_the_words_of_who_asks(ask: Ask, tmp_path: Path) -> None:
    """By name it is told by name, whatever generation the client is of."""
    (tmp_path / "configs/pipeline").mkdir(parents=True)
    (tmp_path / "configs/pipeline/one.yaml").write_text(json.dumps(RX))
    by_path = ask("GetPipelineInfo", pipeline_path="one.yaml").pipeline_info
    assert (by_path.pipeline_path, list(by_path.tags), json.loads(by_path.yaml_content)) == ("one.yaml", [], RX)
    for generation in ("0.9", "0.2"):
        by_name = ask("GetPipelineInfo", generation, pipeline_path="one").pipeline_info
        assert (by_name.pipeline_path, list(by_name.tags)) == ("one", ["a"])
    for tag, names in (("", ["one.yaml"]), ("a", ["one.yaml"]), ("b", [])):
        assert [each.pipeline_path for each in ask("ListAvailablePipelines", filter_tag=tag).pipelines] == names
