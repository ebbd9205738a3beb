"""What uv is told of the user's environment, and what its refusals mean."""

import http.server
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from cuvis_ai_core.errors import (
    BuildError,
    CuvisError,
    DependencyConflictError,
    DependencyNotFoundError,
    InstallError,
    NetworkError,
    StoreError,
)
from cuvis_ai_core.plugins.installing.uv_commands import Uv

BACKEND = """\
import os


def build_wheel(*arguments):
    {body}


build_editable = build_wheel
"""


@pytest.fixture
def uv(tmp_path: Path) -> Uv:
    """Return uv as one plugin's load uses it."""
    (tmp_path / "work").mkdir()
    return Uv("echo", tmp_path / "work")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that puts a distribution into a package index on disk, which is uv's for this test."""
    root = tmp_path / "index"
    monkeypatch.setenv("UV_DEFAULT_INDEX", root.as_uri())
    monkeypatch.setenv("UV_NO_CACHE", "1")

    def put(filename: str) -> None:
        name, version = filename.removesuffix(".tar.gz").split("-")[:2]
        folder = root / name.replace("_", "-")
        folder.mkdir(parents=True, exist_ok=True)
        if filename.endswith(".whl"):
            with zipfile.ZipFile(folder / filename, "w") as wheel:
                info = f"{name}-{version}.dist-info"
                wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
                wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
                wheel.writestr(f"{info}/RECORD", "")
        else:
            (folder / filename).write_bytes(b"")
        links = "".join(f'<a href="{file.name}">{file.name}</a>' for file in sorted(folder.iterdir()))
        (folder / "index.html").write_text(links)

    return put


def project(folder: Path, body: str) -> Path:
    """Write a project that is built by a back-end of its own, and return its folder."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text(
        "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n[project]\nname = 'x'\n"
    )
    (folder / "backend.py").write_text(BACKEND.format(body=body))
    return folder


def test_variables_that_change_what_uv_does_are_kept_from_it(
    uv: Uv, index: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A user's projects may need them; a plugin's load does not, and those about indexes still count."""
    index("small_one-1.0-py3-none-any.whl")
    for name in ("REQUIRE_HASHES", "SYSTEM_PYTHON", "NO_BUILD", "NO_BINARY", "NO_EDITABLE", "NO_BUILD_ISOLATION"):
        monkeypatch.setenv(f"UV_{name}", "1")
    for name in ("PROJECT", "CONSTRAINT", "OVERRIDE", "EXCLUDE", "BUILD_CONSTRAINT", "WORKING_DIR", "ENV_FILE"):
        monkeypatch.setenv(f"UV_{name}", str(tmp_path / "nowhere"))
    for name in ("TARGET", "PREFIX", "PYTHON"):
        monkeypatch.setenv(f"UV_{name}", str(tmp_path / name))
    assert uv.missing(["small-one"], []) == ["small-one==1.0"]
    uv.install(tmp_path / "target", ["small-one==1.0"])
    assert (tmp_path / "target/small_one-1.0.dist-info").is_dir()
    assert not (tmp_path / "TARGET").exists()


def test_a_relative_cache_counts_from_the_working_directory(
    uv: Uv, index: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not from the temporary folder in which uv works."""
    index("small_one-1.0-py3-none-any.whl")
    monkeypatch.delenv("UV_NO_CACHE")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UV_CACHE_DIR", "uv cache")
    uv.missing(["small-one"], [])
    assert (tmp_path / "uv cache").is_dir()


def test_a_build_does_not_hear_of_the_users_repository(uv: Uv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A back-end that asks git for a version would get that of the repository whose hook this is."""
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "own/.git"))
    folder = project(tmp_path / "project", "raise SystemExit('GIT_DIR is ' + os.environ.get('GIT_DIR', 'unknown'))")
    with pytest.raises(BuildError, match="GIT_DIR is unknown"):
        uv.build_wheel(folder, version=None)


