"""Secrets of a shell reach git alone; git does nothing that a repository, or a folder around it, asks for."""

import subprocess
from pathlib import Path

import pytest

from cuvis_ai_core._environment_variables import git_variables, uv_variables, worker_variables
from cuvis_ai_core.plugins.git.git_command import git

CANARY = "canary-7f3a"

SECRETS = [
    "GITHUB_TOKEN",
    "GH_TOKEN",
    "GITLAB_TOKEN",
    "CI_JOB_TOKEN",
    "ACTIONS_RUNTIME_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_CLIENT_SECRET",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "WANDB_API_KEY",
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "NPM_TOKEN",
    "CARGO_REGISTRY_TOKEN",
    "CARGO_REGISTRIES_LAB_TOKEN",
    "TWINE_PASSWORD",
    "UV_PUBLISH_TOKEN",
    "UV_PUBLISH_PASSWORD",
    "PIP_PASSWORD",
    "GPG_PASSPHRASE",
    "GPG_PRIVATE_KEY",
    "PASSWORD_STORE_KEY",
    "PGPASSWORD",
    "DATABASE_URL",
    "SSH_PRIVATE_KEY",
    "VAULT_TOKEN",
    "KUBECONFIG",
    "MY_LAB_SECRET",
]

STEERING = [
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONWARNINGS",
    "PYTHONHOME",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "UV_TARGET",
    "PIP_TARGET",
]


@pytest.mark.parametrize("name", [*SECRETS, *STEERING])
def test_a_variable_that_opens_doors_or_steers_reaches_no_code_of_a_plugin(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither builds nor plugins' own processes see it."""
    monkeypatch.setenv(name, CANARY)

    for variables in (uv_variables(builds=True), worker_variables()):
        assert CANARY not in variables.values()


@pytest.mark.parametrize(
    "name", ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_EXTERNAL_DIFF", "GIT_TRACE", "PYTHONPATH"]
)
def test_what_names_another_repository_or_program_does_not_reach_git(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hook's variables name the user's own repository."""
    monkeypatch.setenv(name, CANARY)

    assert CANARY not in git_variables().values()


@pytest.mark.parametrize("name", ["ftp_proxy", "FTP_PROXY", "CARGO_HTTP_PROXY", "CMAKE_MIRROR", "LAB_CONFIG"])
def test_an_address_with_a_password_reaches_no_code_of_a_plugin(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of indexes and of uv's proxies reach uv in another way (see `test_index_credentials`)."""
    monkeypatch.setenv(name, f"http://me:{CANARY}@127.0.0.1:9/")

    for variables in (uv_variables(builds=True), worker_variables()):
        assert not [value for value in variables.values() if CANARY in value]


@pytest.mark.parametrize("address", ["ext::sh -c touch% {}/ran", "git://127.0.0.1:1/x", "ftp://127.0.0.1:1/x"])
def test_git_follows_no_other_way_than_plugins_may_come(address: str, tmp_path: Path) -> None:
    """Whatever comes past the rules for addresses."""
    (tmp_path / "work").mkdir()

    done = git(tmp_path / "work", "ls-remote", "--", address.format(tmp_path))

    assert done.returncode != 0
    assert "not allowed" in done.stderr
    assert not (tmp_path / "ran").exists()


def test_git_runs_nothing_that_a_repository_configures(tmp_path: Path) -> None:
    """No hook, no monitor of files, no filter of another's configuration; nothing above a folder is its repository."""
    ran = tmp_path / "ran"
    program = tmp_path / "program.sh"
    program.write_text(f"#!/bin/sh\ntouch {ran}\n")
    program.chmod(0o700)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    hooks = tmp_path / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for hook in ("post-checkout", "pre-commit", "post-index-change", "reference-transaction"):
        (hooks / hook).write_text(program.read_text())
        (hooks / hook).chmod(0o700)
    for key in ("core.fsmonitor", "core.hooksPath"):
        subprocess.run(["git", "config", key, str(program)], cwd=tmp_path, check=True)

    assert git(tmp_path, "status").returncode == 0
    git(tmp_path, "checkout", "--quiet", "--detach")
    (tmp_path / "below").mkdir()
    assert git(tmp_path / "below", "rev-parse", "--git-dir").returncode != 0
    assert not ran.exists()
