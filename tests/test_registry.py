"""The registry itself: built-in nodes, names, errors."""

import copy
import importlib
import json
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cuvis_ai_hookspecs import hookimpl
from hypothesis import example, given, strategies

import cuvis_ai_core.utils.node_registry
from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.builtin import BUILTIN_NODES
from cuvis_ai_core.errors import (
    AmbiguousNodeError,
    DuplicateNodeError,
    HookError,
    InvalidNodeError,
    LockError,
    NodeNotFoundError,
    PluginConflictError,
    PluginLoadError,
    PluginsLoadError,
)
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.plugins.isolation.private_names import PREFIX
from cuvis_ai_core.plugins.loading import registered_plugins
from cuvis_ai_core.testing.git_host import GitHost


class Mine(ArrayNode):
    """A node of the test's own."""

    def forward(self) -> dict[str, object]:
        """Return nothing."""
        return {}


def test_built_in_nodes_are_found_on_the_class_and_on_instances() -> None:
    """By short name and by full path; `get` is one descriptor."""
    for name, path in BUILTIN_NODES.items():
        assert NodeRegistry.get(name).__name__ == name
        assert NodeRegistry.get(path) is NodeRegistry.get(name)
        assert NodeRegistry(discover=False).get(name) is NodeRegistry.get(name)


def test_an_explicit_instance_wins() -> None:
    """`NodeRegistry.get(name, instance=registry)` asks that registry's plugins."""
    registry, other = NodeRegistry(discover=False), NodeRegistry(discover=False)
    registry.register_hooks(_Contributes([Mine]))
    assert NodeRegistry.get("Mine", instance=registry) is Mine
    assert other.get("Mine", instance=registry) is Mine
    with pytest.raises(NodeNotFoundError):
        other.get("Mine")


def test_a_decorated_class_is_a_built_in_node() -> None:
    """A class of that name from elsewhere is an error; the same class again, or written anew, is none."""
    assert NodeRegistry.register(Mine) is Mine
    NodeRegistry.register(Mine)
    assert NodeRegistry.get("Mine") is Mine
    assert "Mine" not in NodeRegistry(discover=False).plugin_registry
    with pytest.raises(DuplicateNodeError, match="'Mine' is registered already"):
        NodeRegistry.register(type("Mine", (Mine,), {"__module__": "elsewhere"}))
    anew = NodeRegistry.register(type("Mine", (Mine,), {"__module__": Mine.__module__}))
    assert NodeRegistry.get("Mine") is anew is not Mine
    with pytest.raises(InvalidNodeError, match="is no node class"):
        NodeRegistry.register(int)


def test_what_was_registered_is_forgotten_again() -> None:
    """Those of this package stay, which may be registered as they are."""
    NodeRegistry.register(Mine)
    NodeRegistry.clear()
    assert NodeRegistry.list_builtin_nodes() == sorted(BUILTIN_NODES)
    name, path = next(iter(BUILTIN_NODES.items()))
    module, _, attribute = path.rpartition(".")
    node_class = getattr(importlib.import_module(module), attribute)
    assert NodeRegistry.register(node_class) is node_class
    assert NodeRegistry.get(name) is node_class


def test_a_name_that_is_taken_has_nobody_asked(
    registry: NodeRegistry, git_plugin: Callable[..., str], git_host: GitHost
) -> None:
    """Whatever else would have to be fetched for the other configuration."""
    entry = {"repo": git_plugin(), "tag": "v1.0.0", "provides": ["echo_plugin.nodes.Echo"]}
    registry.load_plugin("echo", entry)
    before = git_host.requests
    with pytest.raises(PluginConflictError):
        registry.load_plugin("echo", {**entry, "tag": "v9.0.0"})
    assert git_host.requests == before


def test_a_dotted_path_of_the_host_is_imported() -> None:
    """Whatever can be imported and is a node can be named; what is none is refused."""
    path = "cuvis_ai_core.builtin.anomaly.RXDetector"
    assert NodeRegistry.get(path).__name__ == "RXDetector"
    with pytest.raises(InvalidNodeError, match=r"'collections\.OrderedDict' is no node class"):
        NodeRegistry.get("collections.OrderedDict")


