"""The published command `provision`: plugins of a pipeline as what uv installs, and installed."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cuvis_ai_core.cli.provision import main
from cuvis_ai_core.errors import InstallError, NotAllowedError
from cuvis_ai_core.utils.provision import format_install_command, provision_environment, resolve_install_specs

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of manifests beside a pipeline that names a local plugin and one of a repository."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "configs" / "plugins"
    folder.mkdir(parents=True)
    local = {"path": "../../belt", "package_name": "belt-nodes", "extras": ["fast"]}
    _manifest(folder, "belt", {**local, "capabilities": [{"class_name": "belt_nodes.Belt", "kind": "node"}]})
    far = {"repo": "https://example.com/far.git", "tag": "v1.2.0", "subdirectory": "python"}
    module = {"class_name": "far_data.Far", "kind": "data_module", "data_module_name": "far", "extras": ["cube"]}
    _manifest(folder, "far", {**far, "capabilities": [{"class_name": "far_nodes.Far", "kind": "node"}, module]})
    _pipeline(["belt", "far"])
    return folder


def _manifest(folder: Path, name: str, content: dict[str, Any]) -> None:
    (folder / f"{name}.yaml").write_text(json.dumps({"name": name, **content}))


def _pipeline(plugins: list[str]) -> None:
    nodes = [{"name": "a", "class_name": "belt_nodes.Belt"}]
    Path("line.yaml").write_text(json.dumps({"plugins": plugins, "nodes": nodes, "connections": []}))


def _run(*arguments: str, status: int = 0) -> Result:
    result = CliRunner().invoke(main, ["--pipeline-path", "line.yaml", *arguments])
    assert result.exit_code == status, result.output
    return result


def test_what_uv_is_to_install(catalogue: Path) -> None:
    """One line, with extras, tags and folders of repositories; manifests are found above the file."""
    belt = f"'belt-nodes[fast] @ {(catalogue.parents[1] / 'belt').as_uri()}'"
    far = "'far @ git+https://example.com/far.git@v1.2.0#subdirectory=python'"
    assert _run().stdout == f"uv pip install {belt} {far}\n"
    assert "'far[cube] @ git+" in _run("--plugins-dir", str(catalogue), "--data-module", "far").stdout


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    ("repo", "place"),
    [
        ("git@example.com:team/far.git", "git+ssh://git@example.com/team/far.git"),
        ("ssh://git@example.com/far.git", "git+ssh://git@example.com/far.git"),
    ],
)
def test_addresses_of_git(repo: str, place: str, catalogue: Path) -> None:
    """As pip and uv take them."""
    _manifest(catalogue, "far", {"repo": repo, "tag": "v1", "provides": ["far_nodes.Far"]})
    _pipeline(["far"])
    assert _run().stdout == f"uv pip install 'far @ {place}@v1'\n"


@pytest.mark.usefixtures("catalogue")
def test_requirements_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """One a line, or as a project; by commits where that is wanted."""
    asked = "cuvis_ai_core.plugins.git.repository_tags.remote_commit"
    monkeypatch.setattr(
        asked, lambda url, tag: COMMIT if (url, tag) == ("https://example.com/far.git", "v1.2.0") else ""
    )
    assert _run("--requirements", "r.txt", "--pin").stdout == ""
    lines = Path("r.txt").read_text().splitlines()
    assert lines[1] == f"far @ git+https://example.com/far.git@{COMMIT}#subdirectory=python"
    _run("--requirements", "r.toml", "--pin")
    project = tomllib.loads(Path("r.toml").read_text())["project"]
    assert (project["name"], project["dependencies"]) == ("line-env", lines)


def test_what_is_there_is_left_out(catalogue: Path) -> None:
    """But for plugins with extras, of which nobody knows, and where all are asked for."""
    there = {"path": "../../there", "capabilities": [{"class_name": "pluggy.PluginManager", "kind": "node"}]}
    _manifest(catalogue, "there", there)
    _pipeline(["there"])
    assert (_run().stdout, "Nothing is to be installed" in _run().stderr) == ("", True)
    assert "there @ file://" in _run("--include-satisfied").stdout
    _manifest(catalogue, "there", {**there, "extras": ["more"]})
    assert "'there[more] @ file://" in _run().stdout


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"nodes": []}', "does not name its plugins.*suggest-plugins-fix --pipeline-path line.yaml"),
        ('{"plugins": ["lost"]}', "'lost', and there is no manifest"),
        ("[}", "cannot be read"),
    ],
)
@pytest.mark.usefixtures("catalogue")
def test_pipelines_that_do_not_say_what_they_need(content: str, problem: str) -> None:
    """One sentence, and what next."""
    Path("line.yaml").write_text(content)
    assert re.search(problem, _run(status=2).stderr, re.DOTALL)


def test_a_name_of_a_package_is_no_option(catalogue: Path) -> None:
    """A manifest hands uv nothing but what is to be installed."""
    odd = {"path": "x", "package_name": "--index-url=http://x", "capabilities": [{"class_name": "a.B", "kind": "node"}]}
    _manifest(catalogue, "belt", odd)
    assert "is no name of a package" in _run(status=2).stderr


@pytest.mark.usefixtures("catalogue")
def test_a_policy_is_not_gone_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies in the environment is not held to it: nothing is installed."""
    (tmp_path / "policy.yaml").write_text("allow: []\n")
    monkeypatch.setenv("CUVIS_POLICY", str(tmp_path / "policy.yaml"))
    (tmp_path / "policy.yaml").chmod(0o600)
    started: list[object] = []
    monkeypatch.setattr("cuvis_ai_core._subprocess.run", started.append)
    assert "policy" in _run("--apply", status=1).stderr
    assert not started


