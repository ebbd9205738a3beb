"""Pipelines that run on the samples of a data module, at the command line and by the published function."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.node import ArrayNode

torch = pytest.importorskip("torch")
pytest.importorskip("pytorch_lightning")
pytest.importorskip("cuvis_ai_schemas.training.data")

Run = Callable[..., Any]

LOADER = Path(__file__).parents[1] / "projects" / "published_loader"
PIPELINE = {
    "metadata": {"name": "bright"},
    "nodes": [
        {"name": "scale", "class": "MinMaxNormalizer"},
        {"name": "later", "class": "MinMaxNormalizer", "params": {"execution_stages": ["train"]}},
    ],
    "connections": [{"from": "scale.cube", "to": "later.cube"}],
}
BELT = {"class_name": "belt_loader.BeltModule", "kind": "data_module", "data_module_name": "belt"}


@pytest.fixture
def belt(shell: Run, write_yaml: Run, tmp_path: Path) -> None:
    """Go to a folder with a pipeline, five cubes, and the manifest of a plugin that reads them."""
    shutil.copytree(LOADER, tmp_path / "belt")
    (tmp_path / "belt" / "pyproject.toml").write_text(
        '[project]\nname = "belt-loader"\nversion = "1"\n[tool.uv.build-backend]\nmodule-root = ""\n'
        '[build-system]\nrequires = ["uv_build"]\nbuild-backend = "uv_build"\n'
    )
    write_yaml("bright.yaml", PIPELINE)
    Path("manifests").mkdir()
    write_yaml("manifests/belt.yaml", {"name": "loader", "path": "../../belt", "capabilities": [BELT]})
    Path("scenes").mkdir()
    for number in range(5):
        cube = np.random.default_rng(number).random((4, 5, 3), dtype=np.float32) * (number + 1)
        np.save(f"scenes/{number}.npy", cube)


def _restore(shell: Run, *arguments: str) -> Any:
    return shell("restore-pipeline", "--pipeline-path", "bright.yaml", *arguments)


def test_a_pipeline_runs_on_a_data_module(shell: Run, belt: None) -> None:
    """Of a plugin of a named folder, on its samples to predict on; what came out is told, and nothing is written."""
    before = sorted(Path().rglob("*"))
    where = ("--plugins-dir", "manifests", "--data-module", "belt", "--data-arg", "folder=scenes")
    result = _restore(shell, *where, "--data-arg", "batch_size=2")
    assert result.exit_code == 0, result.output
    assert "Run on 3 batches of the data module 'belt'." in result.stdout
    assert "scale.cube" in result.stdout
    assert "different ones" in result.stdout  # the last batch has one sample
    Path("some.json").write_text(json.dumps({"predict": [{"kind": "stems", "stems": ["1", "3"]}]}), encoding="utf-8")
    result = _restore(shell, *where, "--data-arg", "splits=some.json")
    assert result.exit_code == 0, result.output
    assert "Run on 2 batches" in result.stdout
    Path("some.json").unlink()
    assert sorted(Path().rglob("*")) == before


class Noting(ArrayNode):
    """Notes the shape of a cube for a monitor."""

    INPUT_SPECS = {"cube": PortSpec(np.float32, (-1, -1, -1, -1))}  # noqa: RUF012
    OUTPUT_SPECS = {"notes": PortSpec(list, ())}  # noqa: RUF012

    def forward(self, cube: Any) -> dict[str, Any]:
        """Note it."""
        return {"notes": [str(cube.shape)]}


def test_a_pipeline_that_ends_in_notes_is_told_of_with_its_results(shell: Run, belt: None, write_yaml: Run) -> None:
    """As `last_outputs` has it: a node that answers no array takes no result away."""
    NodeRegistry.register(Noting)
    nodes = [{"name": "scale", "class": "MinMaxNormalizer"}, {"name": "notes", "class": "Noting"}]
    connections = [{"from": "scale.cube", "to": "notes.cube"}]
    write_yaml("bright.yaml", {"metadata": {"name": "b"}, "nodes": nodes, "connections": connections})
    arguments = ("--plugins-dir", "manifests", "--data-module", "belt", "--data-arg", "folder=scenes")
    for keep, told in (((), True), (("--keep", "notes.notes"), False)):
        result = _restore(shell, *arguments, *keep)
        assert result.exit_code == 0, result.output
        results = result.stdout.partition("Time of the nodes")[0]
        assert ("scale.cube" in results, "notes.notes" in results) == (told, True), results


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--data-arg", "folder=gone"], "refuses data.params: ValueError: there is no folder gone"),
        (["--data-arg", "folder"], "'folder' is not KEY=VALUE"),
        (["--data-arg", "a=1", "--data-arg", "a=2"], "'a' stands twice"),
        (["--data-arg", "folder=scenes", "--data-arg", "batch_size=two"], "batch_size is no number that will do"),
        (["--cube-path", "scenes/0.npy"], "both say what the pipeline runs on"),
        (["--output-dir", "out"], "--output-dir goes with --cube-path: a data module names no file"),
    ],
)
def test_what_a_data_module_is_not_made_with(shell: Run, belt: None, arguments: list[str], problem: str) -> None:
    """One error each."""
    result = _restore(shell, "--plugins-dir", "manifests", "--data-module", "belt", *arguments)
    assert result.exit_code == 2, result.output
    assert problem in " ".join(result.stderr.split()), result.stderr


def test_arguments_without_a_data_module(shell: Run, belt: None) -> None:
    """They are for nothing, which is said."""
    result = _restore(shell, "--data-arg", "folder=scenes")
    assert (result.exit_code, "--data-arg goes with --data-module" in result.stderr) == (2, True)


def test_a_data_module_of_a_manifest_that_nobody_named(shell: Run, belt: None) -> None:
    """Its plugin is not loaded, though the manifest lies above the pipeline."""
    Path("manifests").rename("plugins")
    result = _restore(shell, "--data-module", "belt", "--data-arg", "folder=scenes")
    assert result.exit_code == 2
    assert "by a manifest that you name: --plugins-dir" in result.stderr, result.stderr


def test_the_published_function(belt: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the same by keyword, and returns the pipeline."""
    from cuvis_ai_core import Pipeline
    from cuvis_ai_core.utils.restore import restore_pipeline

    seen = []
    forward = Pipeline.forward

    def counting(self: Pipeline, batch: Any, *arguments: Any, **options: Any) -> Any:
        seen.append(tuple(batch["cube"].shape))
        return forward(self, batch, *arguments, **options)

    monkeypatch.setattr(Pipeline, "forward", counting)
    pipeline = restore_pipeline(
        "bright.yaml", data_module="belt", data_args={"folder": "scenes"}, plugins_dirs=["manifests"]
    )
    assert pipeline.name == "bright"
    assert seen == [(1, 4, 5, 3)] * 5
