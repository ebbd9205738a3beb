"""A trainrun that says everything by itself, from any folder: its pipeline inline, its paths absolute."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from cuvis_ai_core.data.cube_files import as_url
from cuvis_ai_core.errors import PipelineError, TrainRunError
from cuvis_ai_core.pipeline.file.lookup import find_pipeline_file, find_weights
from cuvis_ai_core.pipeline.file.reader import parse_config, read_config
from cuvis_ai_core.training.config import ModuleDataConfig, TrainRunConfig
from cuvis_ai_core.training.trainrun import TrainRun


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
