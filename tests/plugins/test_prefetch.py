"""The code of a plugin is fetched while its entry is still being checked: only where the entry is plain."""

import ast
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.plugins.cache.prefetch import fetching_early
from cuvis_ai_core.plugins.cache.store import Store

PROGRAM = """
import json, sys, threading
from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import CuvisError

started, begun, early = [], threading.Event(), []

def listen(event, arguments):
    if event == "subprocess.Popen":
        started.append(arguments[1])
        begun.set()

class Waiting:
    def find_spec(self, name, path=None, target=None):
        if name == "pydantic" and WAIT:
            early.append(begun.wait(20))

WAIT = len(sys.argv) > 2
sys.meta_path.insert(0, Waiting())
sys.addaudithook(listen)
error = ""
try:
    NodeRegistry(discover=False).load_plugin("echo", json.loads(sys.argv[1]))
except CuvisError as caught:
    error = f"{type(caught).__name__} {caught}"
fetches = sum("fetch" in words for words in started)
print(repr({"started": len(started), "fetches": fetches, "early": early, "error": error}))
"""

Tried = Callable[..., dict[str, Any]]


@pytest.fixture
def tried(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Tried:
    """Return a function that loads a plugin in a new process, and says how many programs that started.

    If asked to wait, the import of pydantic waits for the first of them.
    """
    monkeypatch.setenv("CUVIS_PLUGINS_DIR", str(cache))

    def run(entry: Mapping[str, object], *more: str) -> dict[str, Any]:
        command = [sys.executable, "-c", PROGRAM, json.dumps(entry), *more]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found: dict[str, Any] = ast.literal_eval(done.stdout)
        return found

    return run


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that makes a text the policy of new processes."""

    def write(text: str) -> None:
        path = tmp_path / "policy.yaml"
        path.write_text(text)
        monkeypatch.setenv("CUVIS_POLICY", str(path))

    return write


def _entry(url: str, **more: object) -> dict[str, object]:
    return {"repo": url, "tag": "v1.0.0", "provides": ["echo_plugin.nodes.Echo"], **more}


def test_git_starts_before_what_checks_the_entry_is_imported(tried: Tried, git_plugin: Callable[..., str]) -> None:
    """Pydantic is imported while git waits for the network, and the plugin is fetched once."""
    found = tried(_entry(git_plugin()), "wait")
    assert found["error"] == ""
    assert found["early"] == [True]
    assert found["started"] == 6  # git init, fetch, sizes and checkout; uv's build and installation


WHEN = """
import json, sys
from cuvis_ai_core import NodeRegistry

LATER = ["cuvis_ai_core.plugins.loading.load_record", "pydantic", "packaging"]
FOR_LOADING = ["cuvis_ai_core.plugins.loading.scoped_plugin", "yaml", "cuvis_ai_schemas.pipeline"]
said = {}

def listen(event, arguments):
    if event == "open" and "/.tmp/" in str(arguments[0]) and "work" not in said:
        said["work"] = [name for name in LATER if name in sys.modules]
    if event == "subprocess.Popen" and "--target" in arguments[1]:
        said["installation"] = [name for name in FOR_LOADING if name in sys.modules]
    elif event == "subprocess.Popen" and "build" in arguments[1]:
        said["build"] = [name for name in FOR_LOADING if name in sys.modules]

sys.addaudithook(listen)
NodeRegistry(discover=False).load_plugin("echo", json.loads(sys.argv[1]))
print(json.dumps(said))
"""


def test_what_can_wait_is_imported_while_programs_run(
    cache: Path, git_plugin: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What checks and builds is imported beside git, what loads beside the build, what nodes need beside uv."""
    monkeypatch.setenv("CUVIS_PLUGINS_DIR", str(cache))
    command = [sys.executable, "-c", WHEN, json.dumps(_entry(git_plugin()))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {
        "work": [],
        "build": [],
        "installation": ["cuvis_ai_core.plugins.loading.scoped_plugin", "yaml"],
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"branch": "main"},
        {"isolation": "none"},
        {"tag": "refs/heads/main"},
        {"provides": []},
        {"provides": ["Echo"]},
        {"provides": "echo_plugin.nodes.Echo"},
        {"tag": 1},
        {"repo": "ext::sh -c x"},
    ],
    ids=str,
)
def test_nothing_is_asked_about_an_entry_that_breaks_a_rule(tried: Tried, wrong: dict[str, object]) -> None:
    """No program starts before the entry is refused."""
    found = tried({**_entry("http://127.0.0.1:9/echo.git"), **wrong})
    assert found["started"] == 0
    assert found["error"].startswith("ManifestError")


