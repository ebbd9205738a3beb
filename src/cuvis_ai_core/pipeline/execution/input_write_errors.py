"""What is said where a node writes into what it was lent: its line, and who else has the same values."""

import linecache
import re
from collections.abc import Iterable, Iterator, Mapping
from types import FrameType
from typing import Any, Final

import numpy as np

from cuvis_ai_core._error_location import definition_of, frames_of, place_of, words_of
from cuvis_ai_core.errors import NodeRunError
from cuvis_ai_core.node.array_node import Value
from cuvis_ai_core.node.proxy_nodes import is_elsewhere
from cuvis_ai_core.pipeline.execution.input_sources import BatchKey
from cuvis_ai_core.pipeline.execution.plan import Plan, Step
from cuvis_ai_core.pipeline.execution.read_only_inputs import ARRAY, Lent, arrays_in, span_of

_READ_ONLY: Final = re.compile(r"read-?only|not writ|writeable", re.IGNORECASE)
_NAME: Final = re.compile(r"[^\W\d]\w*")


def refuse_written(step: Step, plan: Plan, values: list[Value], lent: Iterable[Lent]) -> None:
    """Refuse that a node wrote into a tensor.

    Raises:
        NodeRunError: It did.
    """
    if is_elsewhere(step.call):
        return  # its process has copies
    for each in lent:
        if each.is_written:
            # A tensor is looked at afterwards, so that the method is known and its line is not.
            raise _written(step, plan, values, (each.port, each.tensor), definition_of(step.forward))


def failure_to_write(
    step: Step, plan: Plan, values: list[Value], arguments: Mapping[str, Value], error: BaseException
) -> NodeRunError | None:
    """Return what to say where an error came from writing into an input, None where it did not."""
    written = written_by_line(error, arguments)
    return None if written is None else _written(step, plan, values, written, place_of(error, step.forward))


def line_for_copy(port: str, array: Value) -> str:
    """Return the line that an author is to write, as a hint."""
    copy = "copy" if isinstance(array, ARRAY) else "clone"
    return f"What a node is given is not its own. Write into a copy: {port} = {port}.{copy}()"


def _written(
    step: Step, plan: Plan, values: list[Value], written: tuple[str, Value], place: str | None
) -> NodeRunError:
    port, array = written
    readers = _others(step, plan, _slots_sharing(array, values) or _slots_of(step, port))
    shared = f" {_enumerated(readers)} {'has' if len(readers) == 1 else 'have'} the same values." if readers else ""
    return NodeRunError(
        f"Node '{step.node}' writes into its input '{port}'{f' ({place})' if place else ''}.{shared}",
        hint=line_for_copy(port, array),
        node=step.node,
        port=port,
        stage=plan.stage,
        readers=readers,
        place=place,
    )


def _slots_sharing(array: Value, values: list[Value]) -> set[int]:
    """Return the slots whose values have memory in common with an array; none where it has none that can be seen."""
    spans = [span_of(each) for each in arrays_in(array)]

    def shares(value: Value) -> bool:
        others = [span_of(each) for each in arrays_in(value)]
        return any(low < stop and start < high for low, high in others for start, stop in spans)

    return {slot for slot, value in enumerate(values) if shares(value)}


def _slots_of(step: Step, port: str) -> set[int]:
    several = [slot for name, slots in step.fan_in if name == port for slot in slots]
    return {*several, *(slot for name, slot in step.arguments if name == port)}


def _others(step: Step, plan: Plan, slots: set[int]) -> tuple[str, ...]:
    """Return who else has the values of some slots, for a text."""
    given = [f"whoever handed in '{_shown(key)}'" for key, slot in plan.entries if slot in slots]
    makers = [f"node '{each.node}'" for each in plan.steps if slots & {output.slot for output in each.outputs}]
    nodes = [f"node '{each.node}'" for each in plan.steps if each is not step and slots & each.slots_read]
    answers = [
        f"the result '{_shown(address)}'"
        for slot, address in enumerate(plan.answers, plan.first_answer)
        if slot in slots
    ]
    return tuple(dict.fromkeys((*given, *makers, *nodes, *answers)))


def _shown(key: BatchKey) -> str:
    return key if isinstance(key, str) else ".".join(key)


def _enumerated(names: Iterable[str]) -> str:
    *first, last = names
    text = f"{', '.join(first)} and {last}" if first else last
    return text[:1].upper() + text[1:]


def written_by_line(error: BaseException, arguments: Mapping[str, Value]) -> tuple[str, Value] | None:
    """Return the input into which a node tried to write, and what it is, where that is why an error was raised."""
    if isinstance(error, OSError) or not _READ_ONLY.search(words_of(error)):
        return None  # of a disk that is read-only, too
    inputs = [(name, array) for name, value in arguments.items() for array in arrays_in(value)]
    for frame, line in reversed(list(frames_of(error))):
        for array in _named_arrays(frame, line):
            port = next((name for name, each in inputs if np.may_share_memory(each, array)), None)
            if port is not None and not array.flags.writeable:
                return port, array
    return None


def _named_arrays(frame: FrameType, line: int) -> Iterator[Any]:
    """Yield the arrays that a line of code names."""
    for name in _NAME.findall(linecache.getline(frame.f_code.co_filename, line, frame.f_globals)):
        if isinstance(frame.f_locals.get(name), ARRAY):
            yield frame.f_locals[name]
