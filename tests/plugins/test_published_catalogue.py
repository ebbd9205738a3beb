"""Entries of the published catalogue, of each generation, become entries of a manifest."""

from typing import Any

import pytest

from cuvis_ai_core.plugins.manifest.published_catalogue import class_paths, data_modules, plugin_entry, with_plugins


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ({}, None),
        ({"provides": []}, None),
        ({"provides": ["a.B", {"class_name": "a.C", "more": 1}], "capabilities": []}, ["a.B", "a.C"]),
        ({"capabilities": None}, None),
        ({"capabilities": {"class_name": "a.B"}}, None),
        ({"capabilities": []}, []),
        ({"capabilities": [{"class_name": "a.B"}, {"kind": "node", "class_name": "a.C"}]}, ["a.B", "a.C"]),
        ({"capabilities": [{"kind": "data_module", "class_name": "a.B"}, {"kind": "node"}, "a.C", None]}, []),
    ],
)
def test_classes_of_nodes_are_those_that_an_entry_names(entry: dict[str, Any], found: list[str] | None) -> None:
    """Nodes, which is what an entry without a kind is; an entry that names no kinds at all says nothing."""
    assert class_paths(entry) == found


NODE = {"class_name": "a.B"}
MODULE = {"kind": "data_module", "data_module_name": "cubes", "class_name": "a.Cubes"}


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ("text", "text"),
        ({"repo": "x", "provides": ["a.B"]}, {"repo": "x", "provides": ["a.B"]}),
        ({"repo": "x", "weights": 1}, {"repo": "x", "weights": 1}),
        ({"repo": "x", "data_modules": {"c": "a.C"}}, {"repo": "x", "provides": [], "data_modules": {"c": "a.C"}}),
        ({"provides": ["a.B"], "data_modules": {"c": "a.C"}}, {"provides": ["a.B"], "data_modules": {"c": "a.C"}}),
        ({"repo": "x", "data_modules": {}}, {"repo": "x", "data_modules": {}}),
        ({"repo": "x", "tag": None, "capabilities": [NODE]}, {"repo": "x", "provides": ["a.B"]}),
        (
            {"name": 1, "package_name": 1, "weights": 1, "description": 1, "extras": [], "capabilities": []},
            {"extras": [], "provides": []},
        ),
        ({"capabilities": [NODE, MODULE]}, {"provides": ["a.B"], "data_modules": {"cubes": "a.Cubes"}}),
        ({"capabilities": [NODE], "provides": ["a.D"]}, {"provides": ["a.D"]}),
        ({"capabilities": [MODULE], "data_modules": {"c": "a.C"}}, {"provides": [], "data_modules": {"c": "a.C"}}),
    ],
)
def test_an_entry_becomes_one_of_a_manifest(entry: object, found: object) -> None:
    """What it is told of to others is left out; what stands there in a manifest's own words counts."""
    assert plugin_entry(entry) == found


@pytest.mark.parametrize("less", ["kind", "data_module_name", "class_name"])
def test_a_data_module_has_a_name_and_a_class(less: str) -> None:
    """What lacks one, or is none, is left to whoever knows it."""
    assert data_modules({"capabilities": [MODULE, NODE, "a.B"]}) == {"cubes": "a.Cubes"}
    assert data_modules({"capabilities": [{key: value for key, value in MODULE.items() if key != less}]}) == {}
    assert data_modules({"capabilities": None}) == {}


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (None, None),
        ([], []),
        ({"plugins": []}, {"plugins": []}),
        ({"plugins": {"a": {"capabilities": [NODE]}}, "x": 1}, {"plugins": {"a": {"provides": ["a.B"]}}, "x": 1}),
        ({"name": "a", "repo": "r", "capabilities": [NODE]}, {"plugins": {"a": {"repo": "r", "provides": ["a.B"]}}}),
        ({"name": "a", "path": "p"}, {"plugins": {"a": {"path": "p"}}}),
        ({"name": "a"}, {"name": "a"}),
        ({"name": 7, "repo": "r"}, {"name": 7, "repo": "r"}),
        ({"name": "a", "repo": "r", "plugins": {}}, {"name": "a", "repo": "r", "plugins": {}}),
    ],
)
def test_a_manifest_of_one_plugin_is_one(data: object, found: object) -> None:
    """Newer catalogues have a file for each, with the name in it."""
    assert with_plugins(data) == found
