"""Whatever is killed, at whatever moment of a load: the next load succeeds, and nothing runs on."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core._folder_removal import remove_tree
from cuvis_ai_core.plugins.cache import altered_entries
from cuvis_ai_core.plugins.cache.checkout_entry import read_marker, refuse_altered
from cuvis_ai_core.plugins.cache.housekeeping import entries, prune
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.cache.target_entry import complete_targets
from cuvis_ai_core.testing.git_host import GitHost

Load = Callable[..., dict[str, Any]]

FEW, MANY = 24, 72
"""Interruptions per test, the same ones each time; thrice as many with new cases of properties."""


@pytest.fixture
def load(
    tmp_path: Path,
    cache: Path,
    git_host: GitHost,
    project_files: Callable[..., dict[str, str]],
    make_wheel: Callable[..., None],
) -> Iterator[Load]:
    """Return a function that loads a plugin with a dependency in a process, which it may interrupt (see there)."""
    make_wheel(tmp_path / "wheels", "cuvis-test-leaf", "1.0", {"cuvis_test_leaf/__init__.py": ""})
    files = project_files(dependencies=("cuvis-test-leaf",))
    url = git_host.add(f"crashes-{tmp_path.name}", files, tag="v1.0.0")
    # A library that starts threads when it is imported has no place in a process that forks.
    environment = {**os.environ, "UV_FIND_LINKS": str(tmp_path / "wheels"), "OPENBLAS_NUM_THREADS": "1"}
    order = {"cache": str(cache), "url": url, "mark": str(tmp_path)}

    command = [sys.executable, str(Path(__file__).with_name("loading_process.py")), str(tmp_path / "answer")]

    def ask(process: "subprocess.Popen[str]", **options: object) -> dict[str, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({**order, **options}) + "\n")
        process.stdin.flush()
        answer: dict[str, Any] = json.loads(process.stdout.readline())
        return answer

    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        # From here on uv has what it needs in its own cache.
        assert ask(process)["version"] == "1.0.0"
        remove_tree(cache)
        yield lambda **options: ask(process, offline=True, **options)
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("kill", ["process", "group", "child"])
def test_a_load_succeeds_after_any_kill(
    load: Load,
    cache: Path,
    living: Callable[[str], list[str]],
    tmp_path: Path,
    pytestconfig: pytest.Config,
    kill: str,
) -> None:
    """Of the process alone, of its whole group, or of git or uv alone, at chosen events and moments after them."""
    kills = MANY if pytestconfig.getoption("--hypothesis-profile") == "exploring" else FEW
    chance = random.Random(kill)
    events = load(kill="child" if kill == "child" else None)["events"]
    interrupted = tried = 0
    # Some kills come when the load, or the program, has just ended: then there are more of them.
    while tried < kills or (interrupted <= kills // 2 and tried < 4 * kills):
        tried += 1
        remove_tree(cache)
        moment = {
            "event": chance.randint(1, events),
            # While a program runs, the process that started it waits: most moments lie in between events.
            "delay": chance.choice([0.0, chance.uniform(0, 0.01), chance.uniform(0, 0.05)]) or (kill == "child") * 0.01,
        }
        first = load(kill=kill, **moment)
        interrupted += "version" not in first
        assert living(str(tmp_path)) == [], moment
        if "error" in first:
            assert first["error"].startswith("Failed to load plugin 'echo'"), (moment, first)
            assert "CuvisError" in first["mro"], (moment, first)
        assert load().get("version") == "1.0.0", moment
        assert_whole(Store(cache))
    assert interrupted > kills // 2


def assert_whole(store: Store) -> None:
    """Assert that a cache holds one checkout and one target directory, both whole, and no work in progress."""
    checkout, target = entries(store)
    marker = read_marker(checkout.path)
    assert marker is not None
    refuse_altered("echo", checkout.path, marker["commit"])
    (found,) = complete_targets(target.path.parent)
    altered_entries.refuse_altered(found)
    prune(store, unused_for=1e9)
    # A lock without a folder may just have been taken by somebody: it stays for an hour.
    assert [path for path in (store.root / ".tmp").iterdir() if path.suffix != ".lock"] == []
    assert sorted(path.name for path in store.root.iterdir() if not path.name.startswith(".")) == [
        "README",
        "echo@v1.0.0",
    ]
