"""Plugins from a local path."""

import gc
import os
import re
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from cuvis_ai_hookspecs import hookimpl

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import (
    DependencyConflictError,
    DependencyNotFoundError,
    InstallError,
    InvalidNodeError,
    LocalPathError,
    ManifestError,
    PluginConflictError,
    PluginLoadError,
    PluginNotLoadedError,
    ProjectFileError,
)
from cuvis_ai_core.plugins.plugin_info import PluginState

Files = dict[str, str]
ECHO = ["echo_plugin.nodes.Echo"]


def config(path: Path, provides: list[str] | None = None) -> dict[str, object]:
    """Return a manifest entry."""
    return {"path": str(path), "provides": provides or ECHO}


def test_a_local_plugin_contributes_its_classes(registry: NodeRegistry, local_plugin: Callable[..., Path]) -> None:
    """A class is found by short name, by full path, and in `plugin_registry`."""
    registry.load_plugin("echo", config(local_plugin()))

    echo = registry.get("Echo")
    assert registry.get("echo_plugin.nodes.Echo") is echo
    assert registry.plugin_registry["Echo"] is echo
    assert "Echo" in registry.plugin_registry
    assert list(registry.plugin_registry) == ["Echo"]
    assert registry.list_plugins() == ["echo"]
    assert registry.public_path(echo) == "echo_plugin.nodes.Echo"


def test_what_was_loaded_is_told(registry: NodeRegistry, local_plugin: Callable[..., Path], cache: Path) -> None:
    """`plugin_info` and `plugin_of` name path, distribution, version and target directory."""
    folder = local_plugin()
    registry.load_plugin("echo", config(folder))

    info = registry.plugin_info("echo")
    assert (info.kind, info.source, info.distribution, info.version) == ("local", str(folder), "echo-plugin", "1.0.0")
    assert info.target.is_relative_to(cache)
    assert info.nodes == tuple(ECHO)
    assert registry.plugin_of(registry.get("Echo")) == info
    assert registry.plugin_of(registry.get("MinMaxNormalizer")) is None


def test_an_edit_is_seen_at_the_next_load_without_a_reinstall(
    registry: NodeRegistry, local_plugin: Callable[..., Path], node_source: Callable[..., str]
) -> None:
    """The code is imported from where it lies; the target directory stays as it is."""
    folder = local_plugin()
    registry.load_plugin("echo", config(folder))
    target = registry.plugin_info("echo").target
    built = (target / "cuvis-target.json").stat().st_mtime_ns
    assert registry.get("Echo").VERSION == "1.0.0"  # type: ignore[attr-defined]

    (folder / "src/echo_plugin/nodes.py").write_text(node_source(version="9.9.9"))
    registry.unload_plugin("echo")
    registry.load_plugin("echo", config(folder))

    assert registry.get("Echo").VERSION == "9.9.9"  # type: ignore[attr-defined]
    assert registry.plugin_info("echo").target == target
    assert (target / "cuvis-target.json").stat().st_mtime_ns == built


def test_another_registry_sees_an_edit_while_the_first_keeps_its_classes(
    registry: NodeRegistry, local_plugin: Callable[..., Path], node_source: Callable[..., str]
) -> None:
    """Both states of one local plugin live side by side."""
    folder = local_plugin()
    registry.load_plugin("echo", config(folder))
    (folder / "src/echo_plugin/nodes.py").write_text(node_source(version="edited"))

    with NodeRegistry(discover=False) as other:
        other.load_plugin("echo", config(folder))
        assert other.get("Echo").VERSION == "edited"  # type: ignore[attr-defined]
        assert registry.get("Echo").VERSION == "1.0.0"  # type: ignore[attr-defined]


def test_the_same_content_in_two_registries_is_one_loaded_copy(
    registry: NodeRegistry, local_plugin: Callable[..., Path]
) -> None:
    """Classes are identical, and stay when one registry lets go."""
    folder = local_plugin()
    registry.load_plugin("echo", config(folder))
    with NodeRegistry(discover=False) as other:
        other.load_plugin("echo", config(folder))
        assert other.get("Echo") is registry.get("Echo")
    assert registry.get("Echo")()(cube=1) == {"cube": 1}


