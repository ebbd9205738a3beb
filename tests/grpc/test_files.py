"""Files of the server: configurations, pipelines, weights; and what is not to be reached."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuvis_ai_schemas.pipeline import PipelineConfig
from safetensors.numpy import save_file

from cuvis_ai_core._untrusted_files import load_yaml
from cuvis_ai_core.grpc.messages.schema_generations import messages

LEARNING = {
    "metadata": {"name": "learning", "tags": ["anomaly"], "description": "of a test"},
    "nodes": [{"name": "rx", "class_name": "RXDetector"}],
}


@pytest.fixture
def configs(shared_root: Path) -> Iterator[Path]:
    """Return the folder of configurations of the shared server, with a pipeline and a trainrun."""
    folder = shared_root / "configs"
    for name, content in {
        "pipeline/one.yaml": LEARNING,
        "pipeline/group/two.yaml": {"nodes": [{"name": "scaler", "class_name": "MinMaxNormalizer"}]},
        "training/short.yaml": {"max_epochs": 3, "optimizer": {"name": "adam"}},
        "trainrun/first.yaml": {
            "defaults": [{"/training@training": "short"}, "_self_"],
            "name": "first",
            "pipeline": LEARNING,
            "data": {"cubes": ["scenes"]},
            "output_dir": "${name}-out",
        },
        "trainrun/secret.yaml": {"name": "${oc.env:HOME}"},
    }.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
    yield folder
    for file in folder.rglob("*"):
        if file.is_symlink() or file.is_file():
            file.unlink()


def test_pipelines_are_listed_in_the_words_of_each_generation(stub: Any, configs: Path) -> None:
    """By path with suffix from 0.3 on, by name with a flag for weights before."""
    found = {each.pipeline_path: each for each in stub.ListAvailablePipelines().pipelines}
    assert set(found) == {"one.yaml", "group/two.yaml"}
    assert found["one.yaml"].metadata.name == "learning"
    assert found["one.yaml"].resolved_path == str(configs / "pipeline" / "one.yaml")
    tagged = stub.ListAvailablePipelines(filter_tag="anomaly", headers=(("cuvis-schemas", "0.2"),)).pipelines
    assert [(each.pipeline_path, list(each.tags), each.has_weights) for each in tagged] == [("one", ["anomaly"], False)]


def test_a_pipeline_is_described_by_its_path_or_name(stub: Any, configs: Path, refused: Callable[..., Any]) -> None:
    """Its content comes with it; a path that leads out is refused."""
    info = stub.GetPipelineInfo(pipeline_path="group/two.yaml").pipeline_info
    assert json.loads(info.yaml_content)["nodes"]
    assert stub.GetPipelineInfo(pipeline_path="one").pipeline_info.pipeline_path == "one"
    refused("NOT_FOUND", stub.GetPipelineInfo, pipeline_path="three.yaml")
    for path in ("../trainrun/first.yaml", "/etc/passwd", "group\\two.yaml", ""):
        refused("INVALID_ARGUMENT", stub.GetPipelineInfo, pipeline_path=path)


def test_a_trainrun_is_composed_overridden_and_resolved(stub: Any, session: str, configs: Path) -> None:
    """As the catalogue's clients ask: search paths first, then `trainrun/NAME` with overrides."""
    stub.SetSessionSearchPaths(session_id=session, search_paths=[str(configs)], append=False)
    answer = stub.ResolveConfig(
        session_id=session, config_type="trainrun", path="trainrun/first", overrides=["training.trainer.max_epochs=2"]
    )
    content = json.loads(answer.config_bytes)
    assert content["output_dir"] == "first-out"
    assert content["training"]["optimizer"] == {"name": "adam"}
    assert content["training"]["trainer"] == {"max_epochs": 2}
    assert json.loads(stub.ResolveConfig(session_id=session, config_type="pipeline", path="one").config_bytes)["nodes"]


def test_kinds_files_and_secrets(stub: Any, session: str, configs: Path, refused: Callable[..., Any]) -> None:
    """NOT_FOUND for kinds and files that are not there; the environment is nobody's business."""
    refused("NOT_FOUND", stub.ResolveConfig, session_id=session, config_type="recipe", path="x")
    refused("NOT_FOUND", stub.ResolveConfig, session_id=session, config_type="pipeline", path="absent")
    refused("INVALID_ARGUMENT", stub.ResolveConfig, session_id=session, config_type="pipeline", path="")
    error = refused("INVALID_ARGUMENT", stub.ResolveConfig, session_id=session, config_type="trainrun", path="secret")
    assert os.environ["HOME"] not in error.details()


def test_schemas_and_problems(stub: Any, refused: Callable[..., Any]) -> None:
    """A schema for each kind, and a sentence for each mistake."""
    assert "nodes" in json.loads(stub.GetParameterSchema(config_type="pipeline").json_schema)["properties"]
    refused("NOT_FOUND", stub.GetParameterSchema, config_type="recipe")
    good = stub.ValidateConfig(config_type="training", config_bytes=b'{"max_epochs": 3}')
    assert good.valid
    bad = stub.ValidateConfig(config_type="training", config_bytes=b'{"max_epochs": "x", "colour": 1}')
    assert not bad.valid
    assert len(bad.errors) == 2
    assert any("colour" in each for each in bad.errors)
    refused("INVALID_ARGUMENT", stub.ValidateConfig, config_type="training", config_bytes=b"")