def test_an_unknown_name_says_how_to_load_plugins() -> None:
    """The text is the documented one, reads as text, and names near nodes."""
    with pytest.raises(NodeNotFoundError) as caught:
        NodeRegistry(discover=False).get("MinMaxNormaliser")
    text = str(caught.value)
    assert text.startswith("Node 'MinMaxNormaliser' not found in registry.")
    for part in (
        "Did you mean 'MinMaxNormalizer'?",
        "⚠️  This appears to be an external plugin node!",
        "Did you forget to load plugins?",
        "For CLI usage:\n  uv run restore-pipeline --pipeline-path <path> --plugins-path plugins.yaml",
        "For Python usage:\n  registry = NodeRegistry()\n  registry.load_plugins('path/to/plugins.yaml')",
    ):
        assert part in text
    assert isinstance(caught.value, KeyError)


def test_a_dotted_path_falls_back_to_its_class_name_only_where_that_is_safe() -> None:
    """Another plugin's class of the same name never answers for a package that exists elsewhere."""
    registry = NodeRegistry(discover=False)
    registry.register_hooks(_Contributes([Mine]), "mine")
    assert registry.get(f"{__name__.partition('.')[0]}.elsewhere.Mine") is Mine
    with pytest.raises(NodeNotFoundError):
        registry.get("numpy.elsewhere.Mine")
    with pytest.warns(UserWarning, match="There is no package 'no_such_package'"):
        assert registry.get("no_such_package.nodes.Mine") is Mine


def test_a_short_name_of_two_plugins_is_ambiguous() -> None:
    """The error is a KeyError that names both full paths; the full path still works."""
    registry = NodeRegistry(discover=False)
    other = type("Mine", (Mine,), {"__module__": "other"})
    registry.register_hooks(_Contributes([Mine]), "one")
    registry.register_hooks(_Contributes([other]), "two")
    with pytest.raises(AmbiguousNodeError, match=r"Mine.*and other\.Mine") as caught:
        registry.get("Mine")
    assert caught.value.candidates == (f"{__name__}.Mine", "other.Mine")
    assert registry.get("other.Mine") is other
    assert "Mine" in registry.plugin_registry
    with pytest.raises(TypeError):
        registry.plugin_registry["Mine"] = Mine  # type: ignore[index]


def test_a_plugin_class_goes_before_a_built_in_one() -> None:
    """In that registry only."""
    mine = type("RXDetector", (Mine,), {})
    registry = NodeRegistry(discover=False)
    registry.register_hooks(_Contributes([mine]))
    assert registry.get("RXDetector") is mine
    assert NodeRegistry.get("RXDetector") is not mine


def test_the_published_import_path_is_the_same_class() -> None:
    """`cuvis_ai_core.utils.node_registry` hands on what `cuvis_ai_core` has."""
    assert cuvis_ai_core.utils.node_registry.NodeRegistry is NodeRegistry


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import cuvis_ai_core.registry", {"torch", "grpc", "git", "numpy", "pydantic", "yaml", "importlib.metadata"}),
        ("import cuvis_ai_core.registry", {"pathlib", "json", "dataclasses", "shutil", "datetime"}),
        ("from cuvis_ai_core.utils.node_registry import NodeRegistry; NodeRegistry()", {"numpy", "pydantic", "git"}),
        ("import cuvis_ai_core.plugins.manifest.manifest_schema", {"torch", "grpc", "git", "numpy"}),
        ("import cuvis_ai_core.cli.main", {"torch", "grpc", "git", "numpy"}),
        ("from cuvis_ai_core import NodeRegistry; NodeRegistry().nodes()", {"torch", "grpc", "git", "numpy"}),
    ],
)
def test_importing_stays_light(statement: str, heavy: set[str]) -> None:
    """A registry, a manifest, the help of a command and a listing load no heavy library."""
    code = f"import sys; there = set(sys.modules); {statement}; print(*sorted({heavy!r} & set(sys.modules) - there))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


class _Contributes:
    """A plugin object with nodes."""

    def __init__(self, nodes: list[type]) -> None:
        self._nodes = nodes

    @hookimpl
    def cuvis_ai_nodes(self) -> list[type]:
        """Return the nodes."""
        return self._nodes