def test_a_relative_path_counts_from_the_working_directory(
    registry: NodeRegistry, local_plugin: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`load_plugin` resolves against the working directory."""
    monkeypatch.chdir(local_plugin().parent)
    registry.load_plugin("echo", {"path": "echo", "provides": ECHO})
    assert "Echo" in registry.plugin_registry


@pytest.mark.usefixtures("no_private_modules")
def test_unloading_takes_the_nodes_away(registry: NodeRegistry, local_plugin: Callable[..., Path]) -> None:
    """After `unload_plugin` neither name is found, and a node that lives on still works."""
    registry.load_plugin("echo", config(local_plugin()))
    node = registry.get("Echo")()
    registry.unload_plugin("echo")

    assert "Echo" not in registry.plugin_registry
    with pytest.raises(KeyError, match="Node 'Echo' not found in registry"):
        registry.get("Echo")
    assert node(cube=3) == {"cube": 3}
    with pytest.raises(PluginNotLoadedError, match="No plugin 'echo' is loaded"):
        registry.unload_plugin("echo")


@pytest.mark.parametrize("ask", ["unload_plugin", "plugin_info", "edited"])
def test_a_wrong_name_of_a_loaded_plugin_is_asked_back(
    registry: NodeRegistry, local_plugin: Callable[..., Path], ask: str
) -> None:
    """As one of a node is: a distribution is often called with a hyphen where the plugin has an underscore."""
    registry.load_plugin("echo_plugin", config(local_plugin()))
    with pytest.raises(PluginNotLoadedError, match=r"Did you mean 'echo_plugin'\?"):
        getattr(registry, ask)("echo-plugin")


def test_the_same_configuration_again_does_nothing(registry: NodeRegistry, local_plugin: Callable[..., Path]) -> None:
    """Loading is idempotent; another configuration under the name asks to unload first."""
    folder = local_plugin()
    registry.load_plugin("echo", config(folder))
    registry.load_plugin("echo", config(folder))
    assert registry.list_plugins() == ["echo"]
    with pytest.raises(PluginConflictError, match="another configuration") as caught:
        registry.load_plugin("echo", config(folder, ["echo_plugin.nodes.Other"]))
    assert 'unload_plugin("echo")' in str(caught.value)


def test_a_folder_without_a_project_file_has_no_dependencies(
    registry: NodeRegistry, tmp_path: Path, write_files: Callable[[Path, Files], Path], node_source: Callable[..., str]
) -> None:
    """It loads with one warning."""
    write_files(tmp_path / "bare", {"my_nodes.py": node_source("Bare")})
    with pytest.warns(UserWarning, match=r"has no pyproject.toml"):
        registry.load_plugin("bare", config(tmp_path / "bare", ["my_nodes.Bare"]))
    assert registry.get("Bare")()(cube=1) == {"cube": 1}


def test_a_folder_that_is_itself_the_package(
    registry: NodeRegistry, tmp_path: Path, write_files: Callable[[Path, Files], Path], node_source: Callable[..., str]
) -> None:
    """`path` may name the package directory."""
    folder = write_files(
        tmp_path / "bare_pkg", {"__init__.py": "from .nodes import Bare", "nodes.py": node_source("Bare")}
    )
    with pytest.warns(UserWarning, match=r"has no pyproject.toml"):
        registry.load_plugin("bare", config(folder, ["bare_pkg.Bare"]))
    assert registry.get("bare_pkg.Bare") is registry.get("bare_pkg.nodes.Bare")


def test_a_re_export_may_be_declared(registry: NodeRegistry, local_plugin: Callable[..., Path]) -> None:
    """`provides` may name a class where it is re-exported; both paths are understood."""
    folder = local_plugin()
    (folder / "src/echo_plugin/__init__.py").write_text("from echo_plugin.nodes import Echo")
    registry.load_plugin("echo", config(folder, ["echo_plugin.Echo"]))
    assert registry.get("echo_plugin.Echo") is registry.get("echo_plugin.nodes.Echo")
    assert registry.public_path(registry.get("Echo")) == "echo_plugin.Echo"


def test_hooks_of_a_declared_plugin_add_nodes(
    registry: NodeRegistry, local_plugin: Callable[..., Path], node_source: Callable[..., str]
) -> None:
    """A hook module named by the plugin's own entry points contributes, lazily by path or as classes."""
    folder = local_plugin(extra='[project.entry-points."cuvis_ai.nodes"]\nhooks = "echo_plugin.hooks"\n')
    (folder / "src/echo_plugin/more.py").write_text(node_source("More"))
    (folder / "src/echo_plugin/hooks.py").write_text(
        "from cuvis_ai_hookspecs import hookimpl\nfrom echo_plugin.nodes import Echo\n\n"
        "@hookimpl\ndef cuvis_ai_nodes():\n    return [Echo, 'echo_plugin.more.More']\n\n"
        "@hookimpl\ndef cuvis_ai_config_dirs():\n    return [__file__]\n"
    )
    registry.load_plugin("echo", config(folder))
    assert sorted(registry.plugin_registry) == ["Echo", "More"]
    assert registry.get("More").__name__ == "More"
    assert registry.config_dirs() == [folder / "src/echo_plugin/hooks.py"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hooks", "message"),
    [
        ("@hookimpl\ndef cuvis_ai_nodes(surprise):\n    return []", "cuvis_ai_nodes.*surprise"),
        ("@hookimpl\ndef cuvis_ai_nods():\n    return []", "unknown hook 'cuvis_ai_nods'"),
        ("def cuvis_ai_nodes():\n    return []", "not marked with @hookimpl"),
        ("@hookimpl\ndef cuvis_ai_nodes():\n    return 7", "answered 7"),
        ("@hookimpl\ndef cuvis_ai_nodes():\n    return [int]", "'builtins.int' is no node class"),
        ("@hookimpl\ndef cuvis_ai_nodes():\n    return ['echo_plugin.nodes.Missing']", "has no 'Missing'"),
        ("@hookimpl\ndef cuvis_ai_nodes():\n    raise OSError('boom')", "OSError: boom"),
    ],
)
@pytest.mark.usefixtures("no_private_modules")
def test_a_wrong_hook_fails_the_plugin_and_names_it(
    registry: NodeRegistry, local_plugin: Callable[..., Path], hooks: str, message: str
) -> None:
    """The error names plugin and hook, and nothing of the plugin stays."""
    folder = local_plugin(extra='[project.entry-points."cuvis_ai.nodes"]\nhooks = "echo_plugin.hooks"\n')
    (folder / "src/echo_plugin/hooks.py").write_text(f"from cuvis_ai_hookspecs import hookimpl\n\n{hooks}\n")
    with pytest.raises(PluginLoadError, match=message) as caught:
        registry.load_plugin("echo", config(folder))
    assert "echo" in str(caught.value)
    assert caught.value.step == "registering"
    assert registry.list_plugins() == []
    assert "Echo" not in registry.plugin_registry
    assert registry.failed_plugins == {"echo": caught.value}


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "import broken_for_all.part\n",
            "It was raised while 'broken_for_all' was imported, which is not the plugin's",
        ),
        ("import json\njson.loads('{')\n", "The plugin's own code raised this."),
        ("raise ValueError('of its own')\n", "The plugin's own code raised this."),
        ("def broken(\n", "The plugin's own code raised this."),
    ],
)
def test_whose_code_raised_is_told(
    registry: NodeRegistry,
    local_plugin: Callable[..., Path],
    write_files: Callable[[Path, Files], Path],
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    said: str,
) -> None:
    """A library that cannot be imported is no fault of the plugin; what it was given may be."""
    broken = {"host/broken_for_all/__init__.py": "", "host/broken_for_all/part.py": "raise ValueError('broken')\n"}
    folder = write_files(local_plugin(), {**broken, "src/echo_plugin/nodes.py": code})
    monkeypatch.syspath_prepend(folder / "host")
    with pytest.raises(PluginLoadError, match="Error: ") as caught:
        registry.load_plugin("echo", config(folder))
    assert str(caught.value.hint).startswith(said)


