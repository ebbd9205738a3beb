import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cuvis_ai_core.pipeline.pipeline import Pipeline
from cuvis_ai_core.registry import NodeRegistry
from cuvis_ai_core.results.node_origin import Origin, origin_of
from cuvis_ai_core.results.run_record import node_records


@pytest.fixture
def site(tmp_path: Path, node_source: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a pip-installed plugin with one node, and a module with another that no plugin names."""
    info = tmp_path / "site" / "origin_plugin-2.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: origin-plugin\nVersion: 2.1\n")
    (info / "entry_points.txt").write_text("[cuvis_ai.nodes]\nFound = origin_plugin_nodes:Found\n")
    (tmp_path / "site" / "origin_plugin_nodes.py").write_text(node_source("Found") + node_source("Unnamed"))
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path / "site"


def test_every_class_has_an_origin(site: Path) -> None:
    """Built in, from a pip-installed plugin, or from a module that merely can be imported."""
    with NodeRegistry() as registry:
        built_in, found, unnamed = (
            origin_of(registry, registry.get(name)) for name in ("RXDetector", "Found", "origin_plugin_nodes.Unnamed")
        )
    assert built_in == Origin("builtin", distribution="cuvis-ai-core", version="1.0.0")
    assert found == Origin("discovered", "Found", distribution="origin-plugin", version="2.1")
    assert unnamed == Origin("host")
    assert [str(each) for each in (built_in, found, unnamed)] == [
        "built in",
        "Found 2.1 (discovered)",
        "importable module",
    ]


def test_a_git_plugin_is_named_with_tag_and_commit() -> None:
    """The commit is short enough to read."""
    origin = Origin("git", "adaclip", "https://example.org/a.git", "v0.1.1", "0123456789abcdef" * 2, "a", "0.1.1")
    assert str(origin) == "adaclip 0.1.1 (v0.1.1 0123456789ab)"


def test_a_local_plugin_is_named_with_commit_changes_and_a_hash_of_what_was_loaded(
    registry: NodeRegistry, local_plugin: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    """An edit while it is loaded is said when it is loaded again, and in the record, which has no hash then."""
    folder = local_plugin()
    entry = {"path": str(folder), "provides": ["echo_plugin.nodes.Echo"]}
    registry.load_plugin("echo", entry)
    pipeline = Pipeline.from_dict({"nodes": [{"name": "e", "class_name": "Echo"}]}, node_registry=registry)
    (outside,) = node_records(registry, pipeline)
    assert (outside["commit"], outside["changed"], outside["edited"]) == (None, None, False)
    git = ["git", "-C", str(folder), "-c", "user.name=me", "-c", "user.email=me@example.org"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "First"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    (clean,) = node_records(registry, pipeline)
    assert len(clean["commit"]) == 40
    assert clean["changed"] == []
    assert clean["sha256"] == outside["sha256"]
    assert len(clean["sha256"]) == 64
    registry.load_plugin("echo", entry)
    assert caplog.messages == []
    nodes = folder / "src/echo_plugin/nodes.py"
    nodes.write_text(nodes.read_text(encoding="utf-8") + "\nMORE = 1\n", encoding="utf-8")
    (edited,) = node_records(registry, pipeline)
    assert (edited["changed"], edited["edited"], edited["sha256"]) == (["src/echo_plugin/nodes.py"], True, None)
    assert registry.edited("echo") is True
    registry.load_plugin("echo", entry)
    assert "Plugin 'echo': its files were edited since it was loaded" in caplog.text
    registry.unload_plugin("echo")
    registry.load_plugin("echo", entry)
    assert registry.edited("echo") is False
