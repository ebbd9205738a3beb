"""What a run does, worked out once per stage and set of handed-in keys.

Every value of a run has a slot in one list: the context, what is handed in, the outputs of the nodes.
"""

import inspect
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from cuvis_ai_core.node.array import Value
from cuvis_ai_core.pipeline.checks import Check, always_fits, make_check
from cuvis_ai_core.pipeline.feeding import BatchKey, Feeding
from cuvis_ai_core.pipeline.graph import Edge, Graph, ResolvedPort

Address: TypeAlias = tuple[str, str]
"""Node and port."""

CONTEXT_SLOT: Final = 0


@dataclass(frozen=True, slots=True)
class SlotCheck:
    """A check of the value in a slot against an input port."""

    slot: int
    fits: Check
    port: ResolvedPort


@dataclass(frozen=True, slots=True)
class Output:
    """An output port of a step."""

    name: str
    slot: int
    fits: Check | None
    port: ResolvedPort


@dataclass(frozen=True, slots=True)
class Step:
    """The run of one node.

    Attributes:
        node: Name of the node.
        forward: Its bound `forward`.
        arguments: Argument names and slots.
        fan_in: Argument names of variadic inputs, and the slots of their values.
        checks: For values whose producers promise less than this node takes.
        outputs: What `forward` must return.
        output_names: Their names.
    """

    node: str
    forward: Callable[..., Any]
    arguments: tuple[tuple[str, int], ...]
    fan_in: tuple[tuple[str, tuple[int, ...]], ...]
    checks: tuple[SlotCheck, ...]
    outputs: tuple[Output, ...]
    output_names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a run.

    Attributes:
        stage: The execution stage.
        entries: Batch keys and slots.
        entry_checks: Checks of what is handed in, made before the first node runs.
        steps: The nodes in their order.
        answers: The outputs, in the order of the slots from `first_output`.
        first_output: The slot of the first output.
        needs_context: Whether a node takes the context.
    """

    stage: str
    entries: tuple[tuple[BatchKey, int], ...]
    entry_checks: tuple[SlotCheck, ...]
    steps: tuple[Step, ...]
    answers: tuple[Address, ...]
    first_output: int
    needs_context: bool


def make_plan(graph: Graph, stage: str, keys: Collection[BatchKey]) -> Plan:
    """Work out the run of a graph.

    Args:
        graph: The graph to run.
        stage: Nodes that do not run in this stage are left out.
        keys: The keys of the batch.

    Raises:
        PortError: Required inputs are missing, or a key names an input that is not there.
    """
    feeding = Feeding(graph, stage)
    planner = _Planner(graph, feeding, feeding.choose_keys(keys))
    steps = tuple(map(planner.step, feeding.running))
    return Plan(
        stage=stage,
        entries=tuple(planner.key_slots.items()),
        entry_checks=tuple(planner.entry_checks()),
        steps=steps,
        answers=tuple(planner.output_slots),
        first_output=planner.first_output,
        needs_context=any(slot == CONTEXT_SLOT for step in steps for _, slot in step.arguments),
    )


class _Planner:
    """Gives every value a slot, and every node the slots of its inputs and outputs."""

    def __init__(self, graph: Graph, feeding: Feeding, keys: dict[Address, BatchKey]) -> None:
        self.graph = graph
        self.feeding = feeding
        self.keys = keys
        self.key_slots = {key: slot for slot, key in enumerate(dict.fromkeys(keys.values()), CONTEXT_SLOT + 1)}
        self.first_output = CONTEXT_SLOT + 1 + len(self.key_slots)
        outputs = ((node, port) for node in feeding.running for port in graph.outputs[node])
        self.output_slots = {output: slot for slot, output in enumerate(outputs, self.first_output)}

    def entry_checks(self) -> Iterator[SlotCheck]:
        for address, key in self.keys.items():
            port = self.feeding.open[address]
            fits = _list_check(port) if port.port.variadic else make_check(port)
            if fits is not None:
                yield SlotCheck(self.key_slots[key], fits, port)

    def step(self, node: str) -> Step:
        forward = self.graph.nodes[node].forward
        single, fan_in = [], []
        for port, resolved in self.graph.inputs[node].items():
            edges = self.feeding.edges.get((node, port))
            if edges is None:
                if (node, port) in self.keys:
                    single.append((port, self.key_slots[self.keys[node, port]]))
            elif resolved.port.variadic:
                fan_in.append((port, tuple(map(self._source_slot, edges))))
            else:
                single.append((port, self._source_slot(edges[0])))
        if _takes_context(forward) and "context" not in self.graph.inputs[node]:
            single.append(("context", CONTEXT_SLOT))
        outputs = self.graph.outputs[node].items()
        return Step(
            node=node,
            forward=forward,
            arguments=tuple(single),
            fan_in=tuple(fan_in),
            checks=tuple(self._edge_checks(node)),
            outputs=tuple(
                Output(name, self.output_slots[node, name], make_check(port), port) for name, port in outputs
            ),
            output_names=frozenset(self.graph.outputs[node]),
        )

    def _edge_checks(self, node: str) -> Iterator[SlotCheck]:
        """Check again only what the check of the producer's output leaves open."""
        for port, resolved in self.graph.inputs[node].items():
            for edge in self.feeding.edges.get((node, port), ()):
                check = make_check(resolved)
                if check and not always_fits(self.graph.outputs[edge.source][edge.source_port], resolved):
                    yield SlotCheck(self._source_slot(edge), check, resolved)

    def _source_slot(self, edge: Edge) -> int:
        return self.output_slots[edge.source, edge.source_port]


def _list_check(port: ResolvedPort) -> Check:
    """Return a check of what is handed in for a variadic port: the list that edges would have made."""
    each_fits = make_check(port)

    def fits(values: Value) -> bool:
        if not isinstance(values, list | tuple):
            return values is None and port.port.optional
        return all(value is not None and (each_fits is None or each_fits(value)) for value in values)

    return fits


def _takes_context(forward: Callable[..., Any]) -> bool:
    return "context" in inspect.signature(forward).parameters
