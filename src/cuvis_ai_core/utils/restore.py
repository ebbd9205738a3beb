"""The published functions that restore a pipeline or a trainrun, and the entry points that catalogues declare."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvis_ai_core.plugins.manifest_folders import folders_above

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline
    from cuvis_ai_core.registry import NodeRegistry

__all__ = ["restore_pipeline", "restore_pipeline_cli", "restore_trainrun", "restore_trainrun_cli"]


def restore_pipeline(  # noqa: PLR0913, PLR0917 - the published order
    pipeline_path: str | Path,
    weights_path: str | Path | None = None,
    device: str = "auto",
    cu3s_file_path: str | Path | None = None,
    processing_mode: str = "Reflectance",
    annotation_json_path: str | Path | None = None,
    measurement_indices: Sequence[int] | None = None,
    config_overrides: Sequence[str] | Mapping[str, Any] | None = None,
    plugins_path: str | Path | None = None,
    pipeline_vis_ext: str | None = None,
    *,
    plugins_dirs: Sequence[str | Path] | None = None,
    data_module: str | None = None,
    data_args: Mapping[str, Any] | None = None,
    profile_sync: bool = False,  # noqa: ARG001 - without a GPU there is nothing to wait for; with one, times are of calls
) -> "Pipeline":
    """Build a pipeline from a file, draw it where asked, and run it on a session file where one is given.

    Args:
        pipeline_path: The pipeline file.
        weights_path: Its weights; by default those beside it.
        device: Where torch nodes compute; `auto` is a GPU of CUDA where there is one.
        cu3s_file_path: A session file; the pipeline runs on each of its measurements, one after the other.
        processing_mode: What to make of it.
        annotation_json_path: Its COCO file; by default the one of the same stem beside it.
        measurement_indices: Which measurements; by default all.
        config_overrides: Each `key.path=value`, or a mapping that is laid over the file.
        plugins_path: The manifest of the plugins that its nodes come from.
        pipeline_vis_ext: `png`, `svg` or `md`: a drawing is written beside the file, as `<stem>.<this>`.
        plugins_dirs: Folders with a manifest for each plugin; those that the pipeline names are loaded, and that of the
            data module. Newer published versions have these four arguments in place of others, so they go by name.
        data_module: A data module, by its name in a manifest or the full path of its class; the pipeline runs on each
            of its batches to predict on.
        data_args: What it is made with.
        profile_sync: Accepted from published software.

    Returns:
        The pipeline, which keeps the plugins of its nodes loaded.

    Raises:
        PipelineError: Something in the file or the weights breaks a rule.
        NodeNotFoundError: There is no class of a name.
        PluginsLoadError: Plugins failed to load.
        CubeError: The session file cannot be read.
        TrainRunError: The data module is not known, or cannot be made.
    """
    from cuvis_ai_core.pipeline.pipeline import Pipeline
    from cuvis_ai_core.registry import NodeRegistry

    # Not `with`: what is returned needs the plugins of its nodes.
    registry = NodeRegistry()
    folders = list(map(Path, plugins_dirs or ()))
    if plugins_path is not None:
        registry.load_plugins(plugins_path)
    if folders:
        _load_named(registry, pipeline_path, folders, data_module)
    pipeline = Pipeline.load_pipeline(
        pipeline_path, weights_path, device=device, config_overrides=config_overrides, node_registry=registry
    )
    # A registry that nobody has any more lets go of its plugins.
    vars(pipeline)["node_registry"] = registry
    if pipeline_vis_ext is not None:
        pipeline.draw(Path(pipeline_path).with_suffix(f".{pipeline_vis_ext.removeprefix('.')}"))
    if cu3s_file_path is not None:
        from cuvis_ai_core.data.datasets import SingleCu3sDataModule
        from cuvis_ai_core.training.predictor import Predictor

        module = SingleCu3sDataModule(
            cu3s_file_path,
            annotation_json_path,
            predict_ids=measurement_indices,
            batch_size=1,
            processing_mode=processing_mode,
        )
        Predictor(pipeline, module).predict()
    if data_module is not None:
        _predict(pipeline, data_module, data_args or {}, [*folders_above(pipeline_path), *folders])
    return pipeline


def _load_named(registry: "NodeRegistry", file: str | Path, folders: list[Path], data_module: str | None) -> None:
    from cuvis_ai_core.pipeline.file.reader import read_config
    from cuvis_ai_core.plugins.manifest_folders import needed_plugins

    for name, entry in needed_plugins(read_config(Path(file)), folders, data_module).items():
        registry.load_plugin(name, entry)


def _predict(pipeline: "Pipeline", name: str, arguments: Mapping[str, Any], folders: list[Path]) -> None:
    from cuvis_ai_core.training.named_data_modules import module_to_predict
    from cuvis_ai_core.training.predictor import Predictor

    batches = module_to_predict(name, arguments, folders, vars(pipeline)["node_registry"])
    # One batch after the other, and none is kept: a set may be larger than memory.
    for _ in Predictor(pipeline).outputs_of(batches):
        pass


def restore_trainrun(
    trainrun_path: str | Path,
    mode: str = "info",
    checkpoint_path: str | Path | None = None,
    device: str = "auto",
    overrides: Sequence[str] | None = None,
    plugins_dirs: Sequence[str | Path] | None = None,
    weights_path: str | Path | None = None,
) -> None:
    """Show a trainrun, train, validate or test, as the command `restore-trainrun` does.

    Args:
        trainrun_path: The trainrun file.
        mode: `info`, `train`, `validate` or `test`.
        checkpoint_path: Weights to take instead: of a checkpoint of Lightning, `.pt` or `.safetensors`.
        device: Where torch nodes compute; `auto` as the file says.
        overrides: Each `key.path=value`.
        plugins_dirs: Folders with a manifest for each plugin: of those that the pipeline names, and of data modules.
        weights_path: Another name of `checkpoint_path`.

    Raises:
        TrainRunError: Something in the file breaks a rule.
        PipelineError: Something in its pipeline breaks a rule.
        TrainingError: Training failed.
        ValueError: There is no such mode, or there are two files of weights.
    """
    from cuvis_ai_core.cli.restore.restore_trainrun import MODES, restore

    if mode not in MODES:
        raise ValueError(f"There is no mode '{mode}'; there are {', '.join(MODES)}.")
    if checkpoint_path is not None and weights_path is not None:
        raise ValueError("checkpoint_path and weights_path both name the weights; give one.")
    weights = weights_path if checkpoint_path is None else checkpoint_path
    restore(
        Path(trainrun_path),
        mode,
        tuple(overrides or ()),
        plugins_dirs=tuple(map(Path, plugins_dirs or ())),
        checkpoint=None if weights is None else Path(weights),
        device=device,
    )


def _discover_plugins_dirs(anchor: str | Path, plugins_dirs: Sequence[str | Path] | None = None) -> list[Path]:
    """Return folders of manifests: those above a file, then those that are named."""
    return list(dict.fromkeys([*folders_above(anchor), *(Path(each) for each in plugins_dirs or ())]))


def _create_datamodule_from_config(config: Any, plugins_dirs: Sequence[str | Path], base_dir: str | Path) -> Any:
    """Return the data module of a trainrun, set up for training.

    Args:
        config: A trainrun configuration whose data are of a data module.
        plugins_dirs: Folders with a manifest for each plugin.
        base_dir: The folder that a path of splits is seen from.

    Raises:
        TrainRunError: It names none, no manifest knows it, or it cannot be made.
    """
    from cuvis_ai_core.training.named_data_modules import make_data_module, set_up

    module = make_data_module(config.data, list(map(Path, plugins_dirs)), Path(base_dir))
    set_up(module, "fit")
    return module


def restore_pipeline_cli() -> None:
    """Run the command `restore-pipeline`; a drawing is written beside the file, as `<stem>.<kind>`."""
    from cuvis_ai_core.cli.restore.restore_pipeline import Published, main

    main(obj=Published(), prog_name="restore-pipeline")


def restore_trainrun_cli() -> None:
    """Run the command `restore-trainrun`."""
    from cuvis_ai_core.cli.restore.restore_trainrun import main

    main(prog_name="restore-trainrun")
