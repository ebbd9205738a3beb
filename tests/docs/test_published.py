"""The page about the published core tells the truth about names."""

import inspect
import re
import warnings
from contextlib import suppress
from importlib import import_module
from operator import attrgetter
from pathlib import Path

import pytest

from cuvis_ai_core import _deprecated

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
    "data.rle:coco_rle_encode": ["mask_np"],
    "data.splits_io:universe_hash": ["refs"],
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
    "utils.plugin_fixer:suggest_plugins_field": ["pipeline_config", "raw_pipeline_dict", "plugins_dirs"],
    "utils.plugin_resolver:resolve_pipeline_plugins": ["pipeline_config", "plugins_dirs"],
}
"""Name to the arguments that published programs give it, by their places or, with a star, by these names alone."""


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


def test_the_page_has_no_name_twice() -> None:
    """Every name has one line."""
    assert len(NAMES) == len(set(NAMES)) > 50
