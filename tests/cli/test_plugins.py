from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from cuvis_ai_core.registry import NodeRegistry

Shell = Callable[..., Result]


def row(output: str, name: str) -> list[str]:
    """Return the cells of the row that begins with a name."""
    (found,) = [line.split() for line in output.splitlines() if line.split()[:1] == [name]]
    return found


def test_declared_plugins_are_listed_with_their_state(
    shell: Shell, write_yaml: Callable[..., Path], tmp_path: Path
) -> None:
    """Name, source and tag; what is not in the cache and what is not on disk is said."""
    (tmp_path / "here").mkdir()
    manifest = write_yaml(
        "plugins.yaml",
        {
            "plugins": {
                "remote": {"repo": "https://me:secret@example.org/a.git", "tag": "v0.1.1", "provides": ["a.B"]},
                "local": {"path": "../here", "provides": ["c.D"]},
                "gone": {"path": "../not-there", "provides": ["e.F"]},
            }
        },
    )
    found = shell("cuvis-ai", "plugins", "list", "--plugins-path", manifest)
    assert (found.exit_code, found.stderr) == (0, "")
    assert "secret" not in found.stdout
    assert row(found.stdout, "remote")[2:] == ["v0.1.1", "not", "fetched"]
    assert row(found.stdout, "local")[1:] == [str(tmp_path / "here"), "-", "local"]
    assert row(found.stdout, "gone")[2:] == ["-", "path", "does", "not", "exist"]


def test_a_fetched_plugin_is_listed_with_its_commit(
    shell: Shell, git_plugin: Callable[..., str], write_yaml: Callable[..., Path]
) -> None:
    """After a load the cache holds the tag at its commit; the same tag of another repository is not that one."""
    url = git_plugin("1.0.0")
    declared = {"repo": url, "tag": "v1.0.0", "provides": ["echo_plugin.nodes.Echo"]}
    manifest = write_yaml("plugins.yaml", {"plugins": {"echo": declared}})
    with NodeRegistry() as registry:
        registry.load_plugins(manifest)
        commit = registry.plugin_info("echo").commit
    assert commit is not None
    found = shell("cuvis-ai", "plugins", "list", "--plugins-path", manifest)
    assert row(found.stdout, "echo") == ["echo", url, "v1.0.0", "cached", commit[:12]]
    other = write_yaml("other.yaml", {"plugins": {"echo": {**declared, "repo": "https://example.org/echo.git"}}})
    assert "not fetched" in shell("cuvis-ai", "plugins", "list", "--plugins-path", other).stdout


@pytest.fixture
def discovered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a pip-installed plugin, one entry point a class and one hooks, whose code cannot be imported."""
    info = tmp_path / "site" / "colour_maps-2.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: colour-maps\nVersion: 2.1\n")
    (info / "entry_points.txt").write_text(
        "[cuvis_ai.nodes]\nColourMap = colour_maps.x:ColourMap\nhooks = colour_maps.y\n"
    )
    (tmp_path / "site" / "colour_maps.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path / "site")


def test_discovered_plugins_are_listed_without_an_import(
    shell: Shell, discovered: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entry point, distribution and version are read from the metadata; broken code does not matter."""
    monkeypatch.delenv("CUVIS_PLUGIN_DISCOVERY")
    found = shell("cuvis-ai", "plugins", "list")
    assert (found.exit_code, found.stderr) == (0, "")
    assert row(found.stdout, "ColourMap") == ["ColourMap", "colour-maps", "2.1", "colour_maps.x:ColourMap"]
    assert row(found.stdout, "hooks") == ["hooks", "colour-maps", "2.1", "colour_maps.y"]


def test_the_palette_says_whose_nodes_it_cannot_know(
    shell: Shell, discovered: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A discovered class is listed by its entry point; what only code knows is named as left out."""
    monkeypatch.delenv("CUVIS_PLUGIN_DISCOVERY")
    found = shell("cuvis-ai", "nodes", "list")
    assert (found.exit_code, found.stderr) == (0, "")
    assert row(found.stdout, "ColourMap") == ["ColourMap", "ColourMap", "colour_maps.x.ColourMap"]
    assert "the nodes of hooks." in found.stdout


def test_nothing_to_list_is_said(shell: Shell, write_yaml: Callable[..., Path]) -> None:
    """Without plugins there is no empty table."""
    assert "No pip-installed plugins" in shell("cuvis-ai", "plugins", "list").stdout
    manifest = write_yaml("plugins.yaml", {"plugins": {}})
    for command in (("list", "--plugins-path", manifest), ("lock", "--dry-run", manifest)):
        found = shell("cuvis-ai", "plugins", *command)
        assert "declares no plugins. Add one below 'plugins:'" in found.stdout
        assert "dependencies" not in found.stdout


@pytest.mark.parametrize("command", [("plugins", "list"), ("nodes", "list"), ("nodes", "show", "Sum")])
@pytest.mark.parametrize("path", ["missing.yaml", ".", "wrong.yaml"])
def test_a_manifest_that_cannot_be_read_is_wrong_input(shell: Shell, command: tuple[str, ...], path: str) -> None:
    """A file that is missing, a folder, and a manifest with a wrong key: one error that names the path."""
    Path("wrong.yaml").write_text("plugin: {}\n")
    found = shell("cuvis-ai", *command, "--plugins-path", path)
    assert found.exit_code == 2
    assert found.stderr.startswith("Error: ")
    assert str(path) in found.stderr
    assert "Traceback" not in found.stderr
