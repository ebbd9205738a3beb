"""Nodes that stand for one in another process, and that process."""

from typing import Final, Protocol

ELSEWHERE: Final = "runs_elsewhere"
"""Attribute of classes whose nodes stand for those in another process: that process."""


class Elsewhere(Protocol):
    """A process in which nodes run that others stand for."""

    def cancel(self) -> None:
        """End what it does now; whoever waits for it gets an error."""
        ...


def process_of(node: object) -> Elsewhere | None:
    """Return the process of the node for which a node stands, None where it stands for itself."""
    process: Elsewhere | None = getattr(type(node), ELSEWHERE, None)
    return process


def is_elsewhere(node: object) -> bool:
    """Tell whether a node stands for one in another process, to which arrays of any library cross."""
    return process_of(node) is not None
