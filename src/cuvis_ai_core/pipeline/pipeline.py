"""A pipeline: nodes with typed ports, connected by edges, run in topological order."""

import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self, SupportsIndex

from cuvis_ai_core._deprecated import say_once
from cuvis_ai_core.errors import PipelineError
from cuvis_ai_core.node.array_node import Value
from cuvis_ai_core.node.fitted_state import Learner
from cuvis_ai_core.node.gradient_modes import for_gradients, inference_mode, outside_inference_mode
from cuvis_ai_core.node.hyper_parameters import changed_since_built
from cuvis_ai_core.node.torch_modules import is_module
from cuvis_ai_core.pipeline.connections import Connection, added, connected
from cuvis_ai_core.pipeline.device import CPU, checked_device, move
from cuvis_ai_core.pipeline.execution.input_sources import BatchKey, Feeding
from cuvis_ai_core.pipeline.execution.observer_hooks import Observers
from cuvis_ai_core.pipeline.execution.plan import Plan, RunStep, make_plan
from cuvis_ai_core.pipeline.execution.run_request import (
    Address,
    checked_stage,
    make_request,
    stage_of_run,
    unread_outputs,
)
from cuvis_ai_core.pipeline.file.config_models import PipelineConfig
from cuvis_ai_core.pipeline.file.lookup import PipelineFiles, find_files
from cuvis_ai_core.pipeline.file.reader import parse_config, read_config
from cuvis_ai_core.pipeline.file.writer import save_pipeline
from cuvis_ai_core.pipeline.graph import Edge, Graph
from cuvis_ai_core.pipeline.node_construction import build_nodes, make_nodes
from cuvis_ai_core.pipeline.node_lifecycle import close_nodes
from cuvis_ai_core.pipeline.node_views import NodeView
from cuvis_ai_core.pipeline.port_compatibility import ResolvedPort
from cuvis_ai_core.pipeline.published_methods import PublishedMethods
from cuvis_ai_core.pipeline.unloaded_nodes import UnloadedNode, outline_nodes
from cuvis_ai_core.pipeline.untrained import still_untrained
from cuvis_ai_core.pipeline.weights.node_weights import apply_state, collect_state
from cuvis_ai_core.pipeline.weights.weights_file import read_state

if TYPE_CHECKING:
    from cuvis_ai_schemas.execution import Context
    from cuvis_ai_schemas.pipeline import InputPort, OutputPort

    from cuvis_ai_core.pipeline.tiling.forward_tiled import Into, Progress
    from cuvis_ai_core.registry import NodeRegistry

logger = logging.getLogger(__name__)

_KEPT_PLANS = 32


