"""From a trainrun to the pipeline that it trains, and to a trainrun that says everything by itself."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvis_ai_core._untrusted_files import load_yaml
from cuvis_ai_core.data.cube_files import as_url
from cuvis_ai_core.errors import PipelineError, TrainRunError
from cuvis_ai_core.pipeline.file.config_models import PipelineConfig, parse_config, with_hparams
from cuvis_ai_core.pipeline.file.lookup import find_pipeline_file, find_weights, read_config
from cuvis_ai_core.pipeline.pipeline import Pipeline
from cuvis_ai_core.training.config import ModuleDataConfig, TrainRunConfig
from cuvis_ai_core.training.seeding import seed_everything
from cuvis_ai_core.training.trainrun import TrainRun

if TYPE_CHECKING:
    from cuvis_ai_core.registry import NodeRegistry

PIPELINE_FILE = "pipeline.yaml"
TRAINRUN = "trainrun.yaml"
"""In an output directory the trainrun that was trained, with its pipeline as it was before."""

PUBLISHED_FOLDER = "trained_models"
"""Where in an output directory published tools look for a trained pipeline."""


def resolved(run: TrainRun, config_dirs: Iterable[Path], manifest: Path | None, *, outline: bool = False) -> TrainRun:
    """Return a trainrun with the pipeline inline and absolute paths, which says the same from any folder.

    Args:
        run: The trainrun.
        config_dirs: Where pipelines are looked up by name.
        manifest: The manifest of the plugins that are loaded.
        outline: Whether the trainrun is only looked at: files that are not there are no errors, and a pipeline that is
            not stays a name.

    Raises:
        PipelineError: The pipeline is not there, or something in its file breaks a rule.
        TrainRunError: The inline pipeline breaks a rule, or weights are not there.
    """
    config = run.config
    find = _located if outline else _file
    pipeline, beside, published = _pipeline(run, config_dirs, outline=outline)
    first = find(run, config.initial_weights, "initial_weights") if config.initial_weights else beside
    changes: dict[str, Any] = {
        "pipeline": pipeline,
        "initial_weights": _absolute(first),
        "weights": _absolute(find(run, config.weights, "weights")) if config.weights else None,
        "plugins_path": _absolute(manifest),
        "data": _absolute_data(run),
        "output_dir": str(Path(config.output_dir).expanduser().absolute()),
    }
    kept = {key: value for key, value in {**config.to_dict(), **changes}.items() if value is not None}
    return replace(run, config=TrainRunConfig.model_validate(kept), pipeline_overrides=(), published=published)


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


def _pipeline(
    run: TrainRun, config_dirs: Iterable[Path], *, outline: bool
) -> tuple[dict[str, Any] | str, Path | None, frozenset[str]]:
    place = run.config.pipeline
    if isinstance(place, str):
        try:
            file = find_pipeline_file(run.locate(place), lambda: config_dirs)
        except PipelineError:
            if outline:
                return place, None, frozenset()
            raise
        config = read_config(file, run.pipeline_overrides)
        return config.to_dict(), find_weights(file), config.published
    try:
        config = parse_config(place)
    except PipelineError as error:
        raise TrainRunError(
            f"Trainrun file {run.path}: pipeline: {error.message}", hint=error.hint, path=run.path, key="pipeline"
        ) from error
    return config.to_dict(), None, config.published


def _file(run: TrainRun, place: str, key: str) -> Path:
    file = run.locate(place)
    if not file.is_file():
        raise TrainRunError(
            f"Trainrun file {run.path}: {key}: there is no file '{place}' beside it or in the working directory.",
            hint="Check the path.",
            path=run.path,
            key=key,
        )
    return file


def _located(run: TrainRun, place: str, _: str) -> Path:
    return run.locate(place)


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())


def _absolute_data(run: TrainRun) -> dict[str, Any]:
    data = run.config.data.model_dump(mode="json", exclude_unset=True)
    if isinstance(run.config.data, ModuleDataConfig):  # whose params say things that only it knows
        splits = data.get("splits") or {}
        path = splits.get("splits_path")
        return {**data, "splits": {**splits, "splits_path": _absolute(run.locate(path))}} if path else data

    def located(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: located(each) for key, each in value.items()}
        if isinstance(value, list):
            return [located(each) for each in value]
        return value if as_url(value) else _absolute(run.locate(value))

    paths = {"cubes", "cu3s_file_path", "annotation_json_path", "masks"}
    return {key: located(value) if key in paths and value is not None else value for key, value in data.items()}
