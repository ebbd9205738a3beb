"""The published models of a manifest, and manifests of newer catalogues."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import ManifestError
from cuvis_ai_core.plugins.manifest.manifest_schema import parse_plugin, read_manifest
from cuvis_ai_core.utils.plugin_config import GitPluginConfig, LocalPluginConfig, PluginManifest

GIT: dict[str, Any] = {"repo": "https://example.org/a.git", "tag": "v1.0.0", "provides": ["a.nodes.A"]}


def test_a_manifest_is_read_and_written(tmp_path: Path) -> None:
    """With plugins of both kinds; a relative path begins at the manifest."""
    content = {"plugins": {"one": GIT, "two": {"path": "../two", "provides": ["b.B"]}}}
    manifest = PluginManifest.from_dict(content)
    manifest.to_yaml(tmp_path / "new" / "plugins.yaml")
    again = PluginManifest.from_yaml(tmp_path / "new" / "plugins.yaml")
    assert again == manifest
    assert isinstance(again.plugins["one"], GitPluginConfig)
    local = again.plugins["two"]
    assert isinstance(local, LocalPluginConfig)
    assert local.resolve_path(tmp_path / "new") == tmp_path / "two"


@pytest.mark.parametrize(
    "entry",
    [
        {**GIT, "provides": []},
        {**GIT, "provides": ["A"]},
        {**GIT, "branch": "main"},
        {**GIT, "repo": "ftp://example.org/a.git"},
        {**GIT, "repo": ""},
        {**GIT, "tag": "-v"},
        {**GIT, "tag": "v1\n"},
        {**GIT, "repo": f"{GIT['repo']} "},
        {**GIT, "provides": ["a.1B"]},
        {**GIT, "provides": ["a.A", "a..B"]},
        {"path": "", "provides": ["a.A"]},
        {"path": " ", "provides": ["a.A"]},
        {"path": "a", "provides": ["a.A"], "tag": "v1"},
    ],
)
def test_what_breaks_a_rule_is_refused(entry: dict[str, Any]) -> None:
    """Classes, keys, addresses, paths."""
    with pytest.raises(ValueError):  # noqa: PT011 - of pydantic, whose texts are its own
        PluginManifest.from_dict({"plugins": {"one": entry}})


def test_what_is_changed_later_keeps_the_rules(tmp_path: Path) -> None:
    """Of an entry, and of a manifest."""
    plugin = GitPluginConfig(**GIT)
    local = LocalPluginConfig(path="~/two", provides=["b.B"])
    assert local.resolve_path(tmp_path) == Path("~/two").expanduser().resolve()
    manifest = PluginManifest.from_dict({"plugins": {"one": GIT}})
    with pytest.raises(ValueError, match="names no class"):
        plugin.provides = []
    with pytest.raises(ValueError, match="is empty"):
        local.path = ""
    with pytest.raises(ValueError, match="'my-plugin' is no name of a plugin: letters, digits and '_', as my_plugin"):
        manifest.plugins = {"my-plugin": plugin}
    with pytest.raises(ValueError, match="other"):
        PluginManifest.from_dict({"plugins": {}, "other": 1})


def test_manifests_are_written_as_people_read_them(tmp_path: Path) -> None:
    """In the order of their entries, with letters as they are; an empty file has no plugins."""
    manifest = PluginManifest.from_dict({"plugins": {"zwei": {"path": "ä", "provides": ["b.B"]}, "eins": GIT}})
    manifest.to_yaml(tmp_path / "plugins.yaml")
    text = (tmp_path / "plugins.yaml").read_text(encoding="utf-8")
    assert text.index("zwei") < text.index("eins")
    assert "path: ä\n" in text
    (tmp_path / "empty.yaml").touch()
    assert PluginManifest.from_yaml(tmp_path / "empty.yaml").plugins == {}
    (tmp_path / "broken.yaml").write_text("plugins: [")
    with pytest.raises(ValueError, match=r"The manifest '.*broken\.yaml' cannot be read: "):
        PluginManifest.from_yaml(str(tmp_path / "broken.yaml"))


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    """Is a FileNotFoundError, as published software expects."""
    with pytest.raises(FileNotFoundError, match=r"There is no manifest"):
        PluginManifest.from_yaml(tmp_path / "plugins.yaml")


def test_a_file_for_one_plugin(tmp_path: Path) -> None:
    """Its node classes are what it provides; what is for editors and fetchers is left alone."""
    content = {
        "name": "belt",
        "path": "code",
        "package_name": "belt-catalogue",
        "capabilities": [
            {"class_name": "belt.nodes.A", "category": "transform", "icon_svg": "<svg/>"},
            {"class_name": "belt.data.Module", "kind": "data_module", "data_module_name": "belt", "extras": ["cu3s"]},
        ],
        "weights": [{"name": "belt_small"}],
    }
    (tmp_path / "belt.yaml").write_text(yaml.safe_dump(content))
    plugin = read_manifest(tmp_path / "belt.yaml").plugins["belt"]
    assert plugin.provides == ("belt.nodes.A",)
    assert plugin == parse_plugin("belt", content, base=tmp_path)
    (tmp_path / "many.yaml").write_text(yaml.safe_dump({"plugins": {"belt": content}}))
    assert read_manifest(tmp_path / "many.yaml").plugins["belt"] == plugin


def test_a_plugin_without_nodes_is_no_plugin_of_ours(tmp_path: Path) -> None:
    """It says that a class is missing."""
    entry = {"path": ".", "capabilities": [{"class_name": "a.B", "kind": "data_module"}]}
    with NodeRegistry(discover=False) as registry, pytest.raises(ManifestError, match="provides"):
        registry.load_plugin("belt", entry)
