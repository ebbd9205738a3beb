"""The documented commands and options are those that there are."""

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from cuvis_ai_core.cli.downloads.dataset_command import dataset
from cuvis_ai_core.cli.downloads.download_model_command import download_model
from cuvis_ai_core.cli.main import main as cuvis_ai
from cuvis_ai_core.cli.provision import main as provision
from cuvis_ai_core.cli.restore.restore_pipeline import main as restore_pipeline
from cuvis_ai_core.cli.restore.restore_trainrun import main as restore_trainrun

ROOT = Path(__file__).parents[2]
PROGRAMS: dict[str, click.Command] = {
    "cuvis-ai": cuvis_ai,
    "restore-pipeline": restore_pipeline,
    "restore-trainrun": restore_trainrun,
    "provision": provision,
    "dataset": dataset,
    "download-model": download_model,
}
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("example_plugins/*/README.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
]

SHARED = {"--quiet", "--verbose", "--debug", "--version"}
"""What all commands have is told once, above them."""

Blocks = Callable[[Path], list[Any]]


def commands(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Return a command and all below it with their full names, without groups that have no options."""
    if not isinstance(command, click.Group):
        yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from commands(f"{name} {child}", found)


def options(command: click.Command) -> set[str]:
    """Return the options of a command with what they take."""
    listed = (param for param in command.params if isinstance(param, click.Option))
    shown = (param.get_help_record(click.Context(command)) for param in listed)
    return {record[0].replace("  [required]", "") for record in shown if record} - SHARED


def arguments(command: click.Command) -> str:
    """Return the arguments of a command as its usage shows them."""
    return "".join(
        f" {param.make_metavar(click.Context(command))}"
        for param in command.params
        if isinstance(param, click.Argument)
    )


def test_commands_and_options_are_listed() -> None:
    """Each command has a heading with its arguments and a table with exactly its options."""
    text = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    sections = re.split(r"^## `(.+)`$", text, flags=re.MULTILINE)[1:]
    listed = {
        heading: set(re.findall(r"^\| `(-.+?)` \|", body, re.MULTILINE))
        for heading, body in zip(sections[::2], sections[1::2], strict=True)
    }
    known = [each for name, program in PROGRAMS.items() for each in commands(name, program)]
    assert listed == {f"{name}{arguments(command)}": options(command) for name, command in known}


def test_the_readme_begins_with_its_two_commands(blocks_of: Blocks) -> None:
    """CI takes them from there: each is one line in a block of its own, and makes its own environment."""
    first, second, *_ = (block.text for block in blocks_of(ROOT / "README.md") if block.language == "sh")
    for command in (first, second):
        assert command.count("\n") == 1
        assert command.startswith("python3 -m venv .venv && ")
    assert list(called(first)) == [[".venv/bin/cuvis-ai", "demo", "--output-dir", "demo-output"]]
    assert second.endswith("tools/check.py\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_examples_exist(page: Path, blocks_of: Blocks) -> None:
    """Whether or not an example is executed, its commands and their options are there."""
    for block in blocks_of(page):
        if block.language == "sh":
            for words in called(block.text):
                command, rest = find(PROGRAMS[Path(words[0]).name], words[1:])
                known = {option for param in command.params for option in param.opts} | {"-h", "--help"}
                assert {word.partition("=")[0] for word in rest if word.startswith("-")} <= known, words


def called(text: str) -> Iterator[list[str]]:
    """Return the words of each call of one of our programs in a shell block."""
    for line in re.split(r"\n|&&|\|", text.replace("\\\n", " ")):
        words = shlex.split(line, comments=True)
        if words and Path(words[0]).name in PROGRAMS:
            yield words


def find(command: click.Command, words: list[str]) -> tuple[click.Command, list[str]]:
    """Follow the words that name commands, and return the last command with what is left."""
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, *words = words
        found = command.get_command(click.Context(command), name)
        assert found is not None, f"there is no command '{name}'"
        command = found
    return command, words
