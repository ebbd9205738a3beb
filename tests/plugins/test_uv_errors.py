"""What uv says when it fails, what that means, and with which options it is run."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cuvis_ai_core.errors import (
    BuildError,
    DependencyConflictError,
    DependencyNotFoundError,
    InstallError,
    NetworkError,
    OfflineError,
)
from cuvis_ai_core.plugins.dependencies.requirements import WAY_OUT
from cuvis_ai_core.plugins.installing.uv_errors import CHECK_NETWORK, meaning, source_only, telling_lines
from cuvis_ai_core.plugins.installing.uv_process import UvProgram, uv_environment, wheels_but

ONLY_SOURCE = "hint: Wheels are required for `{}` because building from source is disabled for all packages"


@pytest.mark.parametrize(
    ("said", "kind", "hint"),
    [
        ("nothing that is known", InstallError, None),
        ("", InstallError, None),
        (ONLY_SOURCE.format("docopt"), DependencyNotFoundError, "or with the option --allow-build docopt."),
        ("error: Building source distributions for `x` is disabled", DependencyNotFoundError, "--allow-build x."),
        ("Network connectivity is disabled", OfflineError, "let it use the network once."),
        ("network was disabled", OfflineError, "(UV_OFFLINE or its configuration)"),
        ("due to a lack of valid authentication credentials", DependencyNotFoundError, "UV_INDEX_<NAME>_USERNAME"),
        ("HTTP status client error (401 Unauthorized)", DependencyNotFoundError, "the credentials of that host"),
        ("HTTP status client error (403 Forbidden)", DependencyNotFoundError, "the credentials of that host"),
        ("the index returned a 403 Forbidden error", DependencyNotFoundError, "the credentials of that host"),
        ("HTTP status client error (404 Not Found)", DependencyNotFoundError, "Correct the dependencies in"),
        ("407 Proxy Authentication Required", NetworkError, "the proxy's password."),
        ("tunnel error: unsuccessful", NetworkError, "the proxy's password."),
        ("invalid peer certificate: UnknownIssuer", NetworkError, "SSL_CERT_FILE=FILE"),
        ("HTTP status client error (429 Too Many)", NetworkError, "try again later."),
        ("HTTP status server error (503 x)", NetworkError, "try again later."),
        ("Failed to fetch: `http://a.org/x`", NetworkError, CHECK_NETWORK),
        ("error sending request for url (http://a.org)", NetworkError, CHECK_NETWORK),
        ("Git operation failed\n  fatal: Could not resolve host: a.org", NetworkError, CHECK_NETWORK),
        (
            "Git operation failed\n  fatal: Authentication failed",
            DependencyNotFoundError,
            "git has credentials for it.",
        ),
        ("Failed to parse environment variable `UV_X`", InstallError, "Correct that environment variable"),
        ("Failed to read `--find-links` directory", InstallError, "Correct find-links"),
        ("No solution found: x was not found in the package registry", DependencyNotFoundError, "Correct the dep"),
        ("No solution found:\n there is no version\n of x", DependencyNotFoundError, "Correct the dependencies"),
        ("No solution found: only x<2 is available", DependencyNotFoundError, "Correct the dependencies"),
        ("No solution found: x has no wheels with a matching tag", DependencyNotFoundError, "Correct the dependencies"),
        ("No solution found: you require x>2 and x<1", DependencyConflictError, WAY_OUT),
        ("unable to detect version\nFailed to build `x`", BuildError, "v1.2.0, 1.2.0, release/1.2.0"),
        ("ConfigError: Cannot find the version from SCM or\n Failed to build `x`", BuildError, "states none. Tag it"),
        ("Versioning for this project requires either an sdist\nFailed to build `x`", BuildError, "states none"),
        ("Failed to build `x`", BuildError, None),
        ("Build backend failed", BuildError, None),
        ("Distribution not found at: file:///x", DependencyNotFoundError, "Correct the dependencies"),
    ],
)
def test_what_uv_says_means_an_error_and_a_next_step(said: str, kind: type[Exception], hint: str | None) -> None:
    """Of several meanings the narrowest; lines are wrapped as a terminal is wide."""
    found, step = meaning(f"Using Python 3.11\n  {said}\n")
    assert found is kind
    if hint is None:
        assert step is None
    else:
        assert hint in str(step)


def test_what_there_is_only_as_source_is_named() -> None:
    """Each of them, also over the end of a line."""
    said = f"{ONLY_SOURCE.format('a')}\n{ONLY_SOURCE.format('b').replace(' because', chr(10) + '  because')}"
    assert source_only(said) == ["a", "b"]
    assert source_only("Failed to build `a`") == []
    folder = "error: Failed to build `a @ file:///b`\n  cause: Building source\n distributions for `a` is disabled"
    assert source_only(f"{folder}\n{folder}") == ["a"]


def test_a_dry_run_builds_nothing_whatever_is_allowed() -> None:
    """What names a folder or an address would need it; allowing that changes nothing then."""
    found, step = meaning("Building source distributions for `a` is disabled", dry=True)
    assert found is BuildError
    assert str(step).endswith("If you trust it, do it without --dry-run.")


def test_the_end_of_what_uv_says_tells_the_reason() -> None:
    """Twenty lines of it, without what is said each time."""
    lines = [f"line {number}  " for number in range(25)]
    said = "\n\n".join(["Using Python 3.11", *lines, "Using Python 3.12", " "])
    assert telling_lines(said) == [f"line {number}" for number in range(5, 25)]
    assert telling_lines("warning: Requirements file `/x/constraints.txt` does not contain any dependencies\nreal") == [
        "real"
    ]


Answer = Callable[..., UvProgram]


@pytest.fixture
def program(tmp_path: Path) -> Answer:
    """Return a function that makes what runs uv for a plugin."""

    def make(**options: bool | frozenset[str]) -> UvProgram:
        return UvProgram("echo", tmp_path, **options)  # type: ignore[arg-type]

    return make


def test_only_what_somebody_allowed_is_built(program: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a manifest or by the variable, under whatever spelling; nothing where no code is to run."""
    assert wheels_but(frozenset()) == program().wheels_only() == ["--no-build"]
    assert wheels_but(frozenset({"b", "a"})) == ["--only-binary", ":all:", "--no-binary=a", "--no-binary=b"]
    monkeypatch.setenv("CUVIS_ALLOW_BUILD", " My_Dep, ,x")
    expected = ["--only-binary", ":all:", "--no-binary=a", "--no-binary=my-dep", "--no-binary=x"]
    assert program(allowed=frozenset({"a"})).wheels_only() == expected
    assert program(allowed=frozenset({"a"}), dry=True).wheels_only() == ["--no-build"]