NUMPY = metadata.version("numpy")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            "numpy.never.there",
            f"numpy {NUMPY} is there, and has no such module: what imports it was",
        ),
        (
            "_pytest.never",
            "'_pytest' is there, and has no such module: what imports it was written for another version.",
        ),
        ("json.never", f"Python 3.{sys.version_info.minor} has no such module: what imports it was written for"),
        ("nowhere_to_be_found.below", "If that is a package of its own, add it to the dependencies in the plugin's"),
    ],
)
def test_a_module_that_its_package_has_not_asks_for_another_version(
    registry: NodeRegistry, local_plugin: Callable[..., Path], asked: str, said: str
) -> None:
    """As code meets that was written for an older one: the package itself need not be added."""
    folder = local_plugin()
    (folder / "src/echo_plugin/nodes.py").write_text(f"import {asked}\n")
    with pytest.raises(PluginLoadError, match="ModuleNotFoundError: No module named") as caught:
        registry.load_plugin("echo", config(folder))
    assert str(caught.value.hint).startswith(said)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "step", "cause", "message"),
    [
        (
            {"src/echo_plugin/nodes.py": "import nowhere_to_be_found"},
            "importing",
            ModuleNotFoundError,
            "nowhere_to_be_found",
        ),
        ({"src/echo_plugin/nodes.py": "class Echo: pass"}, "importing", InvalidNodeError, "no node class"),
        ({"src/echo_plugin/nodes.py": "Ecco = 1"}, "importing", InvalidNodeError, "has no 'Echo'"),
        ({"src/echo_plugin/nodes.py": "import sys; sys.exit(3)"}, "importing", SystemExit, "SystemExit: 3"),
        ({"src/echo_plugin/nodes.py": "def broken("}, "importing", SyntaxError, "SyntaxError"),
        ({"pyproject.toml": "[project"}, "installing", ProjectFileError, "pyproject.toml cannot be read"),
        ({"pyproject.toml": "[tool]"}, "installing", ProjectFileError, r"has no \[project\] table"),
        ({"pyproject.toml": "[project]\nversion = '1'"}, "installing", ProjectFileError, "has no name"),
        (
            {"pyproject.toml": "[project]\nname = 'a'\nversion = '1'\ndependencies = ['???']"},
            "installing",
            ProjectFileError,
            "invalid dependency",
        ),
        (
            {"pyproject.toml": "[project]\nname = 'a'\nversion = '1'\nrequires-python = '<3'"},
            "installing",
            ProjectFileError,
            "needs Python <3",
        ),
        (
            {
                "pyproject.toml": "[build-system]\nrequires = []\nbuild-backend = 'nope'\n"
                "[project]\nname = 'a'\nversion = '1'"
            },
            "installing",
            InstallError,
            "uv could not",
        ),
    ],
)
@pytest.mark.usefixtures("no_private_modules")
def test_a_broken_project_is_named_and_leaves_nothing(
    registry: NodeRegistry,
    local_plugin: Callable[..., Path],
    write_files: Callable[[Path, Files], Path],
    cache: Path,
    change: Files,
    step: str,
    cause: type[BaseException],
    message: str,
) -> None:
    """The error starts with the plugin, has the step and the cause; registry and cache are as before."""
    folder = write_files(local_plugin(), change)
    with pytest.raises(PluginLoadError, match=message) as caught:
        registry.load_plugin("echo", config(folder))
    assert str(caught.value).startswith("Failed to load plugin 'echo'")
    assert caught.value.step == step
    assert isinstance(caught.value.__cause__, cause)
    assert "cuvis_ai_core.scoped" not in str(caught.value)
    assert registry.list_plugins() == []
    assert list((cache / ".tmp").glob("*")) == []
    if step != "importing":
        assert not (cache / ".targets").exists()


