"""A dry run shows what would be done and runs no code of plugins: what only a build can tell is said to need one."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cuvis_ai_core.cli.main import main as cuvis_ai
from cuvis_ai_core.testing.git_host import GitHost

Files = dict[str, str]

BACKEND = """\
import pathlib
pathlib.Path({canary!r}).touch()
from uv_build import *
"""


def run(*arguments: str) -> Result:
    """Run `cuvis-ai plugins …`."""
    return CliRunner().invoke(cuvis_ai, ["plugins", *arguments], prog_name="cuvis-ai")


@pytest.fixture
def canary(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder of its own, and give the path of a file that a planted back-end makes."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "code of a stranger ran"


@pytest.fixture
def planted(canary: Path, project_files: Callable[..., Files]) -> Callable[..., Files]:
    """Return a function that gives the files of a project whose back-end tells when it is run."""

    def files(*, dynamic: str = "", dependencies: tuple[str, ...] = ()) -> Files:
        found = project_files(dependencies=dependencies)
        text = found["pyproject.toml"].replace('"uv_build"\n', '"planted"\nbackend-path = ["."]\n')
        if dynamic == "dependencies":
            text = text.replace("dependencies = []", 'dynamic = ["dependencies"]')
        elif dynamic == "version":
            text = text.replace('version = "1.0.0"', 'dynamic = ["version"]')
        return {**found, "pyproject.toml": text, "planted.py": BACKEND.format(canary=str(canary))}

    return files


def _declare(source: str, isolation: str) -> None:
    Path("plugins.yaml").write_text(
        f"plugins:\n  echo:\n    {source}\n    provides: [echo_plugin.nodes.Echo]\n    isolation: {isolation}\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("isolation", ["scoped", "process"])
@pytest.mark.parametrize("dynamic", ["", "version", "dependencies"])
@pytest.mark.parametrize("command", ["lock", "update"])
@pytest.mark.parametrize("kind", ["git", "local"])
def test_a_dry_run_runs_no_back_end(
    planted: Callable[..., Files],
    write_files: Callable[..., Path],
    git_host: GitHost,
    canary: Path,
    kind: str,
    command: str,
    dynamic: str,
    isolation: str,
) -> None:
    """Metadata that stand in the project file are read; a project without them is said to need building."""
    files = planted(dynamic=dynamic)
    if kind == "git":
        _declare(f"repo: {git_host.add(f'{command}{dynamic}{isolation}', files, tag='v1')}\n    tag: v1", isolation)
    else:
        write_files(Path("echo"), files)
        _declare("path: echo", isolation)
    result = run(command, "--dry-run")
    assert not canary.exists()
    if dynamic == "dependencies":
        assert result.exit_code == 1, result.output
        assert "'echo' has dynamic metadata (echo-plugin) and needs building" in result.output
    else:
        assert result.exit_code == 0, result.output
    assert not Path("plugins.lock").exists()


@pytest.mark.parametrize("isolation", ["scoped", pytest.param("process", marks=pytest.mark.slow)])
@pytest.mark.parametrize("static", [True, False])
def test_a_dry_run_builds_no_dependency(
    planted: Callable[..., Files],
    project_files: Callable[..., Files],
    write_files: Callable[..., Path],
    canary: Path,
    isolation: str,
    static: bool,  # noqa: FBT001
) -> None:
    """Neither one that has an address and only source, nor where the manifest would allow it."""
    dependency = planted(dynamic="" if static else "dependencies")
    renamed = {
        name.replace("echo_plugin", "dep"): text.replace("echo-plugin", "dep") for name, text in dependency.items()
    }
    write_files(Path("dep"), renamed)
    write_files(Path("echo"), project_files(dependencies=(f"dep @ {Path('dep').absolute().as_uri()}",)))
    _declare("path: echo\n    build: [dep]", isolation)
    result = run("lock", "--dry-run", "--allow-build", "dep")
    assert not canary.exists()
    assert result.exit_code in {0, 1}, result.output
    assert "Traceback" not in result.output
    assert result.exit_code == 0 or "--dry-run" in result.output or "wheel" in result.output, result.output