class Pipeline(PublishedMethods):
    """A validated graph of nodes that can be run.

    `from_dict` and `load` make one from the content of a file; `connect` adds nodes that are at hand. It is a context
    manager that closes its nodes in the end. Its torch nodes are in evaluation mode (`node.eval()`); what trains them
    switches that.

    Args:
        name: Its name.
        strict_runtime_io_validation: Accepted from published software: values are always checked.
        node_registry: Whose observers see its runs.
        allow_untrained: Whether nodes run that are to learn, and have not: as they are, at random.
    """

    def __init__(
        self,
        name: str = "pipeline",
        strict_runtime_io_validation: bool = True,  # noqa: ARG002, FBT001, FBT002 - a published argument
        *,
        node_registry: "NodeRegistry | None" = None,
        allow_untrained: bool = False,
    ) -> None:
        empty = PipelineConfig.model_construct(metadata={"name": name}, plugins=[], nodes=[], edges=[])
        self._set_up(empty, node_registry, name, allow_untrained=allow_untrained)

    def _set_up(
        self, config: PipelineConfig, registry: Any, name: str, *, allow_untrained: bool, outline: bool = False
    ) -> None:
        with outside_inference_mode():
            config, nodes = make_nodes(config, registry, outline_nodes if outline else build_nodes)
        self._graph = Graph(nodes, config.edges)
        self._config = config
        self._files: PipelineFiles | None = None
        self._name = str(config.metadata.get("name") or name)
        self._device = CPU
        self._observers = Observers(getattr(registry, "hooks", None))  # what only gives classes has none
        self._allow_untrained = allow_untrained
        self._structure_of: str | None = None
        self._is_outline = outline
        self._untrained = {name: Learner(node, fresh=True) for name, node in nodes.items()}
        for node in filter(is_module, nodes.values()):
            node.eval()
        # Bounded: whoever hands in ever new keys would have a plan kept for each.
        self._plan = lru_cache(_KEPT_PLANS)(self._make_plan)

    @classmethod
    def _build(
        cls,
        config: PipelineConfig,
        registry: "NodeRegistry",
        name: str = "pipeline",
        *,
        outline: bool = False,
        allow_untrained: bool = False,
    ) -> Self:
        # Not by the constructor, whose arguments are the published ones.
        pipeline = cls.__new__(cls)
        pipeline._set_up(config, registry, name, allow_untrained=allow_untrained, outline=outline)  # noqa: SLF001
        return pipeline

    def connect(self, *connections: "Connection | InputPort | OutputPort") -> Self:
        """Connect nodes that are at hand, each by an output port and an input port; nodes that are new join in.

        A node whose name is taken gets a counter: `scaler`, `scaler-1`. Values and weights stay as they are.

        Args:
            connections: Pairs such as `(detector.outputs.scores, decider.inputs.scores)`; or the two ports of one pair.

        Raises:
            PipelineError: Something is no such pair, the edges form a cycle, or a trainer has the pipeline; nothing was
                changed.
            PortError: Two ports do not fit, or an input is connected already; nothing was changed.
        """
        return self._join(*connected(self._config, self._graph.nodes, connections))

    def add(self, *nodes: Any) -> Self:
        """Have nodes join in that are at hand and connected to none: `Pipeline("one").add(detector)`.

        Raises:
            InvalidNodeError: Something is no node.
            PipelineError: A trainer has the pipeline.
        """
        return self._join(*added(self._config, self._graph.nodes, nodes))

    def _join(self, config: PipelineConfig, nodes: Mapping[str, Any]) -> Self:
        if self._structure_of is not None:
            raise PipelineError(
                f"Pipeline '{self._name}' stays as it is for {self._structure_of}: nothing can be connected any more.",
                hint="Connect all nodes before; or call pipeline.unfreeze_structure() and make the trainer anew.",
            )
        graph = Graph(nodes, config.edges)
        new = {name: node for name, node in nodes.items() if name not in self._graph.nodes}
        for node in filter(is_module, new.values()):
            node.eval()
        move(new.values(), self._device)
        self._untrained |= {name: Learner(node, fresh=False) for name, node in new.items()}
        self._config, self._graph = config, graph
        self._plan.cache_clear()
        return self

    def _make_plan(
        self, stage: object, keys: frozenset[BatchKey], upto_node: object, kept: frozenset[object] | None
    ) -> Plan:
        plan = make_plan(self._graph, make_request(self._graph, stage, keys, upto_node, kept), self._device)
        order = ", ".join(step.node for step in plan.steps) or "nothing"
        logger.info("pipeline '%s' runs in stage '%s': %s", self._name, plan.stage, order)
        return plan

    @classmethod
    def from_dict(
        cls,
        config: Mapping[str, Any],
        *,
        node_registry: "NodeRegistry | None" = None,
        outline: bool = False,
        allow_untrained: bool = False,
    ) -> Self:
        """Build a pipeline from the content of a pipeline file.

        Args:
            config: Nodes, edges and metadata as in a pipeline file.
            node_registry: Where classes come from; by default a new registry.
            outline: Whether the pipeline is only looked at: nodes whose classes are not loaded are in `unloaded`, with
                the ports that edges name, and nothing can be run.
            allow_untrained: Whether nodes run that are to learn, and have not: as they are, at random.

        Raises:
            PipelineError: A key, a value, a node or an edge breaks a rule (`PortError` where a port does).
            NodeNotFoundError: The registry has no such class.
        """
        checked = parse_config(config)
        registry = _registry_or_new(node_registry)
        return cls._build(checked, registry, outline=outline, allow_untrained=allow_untrained)

    @classmethod
    def load(  # noqa: PLR0913 - one for each thing that a run may want otherwise
        cls,
        path_or_name: str | Path,
        *,
        node_registry: "NodeRegistry | None" = None,
        weights: str | Path | None = None,
        device: str = CPU,
        overrides: Sequence[str] = (),
        beside: bool = True,
        outline: bool = False,
        allow_untrained: bool = False,
    ) -> Self:
        """Build a pipeline from a YAML file, with the weights that lie beside it.

        Args:
            path_or_name: A path, or the name of a file in a configuration directory of a plugin.
            node_registry: Where classes and configuration directories come from; by default a new registry.
            weights: A file of weights; by default `<stem>.pt` or `<stem>.safetensors` beside the YAML, if there is one.
            device: Where torch nodes compute: `cpu`, `cuda`, `cuda:1`, ...
            overrides: Each `key.path=value`, laid over the file: `nodes.decider.params.quantile=0.9`.
            beside: Whether weights that lie beside the file are read where none are named.
            outline: As in `from_dict`; weights are not read where a node is not loaded.
            allow_untrained: Whether nodes run that are to learn, and have not: as they are, at random.

        Raises:
            PipelineError: There is no such file or device, or something in the file or the weights breaks a rule.
            NodeNotFoundError: The registry has no such class.
            NodeRunError: A node could not prepare for inference.
            MissingExtraError: A node, the weights or the device need torch, which is not installed.
        """
        registry = _registry_or_new(node_registry)
        target = checked_device(device)
        files = find_files(path_or_name, registry.config_owners, weights, overrides, beside=beside)
        config = read_config(files.file, overrides)
        try:
            pipeline = cls._build(config, registry, files.file.stem, outline=outline, allow_untrained=allow_untrained)
        except PipelineError as error:
            error.message = f"Pipeline file {files.file}: {error.message}"
            error.path = files.file
            raise
        pipeline._files = files  # noqa: SLF001
        logger.info("pipeline '%s' is built from %s, weights: %s", pipeline.name, files.file, files.weights or "none")
        if files.weights is not None and not pipeline.unloaded:
            state = read_state(files.weights, pipeline.nodes.keys())
            apply_state(dict(pipeline.nodes.items()), state, restore=False, path=files.weights)
        pipeline.to(target)
        if not outline:
            pipeline.prepare_inference()
        return pipeline

    def save(self, path: str | Path, *, weights_format: str | None = None) -> None:
        """Write the pipeline file, and the weights of its nodes beside it.

        Args:
            path: The YAML file; its folder is made if it is not there.
            weights_format: `pt` or `safetensors`; by default `pt` if a node is one of torch.

        Raises:
            PipelineError: The file would be no YAML file, or something in the pipeline cannot be written.
            MissingExtraError: `pt` is asked for, and torch is not installed.
            OSError: The folder cannot be written; the files that were there are as they were.
        """
        save_pipeline(Path(path).expanduser(), self, weights_format)

    def load_weights(self, path: str | Path) -> None:
        """Take over the weights in a `.pt` or `.safetensors` file, or in a checkpoint of Lightning (`.ckpt`).

        Raises:
            PipelineError: The file cannot be read, or does not fit the nodes; all nodes are as they were before.
            NodeRunError: A node could not prepare for inference with them.
            MissingExtraError: It is a `.pt` file, and torch is not installed.
        """
        file = Path(path).expanduser()
        apply_state(self._graph.nodes, read_state(file, self._graph.nodes), restore=True, path=file)
        if not self._is_outline:
            self.prepare_inference()

    def draw(self, path: str | Path) -> None:
        """Draw the graph with ports and dtypes; inputs that must be handed in are yellow.

        Args:
            path: The picture: `.png` or `.svg` (by Graphviz, extra `viz`), or `.md` (a Mermaid diagram).

        Raises:
            PipelineError: The suffix is another one.
            MissingExtraError: The extra, or Graphviz itself, is not installed.
            OSError: The file cannot be written.
        """
        from cuvis_ai_core.pipeline.drawing import draw_graph

        draw_graph(self, Path(path).expanduser())

    def state_dict(self) -> dict[str, dict[str, Value]]:
        """Return what the nodes have learned, by node and key; nodes without state are left out."""
        return collect_state(self._graph.nodes)

    def load_state_dict(self, state: Mapping[str, Mapping[str, Value]]) -> None:
        """Take over what `state_dict` returned.

        Raises:
            PipelineError: A node is not there, gets nothing, or a key or a shape does not fit it; all nodes are as
                they were before.
        """
        apply_state(self._graph.nodes, state, restore=True)

    def to(self, device: str) -> Self:
        """Move torch nodes to a device; what is handed in follows them.

        Raises:
            PipelineError: There is no such device.
            MissingExtraError: It is another one than the CPU, and torch is not installed.
        """
        self._device = checked_device(device)
        move(self._graph.nodes.values(), self._device)
        self._plan.cache_clear()
        return self

    @property
    def device(self) -> str:
        """Where torch nodes compute."""
        return self._device

    def reset(self) -> None:
        """Have nodes forget what they remember from run to run (`reset` of those that have it), as between videos."""
        for node in self._graph.nodes.values():
            if callable(reset := getattr(node, "reset", None)):
                reset()

    def close(self) -> None:
        """Have nodes let go of what they hold (`cleanup` and `close`); one that fails keeps nothing from the others."""
        close_nodes(self._graph.nodes)
        self.unfreeze_structure()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __copy__(self) -> Self:
        return self._copied(self._graph.nodes, self._untrained)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        with outside_inference_mode():
            nodes = {name: deepcopy(node, memo) for name, node in self._graph.nodes.items()}
        learners = {name: each.of_copy(nodes[name]) for name, each in self._untrained.items()}
        copied = memo[id(self)] = self._copied(nodes, learners)
        return copied

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        raise PipelineError(
            f"Pipeline '{self._name}' cannot be pickled: the classes of its nodes belong to what this process has "
            "loaded.",
            hint="Save it, pipeline.save('pipeline.yaml'), and load it in the other process, "
            "Pipeline.load('pipeline.yaml'), with the plugins loaded there.",
        )

    def _copied(self, nodes: Mapping[str, Any], learners: Mapping[str, Learner]) -> Self:
        other = type(self).__new__(type(self))
        vars(other).update(vars(self))
        other._go_own_way(nodes, learners)  # noqa: SLF001
        return other

    def _go_own_way(self, nodes: Mapping[str, Any], learners: Mapping[str, Learner]) -> None:
        """Share nothing with the pipeline that this is a copy of, but for what is in `nodes`."""
        self._config = self._config.model_copy(update={"metadata": dict(self._config.metadata)})
        self._graph = Graph(nodes, self._config.edges)
        self._untrained = dict(learners)
        self._structure_of = None
        self._plan = lru_cache(_KEPT_PLANS)(self._make_plan)

    @property
    def name(self) -> str:
        """Name from the metadata, else the stem of the file, else `pipeline`."""
        return self._name

    @property
    def files(self) -> PipelineFiles | None:
        """What it was read from; None if it was made of no file."""
        return self._files

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the file says about itself."""
        return MappingProxyType(self._config.metadata)

    @metadata.setter
    def metadata(self, said: Mapping[str, Any]) -> None:
        """Say what the file is to say about itself when it is saved; the pipeline keeps its name.

        Raises:
            PipelineError: It is no mapping.
        """
        if not isinstance(said, Mapping):
            raise PipelineError(f"metadata is {said!r:.60}, no mapping.", key="metadata")
        kept = dict(said)
        # The same mapping: a view of it may be in a program's hands.
        self._config.metadata.clear()
        self._config.metadata.update(kept)

    @property
    def plugins(self) -> tuple[str, ...]:
        """Names of the plugins from which its file says that nodes come."""
        return tuple(self._config.plugins)

    @property
    def nodes(self) -> NodeView:
        """The node objects in the order of the file: iterated, by name as `nodes["name"]`, or `nodes()` as a list."""
        return NodeView(self._graph.nodes)

    @property
    def unloaded(self) -> Mapping[str, UnloadedNode]:
        """Nodes whose classes are not loaded, in an outline; elsewhere there are none."""
        return {name: node for name, node in self._graph.nodes.items() if isinstance(node, UnloadedNode)}

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
        return Feeding(self._graph, checked_stage(stage)).required()

    def forward(
        self,
        batch: Mapping[Any, Value] | None = None,
        stage: str | None = None,
        upto_node: object = None,
        context: "Context | None" = None,
        free_consumed_ports: bool = False,  # noqa: FBT001, FBT002 - stands there in the published core
        keep_ports: Collection[BatchKey] | None = None,
        *,
        gradients: bool = False,
    ) -> dict[Address, Value]:
        """Run the pipeline once.

        Args:
            batch: Values of inputs that no edge feeds, under the port's name (for every node that has such an
                input), `node.port`, or (node, port); the most exact key wins. A variadic input takes a list.
                Names that no input has are left alone.
            stage: `inference`, `train`, `val` or `test`: nodes that are not for this stage do not run. By default
                that of the context, or `inference`.
            upto_node: Name of a node, or the node: only the nodes that feed it run, not itself.
            context: What nodes are told about the run, a `cuvis_ai_schemas.execution.Context`; by default one with
                the stage.
            free_consumed_ports: Published argument: whether only outputs that no running node reads are answered,
                beside those in `keep_ports`, where the name of a port alone means that of every node.
            keep_ports: The outputs to answer, each `node.port` or (node, port). Every other value is released after
                the last node that reads it. By default all are answered, and so kept.
            gradients: Whether torch remembers what gradients need in the stage `inference` too. By default it does not
                there (`torch.inference_mode`), and in other stages as the caller has it.

        Returns:
            (node, port) to value, for every output of every node that ran; None for an optional output that
            was left out.

        Raises:
            PipelineError: There is no such stage or node, stage and context differ, or a node is to learn and has not.
            PortError: Inputs are missing, a value does not fit its port, or there is no such output.
            NodeRunError: A node's `forward` failed; `__cause__` is its own exception.
        """
        given: Mapping[Any, Value] = {} if batch is None else batch
        # By exact type first: asking an abstract class goes through Python.
        if type(given) is not dict and not isinstance(given, Mapping):  # the second takes as long as a node
            raise PipelineError(
                f"The batch is of type {type(given).__name__}; it must be a mapping of port names to values.",
                hint="Call forward(batch={'cube': cube}).",
            )
        kept = None if keep_ports is None else frozenset([keep_ports] if isinstance(keep_ports, str) else keep_ports)
        if free_consumed_ports:
            kept = unread_outputs(self._graph, stage_of_run(stage, context), upto_node, kept or ())
        plan = self._plan(stage_of_run(stage, context), frozenset(given), upto_node, kept)
        if self._untrained and not self._allow_untrained:
            self._untrained = still_untrained(self._untrained, plan)
        if plan.stage == "inference" and not gradients:
            with inference_mode():
                return self._run(plan, given, context)
        return self._run(plan, for_gradients(given), context)

    def forward_tiled(
        self,
        batch: Mapping[Any, Value],
        stage: str | None = None,
        context: "Context | None" = None,
        keep_ports: Collection[BatchKey] | None = None,
        *,
        memory: int | None = None,
        into: "Into | None" = None,
        progress: "Progress | None" = None,
    ) -> dict[Address, Value]:
        """Run the pipeline once, tile by tile wherever its nodes say that they can be computed so.

        Nodes that say nothing get whole images. The numbers are those of `forward`, but for rounding; answers that are
        put together of tiles are arrays of NumPy. In another stage than `inference` all images are whole.

        Args:
            batch: As in `forward`; `Cube.tiles()` gives one whose image is read tile by tile.
            stage: As in `forward`.
            context: As in `forward`.
            keep_ports: As in `forward`; by default `last_outputs`.
            memory: Bytes that tiles may take; by default a quarter of what is free.
            into: Makes the places that answers are written into, tile after tile: called with (node, port), shape and
                dtype, it returns an array, or what is written to as one. By default they are arrays.
            progress: Called after each tile with how many are done, and how many there are as far as is known.

        Raises:
            PipelineError: As `forward`.
            PortError: As `forward`.
            NodeRunError: As `forward`; or a node's answer is not what it says of tiles.
            InvalidNodeError: What a node says of tiles is no declaration.
        """
        from cuvis_ai_core.pipeline.tiling.forward_tiled import TiledRequest, forward_tiled

        kept = self.last_outputs(stage_of_run(stage, context)) if keep_ports is None else keep_ports
        plan = self._plan(stage_of_run(stage, context), frozenset(batch), None, frozenset(kept))
        if self._untrained and not self._allow_untrained:
            self._untrained = still_untrained(self._untrained, plan)
        request = TiledRequest(batch, context, memory, into, progress)

        def run(run_step: RunStep | None) -> dict[Address, Value]:
            return forward_tiled(plan, self._graph.nodes, request, run_step)

        with inference_mode() if plan.stage == "inference" else nullcontext():
            if self._observers:
                return self._observers.observe(plan, self._name, self._device, run)
            return run(None)

    def last_outputs(self, stage: object = "inference") -> tuple[Address, ...]:
        """Return the outputs of the last nodes: those that feed no other node in a stage that has outputs itself.

        A node that answers arrays is last too where nothing that it feeds, however indirectly, answers one: metrics and
        pictures for a monitor take no result away.

        Raises:
            PipelineError: There is no such stage.
        """
        last = Feeding(self._graph, checked_stage(stage)).last()
        return tuple((node, port) for node in last for port in self._graph.outputs[node])

    def _run(self, plan: Plan, given: Mapping[BatchKey, Value], context: "Context | None") -> dict[Address, Value]:
        if self._observers:
            return self._observers.run(plan, given, context, self._name, self._device)
        return _run_plan(plan, given, context)

    def _observe(self, observer: object, name: str) -> None:
        """Have an observer told of the runs of this pipeline, whether or not it has a registry."""
        # A pipeline without a registry has no pluggy manager until somebody looks.
        if not self._observers.register(observer, name):
            from cuvis_ai_core.plugins.hooks.manager import HookManager

            self._observers = Observers(HookManager())
            self._observers.register(observer, name)

    def _observed_by(self, name: str) -> Any:
        return self._observers.registered(name)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the pipeline file, in the one spelling that is written.

        A node's hyper-parameter that was changed since, as a threshold by a calibration, has its new value.
        """
        for entry in self._config.nodes:
            # When it is written, not when it changes: a calibration assigns attributes, of which nobody is told.
            entry.params.update(changed_since_built(self._graph.nodes.get(entry.name)))
        return self._config.to_dict()

    def __repr__(self) -> str:
        return f"<Pipeline '{self.name}': {len(self.nodes)} nodes, {len(self.edges)} edges>"

    def _repr_html_(self) -> str:
        """Show this in a notebook: its graph, and its nodes."""
        from cuvis_ai_core.pipeline.notebook_view import html_of

        return html_of(self)


def _run_plan(plan: Plan, given: Mapping[BatchKey, Value], context: "Context | None") -> dict[Address, Value]:
    """Run a plan; NumPy is there when something runs, and not before. From then on this is `run.run_plan` itself."""
    # Replaced by what it imports: looking in `sys.modules` at each run takes as long as half a node.
    global _run_plan  # noqa: PLW0603 - an import takes as long as half a node
    from cuvis_ai_core.pipeline.execution.run import run_plan as _run_plan

    return _run_plan(plan, given, context)


def _registry_or_new(registry: "NodeRegistry | None") -> "NodeRegistry":
    if registry is not None:
        return registry
    from cuvis_ai_core.registry import NodeRegistry

    return NodeRegistry()


if TYPE_CHECKING:
    CuvisPipeline = Pipeline
    CuvisCanvas = Pipeline


def __getattr__(name: str) -> object:
    if name not in {"CuvisPipeline", "CuvisCanvas"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    say_once(f"{__name__}.{name}", "Pipeline")
    return Pipeline
