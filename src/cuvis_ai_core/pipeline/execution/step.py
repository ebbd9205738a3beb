"""One step of a run: a node with the slots that it reads and fills, and what is checked and converted there.

Every value of a run has a slot in one list: the context, what is handed in, the outputs of the nodes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cuvis_ai_core.node.array_libraries import Convert
from cuvis_ai_core.pipeline.execution.value_checks import Check
from cuvis_ai_core.pipeline.port_compatibility import ResolvedPort


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
