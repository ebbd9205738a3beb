"""Who gets which environment variable: git, uv, uv where it builds a plugin, and a worker that runs its code."""

import sys

import pytest

from cuvis_ai_core._environment_variables import git_variables, uv_variables, worker_variables

ALL = "git uv build worker"


def _receivers(name: str, value: str) -> str:
    everybody = {
        "git": git_variables(),
        "uv": uv_variables(builds=False),
        "build": uv_variables(builds=True),
        "worker": worker_variables(),
    }
    return " ".join(who for who, variables in everybody.items() if variables.get(name) == value)


@pytest.mark.parametrize(
    ("name", "receivers"),
    [
        *(("XDG_CACHE_HOME", ALL), ("LD_LIBRARY_PATH", ALL), ("no_proxy", ALL), ("SSL_CERT_DIR", ALL)),
        ("DISPLAY", ALL),
        *(("SSL_CLIENT_CERT", "git uv build"), ("DBUS_SESSION_BUS_ADDRESS", "git uv build")),
        *(("NETRC", "git uv"), ("KRB5CCNAME", "git uv"), ("GIT_SSH_COMMAND", "git uv"), ("SSH_AUTH_SOCK", "git uv")),
        *(("GITHUB_TOKEN", "git"), ("MY_SECRET", "git"), ("DEPLOY_KEY_FILE", "git"), ("HF_TOKEN", "git")),
        ("QT_API_KEY", "git"),
        *(("UV_INDEX_URL", "uv build"), ("PIP_INDEX_URL", "uv build"), ("CC", "uv build"), ("CXXFLAGS", "uv build")),
        *(("OPENCV_DIR", "uv build"), ("CARGO_HTTP_PROXY", "uv build")),
        *(("CUDA_HOME", "uv build worker"), ("HF_HOME", "uv build worker")),
        *(
            ("LD_PRELOAD", "worker"),
            ("OMP_NUM_THREADS", "worker"),
            ("CUVIS_SETTINGS", "worker"),
            ("QT_DEBUG", "worker"),
        ),
        *(("GIT_DIR", ""), ("GIT_WORK_TREE", ""), ("GIT_TRACE", ""), ("UV_TARGET", ""), ("PIP_TARGET", "")),
        *(("PYTHONPATH", ""), ("PYTHONHOME", ""), ("VIRTUAL_ENV", ""), ("CONDA_PREFIX", ""), ("CUVIS_PLUGINS_DIR", "")),
        *(("SETUPTOOLS_SCM_ROOT", ""), ("ANYTHING", ""), ("xdg_cache_home", ""), ("MY_DISPLAY", "")),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="names are in capitals there")
def test_a_variable_is_for_some_programs(monkeypatch: pytest.MonkeyPatch, name: str, receivers: str) -> None:
    """By its name: code of a plugin gets nothing that opens a door, and nobody what steers another program."""
    monkeypatch.setenv(name, "there")
    assert _receivers(name, "there") == receivers


@pytest.mark.parametrize(
    ("name", "receivers"), [("https_proxy", "git uv build"), ("CARGO_HTTP_PROXY", ""), ("NVIDIA_ADDRESS", "")]
)
@pytest.mark.parametrize("address", ["http://me:word@proxy:1", "me@proxy"])
def test_an_address_with_a_user_is_for_fewer(
    monkeypatch: pytest.MonkeyPatch, name: str, receivers: str, address: str
) -> None:
    """It may hold a password: neither workers nor builds get one that reaches them in no other way."""
    monkeypatch.setenv(name, address)
    assert _receivers(name, address) == receivers


def test_what_the_user_names_is_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is; names are separated by commas."""
    monkeypatch.setenv("CUVIS_PASS_VARIABLES", "OTHER, MY_TOKEN,,")
    for name in ("OTHER", "MY_TOKEN"):
        monkeypatch.setenv(name, "there")
        assert _receivers(name, "there") == ALL


def test_programs_speak_a_language_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Git and uv English, uv without colours, and without indexes that are empty; a worker that of the user."""
    for name in ("LC_ALL", "LANGUAGE", "NO_COLOR", "UV_NO_PROGRESS"):
        monkeypatch.setenv(name, "de_DE.UTF-8")
    monkeypatch.setenv("UV_INDEX", "")
    assert (git_variables()["LC_ALL"], git_variables()["LANGUAGE"]) == ("C", "")
    for builds in (False, True):
        found = uv_variables(builds=builds)
        assert (found["LANGUAGE"], found["NO_COLOR"], found["UV_NO_PROGRESS"]) == ("", "1", "1")
        assert found["GIT_TERMINAL_PROMPT"] == "0"
        assert found["LC_ALL"] == ("C" if sys.platform == "win32" else "C.UTF-8")
        assert "UV_INDEX" not in found
    assert worker_variables()["LC_ALL"] == "de_DE.UTF-8"
