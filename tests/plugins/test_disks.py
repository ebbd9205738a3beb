"""Disks that are full and folders that cannot be written: one clear error, nothing half, and then it works."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core._folder_removal import remove_tree
from cuvis_ai_core.errors import PluginLoadError, StoreError
from cuvis_ai_core.plugins.cache.housekeeping import entries
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.installing.host_wheels import wheels_in

LIMITED = """\
import resource, sys
from cuvis_ai_core import NodeRegistry
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
registry = NodeRegistry(discover=False)
registry.load_plugin("echo", {"repo": sys.argv[1], "tag": "v1.0.0", "provides": ["echo_plugin.nodes.Echo"]})
"""


def config(url: str) -> dict[str, object]:
    """Return a manifest entry."""
    return {"repo": url, "tag": "v1.0.0", "provides": ["echo_plugin.nodes.Echo"]}


def mount(*arguments: str) -> bool:
    """Mount something, and tell whether that was possible."""
    with contextlib.suppress(OSError):
        return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0
    return False


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], bool]]:
    """Return a function that gives the plugin cache a disk of so many kilobytes, and tells whether it could."""
    folder = tmp_path / "disk"
    folder.mkdir()
    NodeRegistry.set_cache_dir(folder / "cache")
    mounted = False

    def make(kilobytes: int) -> bool:
        nonlocal mounted
        options = f"size={kilobytes}k" if not mounted else f"remount,size={kilobytes}k"
        mounted = mount("-t", "tmpfs", "-o", options, "cuvis-test", str(folder)) or mounted
        return mounted

    yield make
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_is_one_error_at_whatever_step(
    registry: NodeRegistry, git_plugin: Callable[..., str], disk: Callable[[int], bool], tmp_path: Path
) -> None:
    """From a disk that hardly holds a folder to one on which a bit is missing; then there is room, and it loads."""
    url, root = git_plugin(), tmp_path / "disk/cache"
    NodeRegistry.set_cache_dir(root)
    steps = set()
    for kilobytes in (4, 8, 12, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256):
        if not disk(kilobytes):
            _refuse_large_files(url, root)
            return
        error = _failure(registry, url)
        if error is None:
            break
        steps.add(error.step)
        assert isinstance(error.__cause__, StoreError), error
        assert "MB are free" in str(error)
        assert "CUVIS_PLUGINS_DIR" in str(error)
        assert_nothing_half(root)
    assert steps == {"downloading", "installing"}
    assert registry.get("Echo").VERSION == "1.0.0"  # type: ignore[attr-defined]


def _failure(registry: NodeRegistry, url: str) -> PluginLoadError | None:
    try:
        registry.load_plugin("echo", config(url))
    except PluginLoadError as error:
        return error
    return None


def _refuse_large_files(url: str, root: Path) -> None:
    """Do the same, where nothing can be mounted, with a limit on the size of files."""
    for size in (0, 30, 100, 300, 600, 1000):
        command = [sys.executable, "-c", LIMITED, url, str(size)]
        environment = {**os.environ, "CUVIS_PLUGINS_DIR": str(root)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "cuvis_ai_core.errors.PluginLoadError: Failed to load plugin 'echo'" in done.stderr
        assert_nothing_half(root)


def assert_nothing_half(root: Path) -> None:
    """Assert that what lies in a cache is whole: a checkout at most, for the target directory comes last."""
    assert [each.kind for each in entries(Store(root))] in ([], ["checkout"])
    assert [path for path in root.glob(".tmp/*") if path.suffix != ".lock"] == []


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Have a folder that nobody may write, root neither, by whatever this machine allows."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        mode = folder.stat().st_mode
        folder.chmod(0o555)
        yield
        folder.chmod(mode)
    elif mount("--bind", str(folder), str(folder)):
        try:
            assert mount("-o", "remount,bind,ro", str(folder))
            yield
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
    else:
        # Root in a container, to whom nothing is forbidden: a file attribute is, on most disks.
        subprocess.run(["chattr", "-R", "+i", str(folder)], check=True)
        yield
        subprocess.run(["chattr", "-R", "-i", str(folder)], check=True)


def test_old_wheels_of_the_host_that_cannot_be_removed_are_in_nobodys_way(tmp_path: Path) -> None:
    """Another user's, perhaps: plugins are installed all the same."""
    store = Store(tmp_path / "cache")
    old = store.host_wheels / "old"
    old.mkdir(parents=True)
    (old / "some.whl").touch()
    os.utime(old, (0, 0))
    with read_only(old):
        assert all(wheel.is_file() for wheel in wheels_in(store, tmp_path / "wheels").values())
        assert old.exists()


@pytest.mark.parametrize("part", [".", ".locks", ".tmp", ".targets", ".targets/echo@"])
def test_a_folder_that_cannot_be_written_is_one_error(
    registry: NodeRegistry, git_plugin: Callable[..., str], cache: Path, part: str
) -> None:
    """Whichever part of the cache it is; nothing half is left, and it loads once it can be written."""
    url = git_plugin()
    if part.endswith("@"):
        registry.load_plugin("echo", config(url))
        registry.unload_plugin("echo")
        (content,) = cache.glob(".targets/echo@*")
        remove_tree(next(content.iterdir()))
        part = str(content.relative_to(cache))
    with read_only(cache / part):
        with pytest.raises(PluginLoadError) as caught:
            registry.load_plugin("echo", config(url))
        assert isinstance(caught.value.__cause__, StoreError)
        assert str(cache) in str(caught.value)
        assert "CUVIS_PLUGINS_DIR" in str(caught.value)
        assert [path for path in cache.glob(".targets/*/*") if path.is_dir()] == []
    registry.load_plugin("echo", config(url))
    assert registry.get("Echo").VERSION == "1.0.0"  # type: ignore[attr-defined]


def test_a_cache_that_nobody_may_write_serves_what_it_has(git_plugin: Callable[..., str], cache: Path) -> None:
    """As in an image or on a share; what it does not have is one error, and so is clearing."""
    url = git_plugin()
    with NodeRegistry(discover=False) as registry:
        registry.load_plugin("echo", config(url))
    before = sorted(cache.rglob("*"))
    with read_only(cache), NodeRegistry(discover=False) as registry:
        registry.load_plugin("echo", config(url))
        assert registry.get("Echo").VERSION == "1.0.0"  # type: ignore[attr-defined]
        with pytest.raises(PluginLoadError, match="cannot be used"):
            registry.load_plugin("other", config(url))
        with pytest.raises(StoreError, match="cannot be used"):
            NodeRegistry.clear_plugin_cache("echo")
    assert [path for path in cache.rglob("*") if path not in before and "__pycache__" not in path.parts] == []