class _Observer:
    def __init__(self, registry: NodeRegistry) -> None:
        self.registry = registry

    @hookimpl
    def cuvis_ai_plugin_state(self, state: str) -> None:
        """Unload everything as soon as one plugin is unloaded."""
        if state == "unloaded":
            self.registry.clear_plugins()


def echo(folder: Path, path: str = "echo_plugin.nodes.Echo") -> dict[str, object]:
    """Return the manifest entry of a local plugin."""
    return {"path": str(folder), "provides": [path]}


@pytest.mark.parametrize("name", [None, 3, b"RXDetector", ["RXDetector"]])
def test_a_node_is_named_by_text(name: Any) -> None:
    """Anything else is one clear error, on the class, on instances and in the view."""
    registry = NodeRegistry(discover=False)
    for ask in (NodeRegistry.get, registry.get, registry.plugin_registry.__getitem__):
        with pytest.raises(InvalidNodeError, match="a node is named by text"):
            ask(name)
    assert name is None or registry.plugin_registry.get(name) is None


@given(name=strategies.text(alphabet=".Mab_ 1-\0é", max_size=6))
@example("")
@example(".a")
@example("..")
@example("a..Mine")
@example(".Mine")
@example(f"{__name__}..Mine")
@example("__main__.Nobody")
def test_a_name_that_is_no_path_is_not_found(name: str) -> None:
    """However odd: no error of the import system gets through, and no class is found by accident."""
    registry = NodeRegistry(discover=False)
    registry.register_hooks(_Contributes([Mine]), "mine")
    for ask in (NodeRegistry.get, registry.get, registry.plugin_registry.__getitem__):
        with pytest.raises(NodeNotFoundError) as caught:
            ask(name)
        assert str(caught.value).startswith(f"Node '{name}' not found in registry.")


def test_a_module_without_a_spec_is_a_package_that_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as `__main__`, or what a test put into `sys.modules`: another plugin's class does not answer for it."""
    registry = NodeRegistry(discover=False)
    registry.register_hooks(_Contributes([Mine]), "mine")
    monkeypatch.setitem(sys.modules, "bare_module", object())
    with pytest.raises(NodeNotFoundError):
        registry.get("bare_module.nodes.Mine")


def test_an_ambiguous_name_is_no_missing_name() -> None:
    """`plugin_registry.get` raises as `[]` does, and answers the default for a name that nobody has."""
    registry = NodeRegistry(discover=False)
    registry.register_hooks(_Contributes([Mine]), "one")
    assert registry.plugin_registry.get("Mine") is Mine
    assert registry.plugin_registry.get("Nobody", int) is int
    registry.register_hooks(_Contributes([type("Mine", (Mine,), {"__module__": "other"})]), "two")
    with pytest.raises(AmbiguousNodeError):
        registry.plugin_registry.get("Mine")


def test_the_hint_for_an_ambiguous_name_can_be_followed() -> None:
    """The full path helps only where the full paths differ."""
    registry = NodeRegistry(discover=False)
    registry.register_hooks(_Contributes([Mine]), "one")
    registry.register_hooks(_Contributes([type("Mine", (Mine,), {"__module__": "other"})]), "two")
    with pytest.raises(AmbiguousNodeError, match="Use the full path"):
        registry.get("Mine")
    same = NodeRegistry(discover=False)
    same.register_hooks(_Contributes([Mine]), "one")
    same.register_hooks(_Contributes([Mine]), "two")
    with pytest.raises(AmbiguousNodeError) as caught:
        same.get(f"{__name__}.Mine")
    assert caught.value.hint == (
        "Unload or block all but one of them, or load the plugins into registries of their own."
    )


def test_the_view_of_plugin_nodes_is_live(registry: NodeRegistry, local_plugin: Callable[..., Path]) -> None:
    """One taken before a plugin is loaded shows its nodes, until it is unloaded."""
    view = registry.plugin_registry
    assert list(view) == []
    registry.load_plugin("echo", echo(local_plugin()))
    assert (list(view), len(view), view["Echo"]) == (["Echo"], 1, registry.get("Echo"))
    assert "echo_plugin.elsewhere.Echo" in view
    registry.unload_plugin("echo")
    assert (list(view), "Echo" in view) == ([], False)


