"""A pipeline: nodes with typed ports, connected by edges, run in topological order."""

import difflib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from cuvis_ai_core.errors import PipelineError
from cuvis_ai_core.node.array import Value
from cuvis_ai_core.node.base import STAGES, stage_name
from cuvis_ai_core.pipeline.config import PipelineConfig, parse_config, read_config
from cuvis_ai_core.pipeline.construct import build_nodes
from cuvis_ai_core.pipeline.feeding import BatchKey, Feeding
from cuvis_ai_core.pipeline.find import find_pipeline_file
from cuvis_ai_core.pipeline.graph import Edge, Graph, ResolvedPort
from cuvis_ai_core.pipeline.plan import Address, Plan, make_plan
from cuvis_ai_core.pipeline.run import run_plan

if TYPE_CHECKING:
    from cuvis_ai_core.registry import NodeRegistry

_KEPT_PLANS = 32
_RUN_STAGES = STAGES - {"always"}


class Pipeline:
    """A validated graph of nodes that can be run.

    Make one with `from_dict` or `from_file`.

    Args:
        config: The checked content of a pipeline file.
        nodes: The node objects by name.
        name: Used where the metadata give none.
    """

    def __init__(self, config: PipelineConfig, nodes: Mapping[str, Any], *, name: str = "pipeline") -> None:
        self._config = config
        self._graph = Graph(nodes, config.edges)
        self._name = str(config.metadata.get("name") or name)

        def plan(stage: str, keys: frozenset[BatchKey]) -> Plan:
            return make_plan(self._graph, stage, keys)

        self._plan = lru_cache(_KEPT_PLANS)(plan)

    @classmethod
    def from_dict(cls, config: Mapping[str, Any], *, node_registry: "NodeRegistry | None" = None) -> Self:
        """Build a pipeline from the content of a pipeline file.

        Args:
            config: Nodes, edges and metadata as in a pipeline file.
            node_registry: Where classes come from; by default a new registry.

        Raises:
            PipelineError: A key, a value, a node or an edge breaks a rule (`PortError` where a port does).
            NodeNotFoundError: The registry has no such class.
        """
        checked = parse_config(config)
        return cls(checked, build_nodes(checked, _registry_or_new(node_registry)))

    @classmethod
    def from_file(cls, path_or_name: str | Path, *, node_registry: "NodeRegistry | None" = None) -> Self:
        """Build a pipeline from a YAML file.

        Args:
            path_or_name: A path, or the name of a file in a configuration directory of a plugin.
            node_registry: Where classes and configuration directories come from; by default a new registry.

        Raises:
            PipelineError: The file is not there, or something in it breaks a rule.
            NodeNotFoundError: The registry has no such class.
        """
        registry = _registry_or_new(node_registry)
        path = find_pipeline_file(path_or_name, registry.config_dirs())
        config = read_config(path)
        try:
            return cls(config, build_nodes(config, registry), name=path.stem)
        except PipelineError as error:
            error.message = f"Pipeline file {path}: {error.message}"
            error.path = path
            raise

    @property
    def name(self) -> str:
        """Name from the metadata, else the stem of the file, else `pipeline`."""
        return self._name

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the file says about itself."""
        return MappingProxyType(self._config.metadata)

    @property
    def nodes(self) -> Mapping[str, Any]:
        """Node objects by name, in the order of the file."""
        return MappingProxyType(self._graph.nodes)

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The connections, in the order of the file."""
        return self._graph.edges

    @property
    def order(self) -> tuple[str, ...]:
        """Names of the nodes in the order in which they run."""
        return self._graph.order

    @property
    def inputs(self) -> Mapping[str, Mapping[str, ResolvedPort]]:
        """Input ports of each node, by node and port."""
        return MappingProxyType(self._graph.inputs)

    @property
    def outputs(self) -> Mapping[str, Mapping[str, ResolvedPort]]:
        """Output ports of each node, by node and port."""
        return MappingProxyType(self._graph.outputs)

    def required_inputs(self, stage: str = "inference") -> Mapping[Address, ResolvedPort]:
        """Return the ports that must be handed in, by (node, port): required ones without an edge.

        Raises:
            PipelineError: There is no such stage.
        """
        return Feeding(self._graph, _checked_stage(stage)).required()

    def forward(self, batch: Mapping[BatchKey, Value], stage: str = "inference") -> dict[Address, Value]:
        """Run the pipeline once.

        Args:
            batch: Values of inputs that no edge feeds, under the port's name (for every node that has such an
                input), `node.port`, or (node, port); the most exact key wins. A variadic input takes a list.
                Names that no input has are left alone.
            stage: `inference`, `train`, `val` or `test`: nodes that are not for this stage do not run.

        Returns:
            (node, port) to value, for every output of every node that ran; None for an optional output that
            was left out.

        Raises:
            PortError: Inputs are missing, or a value does not fit its port.
            NodeRunError: A node's `forward` failed; `__cause__` is its own exception.
        """
        if not isinstance(batch, Mapping):
            raise PipelineError(
                f"The batch is of type {type(batch).__name__}; it must be a mapping of port names to values.",
                hint="Call forward(batch={'cube': cube}).",
            )
        return run_plan(self._plan(_checked_stage(stage), frozenset(batch)), batch)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the pipeline file, in the one spelling that is written."""
        return self._config.to_dict()

    def __repr__(self) -> str:
        return f"<Pipeline '{self.name}': {len(self.nodes)} nodes, {len(self.edges)} edges>"


def _registry_or_new(registry: "NodeRegistry | None") -> "NodeRegistry":
    if registry is not None:
        return registry
    from cuvis_ai_core.registry import NodeRegistry

    return NodeRegistry()


def _checked_stage(stage: str) -> str:
    name = stage_name(stage)
    if name not in _RUN_STAGES:
        near = difflib.get_close_matches(name, _RUN_STAGES, n=1)
        raise PipelineError(
            f"There is no stage '{name}' to run in." + (f" Did you mean '{near[0]}'?" if near else ""),
            hint=f"Stages: {', '.join(sorted(_RUN_STAGES))}.",
        )
    return name
