"""The page about the published core tells the truth about names."""

import inspect
import re
import warnings
from contextlib import suppress
from importlib import import_module
from importlib.metadata import distribution
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from click import Context

from cuvis_ai_core import _deprecated
from cuvis_ai_core.cli.main import main as cuvis_ai

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "move-from-the-published-core.md"
NAMES = re.findall(r"^\| `(cuvis_ai_core\.[\w.]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)

ROWS = re.findall(r"^\| `(cuvis_ai_core\.[\w.]+)` \| ([^|]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
OLD = [(path, re.findall(r"`([\w.]+)`", here)[0]) for path, here in ROWS if not here.startswith("the same")]

ARGUMENTS = {
    "data.model_weights:ModelWeights.cache_dir_token": ["repo_id"],
    "data.model_weights:ModelWeights.default_cache_dir": [],
    "data.model_weights:ModelWeights.download": ["name", "cache_dir", "*force", "*progress"],
    "data.model_weights:ModelWeights.download_many": ["names", "cache_dir", "*force", "*progress"],
    "data.model_weights:ModelWeights.download_model": [
        *(
            "name",
            "*repo_id",
            "*filename",
            "*revision",
            "*sha256",
            "*token",
            "*cache_dir",
            "*out",
            "*force",
            "*progress",
        )
    ],
    "data.model_weights:ModelWeights.entries": [],
    "data.model_weights:ModelWeights.export_to": ["export_dir", "names", "cache_dir", "*progress"],
    "data.model_weights:ModelWeights.get": ["name_or_alias"],
    "data.model_weights:ModelWeights.import_from": ["source_dir", "names", "cache_dir", "*progress"],
    "data.model_weights:ModelWeights.list_payload": [],
    "data.model_weights:ModelWeights.load_manifests": ["plugins_dirs"],
    "data.model_weights:ModelWeights.materialize": ["name", "dest_dir", "*filename", "*download", "*cache_dir"],
    "data.model_weights:ModelWeights.missing_guidance": ["name", "cache_dir"],
    "data.model_weights:ModelWeights.names": [],
    "data.model_weights:ModelWeights.register": ["plugin", "entries", "*source"],
    "data.model_weights:ModelWeights.remove": ["name", "cache_dir"],
    "data.model_weights:ModelWeights.remove_dir": ["dirname", "cache_dir"],
    "data.model_weights:ModelWeights.reset": [],
    "data.model_weights:ModelWeights.resolve": ["name", "*download", "*cache_dir"],
    "data.model_weights:ModelWeights.resolve_cache_dir": ["cache_dir"],
    "data.model_weights:ModelWeights.rows": [],
    "data.model_weights:ModelWeights.snapshot_path": ["weight", "cache_dir"],
    "data.model_weights:ModelWeights.status": ["name", "cache_dir", "*verify"],
    "data.model_weights:ModelWeights.status_all": ["names", "cache_dir", "*verify"],
    "data.public_datasets:DatasetSpec": [
        *("name", "display_name", "summary", "repo_id", "target_dir", "revision", "size_bytes", "file_count"),
        *("license", "tags", "camera", "description", "aliases"),
    ],
    "data.public_datasets:DatasetSpec.to_json_dict": ["self"],
    "data.public_datasets:DatasetStatus": ["spec", "path", "state", "bytes_on_disk", "files_ok", "marker"],
    "data.public_datasets:DatasetStatus.to_json_dict": ["self"],
    "data.public_datasets:DownloadResult": ["path", "stale_files"],
    "data.public_datasets:PublicDatasets.dataset_dir": ["spec", "data_dir"],
    "data.public_datasets:PublicDatasets.download": [
        *("name", "data_dir", "*force", "*adopt", "*prune_stale", "*progress")
    ],
    "data.public_datasets:PublicDatasets.download_dataset": ["dataset_name", "*download_path", "*force"],
    "data.public_datasets:PublicDatasets.get_spec": ["name"],
    "data.public_datasets:PublicDatasets.list_datasets": ["verbose"],
    "data.public_datasets:PublicDatasets.list_payload": [],
    "data.public_datasets:PublicDatasets.list_specs": [],
    "data.public_datasets:PublicDatasets.read_marker": ["path"],
    "data.public_datasets:PublicDatasets.remove": ["name", "data_dir"],
    "data.public_datasets:PublicDatasets.status": ["name", "data_dir"],
    "data.public_datasets:PublicDatasets.status_all": ["data_dir", "names"],
    "data.datamodule:create_data_module": ["registry", "data_config"],
    "data.rle:rle_list_to_mask": ["rle", "height", "width"],
    "data.rle:decode_rle_mask_for_canvas": ["mask", "target_height", "target_width"],
    "data.selectors:resolve_selectors": ["selectors", "refs", "*name_to_id"],
    "data.rle:coco_rle_encode": ["mask_np"],
    "data.splits_io:universe_hash": ["refs"],
    "node.metric_utils:topk_count": ["numel", "topk_frac"],
    "node.metric_utils:topk_mean": ["values", "topk_frac"],
    "node.metric_utils:warn_below_vectorized_cutoff": ["node_name", "n_sub", "n_full", "state"],
    "pipeline.factory:PipelineBuilder.build_from_config": ["self", "pipeline_config"],
    "pipeline.pipeline:CuvisPipeline.forward": [
        *("self", "batch", "stage", "upto_node", "context", "free_consumed_ports", "keep_ports")
    ],
    "utils.general:expand_range_selectors": ["items"],
    "utils.node_registry:NodeRegistry.get_builtin_class": ["class_name"],
    "utils.node_registry:NodeRegistry.register_plugins_installed": ["self", "resolved_plugins"],
    "utils.plugin_fixer:reorder_pipeline_with_plugins": ["original", "plugin_names"],
    "training.trainers:StatisticalTrainer": ["pipeline", "datamodule", "stop_event", "metric_nodes", "emit"],
    "utils.plugin_fixer:suggest_plugins_fix_cli": ["argv"],
    "utils.plugin_fixer:suggest_plugins_field": ["pipeline_config", "raw_pipeline_dict", "plugins_dirs"],
    "utils.plugin_resolver:resolve_pipeline_plugins": ["pipeline_config", "plugins_dirs", "data_module"],
}
"""Name to the arguments that published programs give it, by their places or, with a star, by these names alone."""

METHODS = """
data.datamodule:BaseCuvisAIDataModule splits batch_size num_workers samples_per_frame
data.datamodule:BaseCuvisAIDataModule.build_dataset_from_refs refs
data.datamodule:BaseCuvisAIDataModule.build_stage_dataset stage
data.datamodule:BaseCuvisAIDataModule.category_name_to_id
data.datamodule:BaseCuvisAIDataModule.enumerate required_attrs
data.datamodule:BaseCuvisAIDataModule.predict_dataloader
data.datamodule:BaseCuvisAIDataModule.predict_ds
data.datamodule:BaseCuvisAIDataModule.setup stage
data.datamodule:BaseCuvisAIDataModule.supported_attrs
data.datamodule:BaseCuvisAIDataModule.test_dataloader
data.datamodule:BaseCuvisAIDataModule.test_ds
data.datamodule:BaseCuvisAIDataModule.train_dataloader
data.datamodule:BaseCuvisAIDataModule.train_ds
data.datamodule:BaseCuvisAIDataModule.val_dataloader
data.datamodule:BaseCuvisAIDataModule.val_ds
data.datamodule:BaseCuvisAIDataModule.validate_params params
deciders.base_decider:BinaryDecider threshold
deciders.base_decider:BinaryDecider.calibrate scores targets
deciders.base_decider:BinaryDecider.cleanup
deciders.base_decider:BinaryDecider.execution_stages
deciders.base_decider:BinaryDecider.forward logits context
deciders.base_decider:BinaryDecider.freeze
deciders.base_decider:BinaryDecider.frozen
deciders.base_decider:BinaryDecider.get_category
deciders.base_decider:BinaryDecider.get_execution_stages
deciders.base_decider:BinaryDecider.get_icon_name
deciders.base_decider:BinaryDecider.get_tags
deciders.base_decider:BinaryDecider.inputs
deciders.base_decider:BinaryDecider.is_calibrated
deciders.base_decider:BinaryDecider.load_state_dict state_dict strict assign
deciders.base_decider:BinaryDecider.name
deciders.base_decider:BinaryDecider.outputs
deciders.base_decider:BinaryDecider.prepare_inference
deciders.base_decider:BinaryDecider.requires_initial_fit
deciders.base_decider:BinaryDecider.should_execute stage
deciders.base_decider:BinaryDecider.statistical_initialization input_stream
deciders.base_decider:BinaryDecider.unfreeze
deciders.base_decider:BinaryDecider.validate_serialization_support
node.node:Node name
node.node:Node.cleanup
node.node:Node.execution_stages
node.node:Node.forward
node.node:Node.freeze
node.node:Node.frozen
node.node:Node.get_category
node.node:Node.get_execution_stages
node.node:Node.get_icon_name
node.node:Node.get_tags
node.node:Node.inputs
node.node:Node.load_state_dict state_dict strict assign
node.node:Node.name
node.node:Node.outputs
node.node:Node.prepare_inference
node.node:Node.requires_initial_fit
node.node:Node.should_execute stage
node.node:Node.statistical_initialization input_stream
node.node:Node.unfreeze
node.node:Node.validate_serialization_support
pipeline.pipeline:CuvisPipeline name strict_runtime_io_validation
pipeline.pipeline:CuvisPipeline.cleanup
pipeline.pipeline:CuvisPipeline.connect
pipeline.pipeline:CuvisPipeline.cpu
pipeline.pipeline:CuvisPipeline.cuda device
pipeline.pipeline:CuvisPipeline.device
pipeline.pipeline:CuvisPipeline.format_profiling_summary stage total_frames
pipeline.pipeline:CuvisPipeline.forward batch stage upto_node context free_consumed_ports keep_ports
pipeline.pipeline:CuvisPipeline.freeze_structure owner
pipeline.pipeline:CuvisPipeline.get_data_profiling_summary stage
pipeline.pipeline:CuvisPipeline.get_input_specs
pipeline.pipeline:CuvisPipeline.get_output_specs
pipeline.pipeline:CuvisPipeline.get_profiling_summary stage
pipeline.pipeline:CuvisPipeline.iter_profiled_batches batches stage move
pipeline.pipeline:CuvisPipeline.load_pipeline config_path weights_path strict_weight_loading device config_overrides
pipeline.pipeline:CuvisPipeline.load_trainer_state checkpoint_path device
pipeline.pipeline:CuvisPipeline.metadata
pipeline.pipeline:CuvisPipeline.move_batch_to_device batch
pipeline.pipeline:CuvisPipeline.name
pipeline.pipeline:CuvisPipeline.named_parameters recurse require_grad sep
pipeline.pipeline:CuvisPipeline.nodes
pipeline.pipeline:CuvisPipeline.parameters recurse require_grad
pipeline.pipeline:CuvisPipeline.prepare_inference
pipeline.pipeline:CuvisPipeline.profiling_enabled
pipeline.pipeline:CuvisPipeline.reset_profiling
pipeline.pipeline:CuvisPipeline.save_to_file config_path validate_nodes save_weights metadata
pipeline.pipeline:CuvisPipeline.serialize
pipeline.pipeline:CuvisPipeline.set_profiling enabled synchronize_cuda reset skip_first_n port_retention
pipeline.pipeline:CuvisPipeline.structure_frozen_by
pipeline.pipeline:CuvisPipeline.to
pipeline.pipeline:CuvisPipeline.unfreeze_nodes_by_name node_names
pipeline.pipeline:CuvisPipeline.unfreeze_structure
pipeline.pipeline:CuvisPipeline.verify
pipeline.pipeline:CuvisPipeline.visualize format output_path
training.trainers:GradientTrainer pipeline datamodule loss_nodes metric_nodes training_config monitors callbacks
training.trainers:GradientTrainer.configure_optimizers
training.trainers:GradientTrainer.fit
training.trainers:GradientTrainer.load_best_checkpoint
training.trainers:GradientTrainer.test ckpt_path
training.trainers:GradientTrainer.test_step batch batch_idx
training.trainers:GradientTrainer.training_step batch batch_idx
training.trainers:GradientTrainer.validate ckpt_path
training.trainers:GradientTrainer.validation_step batch batch_idx
training.trainers:StatisticalTrainer pipeline datamodule stop_event metric_nodes emit
training.trainers:StatisticalTrainer.fit
training.trainers:StatisticalTrainer.test
training.trainers:StatisticalTrainer.validate
utils.node_registry:NodeRegistry
utils.node_registry:NodeRegistry.auto_register_package package_name
utils.node_registry:NodeRegistry.clear
utils.node_registry:NodeRegistry.clear_plugins
utils.node_registry:NodeRegistry.get class_identifier instance
utils.node_registry:NodeRegistry.get_builtin_class class_name
utils.node_registry:NodeRegistry.list_builtin_nodes
utils.node_registry:NodeRegistry.list_plugins
utils.node_registry:NodeRegistry.register node_class
utils.node_registry:NodeRegistry.register_plugin manifest_path
utils.node_registry:NodeRegistry.register_plugins_catalog configs
utils.node_registry:NodeRegistry.register_plugins_installed resolved_plugins
utils.node_registry:NodeRegistry.unload_plugin name
utils.plugin_fixer:suggest_plugins_fix_cli argv
utils.plugin_resolver:resolve_pipeline_plugins pipeline_config plugins_dirs data_module
"""
"""Name to the arguments that published programs give it by name, of all that 0.18.6 has on these classes."""


@pytest.mark.parametrize("path", NAMES)
def test_published_names_are_where_the_page_says(path: str) -> None:
    """Each can be imported from its place."""
    for package in ("torch", "pytorch_lightning"):
        pytest.importorskip(package)
    module, _, name = path.rpartition(".")
    assert getattr(import_module(module), name) is not None


@pytest.mark.parametrize(("path", "arguments"), ARGUMENTS.items())
def test_arguments_have_their_published_names(path: str, arguments: list[str]) -> None:
    """In the published order; what is our own is behind them and given by name."""
    for package in ("torch", "pytorch_lightning"):
        pytest.importorskip(package)
    module, _, name = path.partition(":")
    found = inspect.signature(attrgetter(name)(import_module(f"cuvis_ai_core.{module}"))).parameters.values()
    assert [each.name for each in found if each.kind is not each.KEYWORD_ONLY] == [
        each for each in arguments if not each.startswith("*")
    ]
    assert {each[1:] for each in arguments if each.startswith("*")} <= {
        each.name for each in found if each.kind is each.KEYWORD_ONLY
    }


@pytest.mark.parametrize("line", METHODS.split("\n")[1:-1])
def test_methods_take_their_published_arguments(line: str) -> None:
    """By name, whatever else they take; a property takes none."""
    for package in ("torch", "pytorch_lightning"):
        pytest.importorskip(package)
    path, *arguments = line.split()
    module, _, name = path.partition(":")
    found = attrgetter(name)(import_module(f"cuvis_ai_core.{module}"))
    if isinstance(found, property):
        assert not arguments
        return
    parameters = inspect.signature(found).parameters.values()
    taken = {each.name for each in parameters if each.kind not in {each.VAR_POSITIONAL, each.VAR_KEYWORD}}
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters)
    assert takes_any or taken >= set(arguments)


@pytest.mark.parametrize(("path", "new"), OLD)
def test_an_old_spelling_says_once_what_is_new(path: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is imported or called, by a warning that has the place of its user; and not again."""
    for package in ("torch", "pytorch_lightning"):
        pytest.importorskip(package)
    monkeypatch.setattr(_deprecated, "_SAID", set())
    module, _, name = path.rpartition(".")
    home = import_module(module)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(2):
            with suppress(TypeError, ValueError):  # it is called without what it needs
                getattr(home, name)()
    (warning,) = [each for each in said if "is an old spelling" in str(each.message)]
    assert f"{path} is an old spelling" in str(warning.message)
    assert new.split(".", maxsplit=1)[0] in str(warning.message)
    assert warning.category is DeprecationWarning


def test_what_is_the_same_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of names that are no other spelling."""
    for package in ("torch", "pytorch_lightning"):
        pytest.importorskip(package)
    monkeypatch.setattr(_deprecated, "_SAID", set())
    for path in set(NAMES) - {each for each, _ in OLD}:
        module, _, name = path.rpartition(".")
        getattr(import_module(module), name)
    assert not _deprecated._SAID


def test_commands_that_are_left_out_name_others() -> None:
    """None of them is a command here, and what their rows name instead is one."""
    table = PAGE.read_text(encoding="utf-8").partition("## Left out")[2]
    left = dict(re.findall(r"^\| `([a-z]+(?:-[a-z]+)+)` \| (.+) \|$", table, re.MULTILINE))
    scripts = {each.name for each in distribution("cuvis-ai-core").entry_points if each.group == "console_scripts"}
    assert sorted(left) == ["audit-plugin-deps", "clean-run-cache"]
    assert not left.keys() & scripts
    for row in left.values():
        named = re.findall(r"`cuvis-ai ([a-z ]+[a-z])", row)
        assert named
        for words in named:
            group: Any = cuvis_ai
            for word in words.split():
                group = group.get_command(Context(cuvis_ai), word)
            assert group is not None, words


def test_the_page_has_no_name_twice() -> None:
    """Every name has one line."""
    assert len(NAMES) == len(set(NAMES)) > 50
