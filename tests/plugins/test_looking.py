"""git is asked about folders that strangers made, and runs nothing that these name."""

import subprocess
from pathlib import Path

import pytest

from cuvis_ai_core.plugins.git.untrusted_folder import look
from cuvis_ai_core.results.local_code import local_code


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder as its author does."""
    who = ("-c", "user.name=Mallory", "-c", "user.email=mallory@example.org")
    done = subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a local plugin, in a repository of its own, with a changed file."""
    folder = tmp_path / "plugin"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "nodes.py").write_text("one\n")
    (folder / "data.bin").write_text("one\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "one")
    (folder / "nodes.py").write_text("two\n")
    return folder


@pytest.mark.parametrize(
    ("settings", "attributes"),
    [
        ({"core.fsmonitor": "{canary}"}, ""),
        ({"filter.odd.clean": "{canary}"}, "* filter=odd\n"),
        ({"filter.a=b.clean": "{canary}", "filter.a=b.required": "true"}, "* filter=a=b\n"),
        ({"filter.odd.process": "{canary}"}, "* filter=odd\n"),
    ],
    ids=["watcher", "filter", "name", "process"],
)
def test_a_record_of_a_local_plugin_runs_no_program_of_its_repository(
    folder: Path, tmp_path: Path, settings: dict[str, str], attributes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it has the same in it; the program would have got the user's tokens."""
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    canary = tmp_path / "canary.sh"
    canary.write_text(f"#!/bin/sh\nenv > {tmp_path}/pwned\ncat\n")
    canary.chmod(0o755)
    if attributes:
        (folder / ".git/info").mkdir(exist_ok=True)
        (folder / ".git/info/attributes").write_text(attributes)
    included = tmp_path / "included"
    for key, value in settings.items():
        git(folder, "config", "--file", str(included), key, value.format(canary=canary))
    git(folder, "config", "include.path", str(included))
    head = git(folder, "rev-parse", "HEAD")
    (folder / "data.bin").touch()  # looked at, as its time is another

    found = local_code(folder, edited=False)

    assert (found["commit"], found["changed"]) == (head, ["nodes.py"])
    assert not (tmp_path / "pwned").exists()


def test_objects_that_are_missing_are_fetched_from_nowhere(folder: Path, tmp_path: Path) -> None:
    """A repository may name any program as the way to them."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/pwned\n")
    program.chmod(0o755)
    for key, value in {
        "remote.origin.url": str(folder),
        "remote.origin.promisor": "true",
        "remote.origin.uploadpack": str(program),
        "extensions.partialClone": "origin",
        "core.repositoryFormatVersion": "1",
        "protocol.file.allow": "always",
    }.items():
        git(folder, "config", key, value)
    tree = git(folder, "rev-parse", "HEAD^{tree}")
    (folder / ".git/objects" / tree[:2] / tree[2:]).unlink()
    assert look(folder, "cat-file", "-p", tree) is None
    local_code(folder, edited=False)
    assert not (tmp_path / "pwned").exists()
