"""Who takes part in a registry, seen in this process: discovered plugins, declared ones, and objects of the user's."""

import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from cuvis_ai_hookspecs import hookimpl

from cuvis_ai_core.errors import DiscoveryError, HookError, InvalidNodeError, NodeNotFoundError
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.plugins.hooks.manager import NodePlugin
from cuvis_ai_core.plugins.loading.registered_plugins import BUILTIN, Members, PluginNodes
from cuvis_ai_core.plugins.node_lookup import Owner
from cuvis_ai_core.plugins.plugin_info import PluginState

NODE = """\
from cuvis_ai_core.node import ArrayNode


class {name}(ArrayNode):
    def forward(self):
        return {{}}
"""
HOOKS = """\
from cuvis_ai_hookspecs import hookimpl


@hookimpl
def cuvis_ai_nodes():
    return {answer}
"""


class Mine(ArrayNode):
    """A node of a declared plugin."""

    def forward(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


class Declared:
    """A declared plugin that is loaded, as far as a registry knows one."""

    def __init__(self, name: str, distribution: str, *nodes: Any, hooks: object | None = None) -> None:
        self.info = SimpleNamespace(name=name, distribution=distribution)
        self.classes: dict[str, type] = {}
        self._objects = [(name, NodePlugin(lambda: list(nodes)))]
        if hooks is not None:
            self._objects.append((f"{name}:hooks", hooks))  # type: ignore[arg-type]

    def plugin_objects(self) -> Any:
        """Return what is registered."""
        return self._objects

    @staticmethod
    def import_node(path: str) -> type:
        """Import one of its nodes."""
        module, _, name = path.rpartition(".")
        found: type = getattr(importlib.import_module(module), name)
        return found


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Return a function that has this process find a distribution with an entry point, and its module."""
    made: list[str] = []

    def describe(name: str, point: str, text: str) -> None:
        folder = tmp_path / name
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[cuvis_ai.nodes]\n{point}\n")
        (folder / f"{name}.py").write_text(text)
        made.append(name)
        monkeypatch.syspath_prepend(str(folder))

    for variable in ("CUVIS_BLOCK_PLUGINS", "CUVIS_PLUGIN_DISCOVERY", "CUVIS_STRICT_PLUGINS"):
        monkeypatch.delenv(variable, raising=False)
    yield describe
    for name in made:
        sys.modules.pop(name, None)


def members(*block: str, discovering: bool = True) -> Members:
    """Return who takes part in a new registry."""
    return Members({"Builtin": "a.Builtin"}, frozenset(block), discovering=discovering)


def plugins(found: Members) -> dict[str, str]:
    """Return the nodes of these tests, each with its plugin."""
    return {each.name: each.plugin for each in found.catalogue().entries() if each.plugin and "rp_" in each.path}


@pytest.fixture
def three(install: Callable[..., None]) -> None:
    """Have a node class, hook implementations and something broken be installed."""
    install("rp_node", "RpNode = rp_node:RpNode", NODE.format(name="RpNode"))
    install("rp_hooks", "rp-hooks = rp_hooks", HOOKS.format(answer=["rp_node.RpNode"]))
    install("rp_broken", "rp-broken = rp_broken", "raise OSError('no disk')\n")


@pytest.mark.usefixtures("three")
def test_a_discovered_node_class_is_known_before_it_is_imported() -> None:
    """Hook implementations are, as soon as something is asked for; what breaks is told, and keeps nothing back."""
    found = members()
    assert {"RpNode", "rp-hooks", "rp-broken"} <= found.discovered.keys()
    assert plugins(found) == {"RpNode": "RpNode"}
    assert not {"rp_node", "rp_hooks", "rp_broken"} & sys.modules.keys()
    found.complete()
    assert {"rp_hooks"} <= sys.modules.keys()
    assert "rp_node" not in sys.modules
    assert sorted(each.plugin or "" for each in found.catalogue().entries() if each.name == "RpNode") == [
        "RpNode",
        "rp-hooks",
    ]
    assert [type(error) for name, error in found.failed.items() if name == "rp-broken"] == [DiscoveryError]
    assert (found.owner("discovered rp-hooks"), found.owner("RpNode"), found.owner("other")) == (
        "rp_hooks",
        "rp_node",
        "other",
    )


@pytest.mark.usefixtures("three")
def test_who_is_blocked_or_not_wanted_takes_no_part() -> None:
    """By the entry point, by the distribution, or all of them."""
    assert not {"RpNode", "rp-hooks"} & members("RpNode", "rp_hooks").discovered.keys()
    alone = members(discovering=False)
    assert (alone.discovered, alone.catalogue().entries()) == ({}, [])


@pytest.mark.usefixtures("three")
def test_in_strict_mode_what_is_broken_is_an_error_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Node classes are imported then, too; of several the first by name is told."""
    monkeypatch.setenv("CUVIS_STRICT_PLUGINS", "1")
    found = members()
    lines = set()
    for _ in range(3):
        with pytest.raises(DiscoveryError, match="rp-broken") as caught:
            found.complete()
        lines.add(len(caught.traceback))
    assert len(lines) <= 2  # the first one comes from the import
    assert "rp_node" in sys.modules
    monkeypatch.delenv("CUVIS_STRICT_PLUGINS")
    found.complete()


def test_a_node_that_breaks_is_blamed_until_it_works(install: Callable[..., None], tmp_path: Path) -> None:
    """And what failed under its name for another reason stays told."""
    install("rp_later", "RpLater = rp_later:RpLater", "RpLater = 3\n")
    found = members()
    nodes = PluginNodes(found)
    with pytest.raises(InvalidNodeError, match=r"rp_later\.RpLater"):
        nodes["RpLater"]
    assert isinstance(found.failed["RpLater"], InvalidNodeError)
    del sys.modules["rp_later"]
    importlib.invalidate_caches()
    (tmp_path / "rp_later/rp_later.py").write_text(NODE.format(name="RpLater") + "# longer\n")
    assert nodes["RpLater"].__name__ == "RpLater"
    assert "RpLater" not in found.failed
    other = members()
    other.failed["RpLater"] = error = ValueError("of a declared one")
    assert PluginNodes(other)["RpLater"].__name__ == "RpLater"
    assert other.failed["RpLater"] is error


def test_an_implementation_that_does_not_fit_leaves_nothing(install: Callable[..., None]) -> None:
    """It is broken as one that cannot be imported."""
    install("rp_wrong", "rp-wrong = rp_wrong", HOOKS.format(answer="'no list'"))
    found = members()
    found.complete()
    assert isinstance(found.failed["rp-wrong"], DiscoveryError)
    assert not found.hooks().has_plugin("discovered rp-wrong")
    assert found.catalogue().entries() is not None


@pytest.mark.usefixtures("three")
def test_a_declared_plugin_takes_the_place_of_the_same_distribution() -> None:
    """And gives it back; its hooks and classes go with it."""
    found, hooks = members(), ModuleType("hooks")
    hooks.cuvis_ai_config_dirs = hookimpl(lambda: ["/x"])  # type: ignore[attr-defined]
    declared: Any = Declared("declared", "rp-node", f"{__name__}.Mine", hooks=hooks)
    assert found.discovered["RpNode"].distribution == "rp_node"
    found.admit(declared)
    assert "RpNode" not in found.discovered
    assert "rp-hooks" in found.discovered
    entries = {each.name: each.plugin for each in found.catalogue().entries()}
    assert (entries.get("Mine"), entries.get("RpNode")) == ("declared", None)
    assert found.declared == {"declared": declared}
    assert [name for name, _ in found.answers("cuvis_ai_config_dirs")][:1] == ["declared:hooks"]
    assert found.owner("declared:hooks") == "declared"
    with pytest.raises(HookError, match="unload_plugin"):
        found.take_out(hooks)
    found.dismiss(declared)
    assert "RpNode" in found.discovered
    assert "Mine" not in {each.name for each in found.catalogue().entries()}
    assert not found.hooks().has_plugin("declared:hooks")
    assert found.declared == {}
    found.dismiss(declared)


@pytest.mark.usefixtures("three")
def test_what_is_broken_is_no_more_where_it_takes_no_part() -> None:
    """As once a manifest declares it."""
    found = members()
    found.complete()
    assert "rp-broken" in found.failed
    declared: Any = Declared("declared", "rp-broken")
    found.admit(declared)
    assert "rp-broken" not in found.failed
    found.dismiss(declared)
    found.complete()
    assert "rp-broken" in found.failed


@pytest.mark.parametrize("node", [f"{__name__}.None", "rp_gone.Node", Declared, 3])
def test_a_declared_plugin_with_a_class_that_is_no_node_is_not_admitted(node: object) -> None:
    """Nothing of it stays."""
    found = members(discovering=False)
    declared: Any = Declared("declared", "d", f"{__name__}.Mine", node)
    with pytest.raises((HookError, InvalidNodeError, ModuleNotFoundError, AttributeError)):
        found.admit(declared)
    assert (found.declared, found.catalogue().entries()) == ({}, [])
    assert not found.hooks().has_plugin("declared")


def test_an_object_of_the_users_own_is_taken_out_again() -> None:
    """Only one of that kind; what is registered anew under a name is nobody's any more."""
    found = members(discovering=False)
    mine = NodePlugin(lambda: [f"{__name__}.Mine"])
    with pytest.raises(HookError, match="No object of type NodePlugin was registered here"):
        found.take_out(mine)
    found.add(mine, "mine", Owner("somebody", Declared.import_node))
    assert found.owner("mine") == "somebody"
    assert [each.plugin for each in found.catalogue().entries()] == ["somebody"]
    with pytest.raises(HookError):
        found.take_out(mine)
    found.remove("mine")
    assert found.owner("mine") == "mine"
    found.add(mine, "mine")
    assert [each.plugin for each in found.catalogue().entries()] == ["mine"]
    found.take_out(mine)
    assert found.catalogue().entries() == []
    for name in (BUILTIN, "builtin nodes"):
        with pytest.raises(HookError):
            found.take_out(found.hooks().get_plugin(name))


def test_what_users_do_in_the_manager_counts_at_once() -> None:
    """The nodes are looked at anew; without any change they are the same."""
    found = members(discovering=False)
    before = found.catalogue()
    assert found.catalogue() is before
    mine = NodePlugin(lambda: [f"{__name__}.Mine"])
    found.hooks().register(mine, "mine")
    assert [each.name for each in found.catalogue().entries()] == ["Mine"]
    found.hooks().unregister(mine)
    assert found.catalogue().entries() == []


def test_observers_and_the_log_are_told_of_states(caplog: pytest.LogCaptureFixture) -> None:
    """With the detail."""
    found, seen = members(discovering=False), []

    class Observer:
        @hookimpl
        def cuvis_ai_plugin_state(self, plugin: str, state: PluginState, detail: str) -> None:
            seen.append((plugin, state, detail))

    found.add(Observer(), "observer")
    with caplog.at_level(logging.INFO):
        found.announce("p", PluginState.UNLOADED, "why")
    assert seen == [("p", PluginState.UNLOADED, "why")]
    assert f"plugin 'p': {PluginState.UNLOADED} why" in caplog.text


def test_the_view_of_nodes_is_a_mapping() -> None:
    """Of those of plugins alone; what is not there is named with what is."""
    found = members(discovering=False)
    nodes = PluginNodes(found)
    assert (len(nodes), list(nodes), "Mine" in nodes, nodes.get("Mine", 3)) == (0, [], False, 3)
    found.add(NodePlugin(lambda: [Mine]), "mine")
    assert (len(nodes), list(nodes), "Mine" in nodes, nodes["Mine"]) == (1, ["Mine"], True, Mine)
    assert nodes.get("Mine") is nodes[f"{__name__}.Mine"] is Mine
    assert f"{__name__}.Mine" in nodes
    assert object() not in nodes
    assert nodes.get("Nine") is None
    with pytest.raises(NodeNotFoundError, match=r"(?s)Nine.*Did you mean 'Mine'"):
        nodes["Nine"]
