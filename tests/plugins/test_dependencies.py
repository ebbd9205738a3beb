"""Who serves a plugin's dependencies: the host, a live plugin, its own target, or a private copy."""

import gc
import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import DependencyConflictError, PluginLoadError

MakeWheel = Callable[..., None]
LoadUser = Callable[..., Any]
HostInstall = Callable[[str, str], Path]


def versions(make: MakeWheel, *numbers: str, **options: Any) -> None:
    """Build some versions of the distribution `cuvis-test-dep`."""
    for number in numbers:
        make("cuvis-test-dep", number, {"cuvis_test_dep/__init__.py": f"VERSION = {number!r}\n"}, **options)


def test_differing_pins_that_one_version_satisfies_share_it(wheel: MakeWheel, load: LoadUser) -> None:
    """What is live serves whoever it satisfies, in one copy."""
    versions(wheel, "1.0", "2.0")
    first = load("first", "cuvis-test-dep==1.0")
    second = load("second", "cuvis-test-dep>=1.0")
    assert (first.direct(), second.direct(), second.metadata()) == ("1.0", "1.0", "1.0")


def test_pure_pins_that_contradict_both_work_each_with_its_own(wheel: MakeWheel, load: LoadUser) -> None:
    """By every import form and in metadata; the shared one is the first that was loaded."""
    versions(wheel, "1.0", "2.0")
    first = load("first", "cuvis-test-dep==1.0")
    second = load("second", "cuvis-test-dep==2.0")
    for answers, number in ((first, "1.0"), (second, "2.0")) * 2:
        assert (answers.direct(), answers.late(), answers.by_name(), answers.metadata()) == (number,) * 4
    assert importlib.import_module("cuvis_test_dep").VERSION == "1.0"


def test_whoever_depends_on_a_private_copy_is_private_too(wheel: MakeWheel, load: LoadUser) -> None:
    """A library between plugin and contradiction sees the plugin's copy."""
    versions(wheel, "1.0", "2.0")
    between = {"cuvis_test_mid/__init__.py": "from cuvis_test_dep import VERSION\n"}
    wheel("cuvis-test-mid", "1.0", between, requires=("cuvis-test-dep>=2",))
    load("first", "cuvis-test-dep==1.0")
    second = load("second", "cuvis-test-mid", module="cuvis_test_mid", distribution="cuvis-test-mid")
    assert (second.direct(), second.late(), second.metadata()) == ("2.0", "2.0", "1.0")


def test_compiled_pins_that_contradict_are_a_clash(wheel: MakeWheel, load: LoadUser, registry: NodeRegistry) -> None:
    """Found before the second plugin's code runs; the error says who needs what and what is there."""
    versions(wheel, "1.0", "2.0", pure=False)
    load("first", "cuvis-test-dep==1.0")
    with pytest.raises(PluginLoadError) as caught:
        load("second", "cuvis-test-dep==2.0")
    cause = caught.value.__cause__
    assert isinstance(cause, DependencyConflictError)
    assert str(cause).startswith(
        "Dependency conflict: package second requires cuvis-test-dep==2.0, but 1.0 is installed"
    )
    assert registry.list_plugins() == ["first"]


def test_something_compiled_that_needs_a_private_copy_is_a_clash(wheel: MakeWheel, load: LoadUser) -> None:
    """A compiled library exists once, so it cannot see a plugin's own copy."""
    versions(wheel, "1.0", "2.0")
    wheel("cuvis-test-mid", "1.0", {"cuvis_test_mid.py": ""}, requires=("cuvis-test-dep>=2",), pure=False)
    load("first", "cuvis-test-dep==1.0")
    with pytest.raises(PluginLoadError, match=r"package cuvis-test-mid requires cuvis-test-dep>=2, but 1\.0"):
        load("second", "cuvis-test-mid", module="cuvis_test_mid")


