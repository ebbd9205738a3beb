"""The registry itself: built-in nodes, names, errors."""

import subprocess
import sys

import pytest
from cuvis_ai_hookspecs import hookimpl

import cuvis_ai_core.utils.node_registry
from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.builtin import BUILTIN_NODES
from cuvis_ai_core.errors import AmbiguousNodeError, DuplicateNodeError, InvalidNodeError, NodeNotFoundError
from cuvis_ai_core.node import ArrayNode


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
    """A second class of that name is an error; the same class again is none."""
    assert NodeRegistry.register(Mine) is Mine
    NodeRegistry.register(Mine)
    assert NodeRegistry.get("Mine") is Mine
    assert "Mine" not in NodeRegistry(discover=False).plugin_registry
    with pytest.raises(DuplicateNodeError, match="'Mine' is registered already"):
        NodeRegistry.register(type("Mine", (Mine,), {}))
    with pytest.raises(InvalidNodeError, match="is no node class"):
        NodeRegistry.register(int)


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
        ("import cuvis_ai_core.registry", {"torch", "grpc", "git", "numpy", "pydantic", "yaml", "importlib_metadata"}),
        ("from cuvis_ai_core.utils.node_registry import NodeRegistry; NodeRegistry()", {"numpy", "pydantic", "git"}),
        ("import cuvis_ai_core.plugins.manifest", {"torch", "grpc", "git", "numpy"}),
        ("import cuvis_ai_core.cli.main", {"torch", "grpc", "git", "numpy"}),
        ("from cuvis_ai_core import NodeRegistry; NodeRegistry().nodes()", {"torch", "grpc", "git", "numpy"}),
    ],
)
def test_importing_stays_light(statement: str, heavy: set[str]) -> None:
    """A registry, a manifest, the help of a command and a listing load no heavy library."""
    code = f"import sys; {statement}; print(*sorted({heavy!r} & set(sys.modules)))"
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
