"""Wrong values on command lines: each ends in one text that names the thing, the rule and what to do."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import Result

from cuvis_ai_core.cli.main import main as cuvis_ai
from cuvis_ai_core.cli.restore.restore_pipeline import main as restore_pipeline
from cuvis_ai_core.cli.restore.restore_trainrun import main as restore_trainrun

Shell = Callable[..., Result]

REMOTE = ("remote", "--pipeline-path", "p.yaml", "--cube-path", "scene.npy", "--server")
TRAINRUN = ("restore-trainrun", "--trainrun-path", "run.yaml")
PIPELINE = ("restore-pipeline", "--pipeline-path", "p.yaml", "--cube-path", "scene.npy")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("cuvis-ai", "policy", "check", ""), "Invalid value for '[MANIFEST]': is empty; it takes a path."),
        (("cuvis-ai", "view", " "), "Invalid value for 'CUBE': is empty; it takes a path."),
        (("cuvis-ai", "nodes", "list", "--plugins-path", " "), "is empty; it takes a path."),
        (("cuvis-ai", "plugins", "add", ""), "Invalid value for 'URL[@TAG]|PATH': is empty."),
        (("cuvis-ai", "plugins", "try", "nowhere"), "'nowhere' is no folder, no address and no plugin"),
        (("cuvis-ai", "schema", "lock", "--plugins-path", "x"), "--plugins-path is for pipeline and trainrun"),
        (("cuvis-ai", "git-host", ".", "--port", "70000"), "70000 is not in the range 0<=x<=65535."),
        (("cuvis-ai", "nodes", "show", "RXDetector", "--allow-build", "-1"), "'-1' is no name of a package"),
        ((*PIPELINE, "--timeout", "nan"), "'--timeout': 'nan' is no number that can be reached."),
        ((*PIPELINE, "--timeout", "soon"), "'soon' is not a valid number."),
        ((*PIPELINE, "--workers", "many"), "'many' is not a valid whole number."),
        ((*PIPELINE, "--workers", "0"), "0 is not in the range x>=1."),
        ((*TRAINRUN, "--device", ""), "'--device': '' is no device, such as auto, cpu, cuda or cuda:1."),
        ((*TRAINRUN, "--device", "cuda:x"), "'cuda:x' is no device"),
        ((*TRAINRUN, "--device", "cpu:-1"), "'cpu:-1' is no device"),
        ((*TRAINRUN, "--device", "banana", "--mode", "test"), "'banana' is no device"),
        ((*TRAINRUN, "--allow-env", "A B"), "'--allow-env': 'A B' is no name of an environment variable, as HOME."),
        ((*TRAINRUN, "--allow-env", ""), "'--allow-env': '' is no name"),
        (("cuvis-ai", "demo", "--output-dir", "p.txt/demo"), "demo' cannot be written: Not a directory. Choose"),
        (("cuvis-ai", "plugins", "new", "."), "'.' is no name for a plugin."),
        (("cuvis-ai", "plugins", "new", "p.txt/leaf"), "'p.txt/leaf' cannot be written: Not a directory.\nChoose"),
        (("cuvis-ai", "plugins", "unbundle", "b.tar.gz", "--limit", "size"), "'size' is no NAME=NUMBER, such as size="),
    ],
)
def test_a_wrong_value_is_named_with_its_rule(shell: Shell, arguments: tuple[str, ...], text: str) -> None:
    """By option or argument, and exit status 2."""
    Path("p.txt").touch()
    found = shell(*arguments)
    assert found.exit_code == 2
    assert text in found.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["serve", "--host", ""], 2, "Invalid value for '--host': is empty."),
        (["serve", "--host", "no.invalid", "--insecure"], 1, "'no.invalid' is no address and no name of this machine."),
        (["serve", "--uds", "nowhere/s"], 1, "'nowhere/s' cannot be listened on: there is no folder '"),
        (["serve", "--uds", "bytes"], 1, "something else is there, or another server listens on it.\nChoose another"),
        (["serve", "--uds", "a" * 120], 1, "it is longer than the 107 bytes that a socket's path may have."),
        (["serve", "--root", "nowhere"], 2, "Invalid value for '--root': Directory 'nowhere' does not exist."),
        (["serve", "--write-root", "bytes"], 2, "Invalid value for '--write-root': Directory 'bytes' is a file."),
        (["serve", "--configs-dir", "bytes"], 2, "Invalid value for '--configs-dir': Directory 'bytes' is a file."),
        (
            ["serve", "--tls-cert", "bytes", "--tls-key", "nowhere"],
            1,
            "No such file or directory.\nCheck the path of --",
        ),
        (["serve", "--tls-cert", "bytes", "--tls-key", "bytes"], 1, "Give a certificate chain and its private key "),
        (["serve", "--token-file", "bytes"], 1, "'bytes' holds no token that a header could carry.\nWrite one line"),
        (["serve", "--token-file", "empty"], 1, "'empty' holds no token.\nWrite one line of letters, digits and signs"),
        (["serve", "--max-message", "99999999999999"], 2, "'--max-message': 99999999999999 is not in the range"),
        (["serve", "--generation", "9.9"], 2, "'9.9' is newer than this server; it speaks up to 0.14."),
        ([*REMOTE, ""], 2, "Invalid value for '--server': is empty."),
        ([*REMOTE, "http://localhost:1"], 2, "'http://localhost:1' is no address, such as localhost:50051 or unix:"),
        ([*REMOTE, "localhost:99999"], 2, "'localhost:99999' is no address"),
        ([*REMOTE, "unix:nowhere"], 1, "The server 'unix:nowhere' cannot be reached: "),
        ([*REMOTE, "unix:nowhere"], 1, "See that it runs there (cuvis-ai serve), and give host:port or unix:/path"),
        ([*REMOTE, "unix:nowhere", "--token-file", "bytes"], 1, "'bytes' holds no token that a header could carry."),
        ([*REMOTE, "unix:nowhere", "--tls-ca", "bytes"], 1, "Give the certificate of an authority as PEM: --tls-ca."),
    ],
)
def test_a_wrong_value_for_a_server_or_of_one_is_named(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, arguments: list[str], status: int, text: str
) -> None:
    """With what is wrong with it, which gRPC's own words do not tell, and with a next step."""
    pytest.importorskip("grpc")
    from cuvis_ai_core.grpc.server import serve_command as command
    from cuvis_ai_core.grpc.server import server

    monkeypatch.setattr(command, "run", lambda settings, _: server.Server(settings))  # what is right serves nobody
    Path("bytes").write_bytes(bytes(range(256)))
    Path("empty").touch()
    np.save("scene.npy", np.zeros((2, 3, 4), np.float32))
    found = shell("cuvis-ai", *arguments)
    assert text in found.stderr
    assert found.exit_code == status


