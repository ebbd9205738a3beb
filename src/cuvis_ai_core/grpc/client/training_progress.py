"""How far a training is, as a client tells it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cuvis_ai_core.grpc.messages.schema_generations import enum_value

_STATES: Final = {0: "none", 1: "running", 2: "complete", 3: "error", 4: "cancelled"}


@dataclass(frozen=True, slots=True)
class Progress:
    """What a training says of itself.

    Attributes:
        state: `running`, `complete`, `error`, `cancelled`, or `none` before the first.
        message: In words.
        epoch: The number of the epoch, from 1; 0 before the first has ended.
        epochs: How many there are.
        node: The node that learns from statistics.
        done: Batches that are done.
        total: Batches that there are.
        losses: Losses of the epoch.
        metrics: Metrics of the epoch.
    """

    state: str
    message: str = ""
    epoch: int = 0
    epochs: int = 0
    node: str = ""
    done: int = 0
    total: int = 0
    losses: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


def progress_of(said: Any) -> Progress:
    """Return what a message of the server says."""
    event = said.event
    ended = event.hook == enum_value("TrainHook", "TRAIN_HOOK_EPOCH_END")
    return Progress(
        state=_STATES.get(said.status, "none"),
        message=said.message,
        epoch=event.epochs.current if ended else 0,
        epochs=event.epochs.total,
        node=event.node,
        done=event.progress.done,
        total=event.progress.total,
        losses=dict(said.losses),
        metrics=dict(said.metrics),
    )
