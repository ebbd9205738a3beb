"""Which steps of a run go on at once: those whose nodes are in other processes, each process in a thread of its own.

The host's own nodes stay in the caller's thread and in their order, so that nodes need not be safe to use from several
threads. A step waits for those whose outputs it reads, and for those before it in its own process.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cuvis_ai_core.node.proxy_nodes import Elsewhere, process_of

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.execution.plan import Step


@dataclass(frozen=True, slots=True)
class Lanes:
    """Which steps go on at once; all are named by their numbers in the plan.

    Attributes:
        own: The steps of the caller's thread.
        others: The steps of each other thread.
        processes: The processes in which they run.
        awaited: Of each step those whose outputs it reads.
        reads: Of each step the slots that it reads, or fills for nobody; each is given up with its last one.
    """

    own: tuple[int, ...]
    others: tuple[tuple[int, ...], ...]
    processes: tuple[Elsewhere, ...]
    awaited: tuple[tuple[int, ...], ...]
    reads: tuple[tuple[int, ...], ...]


def find_lanes(steps: "Sequence[Step]", nodes: Mapping[str, object]) -> Lanes | None:
    """Return which steps go on at once, or None where the graph has them go on one after the other.

    Args:
        steps: The steps of a plan.
        nodes: Its nodes, by name.
    """
    homes = [process_of(nodes[step.node]) for step in steps]
    if not any(homes):
        return None
    makers = {output.slot: number for number, step in enumerate(steps) for output in step.outputs}
    reads = [tuple(step.slots_read) for step in steps]
    awaited = [tuple({makers[slot]: None for slot in slots if slot in makers}) for slots in reads]
    if not _some_at_once(homes, awaited):
        return None
    released = {slot for step in steps for slot in step.released}
    read = {slot for slots in reads for slot in slots}
    unread = [tuple(each.slot for each in step.outputs if each.slot not in read) for step in steps]
    own, *others = _by_home(homes)
    return Lanes(
        own=own,
        others=tuple(others),
        processes=tuple(dict.fromkeys(filter(None, homes))),
        awaited=tuple(awaited),
        reads=tuple(
            tuple(slot for slot in (*slots, *left) if slot in released)
            for slots, left in zip(reads, unread, strict=True)
        ),
    )


def _by_home(homes: Sequence[object]) -> list[tuple[int, ...]]:
    """Return the steps of each process, those of this one first; where it has none, those of another take its place."""
    numbers: dict[object, list[int]] = {None: []}
    for number, home in enumerate(homes):
        numbers.setdefault(home, []).append(number)
    return [tuple(each) for each in numbers.values() if each]


def _some_at_once(homes: Sequence[object], awaited: Sequence[Iterable[int]]) -> bool:
    """Tell whether two steps of different processes need nothing of each other. Sets of steps are bits of a number."""
    before: list[int] = []
    same: dict[object, int] = defaultdict(int)
    for number, home in enumerate(homes):
        needed = 0
        for other in awaited[number]:
            needed |= before[other] | 1 << other
        before.append(needed)
        if ((1 << number) - 1) & ~same[home] & ~needed:
            return True
        same[home] |= 1 << number
    return False