def test_what_goes_wrong_meanwhile_is_not_the_builds_fault(uv: Uv, tmp_path: Path) -> None:
    """It is done once, while the back-end runs, and its error is raised when somebody asks for the end of it."""
    done = tmp_path / "meanwhile"
    wait = f"import time, pathlib; [time.sleep(0.01) for _ in range(3000) if not pathlib.Path({str(done)!r}).exists()]"
    folder = project(tmp_path / "project", f"{wait}; raise SystemExit('built for nothing')")

    def step() -> None:
        done.touch(exist_ok=False)
        raise StoreError("the step failed")

    uv.meanwhile.expect(step)
    with pytest.raises(BuildError, match="built for nothing"):
        uv.build_wheel(folder, version=None)
    with pytest.raises(StoreError, match="the step failed"):
        uv.meanwhile.finish()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "requirement", "words"),
    [
        (["only_source-1.0.tar.gz"], "only-source==1.0", "has no usable wheels"),
        (["only_source-1.0.tar.gz", "only_source-1.1.tar.gz"], "only-source", "have no usable wheels"),
        (["other_system-1.0-py3-none-win32.whl"], "other-system==1.0", "no wheels with a matching platform"),
        (["other_system-1.0-cp27-none-any.whl"], "other-system", "no wheels with a matching Python"),
        (["small_one-1.0-py3-none-any.whl"], "small-one>=2", "only small-one==1.0 is available"),
        ([], "not-there-at-all", "was not found"),
        ([], "lost @ file:///nowhere/lost-1.0-py3-none-any.whl", "Distribution not found"),
    ],
)
def test_what_no_index_has_for_this_machine_is_not_found(
    uv: Uv, index: Callable[[str], None], files: list[str], requirement: str, words: str
) -> None:
    """No such package, no such version, none that need not be compiled, none for this system."""
    for file in files:
        index(file)
    with pytest.raises(
        DependencyNotFoundError, match=r"[Cc]orrect the dependencies in the plugin's pyproject\.toml"
    ) as caught:
        uv.missing([requirement], [])
    assert words in str(caught.value)


def test_what_contradicts_the_host_is_a_conflict(uv: Uv, index: Callable[[str], None]) -> None:
    """The package exists, but another version is wanted here."""
    index("small_one-1.0-py3-none-any.whl")
    index("small_one-2.0-py3-none-any.whl")
    with pytest.raises(DependencyConflictError):
        uv.missing(["small-one>=2"], ["small-one==1.0"])


