"""What is found in a directory into which a plugin was installed: compared whole, nothing is installed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cuvis_ai_core.errors import DependencyConflictError
from cuvis_ai_core.plugins.cache.target_entry import Target
from cuvis_ai_core.plugins.dependencies.distribution import Distribution
from cuvis_ai_core.plugins.installing.target_distributions import module_roots, read_distributions, target_of

Files = dict[str, str]
Write = Callable[[Path, Files], Path]

PLUGIN = Distribution("my-plugin", "0", requires=("dep>1",))


@pytest.fixture
def install(tmp_path: Path, write_files: Write) -> Callable[..., Path]:
    """Return what installs a distribution with some files into the directory of this test."""

    def installed(name: str, *files: str, more: str = "", tag: str = "py3-none-any", points: str = "") -> Path:
        info = f"{name}.dist-info"
        distribution, _, version = name.partition("-")
        metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n{more}"
        written = {f"{info}/METADATA": metadata, f"{info}/WHEEL": f"Wheel-Version: 1.0\nTag: {tag}\n"}
        if points:
            written[f"{info}/entry_points.txt"] = points
        written[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in (*files, *written, f"{info}/RECORD"))
        return write_files(
            tmp_path / "target", written | dict.fromkeys((file for file in files if ".." not in file), "")
        )

    return installed


def test_a_target_has_the_plugin_and_what_it_needs(install: Callable[..., Path], tmp_path: Path) -> None:
    """Requirements as they were resolved; modules that lie elsewhere; entry points of the plugin alone."""
    points = "[cuvis_ai.nodes]\nmine = my_plugin.nodes:Node\n\n[console_scripts]\nrun = my_plugin:run\n"
    install(
        "my_plugin-1.2",
        "my_plugin/__init__.py",
        "my_plugin/nodes.py",
        "json/__init__.py",
        more="Requires-Dist: dep>1\nRequires-Dist: other; extra == 'more'\n",
        points=points,
    )
    install("Dep-2.0", "dep/__init__.py", "tests/__init__.py", more="Requires-Dist: low\n", points=points)
    folder = install("low-3", "space/low/x.so", tag="cp311-cp311-linux_x86_64")
    found = target_of(folder, PLUGIN, {"extra_code": tmp_path / "src", "typing": tmp_path}, "host", ["my_plugin"])
    assert found == Target(
        folder=folder,
        plugin=Distribution("my-plugin", "1.2", ("dep>1",), ("my_plugin",)),
        needed=(
            Distribution("dep", "2.0", ("low",), ("dep",)),
            Distribution("low", "3", (), ("space.low.x",), ("space", "space.low"), pure=False),
        ),
        code={"extra_code": str(tmp_path / "src"), "my_plugin": ""},
        entry_points={"mine": "my_plugin.nodes:Node"},
        hosts=("host",),
    )
    assert [each.name for each in read_distributions(folder)] == ["dep", "low", "my-plugin"]


def test_where_nothing_is_installed_of_a_plugin_its_name_stands_for_it(tmp_path: Path) -> None:
    """As for a folder without a project file."""
    folder = tmp_path / "target"
    folder.mkdir()
    found = target_of(folder, PLUGIN, {"my_plugin": tmp_path}, "host")
    assert (found.plugin, found.needed, found.entry_points) == (PLUGIN, (), {})
    assert found.code == {"my_plugin": str(tmp_path)}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["cuvis_ai_core/x.py"], "package dep brings a module 'cuvis_ai_core', which is that of 'cuvis-ai-core'."),
        (
            ["cuvis_ai_schemas.py"],
            "package dep brings a module 'cuvis_ai_schemas', which is that of 'cuvis-ai-schemas'.",
        ),
        (
            ["my_plugin/__init__.py"],
            "package dep brings a module 'my_plugin', which is that of the plugin 'my-plugin' itself.",
        ),
        (["my_plugin/more/__init__.py"], ""),
        (["dep.py"], ""),
    ],
)
def test_nobody_brings_what_is_anothers(install: Callable[..., Path], files: list[str], words: str) -> None:
    """Neither the modules of this package nor those of the plugin; a namespace is for all."""
    install("my_plugin-1.2", "my_plugin/__init__.py")
    folder = install("dep-2.0", *files)
    if not words:
        assert target_of(folder, PLUGIN, {}, "host", ["my_plugin"]).needed[0].name == "dep"
        return
    with pytest.raises(DependencyConflictError) as caught:
        target_of(folder, PLUGIN, {}, "host", ["my_plugin"])
    assert caught.value.message == f"Dependency conflict: {words}"


def test_a_plugin_takes_no_name_of_this_package(install: Callable[..., Path], tmp_path: Path) -> None:
    """But for one that it declares without having it, and packages of the old kinds of namespaces."""
    folder = install("my_plugin-1.2", "cuvis_ai_core/__init__.py")
    with pytest.raises(DependencyConflictError, match="package my-plugin brings a module 'cuvis_ai_core', which is"):
        target_of(folder, PLUGIN, {}, "host")
    folder = install("my_plugin-1.2", "shared/__init__.py")
    install("dep-2.0", "shared/__init__.py", "needed/__init__.py")
    with pytest.raises(DependencyConflictError, match="'shared', which is that of the plugin 'my-plugin' itself"):
        target_of(folder, PLUGIN, {}, "host", ["shared", "needed"])
    assert target_of(folder, PLUGIN, {}, "host", ["needed"]).plugin.roots == ("shared",)
    (folder / "shared/__init__.py").write_text("__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n")
    assert target_of(folder, PLUGIN, {}, "host", ["shared"]).plugin.roots == ("shared",)


def test_roots_leave_out_what_nobody_imports() -> None:
    """Scripts, bytecode, data, and names that no statement could have; but those that compiled code imports."""
    files = [
        "../../bin/x.py",
        "a/__pycache__/a.pyc",
        "a/__init__.py",
        "a/b/__init__.py",
        "a/data.txt",
        "b-c.py",
        "3x__mypyc.so",
    ]
    assert module_roots(files) == (("3x__mypyc", "a"), ())
    assert module_roots(["s/t/u/__init__.py", "s/t/v.py", "s/w.cpython-311.so"]) == (
        ("s.t.u", "s.t.v", "s.w"),
        ("s", "s.t"),
    )
    assert module_roots(["no-name/x.py", "s/no-name/y/__init__.py"]) == ((), ("s",))
