"""Whose plugin cache is believed: the user's own, if nobody else may write to it, and one that is named."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import CuvisError, StoreError
from cuvis_ai_core.plugins.cache.store import Store

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="rights of files")

ECHO = ["echo_plugin.nodes.Echo"]
SOMEBODY_ELSE = 12345
Shared = tuple[Path, dict[str, object]]


def test_the_cache_is_made_for_its_user_alone(
    registry: NodeRegistry, cache: Path, git_plugin: Callable[..., str]
) -> None:
    """Whatever the user's umask."""
    entry = {"repo": git_plugin(), "tag": "v1.0.0", "provides": ECHO}
    before = os.umask(0)
    try:
        for _ in range(2):
            registry.load_plugin("echo", entry)
            registry.unload_plugin("echo")
    finally:
        os.umask(before)
    assert cache.stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757, 0o1777])
@pytest.mark.parametrize("folder", ["", ".targets"])
def test_a_cache_that_others_may_write_is_refused(
    registry: NodeRegistry, cache: Path, git_plugin: Callable[..., str], mode: int, folder: str
) -> None:
    """Before anything in it is believed; what mends it is said, and mends it."""
    entry = {"repo": git_plugin(), "tag": "v1.0.0", "provides": ECHO}
    registry.load_plugin("echo", entry)
    registry.unload_plugin("echo")
    cache.chmod(0o755)
    (cache / folder).chmod(mode)
    with pytest.raises(StoreError, match="other users, who could have you run anything") as caught:
        registry.load_plugin("echo", entry)
    assert f"chmod -R go-w '{cache}'" in str(caught.value.hint)
    with pytest.raises(StoreError), Store(cache).workspace():
        pass
    assert os.system(f"chmod -R go-w '{cache}'") == 0
    registry.load_plugin("echo", entry)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_cache_of_somebody_else_is_refused(
    registry: NodeRegistry, cache: Path, git_plugin: Callable[..., str]
) -> None:
    """He may write to it whenever he likes."""
    entry = {"repo": git_plugin(), "tag": "v1.0.0", "provides": ECHO}
    registry.load_plugin("echo", entry)
    registry.unload_plugin("echo")
    os.chown(cache, SOMEBODY_ELSE, SOMEBODY_ELSE)
    with pytest.raises(StoreError, match="belongs to another user"):
        registry.load_plugin("echo", entry)


@pytest.fixture
def shared(tmp_path: Path, git_plugin: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Shared:
    """Return a plugin cache that others filled, named as the shared one, and the entry of the plugin in it."""
    folder = tmp_path / "shared"
    NodeRegistry.set_cache_dir(folder)
    entry: dict[str, object] = {"repo": git_plugin(), "tag": "v1.0.0", "provides": ECHO}
    with NodeRegistry(discover=False) as registry:
        registry.load_plugin("echo", entry)
    for path in folder.rglob("__pycache__"):
        shutil.rmtree(path)
    shutil.rmtree(folder / ".uses")
    NodeRegistry.set_cache_dir(tmp_path / "own")
    monkeypatch.setenv("CUVIS_SHARED_STORE", str(folder))
    monkeypatch.setenv("CUVIS_OFFLINE", "1")
    return folder, entry


def state_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Return all that lies in a folder, with sizes and times."""
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in sorted(folder.rglob("*"))}


def test_what_others_filled_is_loaded_and_never_written(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by somebody who may write to it; no bytecode is put there either."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = state_of(shared[0])
    for _ in range(2):
        with NodeRegistry(discover=False) as registry:
            registry.load_plugin("echo", shared[1])
            info = registry.plugin_info("echo")
            assert info.target.is_relative_to(shared[0])
    assert state_of(shared[0]) == before


def test_a_shared_cache_that_anybody_may_write_is_refused(shared: Shared) -> None:
    """It belongs to somebody else, but to one."""
    if os.geteuid() == 0:
        os.chown(shared[0], SOMEBODY_ELSE, SOMEBODY_ELSE)
        with NodeRegistry(discover=False) as registry:
            registry.load_plugin("echo", shared[1])
    shared[0].chmod(0o777)
    with NodeRegistry(discover=False) as registry, pytest.raises(CuvisError, match="other users"):
        registry.load_plugin("echo", shared[1])


def test_an_altered_file_in_a_shared_cache_is_noticed(shared: Shared) -> None:
    """By whoever uses it."""
    module = next(shared[0].glob(".targets/*/*/echo_plugin/nodes.py"))
    module.write_text(module.read_text() + "\nEVIL = True\n")
    with NodeRegistry(discover=False) as registry, pytest.raises(CuvisError):
        registry.load_plugin("echo", shared[1])


@pytest.mark.parametrize("which", ["checkout", "target"])
def test_a_link_that_leads_out_of_a_cache_is_refused(shared: Shared, tmp_path: Path, which: str) -> None:
    """What it leads to is somebody's who was not named."""
    entry = shared[0] / "echo@v1.0.0" if which == "checkout" else next(shared[0].glob(".targets/*"))
    entry.rename(tmp_path / "elsewhere")
    entry.symlink_to(tmp_path / "elsewhere")
    with NodeRegistry(discover=False) as registry:
        try:
            registry.load_plugin("echo", shared[1])
        except CuvisError:
            return
        assert not registry.plugin_info("echo").target.resolve().is_relative_to(tmp_path / "elsewhere")