@pytest.mark.parametrize(
    ("output", "options", "kind", "message", "location"),
    [
        ("x\n", {}, InstallError, "uv could not install it:\n  x", None),
        (
            "No solution found: a>2",
            {},
            DependencyConflictError,
            "Dependency conflict: uv could not install it:\n  No solution found: a>2",
            None,
        ),
        (
            "Failed to fetch: `https://a.org/x`",
            {},
            NetworkError,
            "uv could not install it: https://a.org/x cannot be reached.\n  Failed to fetch: `https://a.org/x`",
            "https://a.org/x",
        ),
        (
            "Failed to fetch: x",
            {},
            NetworkError,
            "uv could not install it: the package index cannot be reached.\n  Failed to fetch: x",
            "package index",
        ),
        (
            "HTTP status server error (503) for https://a.org",
            {},
            NetworkError,
            "uv could not install it:\n  HTTP status server error (503) for https://a.org",
            "https://a.org",
        ),
        (
            "Network connectivity is disabled, ssh://a.org/x was asked",
            {},
            OfflineError,
            (
                "uv could not install it: ssh://a.org/x may not be asked: no connection may be opened.\n"
                "  Network connectivity is disabled, ssh://a.org/x was asked"
            ),
            "ssh://a.org/x",
        ),
    ],
)
def test_a_failure_of_uv_is_told_in_its_words(
    program: Answer,
    output: str,
    options: dict[str, bool],
    kind: type[InstallError],
    message: str,
    location: str | None,
) -> None:
    """With the address that did not answer, and a step that can be taken."""
    error = program(**options)._failure("install it", output, "uv pip install x")
    assert type(error) is kind
    assert (error.message, error.plugin, getattr(error, "location", None)) == (message, "echo", location)
    if kind is InstallError:
        assert error.hint == (
            "Try it by hand: uv pip install x\nIf that fails too, take another version of the plugin."
        )


def test_offline_the_way_out_is_that_of_this_program(program: Answer) -> None:
    """Not uv's, which was told by us."""
    said = "Network connectivity is disabled"
    hints = [str(program(offline=offline)._failure("x", said, "y").hint) for offline in (False, True)]
    assert "UV_OFFLINE" in hints[0]
    assert "UV_OFFLINE" not in hints[1]


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="folders are those of Linux")
def test_a_cache_that_cannot_be_written_is_one_for_this_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home that is read-only is no error; a cache that can be used is, and the user's own choice before all."""
    monkeypatch.delenv("UV_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    assert "UV_CACHE_DIR" not in uv_environment(tmp_path, builds=False)[0]
    assert (tmp_path / "user/uv").is_dir()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    variables, _ = uv_environment(tmp_path, builds=False)
    assert variables["UV_CACHE_DIR"] == str(tmp_path / "uv cache")
    assert {variables[name] for name in ("TMPDIR", "TEMP", "TMP")} == {str(tmp_path / "tmp")}
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    assert uv_environment(tmp_path, builds=False)[0]["UV_CACHE_DIR"] == str(tmp_path / "uv cache")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UV_CACHE_DIR", "own")
    assert uv_environment(tmp_path, builds=False)[0]["UV_CACHE_DIR"] == str(tmp_path / "own")
