"""What every command has: help, version, silence, a log; and an output that nobody else prints to."""

import io
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from cuvis_ai_core.cli.main import main as cuvis_ai

Shell = Callable[..., Result]
Process = Callable[..., subprocess.CompletedProcess[str]]

LOUD = """\
import os
import sys

from cuvis_ai_core.node import ArrayNode

print("at import")


class Loud(ArrayNode):
    INPUT_SPECS = {"cube": {"dtype": "floating", "shape": (-1, -1, -1, -1)}}
    OUTPUT_SPECS = {"cube": {"dtype": "floating", "shape": (-1, -1, -1, -1)}}

    def forward(self, cube):
        print("in forward")
        sys.stdout.write("written\\n")
        sys.stdout.flush()
        os.write(1, b"from below\\n")
        return {"cube": cube}
"""


@pytest.fixture
def loud(shell: Shell, cube_file: Path, write_yaml: Callable[..., Path]) -> Callable[[str], list[str]]:
    """Return a function that gives the arguments for a run of a pipeline whose plugin prints."""
    Path("loud").mkdir()
    Path("loud/loud.py").write_text(LOUD, encoding="utf-8")
    Path("loud/pyproject.toml").write_text('[project]\nname = "loud"\nversion = "1"\n', encoding="utf-8")
    write_yaml("p.yaml", {"nodes": [{"name": "n", "class_name": "Loud"}]})

    def arguments(isolation: str) -> list[str]:
        declared = {"path": "loud", "provides": ["loud.Loud"], "isolation": isolation}
        write_yaml("plugins.yaml", {"plugins": {"loud": declared}})
        return ["--pipeline-path", "p.yaml", "--plugins-path", "plugins.yaml", "--cube-path", str(cube_file)]

    return arguments


@pytest.mark.parametrize("arguments", [("nodes",), ("plugins", "list"), ("plugins", "cache", "prune"), ()])
def test_help_has_a_short_form_everywhere(shell: Shell, arguments: tuple[str, ...]) -> None:
    """`-h` is `--help`, at every depth."""
    assert shell("cuvis-ai", *arguments, "-h").stdout == shell("cuvis-ai", *arguments, "--help").stdout
    assert shell("cuvis-ai", *arguments, "-h").stdout.startswith("Usage: ")
    assert "Usage: " in shell("restore-trainrun", "-h").stdout


