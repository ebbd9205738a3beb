"""What is read from installed target directories."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import PluginLoadError
from cuvis_ai_core.plugins.dependencies.search_path import without_standard_library
from cuvis_ai_core.plugins.installing.editables import editable_code
from cuvis_ai_core.plugins.installing.target_distributions import module_roots
from cuvis_ai_core.testing.git_host import GitHost

Files = dict[str, str]


@pytest.mark.parametrize(
    ("files", "roots", "namespaces"),
    [
        (["ftfy/__init__.py", "ftfy/bad_codecs/__init__.py"], ("ftfy",), ()),
        (["black/__init__.py", "85cae__mypyc.cpython-311-x86_64-linux-gnu.so"], ("85cae__mypyc", "black"), ()),
        (["six.py"], ("six",), ()),
        (["_yaml.cpython-311-x86_64-linux-gnu.so"], ("_yaml",), ()),
        (["google/cloud/storage/__init__.py"], ("google.cloud.storage",), ("google", "google.cloud")),
        (["ns/module.py"], ("ns.module",), ("ns",)),
        (["a/__init__.py", "a/ns/deep.py"], ("a",), ()),
        (["../bin/tool.py", "x-1.0.dist-info/METADATA", "a/__pycache__/b.py", "data.txt"], (), ()),
    ],
)
def test_roots_are_the_outermost_packages(
    files: list[str], roots: tuple[str, ...], namespaces: tuple[str, ...]
) -> None:
    """Namespaces above them are told apart: several distributions share those."""
    assert module_roots(files) == (roots, namespaces)


@pytest.mark.slow
@given(st.lists(st.from_regex(r"([ab]/){0,3}(__init__|c)\.py", fullmatch=True), max_size=8))
def test_every_module_is_below_exactly_one_root(files: list[str]) -> None:
    """Roots never contain one another, and no root is a namespace."""
    roots, namespaces = module_roots(files)
    assert not set(roots) & set(namespaces)
    assert not any(one != other and one.startswith(f"{other}.") for one in roots for other in roots)


def test_plugins_do_not_own_names_of_the_standard_library() -> None:
    """The standard library comes first on every search path."""
    assert without_standard_library(["types", "json", "loss"]) == {"loss"}


def test_editable_installs_are_read_and_never_run(tmp_path: Path, write_files: Callable[[Path, Files], Path]) -> None:
    """`.pth` lines and the mapping of setuptools' finder; namespace folders only where they are wanted."""
    project = write_files(
        tmp_path / "project",
        {
            "src/flat/__init__.py": "",
            "src/one.py": "",
            "src/space/x.py": "",
            "src/data/x.txt": "",
            "lib/mapped/__init__.py": "",
        },
    )
    mapped = project / "lib/mapped"
    target = write_files(
        tmp_path / "target",
        {
            "plain.pth": f"# a comment\n{project / 'src'}\n",
            "__editable__.x.pth": "import __editable___x_finder; __editable___x_finder.install()\n",
            "__editable___x_finder.py": f"raise SystemExit\nMAPPING: dict = {{'mapped': {str(mapped)!r}}}\n",
        },
    )
    assert editable_code(target, {"space"}) == {
        "flat": project / "src",
        "one": project / "src",
        "space": project / "src",
        "mapped": project / "lib",
    }


def test_packages_below_a_namespace_are_found_in_a_mapping(
    tmp_path: Path, write_files: Callable[[Path, Files], Path]
) -> None:
    """Their top-level name leads to the folder above the namespace."""
    package = tmp_path / "lib/space/inner"
    target = write_files(
        tmp_path / "target",
        {
            "__editable__.x.pth": "import __editable___x_finder; __editable___x_finder.install()\n",
            "__editable___x_finder.py": f"MAPPING = {{'space.inner': {str(package)!r}}}\n",
        },
    )
    assert editable_code(target, set()) == {"space": tmp_path / "lib"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "requires", "extra"),
    [
        ("setuptools.build_meta", "setuptools", ""),
        ("hatchling.build", "hatchling", ""),
        ("flit_core.buildapi", "flit_core", ""),
    ],
)
def test_local_projects_of_every_usual_back_end_load(
    registry: NodeRegistry,
    tmp_path: Path,
    write_files: Callable[[Path, Files], Path],
    node_source: Callable[..., str],
    backend: str,
    requires: str,
    extra: str,
) -> None:
    """A flat layout, installed so that edits are seen."""
    folder = write_files(
        tmp_path / "flat",
        {
            "pyproject.toml": f"[build-system]\nrequires = ['{requires}']\nbuild-backend = '{backend}'\n"
            "[project]\nname = 'flat_one'\nversion = '1'\ndescription = 'x'\n",
            "flat_one/__init__.py": "",
            "flat_one/nodes.py": node_source("Flat", backend),
        },
    )
    registry.load_plugin("flat", {"path": str(folder), "provides": ["flat_one.nodes.Flat"]})
    assert backend == registry.get("Flat").VERSION  # type: ignore[attr-defined]
    import inspect

    assert Path(inspect.getfile(registry.get("Flat"))) == folder / "flat_one/nodes.py"


