"""Classes that stand for those of a plugin in a worker look like these, and behave like these."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuvis_ai_schemas.enums import NodeCategory, NodeTag

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import InvalidNodeError, PluginLoadError
from cuvis_ai_core.node.ports import read_ports
from cuvis_ai_core.plugins.isolation.private_names import class_path

Construct = Callable[..., Any]

CUBE = np.ones((1, 2, 2, 3), np.float32)


@pytest.fixture
def registry(lasting_registry: NodeRegistry) -> NodeRegistry:
    """Return a registry with the plugin, whose worker nothing here ends."""
    return lasting_registry


@pytest.fixture
def real(project: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the class `Scale` itself, imported here."""
    monkeypatch.syspath_prepend(str(project / "src"))
    from importlib import import_module

    return import_module("process_nodes.nodes").Scale


def test_a_class_looks_like_the_real_one(registry: NodeRegistry, real: Any) -> None:
    """Name, documentation, signatures, ports and metadata are the same."""
    found: Any = registry.get("Scale")
    assert (found.__name__, found.__doc__, class_path(found)) == ("Scale", real.__doc__, "process_nodes.nodes.Scale")
    assert str(inspect.signature(found)) == str(inspect.signature(real))
    assert list(inspect.signature(found).parameters) == list(inspect.signature(real).parameters)
    assert found.forward.__doc__ == real.forward.__doc__
    assert inspect.signature(found.forward) == inspect.signature(real.forward)
    for side in ("INPUT_SPECS", "OUTPUT_SPECS"):
        assert read_ports(found, side) == read_ports(real, side)
        assert getattr(found, side) == getattr(real, side)
    assert (found._category, found._tags, found._icon_name) == (
        NodeCategory.TRANSFORM,
        frozenset({NodeTag.HYPERSPECTRAL}),
        "scale",
    )
    assert (found.get_category(), found.get_tags(), found.get_icon_name()) == (
        found._category,
        found._tags,
        found._icon_name,
    )
    assert found.STATE == real.STATE


def test_a_class_is_found_by_all_its_names(registry: NodeRegistry) -> None:
    """By short name and full path, in the listing, and with its plugin."""
    found = registry.get("Scale")
    assert registry.get("process_nodes.nodes.Scale") is found
    assert registry.plugin_registry["Scale"] is found
    assert registry.public_path(found) == "process_nodes.nodes.Scale"
    info = registry.plugin_of(found)
    assert info is not None
    assert (info.name, info.distribution, info.version) == ("process_nodes", "process-nodes", "1.0.0")
    assert len(info.nodes) == 10


def test_a_node_has_what_the_real_one_has(node: Construct) -> None:
    """Name, stages, hyper-parameters, and the attributes that ports name."""
    scale = node("Scale", factor=3.0, name="s", execution_stages=["val", "test"])
    assert (scale.name, scale.execution_stages) == ("s", {"val", "test"})
    assert scale.hparams == {"factor": 3.0, "shape": (1, 2), "offset": 0.0}
    assert scale.bands == 3
    assert scale.should_execute("val")
    assert not scale.should_execute("train")
    assert scale.inputs.cube.name == "cube"
    assert repr(scale) == "Scale(factor=3.0, shape=(1, 2), offset=0.0)"
    assert node("Scale").name == "Scale"


def test_a_node_takes_stages_as_the_real_one_does(node: Construct) -> None:
    """What the base class says of stages is no declaration of the class over there."""
    echo = node("Echo", name="echo")
    echo.execution_stages = {"val"}
    assert echo.execution_stages == {"val"}


def test_a_node_computes_like_the_real_one(node: Construct) -> None:
    """By keyword and by position, called or by `forward`."""
    scale = node("Scale", factor=3.0)
    for answer in (scale.forward(cube=CUBE), scale.forward(CUBE), scale(cube=CUBE)):
        np.testing.assert_array_equal(answer["cube"], 3 * CUBE)
        assert answer["cube"].dtype == np.float32
    with pytest.raises(TypeError, match="unexpected keyword argument 'cub'"):
        scale.forward(cub=CUBE)