def test_the_module_is_the_command(shell: Shell) -> None:
    """`python -m cuvis_ai_core` needs no script on the search path."""
    command = [sys.executable, "-m", "cuvis_ai_core", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "cuvis-ai-core 1.0.0\n"


@pytest.mark.slow
def test_what_a_plugin_prints_goes_to_standard_error(process: Process, loud: Callable[[str], list[str]]) -> None:
    """Also below Python's streams: who reads standard output gets results and nothing else."""
    found = process("restore-pipeline", *loud("scoped"))
    assert found.returncode == 0
    assert found.stdout.startswith("Results\n")
    for line in ("at import", "in forward", "written", "from below"):
        assert line not in found.stdout
        assert f"{line}\n" in found.stderr


@pytest.mark.slow
def test_what_a_plugin_prints_in_its_own_process_does_too(process: Process, loud: Callable[[str], list[str]]) -> None:
    """Each line with the plugin's name."""
    found = process("restore-pipeline", *loud("process"))
    assert found.returncode == 0
    assert found.stdout.startswith("Results\n")
    for line in ("in forward", "written", "from below"):
        assert f"plugin 'loud': {line}\n" in found.stderr


def test_quiet_shows_results_and_no_progress(shell: Shell, sum_plugin: Path) -> None:
    """At either end of a command, and in the middle."""
    found = shell("cuvis-ai", "--quiet", "nodes", "show", "Sum", "--plugins-path", sum_plugin)
    assert (found.exit_code, found.stderr) == (0, "")
    assert found.stdout.startswith("Sum: ")
    assert shell("cuvis-ai", "nodes", "show", "Sum", "--plugins-path", sum_plugin, "--quiet").stderr == ""
    assert shell("cuvis-ai", "nodes", "--quiet", "show", "Sum", "--plugins-path", sum_plugin).stderr == ""


@pytest.mark.parametrize("asked", [("--verbose",), ()])
def test_the_log_tells_the_story_of_a_run(
    shell: Shell,
    sum_plugin: Path,
    cube_file: Path,
    write_yaml: Callable[..., Path],
    asked: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was loaded from where, the stage with its nodes, each file; asked for by an option or a variable."""
    if not asked:
        monkeypatch.setenv("CUVIS_LOG", "info")
    pipeline = write_yaml("sum.yaml", {"nodes": [{"name": "total", "class_name": "Sum"}]})
    arguments = ("--pipeline-path", pipeline, "--plugins-path", sum_plugin, "--cube-path", cube_file)
    found = shell("restore-pipeline", *arguments, *asked)
    assert found.exit_code == 0
    lines = [line.partition(" INFO ")[2] for line in found.stderr.splitlines()]
    told = [
        f"plugin 'sums': path resolved {Path('../sums').resolve()}",
        "plugin 'sums': active Sum",
        f"pipeline 'sum' is built from {pipeline}, weights: none",
        "Reading cube.npy",
        "pipeline 'sum' runs in stage 'inference': total",
        "writing sum-output/outputs.npz",
        "writing sum-output/run.json",
    ]
    assert [line for line in lines if line in told] == told


def test_a_level_that_there_is_not_is_wrong_usage(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The levels are named."""
    monkeypatch.setenv("CUVIS_LOG", "loud")
    found = shell("cuvis-ai", "nodes", "list")
    assert found.exit_code == 2
    assert "CUVIS_LOG is 'LOUD'; levels are DEBUG, INFO, WARNING." in found.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_run_says_that_nothing_was_written(
    shell: Shell, cube_file: Path, write_yaml: Callable[..., Path]
) -> None:
    """Ctrl-C in the middle of a node."""
    Path("slow").mkdir()
    code = LOUD.replace('print("in forward")', f"os.kill(os.getpid(), {int(signal.SIGINT)})")
    Path("slow/slow.py").write_text(code, encoding="utf-8")
    Path("slow/pyproject.toml").write_text('[project]\nname = "slow"\nversion = "1"\n', encoding="utf-8")
    manifest = write_yaml("plugins.yaml", {"plugins": {"slow": {"path": "slow", "provides": ["slow.Loud"]}}})
    pipeline = write_yaml("p.yaml", {"nodes": [{"name": "n", "class_name": "Loud"}]})
    arguments = ("--pipeline-path", pipeline, "--plugins-path", manifest, "--cube-path", cube_file)
    found = shell("restore-pipeline", *arguments, "--output-dir", "results")
    assert found.exit_code == 130
    assert "\nInterrupted.\nNo results were written to 'results'" in found.stderr
    assert not Path("results").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("isolation", ["scoped", "process"])
def test_an_interrupt_that_is_ignored_stays_ignored(loud: Callable[[str], list[str]], isolation: str) -> None:
    """As by `nohup`, and in the processes of plugins: who asked for that gets the results."""
    code = LOUD.replace('print("in forward")', f"os.kill(os.getpid(), {int(signal.SIGINT)})")
    Path("loud/loud.py").write_text(code, encoding="utf-8")
    program = "from cuvis_ai_core.cli.restore.restore_pipeline import main; main(prog_name='restore-pipeline')"
    ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
    command = [*ignoring, sys.executable, "-c", program, *loud(isolation), "--output-dir", "results"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.returncode, "Interrupted" in found.stderr) == (0, False), found.stderr
    assert Path("results/run.json").is_file()


class Cell(io.StringIO):
    """The output of a notebook's cell, as ipykernel has it: its handle is that of the kernel's terminal."""

    def fileno(self) -> int:
        """Return the terminal's."""
        return 1


def test_results_of_a_command_in_a_notebook_are_in_its_cell(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """And not in the terminal in which the kernel was started."""
    monkeypatch.setattr(sys, "stdout", cell := Cell())
    cuvis_ai.main(["nodes", "list"], standalone_mode=False)
    monkeypatch.undo()
    assert "RXDetector" in cell.getvalue()
    assert not capfd.readouterr().out
