"""The pipeline of a trainrun: built to be trained or looked at, and what a training left of it."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvis_ai_core._untrusted_files import load_yaml
from cuvis_ai_core.pipeline.file.config_models import PipelineConfig
from cuvis_ai_core.pipeline.file.lookup import find_weights
from cuvis_ai_core.pipeline.file.published_keys import with_hparams
from cuvis_ai_core.pipeline.file.reader import parse_config, read_config
from cuvis_ai_core.pipeline.pipeline import Pipeline
from cuvis_ai_core.training.seeding import seed_everything
from cuvis_ai_core.training.trainrun import TrainRun

if TYPE_CHECKING:
    from cuvis_ai_core.registry import NodeRegistry

PIPELINE_FILE = "pipeline.yaml"
TRAINRUN = "trainrun.yaml"
"""In an output directory the trainrun that was trained, with its pipeline as it was before."""

PUBLISHED_FOLDER = "trained_models"
"""Where in an output directory published tools look for a trained pipeline."""


def outline_pipeline(run: TrainRun, registry: "NodeRegistry") -> Pipeline | None:
    """Return the pipeline of a resolved trainrun to look at, with what is there of it; None where its file is not.

    Raises:
        PipelineError: A node or an edge breaks a rule, or the weights do not fit.
    """
    if isinstance(run.config.pipeline, str):
        return None
    pipeline = Pipeline.from_dict(
        with_hparams(run.config.pipeline, run.published), node_registry=registry, outline=True
    )
    weights = run.config.initial_weights
    if weights is not None and Path(weights).is_file() and not pipeline.unloaded:
        pipeline.load_weights(weights)
    return pipeline


def build_pipeline(run: TrainRun, registry: "NodeRegistry") -> Pipeline:
    """Return the pipeline of a resolved trainrun, with the random numbers of its seed and its initial weights.

    Raises:
        PipelineError: A node or an edge breaks a rule, or the weights do not fit.
        NodeNotFoundError: The registry has no such class.
    """
    assert isinstance(run.config.pipeline, dict)
    if run.config.training is not None:
        _import_torch()
        # Before the nodes are built: their first weights are drawn then.
        seed_everything(run.config.training.seed)
    pipeline = Pipeline.from_dict(with_hparams(run.config.pipeline, run.published), node_registry=registry)
    if run.config.initial_weights is not None:
        pipeline.load_weights(run.config.initial_weights)
    return pipeline


def trained_weights(run: TrainRun) -> Path | None:
    """Return the trained weights of a resolved trainrun: those that it names, or those in its output directory.

    There may be those that the published core wrote: of the one pipeline in its folder.
    """
    if run.config.weights is not None:
        return Path(run.config.weights)
    output = Path(run.config.output_dir)
    others = sorted((output / PUBLISHED_FOLDER).glob("*_restored.yaml"))
    # Of several pipelines in the published folder nobody knows which is meant.
    return find_weights(output / PIPELINE_FILE) or (find_weights(others[0]) if len(others) == 1 else None)


def with_trained_values(run: TrainRun, weights: Path) -> TrainRun:
    """Return a resolved trainrun whose nodes have the numbers that a training changed in them: calibrated thresholds.

    They stand in the pipeline file beside the weights. Where the trainrun says something else by now than the one that
    was trained, that goes before.

    Raises:
        CuvisError: A file beside the weights breaks a rule.
    """
    file, trained = weights.with_suffix(".yaml"), weights.with_name(TRAINRUN)
    if not file.is_file() or not trained.is_file() or not isinstance(run.config.pipeline, dict):
        return run
    before = _params(parse_config(load_yaml(trained).data["pipeline"], path=trained))
    after = _params(read_config(file))

    def with_values(node: dict[str, Any]) -> dict[str, Any]:
        params, old = node.get("params", {}), before.get(node["name"], {})
        new = {
            key: value
            for key, value in after.get(node["name"], {}).items()
            if _is_number(value) and value != old.get(key) and params.get(key) == old.get(key)
        }
        return {**node, "params": {**params, **new}} if new else node

    nodes = [with_values(node) for node in run.config.pipeline["nodes"]]
    return replace(run, config=run.config.model_copy(update={"pipeline": {**run.config.pipeline, "nodes": nodes}}))


def _params(config: PipelineConfig) -> dict[str, dict[str, Any]]:
    return {entry.name: entry.params for entry in config.nodes}


def _is_number(value: object) -> bool:
    """Tell whether a value is a number, or has a list of them: texts may stand for what is asked of the environment."""
    return all(map(_is_number, value)) if isinstance(value, list) else isinstance(value, int | float)


def _import_torch() -> None:
    """Have torch loaded where it is installed, so that it is seeded before a node is built."""
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError:
        return
