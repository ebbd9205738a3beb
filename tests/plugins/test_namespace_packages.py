"""Namespace packages that host, targets and plugins fill together, as `google.*` is."""

import gc
import importlib
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.plugins.isolation.scope import living_scopes

Files = dict[str, str]
MakeWheel = Callable[..., None]
LoadUser = Callable[..., Any]
HostInstall = Callable[[str, str], Path]

SPACE = "cuvis_test_ns"


def portion(make: MakeWheel, letter: str, *, space: str = SPACE, version: str = "1.0", **options: Any) -> None:
    """Build a distribution with one package in a namespace."""
    folder = space.replace(".", "/")
    files = {f"{folder}/{letter}/__init__.py": f"VERSION = {letter + version!r}\n"}
    make(f"cuvis-test-ns-{letter}", version, files, **options)


def load_portion(load: LoadUser, plugin: str, letter: str, *, space: str = SPACE) -> Any:
    """Load a plugin that uses one package of a namespace."""
    name = f"cuvis-test-ns-{letter}"
    return load(plugin, name, module=f"{space}.{letter}", distribution=name)


def seen(space: str = SPACE) -> set[str]:
    """Return the names of what lies in a namespace, as whoever looks for extensions there sees it."""
    package = importlib.import_module(space)
    return {found.name for found in pkgutil.iter_modules(package.__path__)}


@pytest.mark.parametrize("space", [SPACE, f"{SPACE}.deep.er"])
@pytest.mark.parametrize("imported", [True, False])
def test_host_and_target_have_a_portion_each(
    wheel: MakeWheel, load: LoadUser, host_install: HostInstall, space: str, *, imported: bool
) -> None:
    """Both are importable and seen on the package's path, also where the host's portion was imported first."""
    portion(wheel, "a", space=space)
    portion(wheel, "b", space=space)
    host_install("cuvis-test-ns-a", "1.0")
    if imported:
        assert importlib.import_module(f"{space}.a").VERSION == "a1.0"
        assert seen(space) == {"a"}
    plugin = load_portion(load, "first", "b", space=space)
    assert (plugin.direct(), plugin.late(), plugin.by_name()) == ("b1.0",) * 3
    assert importlib.import_module(f"{space}.a").VERSION == "a1.0"
    assert seen(space) == {"a", "b"}
    importlib.invalidate_caches()
    assert seen(space) == {"a", "b"}


def test_portions_of_several_targets_come_and_go(wheel: MakeWheel, load: LoadUser, registry: NodeRegistry) -> None:
    """What an unloaded plugin never imported is on the path no more."""
    portion(wheel, "a")
    portion(wheel, "b")
    load_portion(load, "first", "a")
    load("second", "cuvis-test-ns-b", module="sys", distribution="cuvis-test-ns-b")
    assert seen() == {"a", "b"}
    registry.unload_plugin("second")
    assert seen() == {"a"}


def test_a_regular_package_of_the_host_takes_in_a_portion(
    wheel: MakeWheel, load: LoadUser, host_install: HostInstall
) -> None:
    """Old distributions put an `__init__.py` there; the host's own modules and the target's are both found."""
    wheel("cuvis-test-ns-a", "1.0", {f"{SPACE}/__init__.py": "HOST = True\n", f"{SPACE}/a.py": "VERSION = 'a'\n"})
    portion(wheel, "b", space=f"{SPACE}.deep")
    host_install("cuvis-test-ns-a", "1.0")
    plugin = load_portion(load, "first", "b", space=f"{SPACE}.deep")
    assert plugin.late() == "b1.0"
    assert importlib.import_module(f"{SPACE}.a").VERSION == "a"
    assert importlib.import_module(SPACE).HOST


@pytest.mark.parametrize("init", [True, False])
def test_a_users_folder_of_the_namespaces_name(
    wheel: MakeWheel, load: LoadUser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, init: bool
) -> None:
    """In the working directory, a package or a plain folder: the plugin's dependency is found all the same."""
    portion(wheel, "a")
    folder = tmp_path / "script" / SPACE
    folder.mkdir(parents=True)
    (folder / "mine.py").write_text("VERSION = 'mine'")
    if init:
        (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(folder.parent))
    assert load_portion(load, "first", "a").late() == "a1.0"
    assert importlib.import_module(f"{SPACE}.mine").VERSION == "mine"


@pytest.fixture
def load_inside(registry: NodeRegistry, tmp_path: Path, write_files: Callable[..., Path]) -> LoadUser:
    """Return a function that loads a plugin whose own code lies in the namespace, and returns its module."""

    def run(node_source: Callable[..., str], *requires: str) -> Any:
        files = {
            "pyproject.toml": "[build-system]\nrequires = ['hatchling']\nbuild-backend = 'hatchling.build'\n"
            f"[project]\nname = 'inside'\nversion = '1'\ndependencies = {list(requires)}\n"
            f"[tool.hatch.build.targets.wheel]\npackages = ['{SPACE}']\n",
            f"{SPACE}/inside/__init__.py": "",
            f"{SPACE}/inside/nodes.py": node_source("Inside")
            + f"import {SPACE}.a as a\nfrom {SPACE} import inside\nfrom importlib import import_module\n"
            f"def late(name):\n    module = import_module('{SPACE}.' + name)\n    return module\n",
        }
        folder = write_files(tmp_path / "inside", files)
        registry.load_plugin("inside", {"path": str(folder), "provides": [f"{SPACE}.inside.nodes.Inside"]})
        return sys.modules[registry.get("Inside").__module__]

    return run