def test_both_ways_to_ask_say_what_is_loaded(registry: NodeRegistry, local_plugin: Callable[..., Path]) -> None:
    """With a declared plugin loaded nobody is told to load plugins; without one everybody is."""
    for ask in (registry.get, registry.plugin_registry.__getitem__):
        with pytest.raises(NodeNotFoundError, match=r"Loaded plugins: none\.[\s\S]*Did you forget"):
            ask("Nope")
    registry.load_plugin("echo", echo(local_plugin()))
    for ask in (registry.get, registry.plugin_registry.__getitem__):
        with pytest.raises(NodeNotFoundError, match=r"Loaded plugins: echo\.") as caught:
            ask("Nope")
        assert "Did you forget" not in str(caught.value)


def test_a_built_in_node_is_no_plugin_node() -> None:
    """The view of plugin nodes says where a built-in node is found instead."""
    with pytest.raises(NodeNotFoundError, match=r"built-in node: NodeRegistry\.get\('RXDetector'\)") as caught:
        NodeRegistry(discover=False).plugin_registry["RXDetector"]
    assert "Did you forget" not in str(caught.value)


def test_plugins_may_be_unloaded_while_all_are(registry: NodeRegistry, local_plugin: Callable[..., Path]) -> None:
    """`clear_plugins` passes over what somebody else unloaded meanwhile."""
    folder = local_plugin()
    for name in ("one", "two", "three"):
        registry.load_plugin(name, echo(folder))
    registry.register_hooks(_Observer(registry))
    registry.clear_plugins()
    assert registry.list_plugins() == []


def test_observers_are_told_that_a_plugin_is_unloaded(
    registry: NodeRegistry, local_plugin: Callable[..., Path]
) -> None:
    """When it is out; objects of one class are registered side by side without names."""
    told: list[tuple[str, list[str]]] = []

    class Told:
        @hookimpl
        def cuvis_ai_plugin_state(self, plugin: str, state: str) -> None:
            if state == "unloaded":
                told.append((plugin, registry.list_plugins()))

    registry.register_hooks(Told())
    registry.register_hooks(Told())
    registry.load_plugin("echo", echo(local_plugin()))
    registry.unload_plugin("echo")
    assert told == [("echo", [])] * 2


def test_what_failed_is_told_as_it_was_when_somebody_asked(
    registry: NodeRegistry, local_plugin: Callable[..., Path]
) -> None:
    """A later success is seen by who asks again."""
    with pytest.raises(PluginLoadError):
        registry.load_plugin("echo", echo(local_plugin(), "echo_plugin.nodes.Missing"))
    before = registry.failed_plugins
    registry.load_plugin("echo", echo(local_plugin()))
    assert list(before) == ["echo"]
    assert registry.failed_plugins == {}


BROKEN_HOOKS = {
    "names a class that there is not": "return ['echo_plugin.nodes.Missing']",
    "answers with no nodes": "return 7",
}


@pytest.mark.parametrize("answer", BROKEN_HOOKS.values(), ids=BROKEN_HOOKS)
def test_a_plugin_whose_hook_is_broken_leaves_nothing_of_itself(
    registry: NodeRegistry,
    local_plugin: Callable[..., Path],
    write_files: Callable[[Path, dict[str, str]], Path],
    answer: str,
) -> None:
    """No node, no module, no use of what lies in the cache; it is loaded once it is mended."""
    folder = local_plugin(extra='[project.entry-points."cuvis_ai.nodes"]\nhooks = "echo_plugin.hooks"\n')
    hooks = "from cuvis_ai_hookspecs import hookimpl\n@hookimpl\ndef cuvis_ai_nodes():\n    "
    write_files(folder, {"src/echo_plugin/hooks.py": hooks + answer})
    before = {name for name in sys.modules if name.startswith(PREFIX)}  # what other tests keep alive
    with pytest.raises(PluginLoadError):
        registry.load_plugin("echo", echo(folder))
    assert registry.list_plugins() == []
    assert [node.path for node in registry.nodes() if node.plugin] == []
    assert {name for name in sys.modules if name.startswith(PREFIX)} <= before
    NodeRegistry.clear_plugin_cache("echo")
    assert list(NodeRegistry.get_cache_dir().glob(".targets/*")) == []
    write_files(folder, {"src/echo_plugin/hooks.py": f"{hooks}return []"})
    registry.load_plugin("echo", echo(folder))
    assert registry.list_plugins() == ["echo"]


