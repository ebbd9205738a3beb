"""The published functions that restore, on files of a catalogue and real cubes."""

import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("pytorch_lightning")

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import InvalidNodeError, ManifestError, NodeNotFoundError, PluginNotLoadedError
from cuvis_ai_core.utils.plugin_fixer import reorder_pipeline_with_plugins, suggest_plugins_field
from cuvis_ai_core.utils.plugin_resolver import resolve_pipeline_plugins
from cuvis_ai_core.utils.restore import (
    _discover_plugins_dirs,
    restore_pipeline,
    restore_pipeline_cli,
    restore_trainrun,
    restore_trainrun_cli,
)

Write = Callable[..., Path]


def run(monkeypatch: pytest.MonkeyPatch, command: Callable[[], None], *arguments: str) -> int:
    """Run an entry point, as a shell would, and return its exit status."""
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    with pytest.raises(SystemExit) as ended:
        command()
    return int(ended.value.code or 0)


@pytest.mark.slow
def test_a_pipeline_is_restored_drawn_and_run(catalogue: Path, session: Write) -> None:
    """On all measurements of a session file, or those that are named; the drawing lies beside the file."""
    file = catalogue / "pipeline" / "belt.yaml"
    pipeline = restore_pipeline(file, cu3s_file_path=session(), pipeline_vis_ext="md")
    seen = import_module("belt_catalogue.node.data").BeltDataNode.seen
    assert seen == [[0], [1], [2]]
    assert "```mermaid" in (catalogue / "pipeline" / "belt.md").read_text(encoding="utf-8")
    assert (pipeline.name, pipeline.device) == ("belt", "cpu")
    restore_pipeline(
        file, cu3s_file_path=session(), measurement_indices=[2], config_overrides=["nodes.score.params.band=0"]
    )
    assert seen[3:] == [[2]]
    assert pipeline.nodes["score"].hparams == {"band": 1, "hidden": 128}


