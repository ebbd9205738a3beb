"""Node classes as messages: where they come from, what their ports are, and what editors show of them."""

from typing import Any, ClassVar

import numpy as np
import pytest
from cuvis_ai_schemas.enums import NodeCategory, NodeTag

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.grpc.messages.node_infos import node_infos, shape_of
from cuvis_ai_core.grpc.messages.schema_generations import enum_value
from cuvis_ai_core.node import ArrayNode, PortSpec
from cuvis_ai_core.plugins.hooks.manager import NodePlugin


class Shown(ArrayNode):
    """Says all that editors show."""

    INPUT_SPECS: ClassVar[dict[str, Any]] = {
        "cube": PortSpec(np.float32, (-1, "bands", 3), description="what comes", optional=True),
        "many": [PortSpec(np.uint8, ())],
    }
    OUTPUT_SPECS: ClassVar[dict[str, Any]] = {"mask": PortSpec(bool, (-1,))}
    _category = NodeCategory.TRANSFORM
    _tags = frozenset({NodeTag.HYPERSPECTRAL})

    def forward(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


class Bare:
    """Has ports, and says nothing of itself."""

    INPUT_SPECS: ClassVar[dict[str, Any]] = {}
    OUTPUT_SPECS: ClassVar[dict[str, Any]] = {}

    def forward(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


@pytest.fixture
def registry() -> Any:
    """Return a registry with nodes of a plugin, one of which cannot be imported."""
    with NodeRegistry(discover=False) as made:
        names = ["Shown", "Bare", "Gone"]
        made.register_hooks(NodePlugin(lambda: [f"{__name__}.{name}" for name in names]), "shows")
        yield made


@pytest.mark.parametrize("with_lists", [False, True])
def test_a_node_says_where_it_comes_from_and_what_its_ports_are(registry: NodeRegistry, *, with_lists: bool) -> None:
    """In lists, for older clients; a size that is free or has a name is any."""
    found = {each.class_name: each for each in node_infos(registry, with_lists=with_lists)}
    builtin, shown = found["RXDetector"], found["Shown"]
    assert (builtin.source, builtin.plugin_name) == ("builtin", "")
    assert (shown.source, shown.plugin_name, shown.full_path) == ("plugin", "shows", f"{__name__}.Shown")

    def port(specs: Any, name: str) -> Any:
        (one,) = specs[name].specs if with_lists else (specs[name],)
        return one

    assert (sorted(shown.input_specs), sorted(shown.output_specs)) == (["cube", "many"], ["mask"])
    cube, many, mask = (
        port(shown.input_specs, "cube"),
        port(shown.input_specs, "many"),
        port(shown.output_specs, "mask"),
    )
    assert (cube.name, list(cube.shape), cube.optional, cube.description) == ("cube", [-1, -1, 3], True, "what comes")
    assert (cube.variadic, many.variadic, many.optional) == (False, True, False)
    dtypes = [enum_value("DType", f"D_TYPE_{name}") for name in ("FLOAT32", "UINT8", "BOOL")]
    assert [each.dtype for each in (cube, many, mask)] == dtypes


def test_what_editors_show_is_told_as_far_as_it_is_known(
    registry: NodeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """A class that cannot be imported is listed by its name alone."""
    found = {each.class_name: each for each in node_infos(registry, with_lists=False)}
    shown, bare, gone = (found[name] for name in ("Shown", "Bare", "Gone"))
    assert shown.category == enum_value("NodeCategory", "NODE_CATEGORY_TRANSFORM")
    assert list(shown.tags) == [enum_value("NodeTag", "NODE_TAG_HYPERSPECTRAL")]
    assert shown.icon_svg
    assert (bare.category, list(bare.tags)) == (0, [])
    assert (gone.full_path, dict(gone.input_specs), gone.icon_svg) == (f"{__name__}.Gone", {}, b"")
    assert [each.getMessage() for each in caplog.records if "Gone" in each.getMessage()] == [
        f"node '{__name__}.Gone' is listed without its ports"
    ]


def test_sizes_that_are_no_numbers_are_any() -> None:
    """On the wire."""
    assert shape_of((1, "bands", -1)) == [1, -1, -1]
