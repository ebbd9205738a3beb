import errno
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from cuvis_ai_core.cli.shared.error_messages import Guarded, exit_status, shortened
from cuvis_ai_core.cli.shared.options import shared_options
from cuvis_ai_core.errors import (
    AmbiguousNodeError,
    CubeError,
    CuvisError,
    HookError,
    ManifestError,
    MissingExtraError,
    NodeNotFoundError,
    NodeRunError,
    PipelineError,
    PluginLoadError,
    PluginsLoadError,
    PortError,
    StoreError,
)

SEE_MORE = "Run again with --debug to see the whole traceback."

Process = Callable[..., subprocess.CompletedProcess[str]]


def run(work: Callable[[], object], *arguments: str) -> Result:
    """Run a guarded command that does some work."""

    @click.command(cls=Guarded)
    @shared_options
    def command() -> None:
        work()

    return CliRunner().invoke(command, arguments)


def failing(error: BaseException) -> Callable[[], object]:
    """Return work that ends with an error."""

    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (AmbiguousNodeError, 2),
        (CubeError, 2),
        (ManifestError, 2),
        (MissingExtraError, 2),
        (NodeNotFoundError, 2),
        (PipelineError, 2),
        (PortError, 2),
        (HookError, 1),
        (NodeRunError, 1),
        (PluginLoadError, 1),
        (partial(PluginsLoadError, failed={"sick": ValueError()}), 1),
        (StoreError, 1),
    ],
)
def test_wrong_input_ends_with_2_and_failed_work_with_1(kind: Callable[..., CuvisError], status: int) -> None:
    """The text and its hint follow `Error: ` on stderr, and nothing else."""
    found = run(failing(kind("Bands are missing.", hint="Add some.")))
    assert (found.exit_code, found.stdout, found.stderr) == (status, "", "Error: Bands are missing.\nAdd some.\n")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CubeError("bad", begun=True), 1),
        (HookError("bad", begun=False), 2),
        (PermissionError(errno.EACCES, "no", "file"), 2),
        (PermissionError(errno.EACCES, "no"), 1),
        (OSError(errno.ENAMETOOLONG, "no", "file"), 2),
        (OSError(errno.ENOSPC, "no", "file"), 1),
    ],
)
def test_what_begun_work_leaves_decides_about_the_status(error: BaseException, status: int) -> None:
    """Whether a person has to give something else, or something went wrong with what was given."""
    assert exit_status(error) == status
    if isinstance(error, OSError) and error.filename:
        cure = {errno.EACCES: "change its rights", errno.ENAMETOOLONG: "a shorter name", errno.ENOSPC: "make room"}
        assert cure[error.errno or 0] in run(failing(error)).stderr


def test_the_end_of_a_long_text_stays() -> None:
    """It has the hint: a quarter of what is shown."""
    lines = shortened("\n".join(map(str, range(400)))).splitlines()
    assert lines[0] == "0"
    assert lines[-2] == "399"
    assert lines.index("[... 360 lines ...]") == 30
    for text in ("x" * 100_000, f"{'x' * 100_000}\n{'y' * 100_000}", "\n".join(["z" * 5000] * 9)):
        assert len(shortened(text)) < 6000


def test_a_very_long_text_is_shortened() -> None:
    """Of what others put into an error the beginning and the end are shown, and all of it with --debug."""
    lines = [f"line {number}" for number in range(5000)]
    error = CubeError("\n".join(lines), hint="Do this.")
    shown = run(failing(error)).stderr
    assert len(shown.splitlines()) < 50
    assert "line 0\n" in shown
    assert "line 4999\nDo this.\nRun again with --debug for the whole text." in shown
    assert "line 2500" in run(failing(error), "--debug").stderr
    one = run(failing(CubeError("x" * 100_000))).stderr
    assert len(one) < 5000
    assert "--debug" in one
    short = CubeError("\n".join(lines[:30]), hint="Do this.")
    assert run(failing(short)).stderr == f"Error: {short}\n"


def test_debug_shows_the_traceback_before_the_text() -> None:
    """With --debug the place is seen, and the end is the same."""
    found = run(failing(CubeError("No bands.")), "--debug")
    assert found.exit_code == 2
    assert found.stderr.startswith("Traceback (most recent call last):")
    assert "in work" in found.stderr
    assert found.stderr.endswith("\nError: No bands.\n")


