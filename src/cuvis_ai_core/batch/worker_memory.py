"""Memory of workers: how many of them this machine holds, by what those took that there are, and what one may take."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from cuvis_ai_core.batch.engine import Engine
from cuvis_ai_core.pipeline.tiling.memory_limit import free_memory, machine_memory

_MIB: Final = 2**20


class Room:
    """How many workers there may be.

    Args:
        engine: Where they run; the memory of other machines is not asked for.

    Attributes:
        allowed: How many there may be.
        remarks: What was decided.
    """

    def __init__(self, engine: Engine) -> None:
        self.allowed = engine.workers
        self.remarks: list[str] = []
        self._counts = engine.shares_memory
        self._free = free_memory()

    def begin(self, wanted: int, size: int) -> int:
        """Return how many workers there may be, with the first one, which is ready.

        Args:
            wanted: How many at most: no more than there are cubes.
            size: Bytes that the first one takes; 0 where that is not known.
        """
        self.allowed = min(self.allowed, wanted)
        if size:
            # All of them: memory was looked at before the first one took any.
            self._limit(int(self._free // size), size)
        return self.allowed

    def lower(self, peak: int) -> None:
        """Go on with fewer workers where a cube took more memory than they all can have.

        Args:
            peak: Bytes that one took at most; 0 where that is not known.
        """
        if peak:
            self._limit(int(self._free // peak), peak)

    def _limit(self, fitting: int, size: int) -> None:
        fitting = max(1, fitting)
        if self._counts and fitting < self.allowed:
            self.remarks.append(
                f"{fitting} instead of {self.allowed} workers: one takes {size / _MIB:.0f} MiB, "
                f"and {self._free / _MIB:.0f} MiB were free."
            )
            self.allowed = fitting


def peak_memory() -> int:
    """Return how many bytes of memory this process had at most, 0 where that is not known."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    # `ru_maxrss` is in bytes on macOS and in KiB on Linux
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def limit_memory(most: int | None) -> None:
    """Have a cube that takes too much memory fail as such; where the system has to end a process, let it be this one.

    Args:
        most: Bytes; None: as much as the machine has.
    """
    with suppress(OSError):
        # Without it the kernel may end the driver, or somebody else's process; to raise the number needs no rights
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    with suppress(ImportError, OSError, ValueError):  # Windows has none, macOS another one
        import resource

        # Not RLIMIT_AS: that counts what is mapped and never touched too, as files of cubes and what libraries reserve
        least, hard = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = most or machine_memory()
        # RLIM_INFINITY is -1 in Python, which `min` would take for the least
        fitting = [each for each in (wanted, least, hard) if each != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_DATA, (min(fitting), hard))