def test_parts_of_a_plugin_and_of_the_core_are_not_taken_out_alone(
    registry: NodeRegistry, local_plugin: Callable[..., Path]
) -> None:
    """Only what somebody registered himself is, and only once."""
    registry.load_plugin("echo", echo(local_plugin()))
    mine = _Contributes([Mine])
    registry.register_hooks(mine)
    for name, part in registry.hooks.list_name_plugin():
        if part is not mine:
            assert name
            with pytest.raises(HookError, match="was registered here by register_hooks"):
                registry.unregister_hooks(part)
    assert registry.get("Mine") is Mine
    registry.unregister_hooks(mine)
    with pytest.raises(HookError):
        registry.unregister_hooks(mine)
    assert registry.get("Echo").__name__ == "Echo"
    with pytest.raises(NodeNotFoundError):
        registry.get("Mine")


def test_a_package_of_a_plugin_has_its_own_nodes_only(
    registry: NodeRegistry, local_plugin: Callable[..., Path]
) -> None:
    """A class of that name elsewhere is not meant."""
    registry.load_plugin("echo", echo(local_plugin()))
    registry.register_hooks(_Contributes([Mine]))
    with pytest.raises(NodeNotFoundError):
        registry.get("echo_plugin.nodes.Mine")


@pytest.mark.parametrize("ask", [NodeRegistry, NodeRegistry(discover=False)], ids=["class", "instance"])
def test_looking_at_a_name_imports_nothing(ask: Any) -> None:
    """It may come from a file of somebody else's."""
    module = "hypothesis.extra.cli"
    if module in sys.modules:
        pytest.skip("somebody imported it")
    with pytest.raises(NodeNotFoundError):
        ask.known(f"{module}.Node")
    assert module not in sys.modules


