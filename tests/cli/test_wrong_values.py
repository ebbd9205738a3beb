"""Wrong values on command lines: each ends in one text that names the thing, the rule and what to do."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import Result

from cuvis_ai_core.cli.main import main as cuvis_ai
from cuvis_ai_core.cli.restore_pipeline import main as restore_pipeline
from cuvis_ai_core.cli.restore_trainrun import main as restore_trainrun

Shell = Callable[..., Result]

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
    ],
)
def test_a_wrong_value_is_named_with_its_rule(shell: Shell, arguments: tuple[str, ...], text: str) -> None:
    """By option or argument, and exit status 2."""
    found = shell(*arguments)
    assert found.exit_code == 2
    assert text in found.stderr


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
