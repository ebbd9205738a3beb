"""Load the plugin through a registry, into a plugin cache of the tests: exactly as users will."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cuvis_ai_core import NodeRegistry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeRegistry]:
    """Return a registry in which only this plugin is loaded."""
    plugin = {
        "path": str(Path(__file__).parents[1]),
        "provides": ["cuvis_ai_colour_maps.colour_map.ColourMap"],
    }
    with pytest.MonkeyPatch.context() as patch, NodeRegistry(discover=False) as registry:
        patch.setenv("CUVIS_PLUGINS_DIR", str(tmp_path_factory.mktemp("plugins")))
        registry.load_plugin(name="colour_maps", config=plugin)
        yield registry
