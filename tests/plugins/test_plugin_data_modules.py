"""Data modules of loaded plugins are found by the names that manifests have for them, or by their full paths."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import PluginConflictError


@pytest.fixture
def load(registry: NodeRegistry, local_plugin: Callable[..., Path]) -> Callable[..., None]:
    """Return a function that loads a plugin whose package has a data module `Cubes`, under some names."""

    def loaded(plugin: str, package: str, *names: str) -> None:
        folder = local_plugin(package, package=package)
        (folder / f"src/{package}/data.py").write_text("class Cubes:\n    pass\n")
        modules = dict.fromkeys(names, f"{package}.data.Cubes")
        entry = {"path": str(folder), "provides": [f"{package}.nodes.Echo"], "data_modules": modules}
        registry.load_plugin(plugin, entry)

    return loaded


def test_a_data_module_is_found_by_name_or_path(registry: NodeRegistry, load: Callable[..., None]) -> None:
    """It is imported when it is asked for; what is no path, or nobody's, is none."""
    load("one", "cuvis_test_one", "cubes")
    load("two", "cuvis_test_two", "belt", "rails")
    for name, plugin in (("cubes", "one"), ("belt", "two"), ("rails", "two"), ("cuvis_test_two.data.Cubes", "two")):
        found = registry.data_module(name)
        assert found is not None
        assert (found.plugin, found.path) == (plugin, f"cuvis_test_{plugin}.data.Cubes")
        assert found.load().__name__ == "Cubes"
        assert found.owner.made(found.load())
    gone = registry.data_module("cuvis_test_one.data.Gone")
    assert gone is not None
    with pytest.raises(AttributeError, match="Gone"):
        gone.load()
    for name in ("cuvis_test_one", "one", "numpy.ndarray", ""):
        assert registry.data_module(name) is None


def test_a_name_of_two_plugins_is_an_error(registry: NodeRegistry, load: Callable[..., None]) -> None:
    """Two entries of one plugin have one class."""
    load("one", "cuvis_test_one", "cubes")
    load("again", "cuvis_test_one", "cubes")
    found = registry.data_module("cubes")
    assert found is not None
    assert found.plugin == "one"
    load("two", "cuvis_test_two", "cubes")
    said = (
        "Several plugins have a data module 'cubes': cuvis_test_one.data.Cubes of 'one', cuvis_test_one.data.Cubes of "
        "'again', cuvis_test_two.data.Cubes of 'two'."
    )
    with pytest.raises(PluginConflictError, match=re.escape(said)):
        registry.data_module("cubes")
    assert registry.data_module("cuvis_test_two.data.Cubes") is not None
