"""Running a plan while somebody looks: the same steps, with the hooks told before and after each.

What runs a plan in `run.py` knows nothing of this: without observers, a run costs nothing more. Nodes that go on at
once are told of in the threads in which they run.
"""

from collections.abc import Callable, Iterable, Mapping
from time import perf_counter
from typing import Any, Final, Protocol, TypeVar

from cuvis_ai_core.node.array_node import Value
from cuvis_ai_core.pipeline.device import synchronizer
from cuvis_ai_core.pipeline.execution.input_sources import BatchKey
from cuvis_ai_core.pipeline.execution.plan import Plan, RunStep, Step
from cuvis_ai_core.pipeline.execution.run_request import Address

_Result = TypeVar("_Result")


HOOKS: Final = (
    "cuvis_ai_pipeline_started",
    "cuvis_ai_pipeline_finished",
    "cuvis_ai_pipeline_failed",
    "cuvis_ai_node_started",
    "cuvis_ai_node_finished",
    "cuvis_ai_node_failed",
)


class Hooks(Protocol):
    """Where observers are registered: the `HookManager` of a registry."""

    @property
    def hook(self) -> Any:
        """The hooks by name."""
        ...

    def add(self, plugin: object, name: str) -> None:
        """Register an observer."""
        ...

    def get_plugin(self, name: str) -> Any:
        """Return what is registered under a name."""
        ...

    @property
    def monitored(self) -> int:
        """How many monitors of hook calls there are; they see calls that nobody listens to as well."""
        ...


class Observers:
    """Those who look at the runs of one pipeline.

    Args:
        hooks: Where they are registered, now or later; None means nowhere.
    """

    def __init__(self, hooks: Hooks | None) -> None:
        self._hooks = hooks
        self._callers: Iterable[Any] = () if hooks is None else tuple(getattr(hooks.hook, name) for name in HOOKS)

    def __bool__(self) -> bool:
        return self._hooks is not None and bool(
            self._hooks.monitored or any(caller.get_hookimpls() for caller in self._callers)
        )

    def register(self, observer: object, name: str) -> bool:
        """Register one more; tell whether there is somewhere to do so."""
        if self._hooks is not None:
            # With a number: pluggy refuses a second plugin of a name, and there may be many pipelines.
            self._hooks.add(observer, f"{name} {id(self)}")
        return self._hooks is not None

    def registered(self, name: str) -> Any:
        """Return what was registered here under a name, None where nothing was."""
        return None if self._hooks is None else self._hooks.get_plugin(f"{name} {id(self)}")

    def run(
        self, plan: Plan, batch: Mapping[BatchKey, Value], context: object, pipeline: str, device: str
    ) -> dict[Address, Value]:
        """Run all nodes as `run_plan` does, and tell the observers.

        Raises:
            PortError: As `run_plan`.
            NodeRunError: As `run_plan`.
        """
        from cuvis_ai_core.pipeline.execution.run import (
            answers_of,
            prepare,
            run_steps,
        )  # NumPy is there when something runs

        def work(run_step: RunStep) -> dict[Address, Value]:
            values = prepare(plan, batch, context)
            run_steps(plan, values, run_step)
            return answers_of(plan, values)

        return self.observe(plan, pipeline, device, work)

    def observe(self, plan: Plan, pipeline: str, device: str, work: Callable[[RunStep], _Result]) -> _Result:
        """Do the work of a run, and tell the observers of it and of each step.

        Args:
            plan: What is run.
            pipeline: Name of the pipeline.
            device: Where torch nodes compute.
            work: Does it, with what runs a step.
        """
        assert self._hooks is not None
        hook, about = self._hooks.hook, {"pipeline": pipeline, "stage": plan.stage}
        # A GPU goes on when the call has returned: the time would be that of asking for the work.
        settle = synchronizer(device)

        def run(step: Step, plan: Plan, values: list[Value]) -> None:
            _observed_step(step, plan, values, hook, {**about, "node": step.node}, settle)

        hook.cuvis_ai_pipeline_started(**about, nodes=tuple(step.node for step in plan.steps))
        return _told(hook.cuvis_ai_pipeline_finished, hook.cuvis_ai_pipeline_failed, lambda: work(run), about)


def _observed_step(
    step: Step,
    plan: Plan,
    values: list[Value],
    hook: Any,
    about: Mapping[str, object],
    settle: Callable[[], None],
) -> None:
    from cuvis_ai_core.pipeline.execution.step import run_step

    def work() -> None:
        run_step(step, plan, values)
        settle()

    hook.cuvis_ai_node_started(**about)
    _told(hook.cuvis_ai_node_finished, hook.cuvis_ai_node_failed, work, about)


def _told(
    finished: Callable[..., object],
    failed: Callable[..., object],
    work: Callable[[], _Result],
    about: Mapping[str, object],
) -> _Result:
    """Do work and tell how it ended."""
    begun = perf_counter()
    try:
        result = work()
    # Ctrl-C ends a run as well.
    except BaseException as error:
        failed(**about, error=error)
        raise
    finished(**about, seconds=perf_counter() - begun)
    return result
