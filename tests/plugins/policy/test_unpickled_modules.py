"""A plugin that a file brings back is under the policy of now, as one that is loaded."""

import gc
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import NotAllowedError, PluginModuleError
from cuvis_ai_core.plugins.isolation.private_names import private_package
from cuvis_ai_core.plugins.loading.unpickled_modules import revive

Put = Callable[[str], Path]


@pytest.mark.parametrize(
    ("rules", "refused"),
    [
        ("allow: [{path: '/**'}]", ""),
        ("allow: [{path: '/**'}]\nrequire: {bounded_dependencies: true}", "without an upper bound: numpy>=1.20"),
        ("allow: [{path: '/**'}]\nrequire: {lock: true}", "is not locked"),
        ("allow: [{path: '/srv/*'}]", "may not be loaded here"),
        ("allow: [{path: '/**'}]\nisolation: {private: process}", "in this process"),
    ],
)
def test_what_the_policy_refuses_is_not_brought_back(
    registry: NodeRegistry, local_plugin: Callable[..., Path], policy: Put, cache: Path, rules: str, refused: str
) -> None:
    """Whatever it was when it was loaded."""
    folder = local_plugin(dependencies=("numpy>=1.20",))
    registry.load_plugin("echo", {"path": str(folder), "provides": ["echo_plugin.nodes.Echo"]})
    package = private_package(registry.get("Echo").__module__)
    assert package is not None
    registry.unload_plugin("echo")
    gc.collect()
    policy(rules)
    if refused:
        with pytest.raises(NotAllowedError, match=refused):
            revive(package, cache)
    else:
        scope = revive(package, cache)
        assert scope.import_module("echo_plugin.nodes").Echo.VERSION == "1.0.0"
        scope.release()
    with pytest.raises(PluginModuleError, match=r"is not in .* either") as caught:
        revive(f"{package}x", cache)
    assert caught.value.name == f"{package}x"


def test_what_was_chosen_for_another_environment_is_not_brought_back(
    registry: NodeRegistry, local_plugin: Callable[..., Path], cache: Path
) -> None:
    """It may lack what is not here; in whatever company it was chosen here, it is."""
    registry.load_plugin("echo", {"path": str(local_plugin()), "provides": ["echo_plugin.nodes.Echo"]})
    package = private_package(registry.get("Echo").__module__)
    assert package is not None
    registry.unload_plugin("echo")
    gc.collect()
    (marker,) = cache.glob(".targets/*/*/cuvis-target.json")
    said = json.loads(marker.read_text())
    (host,) = said["hosts"]
    marker.write_text(json.dumps({**said, "hosts": [f"another:{host}", f"another{host}"]}))
    with pytest.raises(PluginModuleError) as caught:
        revive(package, cache)
    assert f"is in the plugin cache {cache} for another environment only." in caught.value.message
    assert f"names a class of plugin '{said['title']}'" in caught.value.message
    assert (caught.value.plugin, caught.value.name) == ("echo", package)
    marker.write_text(json.dumps({**said, "hosts": ["another", f"{host}:company"]}))
    revive(package, cache).release()


def test_of_several_choices_the_latest_is_brought_back(
    registry: NodeRegistry, git_plugin: Callable[..., str], cache: Path
) -> None:
    """Whatever its folder is called: that may be an older one, which was chosen again."""
    registry.load_plugin("echo", {"repo": git_plugin(), "tag": "v1.0.0", "provides": ["echo_plugin.nodes.Echo"]})
    package = private_package(registry.get("Echo").__module__)
    assert package is not None
    registry.unload_plugin("echo")
    gc.collect()
    (first,) = cache.glob(".targets/*/*")
    second = Path(shutil.copytree(first, first.with_name("another")))
    nodes = second / "echo_plugin/nodes.py"
    # Of another length: bytecode of the original, of the same second, counts for a file of the same size.
    nodes.write_text(nodes.read_text().replace("1.0.0", "2.0.0.1"))
    for times, version in (((1, 2), "2.0.0.1"), ((3, 2), "1.0.0")):
        for target, seconds in zip((first, second), times, strict=True):
            os.utime(target / "cuvis-target.json", (seconds, seconds))
        scope = revive(package, cache)
        assert version == scope.import_module("echo_plugin.nodes").Echo.VERSION
        scope.abandon()
