"""What the published trainers tell of a training while it goes on, and when it is over."""

from dataclasses import dataclass
from enum import StrEnum

from cuvis_ai_schemas.enums import ExecutionStage

__all__ = ["CheckpointRestored", "FrameProgress", "TrainEvent", "TrainHook"]


class TrainHook(StrEnum):
    """What happens in an initialisation by statistics."""

    STATISTICAL_NODE_START = "statistical_node_start"
    STATISTICAL_PROGRESS = "statistical_progress"
    STATISTICAL_NODE_END = "statistical_node_end"


@dataclass(frozen=True, slots=True)
class FrameProgress:
    """How many images a node was given.

    Attributes:
        done: So many.
        total: Of so many; 0 where nobody knows.
    """

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class TrainEvent:
    """Something that happens.

    Attributes:
        hook: What.
        split: The part of the data, where it is one to measure by.
        progress: How far the node is.
        node: The node that learns.
    """

    hook: TrainHook
    split: ExecutionStage | None = None
    progress: FrameProgress | None = None
    node: str = ""


@dataclass(frozen=True, slots=True)
class CheckpointRestored:
    """What became of the wish for the best checkpoint.

    Attributes:
        restored: Whether the nodes have its weights now.
        path: Its file.
        epoch: The epoch after which it was written, from 0.
        monitor: By what it was chosen.
        score: What that was.
        reason: Why the weights stayed as they were.
    """

    restored: bool
    path: str = ""
    epoch: int = 0
    monitor: str = ""
    score: float | None = None
    reason: str = ""
