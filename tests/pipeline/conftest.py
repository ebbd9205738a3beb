"""Small node classes, a registry that knows them, and a short way to write a graph."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.errors import NodeNotFoundError
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.pipeline import Pipeline
from cuvis_ai_core.plugins.hooks.manager import HookManager

CUBE = PortSpec(dtype=np.float32, shape=(-1, -1, -1, -1))


class Scale(ArrayNode):
    """The cube times a factor."""

    INPUT_SPECS: ClassVar[Mapping[str, Any]] = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar[Mapping[str, Any]] = {"cube": CUBE}

    def __init__(self, factor: float = 2.0, **base: Any) -> None:
        super().__init__(factor=factor, **base)

    def forward(self, cube: Any) -> dict[str, Any]:
        """Return the product."""
        return {"cube": cube * np.float32(self.hparams["factor"])}


class Sum(ArrayNode):
    """The sum of all cubes that arrive, plus an offset."""

    INPUT_SPECS: ClassVar[Mapping[str, Any]] = {
        "cubes": {"dtype": np.float32, "shape": (-1, -1, -1, -1), "optional": True, "variadic": True}
    }
    OUTPUT_SPECS: ClassVar[Mapping[str, Any]] = {"cube": CUBE}

    def __init__(self, offset: float = 0.0, **base: Any) -> None:
        super().__init__(offset=offset, **base)

    def forward(self, cubes: Any = ()) -> dict[str, Any]:
        """Return the sum."""
        return {"cube": sum(cubes, start=np.full((1, 2, 2, 3), self.hparams["offset"], dtype=np.float32))}


class FakeRegistry:
    """Knows the classes it is told."""

    def __init__(self, directories: tuple[Path, ...] = ()) -> None:
        self.classes: dict[str, type] = {"Scale": Scale, "Sum": Sum}
        self.directories = list(directories)
        self.hooks = HookManager()

    def get(self, name: str) -> type:
        """Return the class of that name."""
        if name not in self.classes:
            raise NodeNotFoundError(f"Node '{name}' not found in registry.", hint="Load it.", node=name)
        return self.classes[name]

    def config_owners(self) -> dict[Path, str]:
        """Return where pipelines are found by name."""
        return dict.fromkeys(self.directories, "")


@pytest.fixture
def registry() -> Any:
    """A registry with `Scale` and `Sum`."""
    return FakeRegistry()


@pytest.fixture
def cube() -> Any:
    """A batch of one small image [batch, height, width, channel]."""
    return np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3)


@pytest.fixture
def make_class(registry: Any) -> Callable[..., type[ArrayNode]]:
    """Return a function that makes a node class from its ports and its `forward`, and registers it."""

    def make(
        name: str,
        forward: Callable[..., Any],
        inputs: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        **attributes: Any,
    ) -> type[ArrayNode]:
        ports = {"INPUT_SPECS": inputs or {}, "OUTPUT_SPECS": outputs or {}}
        made = type(name, (ArrayNode,), {**ports, "forward": forward, **attributes})
        registry.classes[name] = made
        return made

    return make


@pytest.fixture
def pipeline_of(registry: Any) -> Callable[..., Pipeline]:
    """Return a function that builds a pipeline: `pipeline_of({"a": "Scale"}, "a.cube -> b.cube")`.

    A node is the name of its class, or that and its parameters.
    """

    def build(nodes: Mapping[str, str | tuple[str, dict[str, Any]]], *edges: str) -> Pipeline:
        entries = []
        for name, node in nodes.items():
            class_name, params = (node, {}) if isinstance(node, str) else node
            entries.append({"name": name, "class_name": class_name, "params": params})
        ends = (edge.split(" -> ") for edge in edges)
        config = {
            "nodes": entries,
            "edges": [{"source": source, "target": target} for source, target in ends],
        }
        return Pipeline.from_dict(config, node_registry=registry, allow_untrained=True)

    return build
