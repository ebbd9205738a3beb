from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from cuvis_ai_core.cli.shared.options import plugins_option


def parse(*arguments: str) -> tuple[Result, Path | None]:
    """Return what a command with --plugins-path gets."""
    got: list[Path | None] = []

    @click.command()
    @plugins_option
    def command(plugins_path: Path | None) -> None:
        got.append(plugins_path)

    result = CliRunner().invoke(command, arguments)
    return result, got[0] if got else None


def test_a_path_that_is_not_given_is_none() -> None:
    """Without the option there is no path."""
    assert parse()[1] is None


def test_the_home_folder_is_expanded() -> None:
    """`--plugins-path=~/plugins.yaml`, which no shell expands, is below the home folder."""
    assert parse("--plugins-path=~/plugins.yaml")[1] == Path.home() / "plugins.yaml"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--plugins-path", "a.yaml", "--plugins-path", "b.yaml"), "given 2 times ('a.yaml' and 'b.yaml')"),
        (("--plugins-path", ""), "is empty"),
        (("--plugins-path", "~nobody-of-that-name/x"), "'~nobody-of-that-name/x'"),
    ],
)
def test_what_is_no_single_path_is_refused(arguments: tuple[str, ...], text: str) -> None:
    """The error names the option and what is wrong with it."""
    result, _ = parse(*arguments)
    assert result.exit_code == 2
    assert "Error: Invalid value for '--plugins-path'" in result.stderr
    assert text in result.stderr


def test_every_option_for_a_path_refuses_a_second_one(shell: Callable[..., Result]) -> None:
    """None of several cubes is silently left out."""
    found = shell("restore-pipeline", "--pipeline-path", "p", "--cube-path", "a.npy", "--cube-path", "b.npy")
    assert found.exit_code == 2
    assert "'--cube-path': given 2 times" in found.stderr
