"""What a run does, worked out once per stage and set of handed-in keys: its steps, and where their values are.

Every value of a run has a slot in one list: the context, what is handed in, the outputs of the nodes.
"""

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from cuvis_ai_core.node.array_libraries import Convert, converter, gets_copy, library_of_input
from cuvis_ai_core.node.array_node import Value
from cuvis_ai_core.node.torch_modules import hooks_of, is_module
from cuvis_ai_core.pipeline.execution.independent_steps import Lanes, find_lanes
from cuvis_ai_core.pipeline.execution.input_sources import BatchKey, Feeding
from cuvis_ai_core.pipeline.execution.run_request import Address, Request
from cuvis_ai_core.pipeline.execution.value_checks import Check, always_fits, make_check
from cuvis_ai_core.pipeline.execution.value_conversion import make_cast
from cuvis_ai_core.pipeline.graph import Edge, Graph
from cuvis_ai_core.pipeline.port_compatibility import ResolvedPort

CONTEXT_SLOT: Final = 0


@dataclass(frozen=True, slots=True)
class SlotCheck:
    """A check of the value in a slot against an input port.

    Attributes:
        slot: Where the value is.
        fits: Tells whether the port takes it as it is.
        convert: Makes real numbers of the type that the port takes of those it does not.
        port: The input port.
    """

    slot: int
    fits: Check
    convert: Convert
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
        call: The node, to be called instead of `forward` where one of `hooks` is not empty.
        hooks: Where torch keeps the hooks of a torch node.
        arguments: Argument names and slots.
        conversions: Argument names, and what makes of their values arrays of the library that the node takes.
        prepares: Whether it has conversions, a fan-in, or checks.
        lends: Whether what it is given is more than single arrays of NumPy.
        copied: Names of the arguments that the node gets as its own: those of a torch node that are of NumPy.
        fan_in: Argument names of variadic inputs, and the slots of their values.
        checks: For values whose producers promise less than this node takes.
        outputs: What `forward` must return.
        output_names: Their names.
        released: Slots whose values nobody needs after this step, where all run one after the other.
    """

    node: str
    forward: Callable[..., Any]
    call: Callable[..., Any]
    hooks: tuple[Mapping[Any, Any], ...]
    arguments: tuple[tuple[str, int], ...]
    conversions: tuple[tuple[str, Convert], ...]
    prepares: bool
    lends: bool
    copied: tuple[str, ...]
    fan_in: tuple[tuple[str, tuple[int, ...]], ...]
    checks: tuple[SlotCheck, ...]
    outputs: tuple[Output, ...]
    output_names: frozenset[str]
    released: tuple[int, ...]

    @property
    def slots_read(self) -> frozenset[int]:
        """The slots from which it takes its inputs."""
        return frozenset({slot for _, slot in self.arguments}.union(*(slots for _, slots in self.fan_in)))


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a run.

    Attributes:
        stage: The execution stage.
        entries: Batch keys and slots; a value has one for each dtype that is asked of it.
        entry_checks: Checks of what is handed in, made before the first node runs.
        steps: The nodes in their order.
        answers: The outputs that are answered, in the order of the slots from `first_answer`.
        first_answer: The slot of the first of them; all later slots are answers.
        needs_context: Whether a node takes the context.
        lanes: Which steps go on at once, if some do.
    """

    stage: str
    entries: tuple[tuple[BatchKey, int], ...]
    entry_checks: tuple[SlotCheck, ...]
    steps: tuple[Step, ...]
    answers: tuple[Address, ...]
    first_answer: int
    needs_context: bool
    lanes: Lanes | None


def make_plan(graph: Graph, request: Request, device: str = "cpu") -> Plan:
    """Work out the run of a graph.

    Args:
        graph: The graph to run.
        request: What is asked of the run.
        device: Where torch nodes compute.

    Raises:
        PortError: Required inputs are missing, or a key names an input that is not there.
    """
    feeding = Feeding(graph, request.stage, request.upto_node)
    planner = _Planner(graph, feeding, request, device)
    steps = tuple(map(planner.step, feeding.running))
    lanes = find_lanes(steps, graph.nodes)
    if lanes is not None:
        # At once, nobody knows beforehand which step reads a slot last: the readers in `Lanes.reads` are counted
        # instead.
        steps = tuple(replace(step, released=()) for step in steps)
    return Plan(
        stage=request.stage,
        entries=tuple((key, slot) for (key, *_), slot in planner.key_slots.items()),
        entry_checks=tuple(planner.entry_checks()),
        steps=steps,
        answers=planner.answers,
        first_answer=planner.first_answer,
        needs_context=any(slot == CONTEXT_SLOT for step in steps for _, slot in step.arguments),
        lanes=lanes,
    )


RunStep: TypeAlias = Callable[[Step, Plan, list[Value]], None]
"""Runs a step of a plan on the values of its slots."""