@pytest.mark.parametrize("where", ["host", "target"])
def test_a_plugin_within_a_namespace_shares_its_dependencies_there(
    wheel: MakeWheel, load_inside: LoadUser, host_install: HostInstall, node_source: Callable[..., str], where: str
) -> None:
    """Its own package is private, that of a dependency beside it the one that everybody has."""
    portion(wheel, "a")
    portion(wheel, "b")
    if where == "host":
        host_install("cuvis-test-ns-a", "1.0")
        host_install("cuvis-test-ns-b", "1.0")
    plugin = load_inside(node_source, "cuvis-test-ns-a", "cuvis-test-ns-b")
    assert plugin.a is importlib.import_module(f"{SPACE}.a")
    assert plugin.late("b") is importlib.import_module(f"{SPACE}.b")
    with pytest.raises(ModuleNotFoundError):
        plugin.late("never")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"{SPACE}.inside")


def test_a_private_dependency_and_a_shared_one_in_one_namespace(
    wheel: MakeWheel,
    load: LoadUser,
    registry: NodeRegistry,
    tmp_path: Path,
    project_files: Callable[..., Files],
    write_files: Callable[..., Path],
) -> None:
    """The plugin has its own version of one and everybody's of the other."""
    before = {scope.name for scope in living_scopes()}
    portion(wheel, "a", version="1.0")
    portion(wheel, "a", version="2.0")
    portion(wheel, "b", pure=False)
    load("first", "cuvis-test-ns-a==1.0", module=f"{SPACE}.a", distribution="cuvis-test-ns-a")
    files = project_files("second", dependencies=("cuvis-test-ns-a==2.0", "cuvis-test-ns-b"))
    files["src/second/nodes.py"] += f"import {SPACE}.a as a\nfrom {SPACE} import b\nEcho.seen = (a, b)\n"
    config = {"path": str(write_files(tmp_path / "second", files)), "provides": ["second.nodes.Echo"]}
    registry.load_plugin("second", config)
    a, b = registry.get("second.nodes.Echo").seen  # type: ignore[attr-defined]
    assert (a.VERSION, b.VERSION) == ("a2.0", "b1.0")
    assert b is importlib.import_module(f"{SPACE}.b")
    assert importlib.import_module(f"{SPACE}.a").VERSION == "a1.0"
    registry.clear_plugins()
    del a, b
    gc.collect()
    assert {scope.name for scope in living_scopes()} <= before  # some of other tests never end


def test_a_shared_package_imports_its_own_modules_by_name_while_a_plugin_imports_it(
    wheel: MakeWheel, load: LoadUser
) -> None:
    """As protobuf does, which is everybody's in `google`, where google-auth is the plugin's own."""
    portion(wheel, "a", version="1.0")
    portion(wheel, "a", version="2.0")
    inner = f"from importlib import import_module\nVERSION = import_module('{SPACE}.b.inner').VERSION\n"
    files = {f"{SPACE}/b/__init__.py": inner, f"{SPACE}/b/inner.py": "VERSION = 'b1.0'\n"}
    wheel("cuvis-test-ns-b", "1.0", files, pure=False)
    load("first", "cuvis-test-ns-a==1.0", module=f"{SPACE}.a", distribution="cuvis-test-ns-a")
    needs = ("cuvis-test-ns-a==2.0", "cuvis-test-ns-b")
    second = load("second", *needs, module=f"{SPACE}.b", distribution="cuvis-test-ns-b")
    assert (second.direct(), second.by_name()) == ("b1.0", "b1.0")


@pytest.mark.parametrize("state", ["loaded", "unloaded", "unloaded and kept", "loaded again"])
@pytest.mark.parametrize(
    "host",
    [
        "a module beside it",
        pytest.param("a package of that name", marks=pytest.mark.slow),
        pytest.param("nothing", marks=pytest.mark.slow),
    ],
)
def test_the_programs_imports_are_its_own_whatever_became_of_a_plugin(
    wheel: MakeWheel,
    load_inside: LoadUser,
    registry: NodeRegistry,
    node_source: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    host: str,
) -> None:
    """A name below the namespace of a plugin is found as if there were no plugin, or is not there."""
    portion(wheel, "a")
    folder = tmp_path / "program" / SPACE
    folder.mkdir(parents=True)
    if host != "nothing":
        (folder / "mine.py").write_text("VERSION = 'mine'")
    if host == "a package of that name":
        (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(folder.parent))
    module = load_inside(node_source, "cuvis-test-ns-a")
    kept = module.Inside if state != "unloaded" else None
    if state != "loaded":
        del module
        registry.unload_plugin("inside")
    if state == "loaded again":
        module = load_inside(node_source, "cuvis-test-ns-a")
    if host == "nothing":
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(f"{SPACE}.mine")
    else:
        assert importlib.import_module(f"{SPACE}.mine").VERSION == "mine"
    for name in ("inside", "never"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(f"{SPACE}.{name}")
    if kept is not None:
        assert list(vars(sys.modules[f"{SPACE}.a"]))  # what it needs is there
