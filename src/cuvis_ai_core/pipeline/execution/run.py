"""Running a plan: a plain loop over its steps, but for those that go on at once (see `step_threads`)."""

from collections.abc import Mapping

from cuvis_ai_core.node.array_node import Value
from cuvis_ai_core.pipeline.execution.input_sources import BatchKey
from cuvis_ai_core.pipeline.execution.plan import CONTEXT_SLOT, Plan, RunStep
from cuvis_ai_core.pipeline.execution.run_request import Address
from cuvis_ai_core.pipeline.execution.run_results import Results
from cuvis_ai_core.pipeline.execution.step import convert_to_fit, run_step
from cuvis_ai_core.pipeline.execution.step_threads import run_in_lanes
from cuvis_ai_core.pipeline.execution.value_conversion import as_taken, in_memory, without_mask


def run_plan(plan: Plan, batch: Mapping[BatchKey, Value], context: object = None) -> dict[Address, Value]:
    """Run all nodes and return the outputs that are asked for, by node and port.

    Args:
        plan: What to run.
        batch: What is handed in.
        context: What nodes are told about the run; by default made from the stage.

    Raises:
        PortError: A value does not fit its port, or a node returns other outputs than it declares.
        NodeRunError: A node's `forward` failed.
    """
    values = prepare(plan, batch, context)
    run_steps(plan, values, run_step)
    return answers_of(plan, values)


def run_steps(plan: Plan, values: list[Value], run: RunStep) -> None:
    """Run all steps of a plan, each by a function.

    Raises:
        BaseException: That of the first step that failed.
    """
    if plan.lanes is None:
        for step in plan.steps:
            run(step, plan, values)
    else:
        run_in_lanes(plan, values, lambda step: run(step, plan, values))


def prepare(plan: Plan, batch: Mapping[BatchKey, Value], context: object) -> list[Value]:
    """Return the values of all slots before the first node runs, those that are handed in checked.

    Raises:
        PortError: A value does not fit its port.
    """
    values: list[Value] = [None] * (plan.first_answer + len(plan.answers))
    if plan.needs_context:
        values[CONTEXT_SLOT] = _context(plan.stage) if context is None else context
    for key, slot in plan.entries:
        values[slot] = without_mask(batch[key])
    for check in plan.entry_checks:
        if check.port.port.holds_array:
            values[check.slot] = in_memory(values[check.slot])
        if not check.fits(values[check.slot]):
            values[check.slot] = convert_to_fit(check, as_taken(check.port, values[check.slot], batch))
    return values


def answers_of(plan: Plan, values: list[Value]) -> dict[Address, Value]:
    """Return the values that a run answers, by node and port."""
    return Results(zip(plan.answers, values[plan.first_answer :], strict=True))


def _context(stage: str) -> object:
    from cuvis_ai_schemas.enums import ExecutionStage
    from cuvis_ai_schemas.execution import Context

    return Context(stage=ExecutionStage(stage))