def test_one_name_may_be_blocked_without_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one name, not its letters."""
    asked: list[frozenset[str]] = []

    def discover(block: frozenset[str]) -> dict[str, object]:
        asked.append(block)
        return {}

    monkeypatch.setattr(registered_plugins, "discover", discover)
    assert dict(NodeRegistry(block="one").discovered_plugins) == {}
    assert dict(NodeRegistry(block=["one", "two"]).discovered_plugins) == {}
    assert asked == [frozenset({"one"}), frozenset({"one", "two"})]


def test_some_plugins_of_a_manifest_may_be_named_in_any_way(
    registry: NodeRegistry, local_plugin: Callable[..., Path], tmp_path: Path
) -> None:
    """As things that are counted up once, too; a lock file is compared with all of the manifest."""
    folder = str(local_plugin())
    entries = {name: {"path": folder, "provides": ["echo_plugin.nodes.Echo"]} for name in ("one", "two")}
    manifest = tmp_path / "plugins.yaml"
    manifest.write_text(json.dumps({"plugins": entries}))
    assert registry.load_plugins(manifest, only=(name for name in ["two"])) == 1
    assert registry.list_plugins() == ["two"]
    locked = "".join(
        f'[plugins.{name}]\npath="echo"\nrequirements=[]\nisolation="scoped"\n' for name in ("two", "three")
    )
    manifest.with_suffix(".lock").write_text(f"version=1\n{locked}[environments]\n")
    with pytest.raises(LockError, match="plugin 'one' is not locked"):
        registry.load_plugins(manifest, only=["two"])


def test_a_plugin_cannot_make_its_class_a_built_in_node(
    registry: NodeRegistry, local_plugin: Callable[..., Path]
) -> None:
    """The decorator leaves the class of a declared plugin alone: `provides` contributes it to this registry."""
    folder = local_plugin()
    module = folder / "src/echo_plugin/nodes.py"
    source = module.read_text().replace(
        "class Echo", "from cuvis_ai_core import NodeRegistry\n@NodeRegistry.register\nclass Echo"
    )
    module.write_text(source)
    registry.load_plugin("echo", echo(folder))
    assert registry.get("Echo").__name__ == "Echo"
    assert [node.path for node in registry.nodes() if node.name == "Echo"] == ["echo_plugin.nodes.Echo"]
    with pytest.raises(NodeNotFoundError):
        NodeRegistry.get("Echo")


def test_private_names_are_neither_shown_nor_understood(
    registry: NodeRegistry, local_plugin: Callable[..., Path], write_files: Callable[[Path, dict[str, str]], Path]
) -> None:
    """A hook that builds a path from its module's `__name__` means the public path."""
    folder = local_plugin(extra='[project.entry-points."cuvis_ai.nodes"]\nhooks = "echo_plugin.hooks"\n')
    hooks = (
        "from cuvis_ai_hookspecs import hookimpl\nfrom echo_plugin.nodes import Echo\n\nclass More(Echo):\n    pass\n\n"
        "@hookimpl\ndef cuvis_ai_nodes():\n    return [f'{__name__}.More']\n\n"
        "@hookimpl\ndef cuvis_ai_config_dirs():\n    raise RuntimeError(f'{__name__} is sick')\n\n"
        "@hookimpl\ndef cuvis_ai_cube_readers():\n    return Echo\n"
    )
    write_files(folder, {"src/echo_plugin/hooks.py": hooks})
    registry.load_plugin("echo", echo(folder))
    assert [node.path for node in registry.nodes() if node.plugin] == [
        "echo_plugin.nodes.Echo",
        "echo_plugin.hooks.More",
    ]
    assert registry.plugin_info("echo").nodes == ("echo_plugin.nodes.Echo", "echo_plugin.hooks.More")
    assert registry.get("echo_plugin.hooks.More") is registry.get("More")
    with pytest.raises(HookError, match=r"RuntimeError: echo_plugin\.hooks is sick"):
        registry.config_dirs()
    with pytest.raises(HookError, match=r"answered <class 'echo_plugin\.nodes\.Echo'>"):
        registry.cube_readers()
    node_class = registry.get("Echo")
    with pytest.raises(NodeNotFoundError):
        NodeRegistry.get(f"{node_class.__module__}.Echo")


def test_the_errors_of_a_manifest_are_a_group(
    registry: NodeRegistry, local_plugin: Callable[..., Path], tmp_path: Path
) -> None:
    """`except*` takes each kind out, with the names; what is left goes on, and a traceback shows every cause."""
    folder = str(local_plugin())
    registry.load_plugin("taken", echo(Path(folder)))
    plugins = {
        "taken": {"path": folder, "provides": ["echo_plugin.nodes.Other"]},
        "gone": {"path": f"{folder}/nowhere", "provides": ["gone.Node"]},
        "sick": {"path": folder, "provides": ["echo_plugin.nodes.Missing"]},
    }
    manifest = tmp_path / "plugins.yaml"
    manifest.write_text(json.dumps({"plugins": plugins}))
    taken: list[Any] = []

    def load() -> None:
        try:
            registry.load_plugins(manifest)
        except* PluginConflictError as group:
            taken.append(group)

    with pytest.raises(PluginsLoadError) as caught:
        load()
    assert [(type(group), list(group.failed)) for group in taken] == [(PluginsLoadError, ["taken"])]
    assert list(caught.value.failed) == ["gone", "sick"]
    assert list(caught.value.exceptions) == list(caught.value.failed.values())
    assert {type(error) for error in caught.value.exceptions} == {PluginLoadError}
    shown = "".join(traceback.format_exception(caught.value))
    assert "LocalPathError" in shown
    assert "InvalidNodeError" in shown


@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_group_of_errors_can_be_copied_and_pickled(again: Callable[[Any], Any]) -> None:
    """With all that it tells, as errors of processes are."""
    group = PluginsLoadError("1 of 2.", hint="Look.", loaded=("well",), failed={"sick": ValueError("sick")})
    found = again(group)
    assert (str(found), found.loaded, list(found.failed)) == ("1 of 2.\nLook.", ("well",), ["sick"])
    assert list(map(str, found.exceptions)) == ["sick"]