def test_a_policy_is_asked_before_any_host(
    tried: Tried, git_plugin: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is a policy, no program starts for a plugin that it does not allow."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("allow: [{repo: 'https://lab.org/*'}]\n")
    monkeypatch.setenv("CUVIS_POLICY", str(policy))
    found = tried(_entry(git_plugin()))
    assert found["started"] == 0
    assert "may not be loaded here" in found["error"]


@pytest.mark.parametrize(
    "beside",
    [
        "",
        pytest.param("require: {bounded_dependencies: true}", marks=pytest.mark.slow),
        pytest.param("isolation: {community: process}", marks=pytest.mark.slow),
        "signers: {lab: policy.yaml}",
    ],
)
def test_git_starts_early_where_a_policy_plainly_allows_the_repository(
    tried: Tried, git_plugin: Callable[..., str], policy: Callable[[str], None], beside: str
) -> None:
    """Pydantic is imported while git waits for the network, as without a policy."""
    policy(f"allow: [{{path: /srv/**}}, {{repo: 'http://127.0.0.1:*/**'}}]\n{beside}\n")
    found = tried(_entry(git_plugin()), "wait")
    assert found["error"] == ""
    assert found["early"] == [True]
    assert found["fetches"] == 1


@pytest.mark.parametrize(
    "text",
    [
        "allow: [{repo: 'http://127.0.0.1:*/**'}]\nrequire: {lock: true}\n",
        "allow: [{repo: 'http://127.0.0.1:*/**', signed_by: lab}]\n",
        "allow: [{repo: 'http://127.0.0.1:*/**', signed_by: lab}]\nsigners: {lab: gone}\n",
        "allow: [{repo: 'http://127.0.0.1:*/**', sign: lab}]\n",
        "allow: [{repo: 'http://127.0.0.1:*/**'}]\nallow: []\n",
        "allow: [{repo: 'http://127.0.0.1:*/**'}]\nallowed: []\n",
        "allow: {repo: 'http://127.0.0.1:*/**'}\n",
        "allow: [{repo: 'http://127.0.0.1:*/**'}\n",
        "allow: ['http://127.0.0.1:*/**']\n",
        "allow: []\n",
        "[]\n",
    ],
    ids=[
        "locked",
        "no signers",
        "signers gone",
        "key",
        "twice",
        "top key",
        "no list",
        "no YAML",
        "text",
        "none",
        "list",
    ],
)
def test_a_policy_that_does_not_plainly_allow_a_repository_has_no_host_asked(
    tried: Tried, git_plugin: Callable[..., str], policy: Callable[[str], None], text: str
) -> None:
    """No program starts before the plugin, or the policy, is refused."""
    policy(text)
    found = tried(_entry(git_plugin()))
    assert found["started"] == 0
    assert found["error"]


def test_a_policy_that_everybody_may_write_has_no_host_asked(
    tried: Tried, git_plugin: Callable[..., str], policy: Callable[[str], None], tmp_path: Path
) -> None:
    """It proves nothing, whatever it allows."""
    policy("allow: [{repo: 'http://127.0.0.1:*/**'}]\n")
    (tmp_path / "policy.yaml").chmod(0o666)
    found = tried(_entry(git_plugin()))
    assert found["started"] == 0
    assert "Everybody may write the policy" in found["error"]


def test_no_host_is_asked_where_no_connection_may_be_opened(
    tried: Tried, git_plugin: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUVIS_OFFLINE holds for what begins early, too."""
    monkeypatch.setenv("CUVIS_OFFLINE", "1")
    assert tried(_entry(git_plugin()))["started"] == 0


def test_a_fetch_that_fails_early_says_why_and_leaves_nothing(
    tried: Tried, git_plugin: Callable[..., str], cache: Path
) -> None:
    """The tag is asked for once, and the error is that of any fetch."""
    found = tried(_entry(git_plugin(), tag="v9"))
    assert "Tag 'v9' does not exist" in found["error"]
    assert found["fetches"] == 1
    assert not list((cache / ".tmp").iterdir())
    assert not list(cache.glob("echo@*"))


@pytest.mark.parametrize(("more", "done"), [({}, ["done"]), ({"branch": "main"}, [])])
def test_time_is_used_only_where_something_is_waited_for(
    git_plugin: Callable[..., str], tmp_path: Path, more: dict[str, object], done: list[str]
) -> None:
    """Where nothing is fetched early, nothing is done meanwhile; what nobody took is gone in the end."""
    store, meanwhile = Store(tmp_path / "cache"), list[str]()
    with fetching_early("echo", _entry(git_plugin(), **more), store, lambda: meanwhile.append("done")) as begun:
        assert (begun is not None) == bool(done)
        assert meanwhile == done
    assert not [*store.root.glob(".tmp/*")]
