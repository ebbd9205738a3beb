"""`cuvis-ai doctor`: each thing that plugins need is looked at, and what does not work has a cure."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

Shell = Callable[..., Any]


def looked_at(shell: Shell) -> tuple[int, dict[str, dict[str, str]]]:
    """Return the exit status and what was found, by thing."""
    found = shell("cuvis-ai", "doctor", "--json")
    return found.exit_code, {each["what"]: each for each in json.loads(found.stdout)}


def test_a_machine_that_works_has_no_error(shell: Shell) -> None:
    """Versions, folder and extras are named."""
    status, found = looked_at(shell)
    assert status == 0
    assert found["git"]["said"].startswith("git version")
    assert found["uv"]["said"].startswith("uv ")
    assert "GiB free" in found["plugin cache"]["said"]
    assert found["policy"]["state"] == "ok"
    assert "offline" not in found


@pytest.mark.parametrize(("free", "state"), [(2**30, "warning"), (2**40, "ok")])
def test_little_room_is_said(shell: Shell, monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    """It is no error: small plugins may fit."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    status, found = looked_at(shell)
    assert (status, found["plugin cache"]["state"]) == (0, state)
    assert bool(found["plugin cache"]["cure"]) == (state != "ok")


def test_without_git_it_says_so(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With what to do, and status 1."""
    monkeypatch.setenv("PATH", str(tmp_path))
    status, found = looked_at(shell)
    assert status == 1
    assert found["git"]["state"] == "error"
    assert found["git"]["cure"]


@pytest.mark.skipif(os.name == "nt", reason="a program of a shell")
@pytest.mark.parametrize(
    ("status", "visible", "state", "said"),
    [
        (0, None, "warning", "NVIDIA L4, which torch"),
        (0, "0", "warning", "NVIDIA L4, which torch"),
        (0, "", "ok", "NVIDIA L4, which CUDA_VISIBLE_DEVICES='' hides"),
        (0, "-1", "ok", "NVIDIA L4, which CUDA_VISIBLE_DEVICES='-1' hides"),
        (9, None, "ok", "none that torch"),
        (9, "", "ok", "none that torch"),
    ],
)
def test_a_gpu_that_torch_cannot_use_is_said(
    shell: Shell,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    status: int,
    visible: str | None,
    state: str,
    said: str,
) -> None:
    """As its driver names it, with a cure unless it is hidden on purpose; without a driver that finds one is none."""
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("torch can use the GPU of this machine")
    driver = tmp_path / "nvidia-smi"
    driver.write_text(f"#!/bin/sh\necho NVIDIA L4\nexit {status}\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    _, found = looked_at(shell)
    assert (found["GPU"]["state"], bool(found["GPU"]["cure"])) == (state, state == "warning")
    assert found["GPU"]["said"].startswith(said)


@pytest.mark.skipif(os.name == "nt", reason="rights of POSIX")
def test_a_cache_that_others_may_write_is_an_error(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the command that mends it."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    monkeypatch.setenv("CUVIS_PLUGINS_DIR", str(tmp_path / "open"))
    status, found = looked_at(shell)
    assert status == 1
    assert "chmod" in found["plugin cache"]["cure"]


def test_a_broken_policy_is_an_error(shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As it is when a plugin is loaded."""
    (tmp_path / "policy.yaml").write_text("allow: 7")
    monkeypatch.setenv("CUVIS_POLICY", str(tmp_path / "policy.yaml"))
    status, found = looked_at(shell)
    assert (status, found["policy"]["state"]) == (1, "error")


def test_passwords_of_proxies_are_left_out(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is shown."""
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy.lab.org:3128")
    _, found = looked_at(shell)
    assert "proxy.lab.org" in found["proxies"]["said"]
    assert "secret" not in json.dumps(found)


def test_offline_is_said(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """As why nothing is fetched."""
    monkeypatch.setenv("CUVIS_OFFLINE", "1")
    _, found = looked_at(shell)
    assert found["offline"]["state"] == "warning"
    monkeypatch.setenv("CUVIS_OFFLINE", "0")
    assert "offline" not in looked_at(shell)[1]