@pytest.mark.parametrize("error", [ZeroDivisionError("division by zero"), SystemExit(0)])
def test_what_nobody_expected_is_called_a_bug(error: BaseException) -> None:
    """There is no traceback, and code that calls sys.exit(0) is no success."""
    found = run(failing(error))
    assert found.exit_code == 1
    assert found.stderr == (
        f"Error: unexpected {type(error).__name__}: {error}\n"
        "This is a bug in cuvis-ai-core or in a plugin. Run again with --debug to see where.\n"
    )


def test_trouble_with_a_file_is_no_bug() -> None:
    """An error of the operating system names the file."""
    found = run(lambda: Path("missing").read_text())
    assert found.exit_code == 1
    assert found.stderr == "Error: missing: No such file or directory; check the path\n"


def test_an_interrupt_says_what_was_kept() -> None:
    """Ctrl-C ends with the status that shells expect, and with the notes of those whose work it ended."""
    interrupt = KeyboardInterrupt()
    interrupt.add_note("Half of it is kept.")
    found = run(failing(interrupt))
    assert (found.exit_code, found.stdout, found.stderr) == (130, "", "\nInterrupted.\nHalf of it is kept.\n")


@pytest.mark.filterwarnings("default")
def test_a_warning_is_one_plain_line() -> None:
    """Neither file nor source line is shown, and a text of several lines becomes one."""
    found = run(lambda: warnings.warn("no pyproject.toml:\n  no dependencies", stacklevel=1))
    assert (found.exit_code, found.stderr) == (0, "Warning: no pyproject.toml: no dependencies\n")


def test_a_problem_that_is_logged_again_and_again_is_said_once() -> None:
    """Also where it was a warning before."""

    def work() -> None:
        for band in (1, 1, 2):
            logging.getLogger("cuvis_ai_core.builtin").warning("band %d has no values", band)

    assert run(work).stderr == "Warning: band 1 has no values\nWarning: band 2 has no values\n"


def test_a_logged_problem_is_one_plain_line() -> None:
    """What this package logs as a problem is shown as a warning, its traceback only with --debug."""
    logger = logging.getLogger("cuvis_ai_core.plugins")
    found = run(lambda: logger.error("an observer failed", exc_info=ValueError("boom")))
    assert (found.exit_code, found.stderr) == (0, f"Warning: an observer failed {SEE_MORE}\n")
    assert logging.getLogger("cuvis_ai_core").handlers == []


@pytest.mark.parametrize(
    "encoding",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
)
def test_a_sign_that_the_terminal_lacks_does_not_crash(process: Process, encoding: dict[str, str]) -> None:
    """The documented text with its warning sign is printed, whatever the language settings."""
    found = process("cuvis-ai", "nodes", "show", "AdaCLIPDetector", env=encoding)
    assert found.returncode == 2
    assert found.stderr.startswith("Error: Node 'AdaCLIPDetector' not found in registry.")
    assert "  This appears to be an external plugin node!" in found.stderr


def test_a_name_that_stdout_cannot_encode_is_escaped(process: Process, pipeline_file: Path) -> None:
    """A description in another script is shown as escapes, the tables without their lines."""
    text = pipeline_file.read_text(encoding="utf-8").replace("Scores and a mask", "\N{GREEK SMALL LETTER LAMDA}")
    pipeline_file.write_text(text, encoding="utf-8")
    found = process("restore-pipeline", "--pipeline-path", pipeline_file, env={"PYTHONIOENCODING": "latin-1"})
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith(r"find anomalies: \u03bb")


def test_a_reader_that_goes_away_ends_the_command_quietly(process: Process) -> None:
    """`cuvis-ai nodes list | head -0` says nothing on stderr."""
    reading, writing = os.pipe()
    os.close(reading)
    code = "from cuvis_ai_core.cli.main import main; main()"
    command = [sys.executable, "-c", code, "nodes", "list"]
    found = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (found.returncode, found.stderr) == (1, "")


@pytest.mark.parametrize("position", [0, 3])
def test_debug_stands_at_either_end(shell: Callable[..., Result], position: int) -> None:
    """`cuvis-ai --debug ...` and `cuvis-ai ... --debug` are the same."""
    arguments = ["nodes", "show", "Nothing"]
    arguments.insert(position, "--debug")
    found = shell("cuvis-ai", *arguments)
    assert found.exit_code == 2
    assert "Traceback (most recent call last):" in found.stderr
