import subprocess
from collections.abc import Callable

import pytest
from click.testing import Result

HEAVY = {"git", "grpc", "numpy", "pydantic", "rich", "torch", "yaml"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("cuvis-ai", "--help"),
        ("cuvis-ai", "plugins", "list", "--help"),
        ("cuvis-ai", "nodes", "show", "--help"),
        ("cuvis-ai", "demo", "--help"),
        ("cuvis-ai", "plugins", "check", "--help"),
        ("cuvis-ai", "plugins", "add", "--help"),
        ("cuvis-ai", "plugins", "try", "--help"),
        ("cuvis-ai", "schema", "--help"),
        ("cuvis-ai", "git-host", "--help"),
        ("cuvis-ai", "readers", "list", "--help"),
        ("restore-pipeline", "--help"),
    ],
)
def test_help_imports_nothing_heavy(
    process: Callable[..., subprocess.CompletedProcess[str]], arguments: tuple[str, ...]
) -> None:
    """The help of every command appears without the libraries that its work needs."""
    found = process(*arguments, env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert found.returncode == 0
    assert found.stdout.startswith("Usage: ")
    imported = {line.rpartition("|")[2].strip() for line in found.stderr.splitlines()}
    assert "click" in imported
    assert imported.isdisjoint(HEAVY)


@pytest.mark.parametrize("arguments", [("nodes", "list"), ("plugins", "list")])
def test_a_listing_imports_neither_arrays_nor_git(
    process: Callable[..., subprocess.CompletedProcess[str]], arguments: tuple[str, ...]
) -> None:
    """A listing needs the names only."""
    found = process("cuvis-ai", *arguments, env={"PYTHONPROFILEIMPORTTIME": "1"})
    imported = {line.rpartition("|")[2].strip() for line in found.stderr.splitlines()}
    assert found.returncode == 0
    assert imported.isdisjoint({"git", "grpc", "numpy", "pydantic", "torch"})


@pytest.mark.parametrize("program", ["cuvis-ai", "restore-pipeline"])
def test_both_programs_tell_their_version(shell: Callable[..., Result], program: str) -> None:
    """`--version` names the distribution."""
    assert shell(program, "--version").stdout == "cuvis-ai-core 1.0.0\n"


def test_a_wrong_command_is_answered_with_the_nearest(shell: Callable[..., Result]) -> None:
    """A slip of the pen gets a question and the list of commands."""
    found = shell("cuvis-ai", "plugin", "list")
    assert found.exit_code == 2
    assert (
        "Error: There is no command 'plugin'. Did you mean 'plugins'? "
        "Commands: demo, doctor, git-host, hooks, nodes, pipelines, plugins, policy, readers, remote, schema, "
        "serve, view." in found.stderr
    )


def test_a_wrong_command_of_a_group_is_answered_too(shell: Callable[..., Result]) -> None:
    """The commands below a group are asked back for in the same way."""
    assert (
        "'restore-pipeline' is a program of its own: restore-pipeline a.yaml"
        in shell("cuvis-ai", "restore-pipeline", "a.yaml").stderr
    )
    assert "There is no command 'lst'. Did you mean 'list'?" in shell("cuvis-ai", "nodes", "lst").stderr


def test_a_wrong_option_is_wrong_usage(shell: Callable[..., Result]) -> None:
    """An option that no command has ends with status 2."""
    found = shell("cuvis-ai", "nodes", "list", "--manifest", "x")
    assert found.exit_code == 2
    assert "Error: No such option" in found.stderr


def test_a_shell_completes_commands_and_options(process: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """As the shells' own completion asks, below groups too."""

    def completed(words: str) -> set[str]:
        asked = {"_CUVIS_AI_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        return {line.partition(",")[2] for line in process("cuvis-ai", env=asked).stdout.splitlines()}

    assert completed("cuvis-ai pl") == {"plugins"}
    assert completed("cuvis-ai plugins ch") == {"check"}
    assert completed("cuvis-ai plugins check --no") == {"--no-run"}
    assert "array" in completed("cuvis-ai plugins new leaf --kind a")