def test_two_distributions_that_own_one_module(wheel: MakeWheel, load: LoadUser) -> None:
    """The second is private where it is pure Python: `cv2` has several owners."""
    versions(wheel, "1.0")
    wheel("cuvis-test-dep-headless", "3.0", {"cuvis_test_dep/__init__.py": "VERSION = '3.0'\n"})
    first = load("first", "cuvis-test-dep")
    second = load("second", "cuvis-test-dep-headless", distribution="cuvis-test-dep-headless")
    assert (first.late(), second.late(), second.metadata()) == ("1.0", "3.0", "3.0")


def test_after_the_first_is_gone_the_next_pin_is_shared(
    wheel: MakeWheel, load: LoadUser, registry: NodeRegistry
) -> None:
    """A pin that nobody holds does not stand in the way, even where its modules are still imported."""
    versions(wheel, "1.0", "2.0")
    load("first", "cuvis-test-dep==1.0")
    registry.unload_plugin("first")
    assert load("second", "cuvis-test-dep==2.0").direct() == "2.0"


def test_namespace_packages_are_shared_by_their_portions(wheel: MakeWheel, load: LoadUser) -> None:
    """Two dependencies in two targets fill one namespace."""
    wheel("cuvis-test-ns-a", "1.0", {"cuvis_test_ns/a/__init__.py": "VERSION = 'a'\n"})
    wheel("cuvis-test-ns-b", "1.0", {"cuvis_test_ns/b/__init__.py": "VERSION = 'b'\n"})
    first = load("first", "cuvis-test-ns-a", module="cuvis_test_ns.a", distribution="cuvis-test-ns-a")
    second = load("second", "cuvis-test-ns-b", module="cuvis_test_ns.b", distribution="cuvis-test-ns-b")
    assert (first.late(), second.late(), first.by_name(), second.by_name()) == ("a", "b", "a", "b")


def test_a_plugin_reads_its_own_version(wheel: MakeWheel, load: LoadUser) -> None:
    """`importlib.metadata.version` of itself, as many packages do for `__version__`."""
    versions(wheel, "1.0")
    answers = load("first", "cuvis-test-dep")
    assert (answers.own_metadata(), answers.package_metadata()) == ("1.0.0", "1.0.0")
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("first")


def test_a_program_keeps_its_own_installed_version(wheel: MakeWheel, load: LoadUser, host_install: HostInstall) -> None:
    """A plugin that needs another version of what the host has installed gets it for itself."""
    versions(wheel, "1.0", "2.0")
    host_install("cuvis-test-dep", "1.0")
    plugin = load("first", "cuvis-test-dep==2.0")
    assert (plugin.direct(), plugin.metadata()) == ("2.0", "2.0")
    assert importlib.import_module("cuvis_test_dep").VERSION == "1.0"
    assert importlib.metadata.version("cuvis-test-dep") == "1.0"


@pytest.mark.parametrize("package", ["pydantic", "pyyaml"])
def test_what_crosses_or_is_compiled_is_the_cores_version(load: LoadUser, package: str) -> None:
    """There is one of what the core itself needs, where its objects cross or it is compiled; the error says so."""
    message = rf"package first requires {package}<1, but .* cuvis-ai-core itself needs it"
    with pytest.raises(PluginLoadError, match=message):
        load("first", f"{package}<1")


def test_another_version_of_what_the_core_needs_is_the_plugins_own(wheel: MakeWheel, load: LoadUser) -> None:
    """Pygments is pure Python: the plugin gets its version, needed directly or by a dependency; the core keeps its."""
    wheel("pygments", "2.7.99", {"pygments/__init__.py": "VERSION = '2.7.99'\n"})
    between = {"cuvis_test_mid/__init__.py": "from pygments import VERSION\n"}
    wheel("cuvis-test-mid", "1.0", between, requires=("pygments==2.7.99",))
    kept = importlib.metadata.version("pygments")
    names = {"module": "pygments", "distribution": "pygments"}
    for plugin in (load("first", "pygments==2.7.99", **names), load("second", "cuvis-test-mid", **names)):
        assert (plugin.direct(), plugin.late(), plugin.metadata()) == ("2.7.99",) * 3
    host = importlib.import_module("pygments")
    assert (host.__version__, importlib.metadata.version("pygments")) == (kept, kept)