def test_a_missing_path_is_named(registry: NodeRegistry, tmp_path: Path) -> None:
    """The error names the path and says against what it is resolved."""
    with pytest.raises(PluginLoadError, match="does not exist") as caught:
        registry.load_plugin("echo", config(tmp_path / "nowhere"))
    assert isinstance(caught.value.__cause__, LocalPathError)
    assert isinstance(caught.value, ImportError)


@pytest.mark.parametrize("variable", ["$HOME", "${LAB_DIR}", "%USERPROFILE%"])
def test_a_variable_in_a_path_is_said_to_be_none(registry: NodeRegistry, variable: str) -> None:
    """Only `~` stands for something: what a manifest means must not depend on who reads it."""
    with pytest.raises(PluginLoadError, match="does not exist: variables of the environment mean nothing in a path"):
        registry.load_plugin("echo", config(Path(variable, "echo")))


def test_a_bad_configuration_is_a_manifest_error(registry: NodeRegistry) -> None:
    """Nothing is started for it."""
    with pytest.raises(ManifestError, match="provides"):
        registry.load_plugin("echo", {"path": "x"})


@pytest.mark.parametrize("columns", ["40", "200"])
def test_a_dependency_that_does_not_exist(
    registry: NodeRegistry, local_plugin: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    """The error comes from resolving and names the package, however wide the terminal is."""
    monkeypatch.setenv("COLUMNS", columns)
    folder = local_plugin(dependencies=("cuvis-ai-no-such-package-at-all",))
    with pytest.raises(PluginLoadError, match="no-such-package-at-all") as caught:
        registry.load_plugin("echo", config(folder))
    assert isinstance(caught.value.__cause__, DependencyNotFoundError)
    assert caught.value.step == "resolving"


@pytest.mark.parametrize("needs", ["cuvis-ai-core<1", "numpy<1.20"])
def test_a_clash_with_the_host_is_found_before_anything_is_imported(
    registry: NodeRegistry, local_plugin: Callable[..., Path], needs: str
) -> None:
    """The message says who requires what, what is installed, and the way out."""
    folder = local_plugin(dependencies=(needs,))
    (folder / "src/echo_plugin/nodes.py").write_text("raise AssertionError('imported')")
    with pytest.raises(PluginLoadError) as caught:
        registry.load_plugin("echo", config(folder))
    cause = caught.value.__cause__
    assert isinstance(cause, DependencyConflictError)
    assert str(cause).startswith(f"Dependency conflict: package echo-plugin requires {needs}, but ")
    assert caught.value.step == "resolving"
    assert "isolation: process" in str(caught.value)


def test_exchange_packages_are_the_hosts(registry: NodeRegistry, local_plugin: Callable[..., Path]) -> None:
    """`cuvis-ai-core` and numpy in a plugin's requirements install nothing."""
    registry.load_plugin("echo", config(local_plugin(dependencies=("cuvis-ai-core>=0.1", "numpy"))))
    target = registry.plugin_info("echo").target
    assert sorted(path.name for path in target.glob("*.dist-info")) == ["echo_plugin-1.0.0.dist-info"]


def test_who_loads_again_what_was_edited_is_told(
    registry: NodeRegistry, local_plugin: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    """What runs is the code as it was, and how the edit is loaded is said; where nothing was edited nothing is."""
    folder = local_plugin()
    for _ in range(2):
        registry.load_plugin("echo", config(folder))
        assert "edited" not in caplog.text
    (folder / "src/echo_plugin/more.py").touch()
    registry.load_plugin("echo", config(folder))
    assert "Plugin 'echo': its files were edited since it was loaded; what runs is the code as it was." in caplog.text
    assert "registry.unload_plugin('echo')" in caplog.text


def test_threads_may_load_into_one_registry(registry: NodeRegistry, local_plugin: Callable[..., Path]) -> None:
    """The same plugin asked for at once is loaded once; different ones all load."""
    from concurrent.futures import ThreadPoolExecutor

    same = local_plugin()
    others = [local_plugin(f"p{i}", package=f"plugin_{i}", node=f"Node{i}") for i in range(4)]
    with ThreadPoolExecutor(8) as pool:
        done = [pool.submit(registry.load_plugin, "echo", config(same)) for _ in range(4)]
        done += [
            pool.submit(registry.load_plugin, f"p{i}", config(folder, [f"plugin_{i}.nodes.Node{i}"]))
            for i, folder in enumerate(others)
        ]
        for each in done:
            each.result()
    assert sorted(registry.plugin_registry) == ["Echo", "Node0", "Node1", "Node2", "Node3"]


def test_states_are_announced_in_order(registry: NodeRegistry, local_plugin: Callable[..., Path]) -> None:
    """Observers see the lifecycle; one that fails stops nothing."""
    seen: list[tuple[str, str]] = []

    class Observer:
        @hookimpl
        def cuvis_ai_plugin_state(self, plugin: str, state: str) -> None:
            seen.append((plugin, state))

    class Broken:
        @hookimpl
        def cuvis_ai_plugin_state(self, detail: str) -> None:
            raise RuntimeError(detail)

    registry.register_hooks(Broken())
    registry.register_hooks(Observer())
    registry.register_hooks(Broken())
    folder = local_plugin(dependencies=("wcwidth==0.2.13",))
    registry.load_plugin("echo", config(folder))
    registry.unload_plugin("echo")
    with pytest.raises(PluginLoadError) as caught:
        registry.load_plugin("bad", config(folder / "nowhere"))
    assert caught.value.step == "resolving"
    assert seen == [
        ("echo", PluginState.PATH_RESOLVED),
        ("echo", PluginState.RESOLVING),
        ("echo", PluginState.INSTALLING),
        ("echo", PluginState.IMPORTING),
        ("echo", PluginState.REGISTERED),
        ("echo", PluginState.ACTIVE),
        ("echo", PluginState.UNLOADED),
        ("bad", PluginState.FAILED),
    ]


def test_extras_of_a_plugin_are_installed_with_it(registry: NodeRegistry, local_plugin: Callable[..., Path]) -> None:
    """An extra that the project does not have is an error that lists those it has."""
    folder = local_plugin(extra='[project.optional-dependencies]\nwide = ["wcwidth==0.2.13"]\n')
    with pytest.raises(PluginLoadError, match=r"no extra 'wild'; it offers: wide"):
        registry.load_plugin("echo", {**config(folder), "extras": ["wild"]})
    registry.load_plugin("echo", {**config(folder), "extras": ["wide"]})
    assert (registry.plugin_info("echo").target / "wcwidth").is_dir()


@pytest.mark.parametrize(
    ("provides", "parts"),
    [
        ("echo_plugin.node.Echo", ["no module 'echo_plugin.node'", "Did you mean 'echo_plugin.nodes'?"]),
        ("echo_plugn.nodes.Echo", ["no module 'echo_plugn'", "Did you mean 'echo_plugin'?"]),
        ("echo_plugin.nodes.Ecco", ["has no 'Ecco'", "Did you mean 'echo_plugin.nodes.Echo'?"]),
        ("numpy.ndarray", ["no module 'numpy'", "at its top it has: echo_plugin"]),
    ],
)
def test_a_wrong_path_in_provides_is_told_from_a_missing_dependency(
    registry: NodeRegistry, local_plugin: Callable[..., Path], provides: str, parts: list[str]
) -> None:
    """The error names what is there, and the nearest right name."""
    with pytest.raises(PluginLoadError) as caught:
        registry.load_plugin("echo", config(local_plugin(), [provides]))
    assert all(part in str(caught.value) for part in parts)
    assert "dependencies" not in str(caught.value)


def test_a_module_of_its_own_that_was_not_installed(registry: NodeRegistry, local_plugin: Callable[..., Path]) -> None:
    """The advice is about the plugin's packages, not about dependencies; file and line are named."""
    folder = local_plugin()
    (folder / "src/echo_plugin/nodes.py").write_text("\nfrom echo_plugin import nothere\n")
    with pytest.raises(PluginLoadError, match=r"nodes\.py, line 2"):
        registry.load_plugin("echo", config(folder))
    (folder / "src/echo_plugin/nodes.py").write_text("import echo_plugin.gone\n")
    with pytest.raises(PluginLoadError, match="would be the plugin's own") as caught:
        registry.load_plugin("echo", config(folder))
    assert "cuvis_ai_core.scoped" not in str(caught.value)


@pytest.mark.parametrize(
    "code",
    [
        "class Odd(Exception):\n    message = 5\n    hint = 7\nraise Odd('the real text')",
        "class Odd(Exception):\n    def __str__(self):\n        raise RuntimeError\nraise Odd",
        "raise SystemExit(0)",
        "def broken(:",
        "assert False",
    ],
)
def test_whatever_plugin_code_raises_is_one_error_with_its_place(
    registry: NodeRegistry, local_plugin: Callable[..., Path], code: str
) -> None:
    """Odd exception classes included; the other plugins of a manifest are tried."""
    folder = local_plugin()
    (folder / "src/echo_plugin/nodes.py").write_text(code)
    with pytest.raises(PluginLoadError, match=r"nodes\.py, line \d") as caught:
        registry.load_plugin("echo", config(folder))
    assert caught.value.step == "importing"


def test_a_module_that_is_added_to_a_local_plugin_is_seen(
    registry: NodeRegistry, local_plugin: Callable[..., Path], node_source: Callable[..., str]
) -> None:
    """A new top-level module needs no reinstall."""
    folder = local_plugin()
    registry.load_plugin("echo", config(folder))
    registry.unload_plugin("echo")
    (folder / "src/added.py").write_text(node_source("Added"))
    registry.load_plugin("echo", config(folder, ["added.Added"]))
    assert registry.get("added.Added").__name__ == "Added"


def test_links_in_a_local_plugin_are_not_followed_in_circles(
    registry: NodeRegistry, local_plugin: Callable[..., Path]
) -> None:
    """A link to a folder above does no harm."""
    folder = local_plugin()
    (folder / "src/echo_plugin/loop").symlink_to(folder, target_is_directory=True)
    registry.load_plugin("echo", config(folder))
    assert "Echo" in registry.plugin_registry


@pytest.mark.parametrize(
    "text", ["", "{", "{}", "[]", '{"format": 3}', '{"format": 0, "hosts": []}', '{"format": 3, "plugin": null}']
)
def test_a_target_whose_marker_cannot_be_read_is_built_anew(
    registry: NodeRegistry, local_plugin: Callable[..., Path], text: str
) -> None:
    """A marker of another version, or one that somebody changed, is no marker."""
    folder = local_plugin()
    registry.load_plugin("echo", config(folder))
    registry.unload_plugin("echo")
    (marker,) = NodeRegistry.get_cache_dir().glob(".targets/*/*/cuvis-target.json")
    marker.write_text(text)
    registry.load_plugin("echo", config(folder))
    assert '"format": 3' in marker.read_text()
    assert "echo-plugin" in marker.read_text()


def test_a_plugin_that_failed_once_and_is_mended_has_not_failed_any_more(
    registry: NodeRegistry, local_plugin: Callable[..., Path]
) -> None:
    """`failed_plugins` tells what is so, not what was."""
    folder = local_plugin()
    nodes = folder / "src/echo_plugin/nodes.py"
    good = nodes.read_text()
    nodes.write_text("raise RuntimeError('not yet')\n")
    with pytest.raises(PluginLoadError):
        registry.load_plugin("echo", config(folder))
    assert list(registry.failed_plugins) == ["echo"]
    nodes.write_text(good)
    registry.load_plugin("echo", config(folder))
    assert registry.failed_plugins == {}
    assert registry.get("Echo").VERSION == "1.0.0"  # type: ignore[attr-defined]


def test_a_load_after_one_that_failed_runs_the_code_anew(
    registry: NodeRegistry, local_plugin: Callable[..., Path]
) -> None:
    """Though something of the failed one lives on, and the files are what they were."""
    folder = local_plugin()
    flag = folder / "ready"
    (folder / "src/echo_plugin/helper.py").write_text(
        f"from pathlib import Path\nREADY = Path({str(flag)!r}).exists()\n"
    )
    with (folder / "src/echo_plugin/nodes.py").open("a") as file:
        file.write("\nfrom echo_plugin import helper\nif not helper.READY:\n    raise RuntimeError('not ready')\n")
    with pytest.raises(PluginLoadError, match="not ready") as caught:
        registry.load_plugin("echo", config(folder))
    assert caught.value.__cause__ is not None  # whose traceback holds the modules of the failed load
    flag.touch()
    registry.load_plugin("echo", config(folder))
    assert "echo" in registry.list_plugins()


def test_what_was_edited_a_moment_ago_runs_as_it_is_now(
    registry: NodeRegistry, local_plugin: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytecode is filed under whole seconds and sizes: two edits within one second look the same to it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    folder = local_plugin()
    nodes = folder / "src/echo_plugin/nodes.py"
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        nodes.write_text(re.sub(r"'\d\.0\.0'", repr(version), nodes.read_text()))
        stamp = int(time.time())
        os.utime(nodes, (stamp, stamp))
        registry.load_plugin("echo", config(folder))
        assert version == registry.get("Echo").VERSION  # type: ignore[attr-defined]
        registry.unload_plugin("echo")
        gc.collect()