CENTRE = {"nodes": [{"name": "centre", "class_name": "Centre"}]}
WEIGHTS = {"centre.mean": np.arange(4.0)}


def test_a_pipeline_is_saved_and_its_weights_come_back(
    stub: Any, learner: str, server: Any, configs: Path, shared_root: Path, refused: Callable[..., Any]
) -> None:
    """Both paths are answered; weights come from a file or in the message."""
    weights = configs / "pipeline" / "source.safetensors"
    save_file(WEIGHTS, weights)
    config = messages().PipelineConfig(config_bytes=json.dumps(CENTRE).encode())
    stub.LoadPipeline(session_id=learner, pipeline=config)
    told = stub.LoadPipelineWeights(session_id=learner, weights_path="source.safetensors")
    assert told.resolved_path == str(weights)
    saved = stub.SavePipeline(
        session_id=learner,
        pipeline_path=str(configs / "pipeline" / "saved"),
        metadata=messages().PipelineMetadata(name="renamed", tags=["a", "b"]),
    )
    assert saved.pipeline_path == str(configs / "pipeline" / "saved.yaml")
    assert saved.weights_path == str(configs / "pipeline" / "saved.safetensors")
    metadata = load_yaml(Path(saved.pipeline_path)).data["metadata"]
    assert (metadata["name"], metadata["tags"]) == ("renamed", ["a", "b"])
    assert [each.name for each in PipelineConfig.load_from_file(saved.pipeline_path).nodes] == ["centre"]
    stub.LoadPipeline(session_id=learner, pipeline=config)
    told = stub.LoadPipelineWeights(session_id=learner, weights_bytes=weights.read_bytes())
    assert told.resolved_path == "(client-bytes)"
    assert server.service.sessions.get(learner).pipeline.nodes["centre"].mean.tolist() == [0, 1, 2, 3]
    refused("NOT_FOUND", stub.LoadPipelineWeights, session_id=learner, weights_path="absent.pt")
    refused("INVALID_ARGUMENT", stub.LoadPipelineWeights, session_id=learner)
    refused("INVALID_ARGUMENT", stub.LoadPipelineWeights, session_id=learner, weights_bytes=b"junk")
    relative = stub.SavePipeline(session_id=learner, pipeline_path="below/relative.yaml")
    assert relative.pipeline_path == str(shared_root / "below" / "relative.yaml")


def test_weights_that_do_not_fit_are_refused_unless_told_otherwise(
    stub: Any, learner: str, server: Any, configs: Path, refused: Callable[..., Any]
) -> None:
    """Without `strict` what fits is taken."""
    save_file({**WEIGHTS, "other.mean": np.zeros(3)}, configs / "pipeline" / "source.safetensors")
    config = messages().PipelineConfig(config_bytes=json.dumps(CENTRE).encode())
    stub.LoadPipeline(session_id=learner, pipeline=config)
    refused("INVALID_ARGUMENT", stub.LoadPipelineWeights, session_id=learner, weights_path="source.safetensors")
    assert stub.LoadPipelineWeights(session_id=learner, weights_path="source.safetensors", strict=False).success
    assert server.service.sessions.get(learner).pipeline.nodes["centre"].mean.tolist() == [0, 1, 2, 3]


HOSTILE = ["/etc/passwd", "/dev/zero", "../../../../etc/passwd", "link.safetensors", "pipe.safetensors"]


@pytest.mark.parametrize("path", HOSTILE)
def test_files_elsewhere_links_devices_and_pipes_are_refused(
    stub: Any, session: str, configs: Path, shared_root: Path, refused: Callable[..., Any], path: str
) -> None:
    """Refused before anything is opened: /dev/zero has no end, a pipe blocks."""
    link, pipe = configs / "pipeline" / "link.safetensors", configs / "pipeline" / "pipe.safetensors"
    link.symlink_to("/etc/passwd")
    os.mkfifo(pipe)
    config = messages().PipelineConfig(config_bytes=json.dumps(LEARNING).encode())
    stub.LoadPipeline(session_id=session, pipeline=config)
    try:
        refused("PERMISSION_DENIED", stub.LoadPipelineWeights, session_id=session, weights_path=path)
    finally:
        pipe.unlink()


@pytest.mark.parametrize("path", ["/etc/cron.d/evil.yaml", "../evil.yaml", "out/evil.yaml"])
def test_nothing_is_written_elsewhere(
    stub: Any, session: str, configs: Path, shared_root: Path, tmp_path: Path, refused: Callable[..., Any], path: str
) -> None:
    """Neither by an absolute path, nor by `..`, nor through a link."""
    out = shared_root / "out"
    if not out.is_symlink():
        out.symlink_to(tmp_path)
    config = messages().PipelineConfig(config_bytes=json.dumps(LEARNING).encode())
    stub.LoadPipeline(session_id=session, pipeline=config)
    refused("PERMISSION_DENIED", stub.SavePipeline, session_id=session, pipeline_path=path)
    out.unlink()
    assert list(tmp_path.glob("*.yaml")) == []