def test_notebooks_ask_for_what_the_command_prints(catalogue: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line of a terminal or of a cell, printed and returned; without a plugin to install a comment."""
    specs = resolve_install_specs("line.yaml", [str(catalogue)], "far")
    assert provision_environment(specs) == _run("--plugins-dir", str(catalogue), "--data-module", "far").stdout.strip()
    line = provision_environment(specs, notebook=True)
    assert line == format_install_command(specs, magic=True)
    assert line is not None
    assert line.startswith("%pip install 'belt-nodes[fast] @ file://")
    assert capsys.readouterr().out.splitlines()[1:] == [line, "# Run this line, then restart the kernel."]
    nothing = provision_environment([])
    assert nothing is not None
    assert nothing.startswith("#")
    assert provision_environment([], apply=True) is None


def test_notebooks_write_requirements(tmp_path: Path) -> None:
    """A project that is called after the pipeline, or one a line."""
    specs = ["far @ git+https://example.com/far.git@v1", "belt"]
    assert provision_environment(specs, env_file=tmp_path / "r.toml", pipeline_name="line") is None
    project = tomllib.loads((tmp_path / "r.toml").read_text())["project"]
    assert (project["name"], project["dependencies"]) == ("line-env", specs)
    provision_environment(specs, env_file=str(tmp_path / "r.txt"), apply=True)
    assert (tmp_path / "r.txt").read_text().splitlines() == specs


@pytest.mark.parametrize("how", [{"apply": True}, {"env_file": "r.txt", "sync": True}])
def test_notebooks_install(how: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By uv into this environment."""
    monkeypatch.chdir(tmp_path)
    started: list[list[str]] = []

    def run(command: list[str]) -> SimpleNamespace:
        started.append(command)
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr("cuvis_ai_core._subprocess.run", run)
    assert provision_environment(["belt"], **how) is None
    assert started[0][-2:] == ["--", "belt"]


def test_notebooks_install_into_their_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `%pip` of the notebook that asks; not under a policy, and not where there is none."""
    lines: list[tuple[str, str]] = []
    shell = SimpleNamespace(run_line_magic=lambda magic, line: lines.append((magic, line)))
    notebooks = ModuleType("IPython")
    notebooks.get_ipython = lambda: shell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", notebooks)
    assert provision_environment(["belt @ file:///a b"], notebook=True, apply=True) is None
    assert lines == [("pip", "install 'belt @ file:///a b'")]
    (tmp_path / "policy.yaml").write_text("allow: []\n")
    (tmp_path / "policy.yaml").chmod(0o600)
    monkeypatch.setenv("CUVIS_POLICY", str(tmp_path / "policy.yaml"))
    with pytest.raises(NotAllowedError):
        provision_environment(["belt"], notebook=True, apply=True)
    monkeypatch.delenv("CUVIS_POLICY")
    shell = None  # type: ignore[assignment]
    with pytest.raises(InstallError, match="this is none"):
        provision_environment(["belt"], notebook=True, apply=True)
    assert len(lines) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("catalogue")
def test_they_are_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into the environment of the interpreter, where their packages are imported by name."""
    from uv import find_uv_bin

    source = tmp_path / "belt" / "src" / "belt_nodes"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text("Belt = 'a class'\n")
    (tmp_path / "belt" / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["uv_build"]\nbuild-backend = "uv_build"\n'
        '[project]\nname = "belt-nodes"\nversion = "1.0"\noptional-dependencies = {fast = []}\n'
    )
    subprocess.run([find_uv_bin(), "venv", "-q", "-p", sys.executable, "own"], check=True)
    python = str(tmp_path / "own" / "bin" / "python")
    monkeypatch.setattr(sys, "executable", python)
    _pipeline(["belt"])
    assert "belt-nodes" in _run("--apply").stderr
    shown = subprocess.run(
        [python, "-c", "import belt_nodes; print(belt_nodes.Belt)"], check=True, capture_output=True, text=True
    )
    assert shown.stdout == "a class\n"
    (tmp_path / "belt" / "pyproject.toml").unlink()
    assert "could not be installed" in _run("--apply", status=1).stderr