class _Planner:
    """Gives every value a slot, and every node the slots of its inputs and outputs."""

    def __init__(self, graph: Graph, feeding: Feeding, request: Request, device: str) -> None:
        self.graph = graph
        self.feeding = feeding
        self.device = device
        self.checks: dict[object, Check | None] = {}
        self.names: dict[frozenset[str], frozenset[str]] = {}
        self.keys = feeding.choose_keys(request.keys)
        used = dict.fromkeys(map(self._entry, self.keys))
        self.key_slots = {entry: slot for slot, entry in enumerate(used, CONTEXT_SLOT + 1)}
        kept = request.kept
        outputs = [(node, port) for node in feeding.running for port in graph.outputs[node]]
        passing = [] if kept is None else [output for output in outputs if output not in kept]
        self.answers = tuple(outputs if kept is None else filter(kept.__contains__, outputs))
        first_output = CONTEXT_SLOT + 1 + len(self.key_slots)
        self.first_answer = first_output + len(passing)
        self.output_slots = {output: slot for slot, output in enumerate([*passing, *self.answers], first_output)}
        self.released: dict[str, list[int]] = defaultdict(list)
        # A later node takes the place of an earlier one.
        last_reader = {edge.output: node for node in feeding.running for edge in self._edges_of(node)}
        # What nobody reads goes with the step that made it, and does not take memory until the run ends.
        for output in passing:
            self.released[last_reader.get(output, output[0])].append(self.output_slots[output])

    def entry_checks(self) -> Iterator[SlotCheck]:
        for address in self.keys:
            port = self.feeding.open[address]
            fits, convert = self._check(port), make_cast(port)
            if port.port.variadic:
                fits, convert = _list_check(fits, port), _each(convert)
            if fits is not None:
                yield SlotCheck(self.key_slots[self._entry(address)], fits, convert, port)

    def step(self, node: str) -> Step:
        node_object = self.graph.nodes[node]
        single, fan_in = [], []
        for port, resolved in self.graph.inputs[node].items():
            edges = self.feeding.edges.get((node, port))
            if edges is None:
                if (node, port) in self.keys:
                    single.append((port, self.key_slots[self._entry((node, port))]))
            elif resolved.port.variadic:
                fan_in.append((port, tuple(map(self._source_slot, edges))))
            else:
                single.append((port, self._source_slot(edges[0])))
        if _takes_context(node_object) and "context" not in self.graph.inputs[node]:
            single.append(("context", CONTEXT_SLOT))
        outputs = self.graph.outputs[node].items()
        given = [name for name, _ in (*single, *fan_in)]
        conversions, checks = tuple(self._conversions(node, given)), tuple(self._edge_checks(node))
        return Step(
            node=node,
            forward=node_object.forward,
            call=node_object,
            hooks=hooks_of(node_object),
            arguments=tuple(single),
            conversions=conversions,
            prepares=bool(conversions or fan_in or checks),
            lends=bool(conversions or fan_in),
            copied=tuple(name for name in given if self._is_copied(node, name)),
            fan_in=tuple(fan_in),
            checks=checks,
            outputs=tuple(
                Output(name, self.output_slots[node, name], self._check(port), port) for name, port in outputs
            ),
            # One object for all equal ones, as `_check` has it.
            output_names=self.names.setdefault(names := frozenset(self.graph.outputs[node]), names),
            released=tuple(self.released[node]),
        )

    def _edge_checks(self, node: str) -> Iterator[SlotCheck]:
        """Check again only what the check of the producer's output leaves open."""
        for port, resolved in self.graph.inputs[node].items():
            for edge in self.feeding.edges.get((node, port), ()):
                check = self._check(resolved)
                if check and not always_fits(self.graph.outputs[edge.source][edge.source_port], resolved):
                    yield SlotCheck(self._source_slot(edge), check, make_cast(resolved), resolved)

    def _conversions(self, node: str, arguments: Iterable[str]) -> Iterator[tuple[str, Convert]]:
        for port in self.graph.inputs[node].keys() & arguments:
            declared = self.graph.inputs[node][port].port
            library = library_of_input(self.graph.nodes[node], declared)
            if library is not None:
                convert = converter(library, self.device, declared.dtype)
                yield port, _each(convert) if declared.variadic else convert

    def _is_copied(self, node: str, argument: str) -> bool:
        port = self.graph.inputs[node].get(argument)
        return port is not None and gets_copy(self.graph.nodes[node], port.port)

    def _edges_of(self, node: str) -> Iterator[Edge]:
        for port in self.graph.inputs[node]:
            yield from self.feeding.edges.get((node, port), ())

    def _check(self, port: ResolvedPort) -> Check | None:
        """Return the check of a port; ports that take the same share one: a long plan fits the caches of the CPU."""
        kind = (port.port.dtype, port.sizes, port.port.optional)
        if kind not in self.checks:
            self.checks[kind] = make_check(port)
        return self.checks[kind]

    def _entry(self, address: Address) -> tuple[BatchKey, str, bool, int]:
        """Return what is handed in for an open input, and as what: ports that take the same share one conversion."""
        port, axes = self.feeding.open[address].port, len(self.feeding.open[address].sizes)
        return self.keys[address], port.dtype, port.variadic, axes

    def _source_slot(self, edge: Edge) -> int:
        return self.output_slots[edge.output]


def _list_check(each_fits: Check | None, port: ResolvedPort) -> Check:
    """Return a check of what is handed in for a variadic port: the list that edges would have made."""

    def fits(values: Value) -> bool:
        if not isinstance(values, list | tuple):
            return values is None and port.port.optional
        return all(value is not None and (each_fits is None or each_fits(value)) for value in values)

    return fits


def _each(convert: Convert) -> Convert:
    return lambda values: [convert(value) for value in values] if isinstance(values, list | tuple) else values


def _takes_context(node: Any) -> bool:
    """Tell whether a node is told about the run: where `forward` names `context`; a torch node's also by `**kwargs`."""
    parameters = inspect.signature(node.forward).parameters
    if "context" in parameters:
        return True
    return is_module(node) and any(each.kind is each.VAR_KEYWORD for each in parameters.values())