def test_two_that_own_one_module_are_loaded_again(wheel: MakeWheel, load: LoadUser, registry: NodeRegistry) -> None:
    """As OpenCV's two wheels, where two libraries of a plugin need one each; after an unload, and beside themselves."""
    for name in ("cuvis-test-dep", "cuvis-test-dep-headless"):
        wheel(name, "1.0", {"cuvis_test_dep/__init__.py": "VERSION = '1.0'\n"}, pure=False)
    needs = ("cuvis-test-dep", "cuvis-test-dep-headless")
    assert load("first", *needs).direct() == "1.0"
    registry.unload_plugin("first")
    assert load("first", *needs).direct() == "1.0"
    assert load("second", *needs).direct() == "1.0"


@pytest.mark.parametrize("where", ["host", "target"])
def test_what_a_package_brings_along_for_itself_is_not_the_hosts(
    wheel: MakeWheel,
    load: LoadUser,
    registry: NodeRegistry,
    host_install: HostInstall,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    """Setuptools puts a folder of old packages at the end of `sys.path`: the next load shares what the last did."""
    own = "cuvis_test_tools/_vendor"
    files = {
        "cuvis_test_tools/__init__.py": "import os, sys\nsys.path.append(os.path.dirname(__file__) + '/_vendor')\n",
        f"{own}/cuvis_test_dep/__init__.py": "VERSION = 'vendored'\n",
        f"{own}/cuvis_test_dep-0.1.dist-info/METADATA": "Metadata-Version: 2.1\nName: cuvis-test-dep\nVersion: 0.1\n",
    }
    wheel("cuvis-test-tools", "1.0", files)
    versions(wheel, "1.0")
    monkeypatch.setattr(sys, "path", list(sys.path))
    if where == "host":
        host_install("cuvis-test-tools", "1.0")
    for again in range(2):
        plugin = load("first", "cuvis-test-dep", "cuvis-test-tools")
        assert (plugin.late(), plugin.metadata(), plugin.module.__name__) == ("1.0", "1.0", "cuvis_test_dep"), again
        plugin.by_name()
        if not again:
            importlib.import_module("cuvis_test_tools")
            for name in [name for name in sys.modules if name.startswith("cuvis_test_dep")]:
                del sys.modules[name]
        registry.unload_plugin("first")


def test_both_loading_orders_work_in_fresh_processes(
    wheel: MakeWheel, load: LoadUser, registry: NodeRegistry, cache: Path, tmp_path: Path
) -> None:
    """Targets do not depend on what was imported when they were built."""
    versions(wheel, "1.0", "2.0")
    load("first", "cuvis-test-dep==1.0")
    load("second", "cuvis-test-dep==2.0")
    registry.clear_plugins()
    code = (
        "import sys\nfrom cuvis_ai_core import NodeRegistry\nregistry = NodeRegistry(discover=False)\n"
        "for name in sys.argv[1:]:\n"
        f"    config = {{'path': f'{tmp_path}/{{name}}', 'provides': [f'{{name}}.nodes.Echo']}}\n"
        "    registry.load_plugin(name, config)\n"
        "    print(registry.get(f'{name}.nodes.Echo').answers.late())\n"
    )
    environment = {**os.environ, "CUVIS_PLUGINS_DIR": str(cache)}
    for order, expected in ((["first", "second"], "1.0 2.0"), (["second", "first"], "2.0 1.0")):
        command = [sys.executable, "-c", code, *order]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert result.stdout.split() == expected.split()


def test_who_names_the_folders_to_look_in_is_told_of_no_plugin(
    load: LoadUser, wheel: MakeWheel, tmp_path: Path
) -> None:
    """`distributions(path=…)` means these folders, though a plugin's dependency is live."""
    wheel("cuvis-test-dep", "1.0", {"cuvis_test_dep/__init__.py": "VERSION = '1.0'"})
    answers = load("first", "cuvis-test-dep")
    assert answers.metadata() == "1.0"
    (tmp_path / "empty").mkdir()
    assert list(importlib.metadata.distributions(path=[str(tmp_path / "empty")])) == []


def test_a_choice_of_versions_for_another_environment_is_remembered(
    wheel: MakeWheel,
    host_install: HostInstall,
    local_plugin: Callable[..., Path],
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once made, it needs no uv, also where it led to the target directory that was there."""
    versions(wheel, "1.0")
    wheel("cuvis-test-new", "1.0", {"cuvis_test_new.py": ""})
    config = {"path": str(local_plugin(dependencies=("cuvis-test-dep",))), "provides": ["echo_plugin.nodes.Echo"]}

    def load() -> None:
        shutil.rmtree(cache / ".records", ignore_errors=True)  # which would spare even the look at the target directory
        with NodeRegistry(discover=False) as registry:
            registry.load_plugin("echo", config)

    load()
    host_install("cuvis-test-new", "1.0")
    load()
    monkeypatch.setattr(
        "cuvis_ai_core.plugins.installing.uv_process.run_program", lambda *_, **__: pytest.fail("uv was asked")
    )
    load()
    assert len(list(cache.glob(".targets/*/*/cuvis_test_dep"))) == 1


def written(make_wheel: Callable[..., None], folder: Path, version: str, **options: Any) -> str:
    """Write a wheel of `cuvis-test-dep` 1.0, which gives its version otherwise, elsewhere, and return its address."""
    files = {"cuvis_test_dep/__init__.py": f"VERSION = {version!r}\n"}
    make_wheel(folder, "cuvis-test-dep", "1.0", files, **options)
    return next(folder.glob("*.whl")).as_uri()


@pytest.mark.parametrize("named_first", [True, False])
def test_another_file_of_one_version_is_not_shared(
    make_wheel: Callable[..., None], wheel: MakeWheel, load: LoadUser, tmp_path: Path, *, named_first: bool
) -> None:
    """A plugin that names a file by its address has that one, and no other plugin has, whose lock has another hash."""
    written(make_wheel, tmp_path / "wheels", "of the index")
    other = written(make_wheel, tmp_path / "other", "of an address")
    named = {"first": f"cuvis-test-dep @ {other}", "second": "cuvis-test-dep==1.0"}
    order = list(named) if named_first else list(named)[::-1]
    found = {name: load(name, named[name]).direct() for name in order}
    assert found == {"first": "of an address", "second": "of the index"}


def test_the_same_file_by_its_address_is_shared(
    make_wheel: Callable[..., None], wheel: MakeWheel, load: LoadUser, tmp_path: Path
) -> None:
    """However it is named."""
    gc.collect()  # another test's plugin, which has another file of this version, may be alive until then
    address = written(make_wheel, tmp_path / "wheels", "of the index")
    one, other = load("first", f"cuvis-test-dep @ {address}"), load("second", "cuvis-test-dep==1.0")
    assert one.module is other.module


def test_another_file_of_something_compiled_is_a_clash(
    make_wheel: Callable[..., None], wheel: MakeWheel, load: LoadUser, tmp_path: Path
) -> None:
    """It is once in a process."""
    written(make_wheel, tmp_path / "wheels", "of the index", pure=False)
    other = written(make_wheel, tmp_path / "other", "of an address", pure=False)
    load("first", f"cuvis-test-dep @ {other}")
    with pytest.raises(PluginLoadError, match="with other files"):
        load("second", "cuvis-test-dep==1.0")