def test_the_entry_point_runs_a_session_file(
    catalogue: Path, session: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the published options: measurements, annotations, mode, device."""
    cube = session()
    coco = {
        "images": [{"id": 1, "height": 4, "width": 6, "file_name": "x.png"}],
        "categories": [{"id": 1, "name": "stone"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]}],
    }
    (tmp_path / "labels.json").write_text(json.dumps(coco))
    options = {
        "--pipeline-path": catalogue / "pipeline" / "belt.yaml",
        "--cu3s-file-path": cube,
        "--processing-mode": "Reflectance",
        "--annotation-json-path": tmp_path / "labels.json",
        "--measurement-indices": "0,1",
        "--device": "auto",
        "--output-dir": tmp_path / "results",
        "--keep": "data.marked",
    }
    arguments = [str(each) for pair in options.items() for each in pair]
    assert run(monkeypatch, restore_pipeline_cli, *arguments) == 0, capsys.readouterr().err
    marked = [int(np.load(tmp_path / f"results/measurement-{n}/outputs.npz")["data.marked"]) for n in (0, 1)]
    assert marked == [0, 4]


def test_the_entry_point_shows_and_draws_beside_the_file(
    catalogue: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is imported for it."""
    file = catalogue / "pipeline" / "belt.yaml"
    assert run(monkeypatch, restore_pipeline_cli, "--pipeline-path", str(file), "--pipeline-vis-ext", "md") == 0
    assert "belt" in capsys.readouterr().out
    assert file.with_suffix(".md").is_file()
    assert not [name for name in sys.modules if name.startswith("belt_catalogue")]


def test_a_trainrun_is_shown(
    catalogue: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the function and by the entry point, with a metric node that is not there and the keys of scripts."""
    cubes = [str(tmp_path / f"{number}.npy") for number in range(4)]
    for cube in cubes:
        np.save(cube, np.ones((2, 3, 2), np.float32))
    trainrun = {
        "name": "statistics",
        "debug": True,
        "pipeline": str(catalogue / "pipeline" / "belt.yaml"),
        "data": {"cubes": cubes, "train_split": 0.5, "val_split": 0.25, "shuffle": False},
        "metric_nodes": ["metrics"],
        "output_dir": str(tmp_path / "out"),
    }
    path = tmp_path / "run.yaml"
    path.write_text(json.dumps(trainrun))
    restore_trainrun(path)
    shown = capsys.readouterr()
    assert "metric_nodes: the pipeline has no node 'metrics'" in shown.err
    parts = [line.split() for line in shown.out.splitlines()]
    counts = {line[0]: line[1] for line in parts if line and line[0] in {"train", "val", "test"}}
    assert counts == {"train": "2", "val": "1", "test": "1"}
    assert run(monkeypatch, restore_trainrun_cli, "--trainrun-path", str(path), "--device", "cpu") == 0
    with pytest.raises(ValueError, match="There is no mode 'look'"):
        restore_trainrun(path, mode="look")


def test_a_package_is_registered(catalogue: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its node classes by their short names; a module that cannot be imported is named, abstract classes stay out."""
    count = NodeRegistry.auto_register_package("belt_catalogue")
    try:
        assert count == 3
        assert {"BeltDataNode", "BandScore", "Threshold"} <= set(NodeRegistry.list_builtin_nodes())
        assert NodeRegistry.get("Threshold") is NodeRegistry.get_builtin_class("Threshold")
        data_node: Any = NodeRegistry.get_builtin_class("BeltDataNode")
        assert data_node.get_category().value == "source"
        assert "'belt_catalogue.node.absent' is left out: ModuleNotFoundError" in caplog.text
        assert NodeRegistry.auto_register_package("belt_catalogue") == 3
    finally:
        NodeRegistry.clear()
    assert "Threshold" not in NodeRegistry.list_builtin_nodes()
    assert "RXDetector" in NodeRegistry.list_builtin_nodes()
    with pytest.raises(NodeNotFoundError):
        NodeRegistry.get_builtin_class("Threshold")
    with pytest.raises(InvalidNodeError, match="The package 'no_such_catalogue' cannot be imported"):
        NodeRegistry.auto_register_package("no_such_catalogue")


def test_installed_plugins_are_known_by_their_manifests(catalogue: Path, tmp_path: Path) -> None:
    """Those that a pipeline names, from folders with a manifest for each; later folders go first."""
    folder = tmp_path / "configs" / "plugins"
    folder.mkdir()
    (folder / "belt.yaml").write_text(
        "name: belt\npath: ../code\npackage_name: belt-catalogue\ncapabilities:\n"
        "- {class_name: belt_catalogue.node.data.BandScore, category: transform}\n"
        "- {class_name: belt_catalogue.data.BeltModule, kind: data_module, data_module_name: belt}\n"
    )
    raw = {"nodes": [{"name": "s", "class_name": "belt_catalogue.node.data.BandScore"}], "metadata": {"name": "x"}}
    assert _discover_plugins_dirs(catalogue / "pipeline" / "belt.yaml", [tmp_path])[-2:] == [folder, tmp_path]
    names, rebuilt = suggest_plugins_field(None, raw, [folder])
    assert (names, list(rebuilt)) == (["belt"], ["metadata", "plugins", "nodes"])
    assert reorder_pipeline_with_plugins(rebuilt, names) == rebuilt
    resolved = resolve_pipeline_plugins({"plugins": ["cuvis_ai_builtin", "belt"]}, [folder])
    assert resolved["belt"]["path"] == str(tmp_path / "configs" / "code")
    with NodeRegistry() as registry:
        assert registry.register_plugins_installed(resolved) == ["belt_catalogue.node.data.BandScore"]
        assert registry.get("BandScore").__name__ == "BandScore"
    with pytest.raises(ManifestError, match=r"names the plugin 'blet', .* Did you mean 'belt'"):
        resolve_pipeline_plugins({"plugins": ["blet"]}, [folder])
    assert list(resolve_pipeline_plugins({}, [folder], "belt")) == ["belt"]
    assert list(resolve_pipeline_plugins({}, [folder], data_module="belt_catalogue.data.BeltModule")) == ["belt"]
    with pytest.raises(ManifestError, match=r"No manifest has the data module 'bell'\. Did you mean 'belt'"):
        resolve_pipeline_plugins({}, [folder], "bell")


def test_a_registry_keeps_a_catalogue_of_manifests(
    catalogue: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of which nothing is imported before it is asked for; what is there already stays."""
    del catalogue
    said = {"capabilities": [{"class_name": "belt_catalogue.node.data.BandScore"}]}
    with NodeRegistry() as registry:
        registry.register_plugins_catalog({"belt": {"capabilities": []}})
        registry.register_plugins_catalog({"belt": said})
        assert dict(registry.plugin_catalog) == {"belt": said}
        with pytest.raises(NodeNotFoundError):
            registry.get("BandScore")
        registry.register_plugins_installed(registry.plugin_catalog)
        registry.register_plugins_installed(registry.plugin_catalog)
        assert registry.get("BandScore").__name__ == "BandScore"
        registry.register_plugins_catalog({"belt": {"capabilities": []}})
        assert dict(registry.plugin_catalog) == {"belt": said}
        assert "the plugin 'belt' is there already" in caplog.text
        (tmp_path / "many.yaml").write_text("plugins: {}\n")
        with pytest.raises(ManifestError, match="no manifest of one plugin"):
            registry.register_plugin(tmp_path / "many.yaml")
        with pytest.raises(ManifestError, match="none\\.yaml"):
            registry.register_plugin(tmp_path / "none.yaml")


def test_the_plugin_of_a_manifest_is_the_installed_one(catalogue: Path, tmp_path: Path) -> None:
    """Where its package is installed; else it is loaded."""
    del catalogue
    (tmp_path / "belt.yaml").write_text(
        "name: belt\npath: nowhere\ncapabilities:\n- {class_name: belt_catalogue.node.data.BandScore}\n"
    )
    with NodeRegistry() as registry:
        registry.register_plugin(tmp_path / "belt.yaml")
        registry.register_plugin(str(tmp_path / "belt.yaml"))
        assert registry.get("BandScore") is sys.modules["belt_catalogue.node.data"].BandScore
        assert list(registry.plugin_catalog) == registry.list_plugins() == ["belt"]
        [entry] = registry.plugin_catalog["belt"].capabilities
        assert entry.class_name in registry.plugin_class_map
        with pytest.raises(AttributeError, match="plugin 'belt' has no key 'tag'"):
            _ = registry.plugin_catalog["belt"].tag
        info = registry.plugin_info("belt")
        assert (info.kind, info.source, info.version, info.nodes) == (
            "installed",
            str(tmp_path / "nowhere"),
            "",
            (entry.class_name,),
        )
        assert info.target.name == "belt_catalogue"
        registry.clear_plugins()
        assert (registry.list_plugins(), dict(registry.plugin_catalog)) == ([], {})
        with pytest.raises(PluginNotLoadedError):
            registry.unload_plugin("belt")
        with pytest.raises(NodeNotFoundError):
            registry.get("BandScore")


def test_the_schemas_know_nodes_of_plugins(catalogue: Path) -> None:
    """By the classes of a registry, in the words of later and of earlier versions."""
    del catalogue
    display = pytest.importorskip("cuvis_ai_schemas.extensions.ui.node_display")
    with NodeRegistry() as registry:
        path = "belt_catalogue.node.data.BandScore"
        registry.register_plugins_installed({"belt": {"capabilities": [{"class_name": path}]}})
        assert "BandScore" in registry.loaded_plugin_nodes
        if "loaded_plugin_nodes" in Path(display.__file__).read_text():
            node = registry.get("BandScore").__new__(registry.get("BandScore"))
            assert display.is_plugin(node, registry)


@pytest.mark.slow
def test_the_plugin_of_a_manifest_is_loaded_where_it_is_not_installed(tmp_path: Path) -> None:
    """As by load_plugins."""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "lab_sorter.py").write_text(
        "from cuvis_ai_core.node import ArrayNode\n\n\nclass Sorter(ArrayNode):\n"
        "    INPUT_SPECS = {}\n    OUTPUT_SPECS = {}\n\n    def forward(self):\n        return {}\n"
    )
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'lab-sorter'\nversion = '1'\n")
    (tmp_path / "sorter.yaml").write_text(
        "name: sorter\npath: .\npackage_name: lab-sorter\ncapabilities:\n- {class_name: lab_sorter.Sorter}\n"
    )
    with NodeRegistry() as registry:
        registry.register_plugin(tmp_path / "sorter.yaml")
        assert (registry.list_plugins(), registry.get("Sorter").__name__) == (["sorter"], "Sorter")
        assert registry.plugin_configs["sorter"].provides == ("lab_sorter.Sorter",)
        assert list(registry.plugin_catalog) == ["sorter"]
