"""Real plugins, each special in one way (tests/projects), as two versions side by side: from Git and from a path."""

import importlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import BuildError, PluginLoadError
from cuvis_ai_core.testing import GitHost

PROJECTS = Path(__file__).parents[1] / "projects"
MakeWheel = Callable[..., None]

NODES = {
    "compiled_extension": "compiled_extension.nodes.Scale",
    "generic_names": "nodes.Generic",
    "lazy_loading": "lazy_loading.nodes.Lazy",
    "monkeypatching": "monkeypatching.nodes.Patching",
    "one_module": "one_module.One",
    "package_data": "package_data.nodes.Data",
    "version_from_git": "version_from_git.nodes.Versioned",
}


def copy(project: str, folder: Path, version: str) -> Path:
    """Copy a project as another version: wherever it says 1.0.0, the copy says that."""
    shutil.copytree(PROJECTS / project, folder)
    for path in folder.rglob("*.*"):
        if path.is_file():
            path.write_text(path.read_text().replace("1.0.0", version))
    return folder


@pytest.fixture(params=[pytest.param("git", marks=pytest.mark.slow), "path"])
def two(
    request: pytest.FixtureRequest, git_host: GitHost, cache: Path, tmp_path: Path
) -> Iterator[Callable[[str], list[Any]]]:
    """Return a function that loads two versions of a project and returns its node class of each."""
    registries: list[NodeRegistry] = []

    def load(project: str) -> list[Any]:
        for version in ("1.0.0", "2.0.0"):
            folder = copy(project, tmp_path / version / project, version)
            name = f"{project}-{version}"
            config = {"path": str(folder)}
            if request.param == "git":
                config = {"repo": git_host.add(name, folder, tag=f"v{version}"), "tag": f"v{version}"}
            registries.append(NodeRegistry(discover=False))
            registries[-1].load_plugin(project, {**config, "provides": [NODES[project]]})
        return [registry.get(NODES[project]) for registry in registries]

    yield load
    for registry in registries:
        registry.close()
    for name in [name for name in sys.modules if name.partition(".")[0] in {*NODES, "lazy_tools"}]:
        del sys.modules[name]


@pytest.mark.slow
def test_a_compiled_extension_of_its_own(two: Callable[[str], list[Any]]) -> None:
    """Each version has its own, with its own state; what C code imports by a public name is the version's too."""
    first, second = two("compiled_extension")
    assert first.seen() == ["1.0.0", "1.0.0", "1.0.0", 2]
    assert second.seen() == ["2.0.0", "2.0.0", "2.0.0", 2]
    assert first.seen() == ["1.0.0", "1.0.0", "1.0.0", 4]


def test_a_compiled_extension_where_there_is_no_compiler(
    registry: NodeRegistry, git_host: GitHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The build's own words say which program is missing, and nothing is left."""
    monkeypatch.setenv("CC", "no-such-compiler")
    url = git_host.add("no-compiler", PROJECTS / "compiled_extension", tag="v1.0.0")
    config = {"repo": url, "tag": "v1.0.0", "provides": [NODES["compiled_extension"]]}
    with pytest.raises(PluginLoadError, match="no-such-compiler") as caught:
        registry.load_plugin("compiled_extension", config)
    assert isinstance(caught.value.__cause__, BuildError)
    assert caught.value.step == "installing"


def test_package_data_by_every_way_of_reading_it(two: Callable[[str], list[Any]]) -> None:
    """`__file__`, `__path__`, `importlib.resources`, `pkgutil`, loaders, specs and `inspect`: the version's own."""
    first, second = two("package_data")
    for _ in range(2):
        for node, version in ((first, "1.0.0"), (second, "2.0.0")):
            read = node().READ
            assert len(read) == 15
            assert set(read.values()) == {version}, read


def test_a_package_that_loads_its_modules_lazily(two: Callable[[str], list[Any]]) -> None:
    """By `__getattr__` (PEP 562), `lazy_loader` and `importlib.util.LazyLoader`, each when it is needed."""
    first, second = two("lazy_loading")
    vars(sys).pop("lazy_loading_ran", None)
    assert first.ran() == []
    assert first.seen() == ["1.0.0"] * 8
    assert first.ran() == ["1.0.0"]
    assert second.seen() == ["2.0.0"] * 8
    assert first.seen() == ["1.0.0"] * 8
    del sys.lazy_loading_ran  # type: ignore[attr-defined]


@pytest.mark.slow
def test_generic_top_level_names(
    two: Callable[[str], list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`dataset`, `loss`, `method` and `utils` of two versions, beside the program's own modules of these names."""
    names = ("dataset", "loss", "method", "utils")
    for name in (*names, "utils.checkpoint", "utils.deep", "nodes"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "script").mkdir()
    for name in names:
        (tmp_path / f"script/{name}.py").write_text("WHO = 'program'")
    monkeypatch.syspath_prepend(str(tmp_path / "script"))
    assert importlib.import_module("utils").WHO == "program"
    first, second = two("generic_names")
    for node, version in ((first, "1.0.0"), (second, "2.0.0")) * 2:
        assert node.seen() == [version] * 7
    assert [importlib.import_module(name).WHO for name in names] == ["program"] * 4
    for name in names:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.slow
@pytest.mark.parametrize("two", ["git"], indirect=True)
def test_a_version_that_comes_from_git(two: Callable[[str], list[Any]]) -> None:
    """setuptools_scm is told the version of the tag, as the installed plugin has no history."""
    for node, version in zip(two("version_from_git"), ("1.0.0", "2.0.0"), strict=True):
        assert node.seen() == [version, version]


@pytest.mark.slow
def test_one_bare_module(two: Callable[[str], list[Any]]) -> None:
    """No package at all."""
    assert [node.seen() for node in two("one_module")] == [["1.0.0"], ["2.0.0"]]


@pytest.mark.slow
def test_a_plugin_that_patches_modules(wheel: MakeWheel, two: Callable[[str], list[Any]]) -> None:
    """What is its own or private to it is patched for it alone; what is shared, for everybody."""
    import logging

    who = "def who():\n    return 'not patched'\n"
    for version in ("1.0.0", "2.0.0"):
        wheel("cuvis-test-dep", version, {"cuvis_test_dep.py": who})
    wheel("cuvis-test-shared", "1", {"cuvis_test_shared.py": who})
    first, second = two("monkeypatching")
    assert first.seen() == ["1.0.0", "1.0.0", "2.0.0", "2.0.0"]
    assert second.seen() == ["2.0.0", "2.0.0", "2.0.0", "2.0.0"]
    del logging.cuvis_test_mark  # type: ignore[attr-defined]
