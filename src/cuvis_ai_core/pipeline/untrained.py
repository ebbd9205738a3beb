"""Nodes that would answer at random: those that are to learn, and have not."""

from collections.abc import Mapping

from cuvis_ai_core.errors import PipelineError
from cuvis_ai_core.node.fitted_state import Learner
from cuvis_ai_core.pipeline.execution.plan import Plan

_WORDS = {
    "statistics": "has not learned from data yet (statistical initialisation), and no weights were loaded",
    "weights": "is not trained: its weights are the random ones that it was built with",
}


def still_untrained(learners: Mapping[str, Learner], plan: Plan) -> dict[str, Learner]:
    """Return the nodes that have not learned yet, none of which is to run.

    Args:
        learners: Those that had not before, by name.
        plan: What is to run. Weights may be random in other stages than `inference`: there they are trained.

    Raises:
        PipelineError: One of them is to run.
    """
    waiting = {name: lacks for name, learner in learners.items() if (lacks := learner.lacks())}
    for step in plan.steps:
        lacks = waiting.get(step.node, ())
        problem = next((each for each in lacks if each == "statistics" or plan.stage == "inference"), None)
        if problem is not None:
            raise PipelineError(
                f"Node '{step.node}' {_WORDS[problem]}.",
                hint="Load weights: Pipeline.load(..., weights='pipeline.pt'), or --weights-path pipeline.pt. "
                "Or train it: restore-trainrun --mode train. "
                "To run it as it is: allow_untrained=True, or --allow-untrained. "
                "A class whose constructor loads trained weights freezes them: requires_grad_(False).",
                node=step.node,
            )
    # What has learned is not asked again in later runs.
    return {name: learners[name] for name in waiting}
