"""What stands here for a plugin in a process of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import InvalidNodeError, WorkerError
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.loading.process_plugin import ProcessPlugin
from cuvis_ai_core.plugins.manifest.manifest_schema import LocalPlugin
from cuvis_ai_core.plugins.plugin_info import PluginInfo

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.worker.worker_process import Worker


class Echo(ArrayNode):
    """Stands for a node of another process."""

    def forward(self) -> dict[str, object]:
        """Return nothing."""
        return {}


class Other(Echo):
    """A node of nobody's."""


class FakeWorker:
    """A process that can be ended."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        """End it."""
        self.closed += 1


@pytest.fixture
def plugin(tmp_path: Path, write_files: Callable[[Path, dict[str, str]], Path]) -> Callable[..., ProcessPlugin]:
    """Return a function that has such a plugin, with folders of pipeline files."""

    def make(*config_dirs: Path) -> ProcessPlugin:
        packages = "environment/lib/python3.11/site-packages/echo_plugin/configs"
        write_files(tmp_path, {f"{packages}/pipeline.yaml": "nodes: []\n", "echo/pyproject.toml": ""})
        declared = LocalPlugin(path=tmp_path / "echo", provides=("echo_plugin.nodes.Echo",), isolation="process")
        info = PluginInfo(
            *("echo", "local", str(declared.path), None, None, "echo-plugin", "1"),
            target=tmp_path / "environment",
            nodes=("echo_plugin.nodes.Echo",),
        )
        store, entry = Store(tmp_path / "cache"), tmp_path / "cache/.envs/echo@00/11"
        entry.mkdir(parents=True, exist_ok=True)
        store.use(entry)
        worker = cast("Worker", FakeWorker())
        uses = store.hand_over(entry)
        return ProcessPlugin(declared, info, worker, {"echo_plugin.nodes.Echo": Echo}, declared.path, config_dirs, uses)

    return make


def test_its_classes_are_those_that_it_declared(plugin: Callable[..., ProcessPlugin]) -> None:
    """By their paths; its modules are nowhere here, and its edits are not known."""
    made = plugin()
    assert made.import_node("echo_plugin.nodes.Echo") is Echo
    with pytest.raises(InvalidNodeError, match=r"echo_plugin\.nodes\.Other") as missing:
        made.import_node("echo_plugin.nodes.Other")
    assert missing.value.plugin == "echo"
    with pytest.raises(WorkerError, match=r"^Module 'echo_plugin' of plugin 'echo' is in another process\.") as caught:
        made.import_module("echo_plugin")
    assert caught.value.plugin == "echo"
    assert [made.owns(top) for top in ("echo_plugin", "nodes", "echo", "")] == [True, False, False, False]
    assert [made.made(each) for each in (Echo, Other, ArrayNode)] == [True, False, False]
    assert (made.ready, made.edited()) == (None, None)


def test_it_takes_part_with_its_classes_and_its_folders(plugin: Callable[..., ProcessPlugin], tmp_path: Path) -> None:
    """Those that its hooks named, and those in its packages."""
    assert [label for label, _ in plugin().plugin_objects()] == ["echo"]
    made = plugin(tmp_path / "named")
    assert [label for label, _ in made.plugin_objects()] == ["echo", "echo:config_dirs"]
    with NodeRegistry(discover=False) as registry:
        for label, each in made.plugin_objects():
            registry.register_hooks(each, label)
        assert registry.get("Echo") is Echo
        assert registry.config_dirs() == [tmp_path / "named"]
    packages = tmp_path / "environment/lib/python3.11/site-packages"
    assert made.config_folders() == [packages / "echo_plugin/configs"]


def test_its_process_ends_with_it(plugin: Callable[..., ProcessPlugin], tmp_path: Path) -> None:
    """Nothing of it counts as in use from then on."""
    made, used = plugin(), tmp_path / "cache/.uses/.envs/echo@00/11"
    assert "last" not in {path.name for path in used.iterdir()}
    made.release()
    assert cast("FakeWorker", made.worker).closed == 1
    assert [path.name for path in used.iterdir()] == ["last"]
