"""`cuvis-ai policy`, and what listings say where there is a policy."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from cuvis_ai_core.registry import NodeRegistry

Shell = Callable[..., Result]

POLICY = """\
allow:
  - {repo: "https://example.org/lab/*", kind: official}
  - {path: "/**"}
require: {wheels_only: true}
isolation: {community: process}
"""


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a policy."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    monkeypatch.setenv("CUVIS_POLICY", str(path))
    return path


@pytest.fixture
def manifest(write_yaml: Callable[..., Path], tmp_path: Path) -> Path:
    """Have a manifest with a plugin that is allowed, one that is not, and one in a folder."""
    (tmp_path / "here").mkdir()
    plugins = {
        "good": {"repo": "https://example.org/lab/a.git", "tag": "v0.1.1", "provides": ["a.B"]},
        "evil": {"repo": "https://me:secret@example.org/evil/a.git", "tag": "v0.1.1", "provides": ["a.B"]},
        "local": {"path": "../here", "provides": ["c.D"]},
    }
    return write_yaml("plugins.yaml", {"plugins": plugins})


def test_a_policy_is_shown_with_its_lines(shell: Shell, policy: Path) -> None:
    """Rules, what is asked of all, and what runs apart."""
    found = shell("cuvis-ai", "policy", "show")

    assert (found.exit_code, found.stderr) == (0, "")
    assert ["2", "repo", "https://example.org/lab/*", "official", "-"] in [
        line.split() for line in found.stdout.splitlines()
    ]
    assert "Asked of every plugin: wheels_only." in found.stdout
    assert json.loads(shell("cuvis-ai", "policy", "show", "--json").stdout)["policy"] == str(policy)


def test_of_a_policy_without_rules_it_is_said_that_it_allows_nothing(shell: Shell, policy: Path) -> None:
    """A table without a line would not say so."""
    policy.write_text("allow: []\n")

    assert "allows nothing." in " ".join(shell("cuvis-ai", "policy", "show").stdout.split())


def test_without_a_policy_it_is_said_where_one_would_lie(shell: Shell) -> None:
    """In the user's configuration folder, or in the system's."""
    found = shell("cuvis-ai", "policy", "show")

    assert "There is no policy" in found.stdout
    assert str(Path.home() / ".config" / "cuvis-ai" / "policy.yaml") in found.stdout
    assert json.loads(shell("cuvis-ai", "policy", "show", "--json").stdout)["policy"] is None


def test_a_manifest_is_checked_without_loading_it(shell: Shell, policy: Path, manifest: Path) -> None:
    """One line per plugin; the status says that one may not be loaded, the error why."""
    found = shell("cuvis-ai", "policy", "check", manifest)

    assert found.exit_code == 1
    rows = {line.split()[0]: line.split()[1:3] for line in found.stdout.splitlines() if line.strip()}
    assert rows["good"] == ["official", "yes"]
    assert rows["evil"] == ["community", "no"]
    assert rows["local"] == ["private", "yes"]
    assert f"{policy}:1" in found.stderr
    assert "secret" not in found.stdout + found.stderr
    data = json.loads(shell("cuvis-ai", "policy", "check", manifest, "--json").stdout)
    assert not data["allowed"]
    assert [each["allowed"] for each in data["plugins"]] == [True, False, True]


def test_a_manifest_that_may_be_loaded_has_status_0(shell: Shell, manifest: Path) -> None:
    """Without a policy everything may."""
    assert shell("cuvis-ai", "policy", "check", manifest).exit_code == 0


def test_a_broken_policy_is_wrong_input(shell: Shell, policy: Path, manifest: Path) -> None:
    """One text with file and line, no traceback."""
    policy.write_text("allow: []\nrequir: {}\n")
    for words in (("policy", "show"), ("policy", "check", manifest), ("plugins", "list", "--plugins-path", manifest)):
        found = shell("cuvis-ai", *words)
        assert found.exit_code == 2
        assert f"Error: {policy}:2: requir: is an unknown key; did you mean 'require'?" in found.stderr


def test_listings_show_kinds_and_signatures_where_there_is_a_policy(shell: Shell, policy: Path, manifest: Path) -> None:
    """Also whether a plugin may be loaded."""
    found = shell("cuvis-ai", "plugins", "list", "--plugins-path", manifest)

    lines = {line.split()[0]: line for line in found.stdout.splitlines() if line.strip()}
    assert lines["good"].split()[-5:] == ["not", "fetched", "official", "not", "fetched"]
    assert "community, not allowed" in lines["evil"]


def test_pip_installed_plugins_take_part_where_the_policy_allows_them(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: Path
) -> None:
    """Others are left out, with the reason; the code of none is imported for that."""
    info = tmp_path / "site" / "colour_maps-2.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: colour-maps\nVersion: 2.1\n")
    (info / "entry_points.txt").write_text("[cuvis_ai.nodes]\nColourMap = colour_maps:ColourMap\n")
    (tmp_path / "site" / "colour_maps.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delenv("CUVIS_PLUGIN_DISCOVERY", raising=False)

    assert "community, not allowed" in shell("cuvis-ai", "plugins", "list").stdout
    with NodeRegistry() as registry:
        assert "ColourMap" not in registry.discovered_plugins
        assert "may not be loaded here" in str(registry.failed_plugins["ColourMap"])
        with pytest.raises(Exception, match="may not be loaded here"):
            registry.get("colour_maps.ColourMap")
    policy.write_text(f"{POLICY}\n".replace('path: "/**"', 'distribution: "colour-*"'))
    with NodeRegistry() as registry:
        assert "ColourMap" in registry.discovered_plugins
        assert "ColourMap" not in registry.failed_plugins