def test_path_files_of_dependencies_say_nothing_about_a_plugin(
    tmp_path: Path, write_files: Callable[[Path, Files], Path]
) -> None:
    """Such as that of setuptools, which runs code, or one with a folder of its own."""
    code = tmp_path / "code"
    write_files(code, {"mine.py": "", "other.py": ""})
    target = write_files(
        tmp_path / "target",
        {
            "distutils-precedence.pth": "import os; print('run')\n",
            "setuptools-1.dist-info/RECORD": "distutils-precedence.pth,sha256=x,1\n",
            "mine.pth": f"{code}\n",
            "mine-1.dist-info/RECORD": "mine.pth,sha256=x,1\n",
            "mine-1.dist-info/direct_url.json": '{"url": "file:///x", "dir_info": {"editable": true}}',
        },
    )
    assert set(editable_code(target, set())) == {"mine", "other"}


@pytest.mark.parametrize("module", ["cuvis_ai_core", "cuvis_ai_schemas", "echo_plugin"])
@pytest.mark.parametrize("by", ["dependency", "plugin"])
def test_no_package_takes_the_place_of_this_one_or_of_the_plugin(
    registry: NodeRegistry,
    local_plugin: Callable[..., Path],
    write_files: Callable[[Path, Files], Path],
    wheel: Callable[..., None],
    module: str,
    by: str,
) -> None:
    """Whoever brings a module of that name; an import of this package goes on as before, and honest plugins load."""
    taken = {f"{module}/__init__.py": "raise SystemExit\n"}
    wheel("cuvis-test-dep", "1.0", {"cuvis_test_dep.py": "", **(taken if by == "dependency" else {})})
    folder = local_plugin(dependencies=("cuvis-test-dep",))
    if by == "plugin" and module != "echo_plugin":
        write_files(folder / "src", taken)
        (folder / "pyproject.toml").write_text(
            (folder / "pyproject.toml").read_text()
            + f'[tool.uv.build-backend]\nmodule-name = ["echo_plugin", "{module}"]\n'
        )
    config = {"path": str(folder), "provides": ["echo_plugin.nodes.Echo"]}
    if by == "plugin" and module == "echo_plugin":
        registry.load_plugin("echo", config)
        return
    with pytest.raises(PluginLoadError, match=f"brings a module '{module}'"):
        registry.load_plugin("echo", config)


@pytest.mark.parametrize("isolation", ["scoped", pytest.param("process", marks=pytest.mark.slow)])
def test_a_plugin_may_declare_a_class_of_what_it_needs(
    registry: NodeRegistry,
    local_plugin: Callable[..., Path],
    node_source: Callable[..., str],
    wheel: Callable[..., None],
    isolation: str,
) -> None:
    """One that only says which packages of nodes belong together has none of its own."""
    wheel("cuvis-test-kit", "1.0", {"cuvis_test_kit/__init__.py": node_source("Needed")})
    folder = local_plugin(dependencies=("cuvis-test-kit",))
    config = {"path": str(folder), "provides": ["cuvis_test_kit.Needed"], "isolation": isolation}
    registry.load_plugin("echo", config)
    assert registry.get("Needed")()(cube=np.ones((1, 1, 1, 1), np.float32))["cube"].sum() == 1


def test_a_plugin_shares_a_namespace_of_the_old_kind_with_what_it_needs(
    registry: NodeRegistry, git_host: GitHost, project_files: Callable[..., Files], wheel: Callable[..., None]
) -> None:
    """Both have the package, which says that it goes on elsewhere."""
    extended = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
    wheel("cuvis-test-kit", "1.0", {"old_space/__init__.py": extended, "old_space/needed.py": "ANSWER = 3\n"})
    files = project_files("old_space", dependencies=("cuvis-test-kit",))
    files["src/old_space/__init__.py"] = extended
    files["src/old_space/nodes.py"] += "\n    from old_space.needed import ANSWER\n"
    repo = git_host.add("old-space", files, tag="v1")
    registry.load_plugin("old", {"repo": repo, "tag": "v1", "provides": ["old_space.nodes.Echo"]})
    assert getattr(registry.get("Echo"), "ANSWER", None) == 3


@pytest.mark.parametrize("declared", ["path", "repo"])
def test_the_standard_library_comes_before_a_module_of_the_plugin_with_its_name(
    registry: NodeRegistry,
    tmp_path: Path,
    git_host: GitHost,
    project_files: Callable[..., Files],
    write_files: Callable[[Path, Files], Path],
    declared: str,
) -> None:
    """As it would on any search path, for a folder as for a wheel; its other modules are its own."""
    files = project_files(extra='[tool.uv.build-backend]\nmodule-name = ["echo_plugin", "colorsys", "utils"]\n')
    files |= {"src/colorsys/__init__.py": "OWN = True\n", "src/utils/__init__.py": "OWN = True\n"}
    files["src/echo_plugin/nodes.py"] += (
        "\nimport colorsys\nimport utils\nEcho.OWN = [hasattr(each, 'OWN') for each in (colorsys, utils)]\n"
    )
    if declared == "path":
        source = {"path": str(write_files(tmp_path / "echo", files))}
    else:
        name = f"standard-{tmp_path.name}"
        source = {"repo": git_host.add(name, files, tag="v1"), "tag": "v1"}
    registry.load_plugin("echo", {**source, "provides": ["echo_plugin.nodes.Echo"]})
    assert registry.get("Echo").OWN == [False, True]  # type: ignore[attr-defined]