@pytest.mark.parametrize(
    ("requirement", "variables", "words"),
    [
        ("x @ git+http://127.0.0.1:9/x.git", {}, "http://127.0.0.1:9/x.git"),
        ("not-cached-anywhere", {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple"}, "http://127.0.0.1:9/simple"),
        ("not-cached-anywhere", {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple", "UV_OFFLINE": "1"}, "UV_OFFLINE"),
    ],
)
def test_a_host_that_cannot_be_reached_is_named(
    uv: Uv, monkeypatch: pytest.MonkeyPatch, requirement: str, variables: dict[str, str], words: str
) -> None:
    """An index, the address of a dependency, or a network that the user switched off."""
    monkeypatch.setenv("UV_NO_CACHE", "1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(NetworkError) as caught:
        uv.missing([requirement], [])
    assert words in str(caught.value)


def test_a_build_whose_needs_cannot_be_fetched_is_a_matter_of_the_network(
    uv: Uv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a conflict, and not the build's fault."""
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    folder = project(tmp_path / "project", "pass")
    text = (folder / "pyproject.toml").read_text().replace("requires = []", "requires = ['not-cached-anywhere']")
    (folder / "pyproject.toml").write_text(text)
    with pytest.raises(NetworkError):
        uv.build_wheel(folder, version=None)


@pytest.mark.parametrize(
    "words",
    [
        "setuptools-scm was unable to detect version for /x.\\n\\nMake sure you are in a repository",
        "Error getting the version from source `vcs`: setuptools-scm was unable to detect version for /x.",
    ],
)
def test_a_build_that_finds_no_version_asks_for_a_tag_that_states_one(uv: Uv, tmp_path: Path, words: str) -> None:
    """With the forms that do."""
    folder = project(tmp_path / "project", f"raise LookupError({words!r})")
    with pytest.raises(BuildError, match=r"tag states none.*v1\.2\.0, 1\.2\.0, release/1\.2\.0 or name-1\.2\.0"):
        uv.build_wheel(folder, version=None)


def test_a_build_that_speaks_of_networks_is_still_a_build_that_failed(uv: Uv, tmp_path: Path) -> None:
    """`import networkx` is no trouble with the network."""
    folder = project(tmp_path / "project", "import networkx_not_there")
    with pytest.raises(BuildError, match="uv build"):
        uv.build_wheel(folder, version=None)


def test_what_uv_refuses_otherwise_can_be_tried_by_hand(uv: Uv, tmp_path: Path) -> None:
    """The next step is a command with the requirement in it."""
    broken = tmp_path / "broken-1.0-py3-none-any.whl"
    broken.write_text("no archive")
    with pytest.raises(InstallError, match=r"Try it by hand: uv pip install .*broken-1\.0") as caught:
        uv.missing([f"broken @ {broken.as_uri()}"], [])
    assert type(caught.value) is InstallError


def test_a_disk_that_gets_full_is_named(uv: Uv, tmp_path: Path) -> None:
    """Whatever it was that uv was doing."""
    folder = project(tmp_path / "project", "raise OSError(28, 'No space left on device')")
    with pytest.raises(StoreError, match="MB are free"):
        uv.build_wheel(folder, version=None)


class _Status(http.server.BaseHTTPRequestHandler):
    """Answers every request with one status."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()

    def do_CONNECT(self) -> None:
        self.do_GET()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve an index, or a proxy, on loopback."""
    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Status)
    threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    monkeypatch.setenv("UV_NO_CACHE", "1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    yield f"http://127.0.0.1:{found.server_port}"
    found.shutdown()
    found.server_close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "variables", "words"),
    [
        (401, {"UV_DEFAULT_INDEX": "{server}/simple"}, "Give uv the credentials of that host"),
        (403, {"UV_DEFAULT_INDEX": "{server}/simple"}, "Give uv the credentials of that host"),
        (404, {"UV_DEFAULT_INDEX": "{server}/simple"}, "Correct the dependencies"),
        (503, {"UV_DEFAULT_INDEX": "{server}/simple"}, "trouble of its own"),
        (
            407,
            {"UV_DEFAULT_INDEX": "https://pypi.invalid/", "HTTPS_PROXY": "{server}"},
            "Check the proxy settings",
        ),
        (200, {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple"}, "Check the network"),
        (200, {"UV_HTTP_TIMEOUT": "soon"}, "Correct that environment variable"),
        (200, {"UV_FIND_LINKS": "/nowhere/at/all", "UV_NO_INDEX": "1"}, "Correct find-links"),
    ],
)
def test_what_is_said_about_an_index_is_the_cause(
    uv: Uv, server: str, monkeypatch: pytest.MonkeyPatch, status: int, variables: dict[str, str], words: str
) -> None:
    """After uv's own words, and of the network only where that was it."""
    monkeypatch.setattr(_Status, "status", status)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(server=server))
    with pytest.raises(CuvisError) as caught:
        uv.missing(["small-one"], [])
    said = str(caught.value)
    assert 0 < said.index("error: ") < said.index(words)
    assert ("network" in said) == (words == "Check the network")
    assert "constraints.txt" not in said


def test_a_folder_of_wheels_that_is_not_there_is_passed_over_as_pip_does(
    uv: Uv, make_wheel: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where pip's setting names it."""
    make_wheel(tmp_path / "wheels", "cuvis-test-dep", "1.0", {"cuvis_test_dep.py": ""})
    monkeypatch.setenv("PIP_FIND_LINKS", f"/nowhere/at/all {tmp_path / 'wheels'}")
    assert uv.missing(["cuvis-test-dep"], []) == ["cuvis-test-dep==1.0"]


def test_a_build_reads_whole_settings_while_versions_are_chosen(
    uv: Uv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uv runs in several threads for one plugin; none of them sees the settings of another half written."""
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    seen: set[bytes] = set()

    def run(*_: object, env: dict[str, str], **__: object) -> CompletedProcess[str]:
        seen.update(Path(env["UV_CONFIG_FILE"]).read_bytes() for _ in range(20))
        return CompletedProcess([], 0, "", "")

    monkeypatch.setattr("cuvis_ai_core.plugins.installing.uv_process.run_program", run)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: uv.problems(Path("python")), range(100)))
    assert len(seen) == 1
