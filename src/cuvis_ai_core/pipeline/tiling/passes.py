"""In how many passes over the image a plan is run by tiles, and what is done in each.

A value that is computed by tiles is there in the pass in which its node first can compute it. A node with statistics
gathers them in one pass and answers in the next; a node that needs whole images runs between two passes. What is needed
in a later pass is computed again, unless somebody kept it whole: memory does not grow with the image.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cuvis_ai_core.node.tiling_declaration import Tiling
from cuvis_ai_core.pipeline.execution.plan import Plan, Step


@dataclass(frozen=True, slots=True)
class Schedule:
    """When what can be computed.

    Attributes:
        plan: The plan of the run.
        tilings: How the node of each step is computed by tiles, None where it needs whole images.
        makers: Slot to the number of the step that fills it.
        first: Step number to the pass in which it can first answer; a step for whole images runs before that pass.
        gathering: Step number to the pass in which it gathers statistics.
    """

    plan: Plan
    tilings: tuple[Tiling | None, ...]
    makers: Mapping[int, int]
    first: Mapping[int, int]
    gathering: Mapping[int, int]

    @property
    def passes(self) -> int:
        """How many passes there are."""
        tiled = [number for number, tiling in enumerate(self.tilings) if tiling is not None]
        return 1 + max((self.first[number] for number in tiled), default=-1)

    def is_tiled(self, slot: int) -> bool:
        """Tell whether a value is computed by tiles."""
        return slot in self.makers and self.tilings[self.makers[slot]] is not None

    def whole_steps(self, before: int) -> list[Step]:
        """Return the steps for whole images that run before a pass, in their order."""
        return [
            step
            for number, step in enumerate(self.plan.steps)
            if self.tilings[number] is None and self.first[number] == before
        ]

    def wanted_whole(self, number: int) -> set[int]:
        """Return the slots that are put together in a pass: answers, and what nodes for whole images read."""
        wanted = {slot for slot in self._answers() if self.is_tiled(slot)}
        for step, tiling in zip(self.plan.steps, self.tilings, strict=True):
            wanted |= {slot for slot in step.slots_read if tiling is None and self.is_tiled(slot)}
        return {slot for slot in wanted if self.first[self.makers[slot]] == number}

    def at(self, number: int, kept: Iterable[int], only: Iterable[int] | None = None) -> "Pass":
        """Return what is done in a pass.

        Args:
            number: The pass, counted from 0.
            kept: Slots whose values are there as a whole.
            only: The steps that gather statistics, and then nothing else is wanted; by default all of this pass.
        """
        there, wanted = set(kept), self.wanted_whole(number) if only is None else set[int]()
        gathering = {at for at, when in self.gathering.items() if when == number} if only is None else set(only)
        margins: dict[int, int] = dict.fromkeys(wanted, 0)
        answering: list[int] = []
        # Backwards: what a step needs around a tile depends on those that read it.
        for at in reversed(range(len(self.plan.steps))):
            step, tiling = self.plan.steps[at], self.tilings[at]
            needed = [margins[each.slot] for each in step.outputs if each.slot in margins and each.slot not in there]
            if tiling is not None and needed:
                answering.append(at)
                _widen(margins, step.slots_read, max(needed) + tiling.halo)
            if at in gathering:
                # Statistics count each pixel once: margins overlap.
                _widen(margins, step.slots_read, 0)
        return Pass(number, tuple(sorted(gathering)), tuple(reversed(answering)), frozenset(wanted), margins)

    def _answers(self) -> range:
        return range(self.plan.first_answer, self.plan.first_answer + len(self.plan.answers))


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over the image.

    Attributes:
        number: Counted from 0.
        gathering: The steps that gather statistics of each tile, by number.
        answering: The steps that are computed for each tile, in their order.
        wanted: The slots whose tiles are put together.
        margins: Slot to how far around a tile its value is needed.
    """

    number: int
    gathering: tuple[int, ...]
    answering: tuple[int, ...]
    wanted: frozenset[int]
    margins: Mapping[int, int] = field(default_factory=dict)

    @property
    def margin(self) -> int:
        """How far around a tile anything is needed."""
        return max(self.margins.values(), default=0)

    @property
    def steps(self) -> list[int]:
        """All steps that have to do with a tile, in their order."""
        return sorted({*self.gathering, *self.answering})


def make_schedule(plan: Plan, tilings: Iterable[Tiling | None]) -> Schedule:
    """Return when each step of a plan can be computed.

    Args:
        plan: The plan.
        tilings: How the node of each step is computed by tiles, None where it needs whole images.
    """
    known = tuple(tilings)
    makers = {output.slot: number for number, step in enumerate(plan.steps) for output in step.outputs}
    first: dict[int, int] = {}
    gathering: dict[int, int] = {}
    for number, step in enumerate(plan.steps):
        sources = [makers[slot] for slot in step.slots_read if slot in makers]
        tiling = known[number]
        if tiling is None:  # what comes by tiles is put together first
            first[number] = max((first[each] + (known[each] is not None) for each in sources), default=0)
            continue
        first[number] = max((first[each] for each in sources), default=0)
        if tiling.gathers:
            gathering[number] = first[number]
            first[number] += 1
    return Schedule(plan, known, makers, first, gathering)


def _widen(margins: dict[int, int], slots: Iterable[int], margin: int) -> None:
    for slot in slots:
        margins[slot] = max(margins.get(slot, 0), margin)