def test_a_node_learns_and_keeps_its_state(node: Construct) -> None:
    """From a stream that is read once; the state goes to another node."""
    scale = node("Scale")
    assert scale.requires_initial_fit
    assert scale.state_dict() == {}
    scale.statistical_initialization({"cube": number * CUBE} for number in (1, 2, 6))
    state = scale.state_dict()
    assert state["mean"] == 3.0
    other = node("Scale")
    other.load_state_dict(state)
    assert other.statistically_initialized
    assert other.forward(cube=CUBE)["mean"] == 3.0
    with pytest.raises(InvalidNodeError, match="keeps no 'median'"):
        other.load_state_dict({"median": 1.0})


def test_a_node_has_only_the_methods_of_the_real_one(node: Construct) -> None:
    """Who asks whether a node can be reset or frozen gets the right answer."""
    assert hasattr(node("Scale"), "reset")
    assert not hasattr(node("Echo"), "reset")
    assert not hasattr(node("Scale"), "freeze")


def test_a_node_that_keeps_its_inputs_keeps_them(node: Construct) -> None:
    """Memory in which the worker still has an array is not used again."""
    keeper = node("Keeper")
    for number in range(6):
        first = keeper.forward(cube=np.full(2**16, number, np.float32))["first"]
        assert (first[0], first[-1]) == (0, 0)
    keeper.reset()
    assert keeper.forward(cube=np.full(2**16, 9, np.float32))["first"][0] == 9


def test_outputs_stay_as_they_are(node: Construct) -> None:
    """Memory on which there is an array in the host is not used again; an array outlives the worker."""
    echo = node("Echo")
    kept = [echo.forward(value=np.full(2**16, number))["value"] for number in range(6)]
    parts = [each[100:200] for each in kept]
    del kept
    echo.forward(value=np.zeros(2**16))
    echo.cancel()
    assert [each[0] for each in parts] == list(range(6))


@pytest.mark.slow
def test_what_is_wrong_with_a_class_is_said_when_the_plugin_is_loaded(
    load: Callable[[], NodeRegistry], config: dict[str, Any]
) -> None:
    """A class that is not there is an error that names those that are; nothing is loaded."""
    registry = load()
    config["provides"] = ["process_nodes.nodes.Missing"]
    with pytest.raises(
        PluginLoadError,
        match=r"'process_nodes\.nodes\.Missing' is not there: module 'process_nodes\.nodes' has no 'Missing'",
    ):
        registry.load_plugin("other", config)
    for module, said in (
        ("process_nodes.node", r"the plugin has no module 'process_nodes\.node'; in 'process_nodes' it has: nodes\.\s"),
        ("proces_nodes.nodes", r"the plugin has no module 'proces_nodes'; at its top it has: process_nodes\.\s"),
    ):
        with pytest.raises(PluginLoadError, match=f"{said}Did you mean 'process_nodes") as caught:
            registry.load_plugin("other", {**config, "provides": [f"{module}.Scale"]})
        assert "Traceback" not in str(caught.value)
    assert registry.list_plugins() == ["process_nodes"]


def test_an_import_that_fails_is_told_as_in_this_process(
    load: Callable[[], NodeRegistry], write_files: Callable[[Path, dict[str, str]], Path], tmp_path: Path
) -> None:
    """What and where in the plugin's code, and what to do; nothing of how it was imported."""
    folder = write_files(
        tmp_path / "plugin",
        {
            "pyproject.toml": PROJECT,
            "src/failing/__init__.py": "",
            "src/failing/nodes.py": "import a_package_of_its_own\n",
        },
    )
    config = {"path": str(folder), "provides": ["failing.nodes.Node"], "isolation": "process"}
    with pytest.raises(PluginLoadError, match="ModuleNotFoundError: No module named 'a_package_of_its_own'") as caught:
        load().load_plugin("failing", config)
    said = str(caught.value)
    assert "add it to the dependencies in the plugin's pyproject.toml" in said
    assert 'nodes.py", line 1' in said
    assert "class_descriptions.py" not in said
    assert "importlib" not in said


PROJECT = """\
[build-system]
requires = ["uv_build"]
build-backend = "uv_build"

[project]
name = "failing"
version = "1.0.0"
"""
