from collections.abc import Callable
from pathlib import Path

import pytest

from cuvis_ai_core.registry import NodeRegistry
from cuvis_ai_core.results.origin import Origin, origin_of


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
