"""How git is run: with settings that no configuration changes, within its folder, and without credentials seen."""

import subprocess
import sys
from pathlib import Path

import pytest

from cuvis_ai_core.plugins.git.git_command import git, ls_remote
from cuvis_ai_core.plugins.git.url_credentials import hidden

SETTINGS = {
    "core.autocrlf": ("false", "true"),
    "core.eol": ("lf", "crlf"),
    "core.useReplaceRefs": ("false", "true"),
    "core.protectHFS": ("true", "false"),
    "core.protectNTFS": ("true", "false"),
    "core.fsmonitor": ("false", "true"),
    "core.hooksPath": ("/dev/null", "/elsewhere"),
    "core.attributesFile": ("/dev/null", "/elsewhere"),
    "init.defaultBranch": ("main", "trunk"),
    "fetch.recurseSubmodules": ("false", "true"),
    "submodule.recurse": ("false", "true"),
    "gc.auto": ("0", "1"),
    "maintenance.auto": ("false", "true"),
    "protocol.ext.allow": ("never", "always"),
    "protocol.fd.allow": ("never", "always"),
    "protocol.ftp.allow": ("never", "always"),
    "protocol.ftps.allow": ("never", "always"),
    "protocol.git.allow": ("never", "always"),
    "protocol.file.allow": ("user", "always"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="names of nothing")
@pytest.mark.parametrize(("key", "own"), [(key, own) for key, (own, _) in SETTINGS.items()])
def test_settings_that_decide_about_files_and_ways_are_ours(tmp_path: Path, key: str, own: str) -> None:
    """Whatever a user has configured."""
    (Path.home() / ".gitconfig").write_text("")
    for name, (_, other) in SETTINGS.items():
        subprocess.run(["git", "config", "--global", name, other], check=True)
    assert git(tmp_path, "config", "--get", key).stdout.strip() == own


def test_nothing_above_a_folder_is_its_repository(tmp_path: Path) -> None:
    """A cache may lie in a repository of the user's own; attributes of the whole system are none of a plugin's."""
    assert git(tmp_path, "init", "--quiet").returncode == 0
    (tmp_path / "below").mkdir()
    assert git(tmp_path, "rev-parse", "--git-dir").stdout.strip() == ".git"
    assert git(tmp_path / "below", "rev-parse", "--git-dir").returncode != 0
    told = git(tmp_path, "-c", "alias.told=!env", "told").stdout.splitlines()
    assert "GIT_ATTR_NOSYSTEM=1" in told
    assert ls_remote(str(tmp_path)).returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="others have no such limit")
def test_git_has_the_memory_that_it_may_have(tmp_path: Path) -> None:
    """A host may send things without end."""
    git(tmp_path, "init", "--quiet")
    assert git(tmp_path, "-c", "alias.most=!ulimit -d", "most").stdout.strip() == str(4 * 2**20)


def test_a_password_is_told_in_the_environment_as_it_is() -> None:
    """Signs that an address has to escape are not; no other helper is asked, nor told."""
    address = "https://me%40lab:p%3Aw@host:8443/x.git"
    words, variables = hidden(["fetch", "--", address], {"A": "b"})
    assert words[-3:] == ["fetch", "--", "https://host:8443/x.git"]
    assert "p%3Aw" not in "".join(words)
    assert words[:2] == ["-c", "credential.https://host:8443.helper="]
    assert words[3].startswith("credential.https://host:8443.helper=!f()")
    assert variables == {"A": "b", "CUVIS_GIT_USER": "me@lab", "CUVIS_GIT_PASSWORD": "p:w"}


@pytest.mark.parametrize("count", ["1", "01", "none", ""])
def test_settings_of_the_environment_stay_beside_the_name_of_a_user(count: str) -> None:
    """Those that are there are counted on from; a count that is none counts nothing."""
    before = {"GIT_CONFIG_COUNT": count, "GIT_CONFIG_KEY_0": "a.b", "GIT_CONFIG_VALUE_0": "c"}
    words, variables = hidden(["ls-remote", "https://me@host/x.git"], before)
    assert words == ["ls-remote", "https://host/x.git"]
    number = int(count) if count.isdecimal() else 0
    assert variables["GIT_CONFIG_COUNT"] == str(number + 1)
    assert variables[f"GIT_CONFIG_KEY_{number}"] == "credential.https://host.username"
    assert variables[f"GIT_CONFIG_VALUE_{number}"] == "me"
    assert not number or variables["GIT_CONFIG_KEY_0"] == "a.b"


def test_of_ssh_the_user_is_part_of_the_place_and_a_password_is_none() -> None:
    """Addresses without credentials are as they were."""
    assert hidden(["fetch", "ssh://git:secret@host/x"], {}) == (["fetch", "ssh://git@host/x"], {})
    assert hidden(["fetch", "https://host/x@y"], {"A": "b"}) == (["fetch", "https://host/x@y"], {"A": "b"})