def test_a_wrong_value_of_a_variable_names_the_variable(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the option was not typed."""
    pytest.importorskip("grpc")
    monkeypatch.setenv("GRPC_MAX_MSG_SIZE", "2MB")
    found = shell("cuvis-ai", "serve")
    assert found.stderr.endswith(
        "'2MB' is not a valid whole number. Change the environment variable GRPC_MAX_MSG_SIZE.\n"
    )


@pytest.mark.parametrize("program", ["cuvis_ai", "restore_pipeline", "restore_trainrun"])
def test_an_interrupt_during_the_first_imports_is_no_traceback(tmp_path: Path, program: str) -> None:
    """A module that a command needs first stands for the moment at which Ctrl-C comes."""
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt", encoding="utf-8")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from cuvis_ai_core.cli import start; start.{program}()"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 130
    assert found.stderr == "\nInterrupted.\n"


def _parameters(command: click.Command) -> Iterator[click.Parameter]:
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            below = command.get_command(ctx, name)
            assert below is not None
            yield from _parameters(below)
    yield from command.params


def test_no_command_takes_an_empty_path_for_the_working_folder() -> None:
    """Nor a number by click's own words: `is not a valid integer range`."""
    pytest.importorskip("grpc")
    commands = (cuvis_ai, restore_pipeline, restore_trainrun)
    types = {
        (each.name, type(each.type))
        for command in commands
        for each in _parameters(command)
        if not each.multiple  # these have a callback that looks
    }
    assert not [name for name, kind in types if kind in {click.Path, click.IntRange, click.FloatRange}]


def test_a_place_that_cannot_be_looked_at_is_named(shell: Shell, write_yaml: Callable[..., Path]) -> None:
    """What the operating system says, with a cure, instead of `[Errno 36]`."""
    write_yaml("p.yaml", {"nodes": [{"name": "rx", "class_name": "RXDetector"}]})
    name = "a" * 300
    found = shell("restore-pipeline", "--pipeline-path", "p.yaml", "--cube-path", name)
    assert found.exit_code == 2
    assert found.stderr.endswith(f"Error: {name}: File name too long; give a shorter name\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["nodes", "list"], ["--version"]])
def test_an_output_that_is_full_is_said_to_be(arguments: list[str]) -> None:
    """Without a traceback, and not by its number alone."""
    command = [sys.executable, "-m", "cuvis_ai_core", *arguments]
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        found = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert found.returncode == 1
    assert found.stderr.startswith("Error: Standard output cannot be written: No space left on device.")


def test_a_closed_output_gets_nothing() -> None:
    """And results do not turn up on standard error."""
    command = f"{sys.executable} -m cuvis_ai_core nodes list >&-"
    found = subprocess.run(["bash", "-c", command], stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert found.returncode == 0
    assert not found.stderr


@pytest.mark.parametrize("led", ["2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_where_nobody_can_be_told_anything_the_work_is_done(
    shell: Shell, write_yaml: Callable[..., Path], cube_file: Path, led: str
) -> None:
    """Standard error is closed, or a log on a full disk; results are written all the same."""
    write_yaml("p.yaml", {"nodes": [{"name": "rx", "class_name": "RXDetector"}]})
    code = "from cuvis_ai_core.cli.start import restore_pipeline; restore_pipeline()"
    command = f"{sys.executable} -c '{code}' --pipeline-path p.yaml --cube-path '{cube_file}' --output-dir out {led}"
    assert subprocess.run(["bash", "-c", command], capture_output=True, timeout=60, check=False).returncode == 0
    assert {"outputs.npz", "run.json"} <= {each.name for each in Path("out").iterdir()}


def test_programs_have_something_behind_the_handles_that_a_command_was_started_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the first file that one of them opens would take what it writes to standard error."""
    script = (
        "import subprocess, sys\n\ndef main(prog_name):\n    looks = 'import os; [os.fstat(each) for each in range(3)]'"
    )
    (tmp_path / "cuvis_test_command.py").write_text(
        f"{script}\n    sys.exit(subprocess.call([sys.executable, '-c', looks]))"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code = 'from cuvis_ai_core.cli.start import run; run("cuvis_test_command")'
    command = f"{sys.executable} -c '{code}' <&- >&- 2>&-"
    assert subprocess.run(["bash", "-c", command], timeout=60, check=False).returncode == 0
