"""What an engine is: workers that are started, given a cube at a time, and listened to."""

import errno
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from cuvis_ai_core.batch.job import Job
from cuvis_ai_core.batch.job_cubes import Unit

FULL: Final = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})
"""Numbers of the errors that say that a disk is full."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What every worker of a job is told.

    Attributes:
        job: What is done to each cube.
        output: The folder of the results.
        fingerprint: Of the job.
    """

    job: Job
    output: Path
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Event:
    """What a worker says.

    Attributes:
        worker: Its number.
        kind: `ready` (it takes cubes), `broken` (it cannot be set up), `done` (with a cube), `died`.
        data: What it says besides; of one that died `error` says how. `full` is the number of an error that
            is no cube's fault.
    """

    worker: int
    kind: str
    data: dict[str, Any] = field(default_factory=dict)


class Crew(Protocol):
    """The workers of a job."""

    def start(self, worker: int) -> None:
        """Start a worker; it will be ready, or broken."""

    def give(self, worker: int, unit: Unit, tries: int) -> None:
        """Have a worker that is ready run a cube."""

    def next(self, seconds: float) -> Event | None:
        """Return what a worker says next, None if nobody says anything in so many seconds."""

    def end(self, worker: int) -> None:
        """End a worker at once, whatever it does; nothing more is heard of it."""

    def close(self) -> None:
        """End all of them."""


class Engine(Protocol):
    """Where workers run."""

    @property
    def workers(self) -> int:
        """How many there are."""

    @property
    def shares_memory(self) -> bool:
        """Whether they all take from the memory of this machine."""

    def crew(self, setup: Setup) -> Crew:
        """Return the workers for a job, none of them started."""
