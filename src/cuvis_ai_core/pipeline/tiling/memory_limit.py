"""How much memory a run may use."""

from pathlib import Path
from typing import Final

from cuvis_ai_core._printable_text import bytes_in
from cuvis_ai_core.errors import PipelineError

_SHARE: Final = 4
_LEAST: Final = 2**20
_GROUP: Final = Path("/sys/fs/cgroup")


def parse_memory(text: str | int) -> int:
    """Return a number of bytes that is given as `2GiB`, `500 MB` or a number.

    Raises:
        PipelineError: It is something else, or less than 1 MiB.
    """
    size = bytes_in(str(text))
    if size is None or size < _LEAST:
        raise PipelineError(
            f"The memory '{text}' is no size that a run can do with.",
            hint="Write it as 2GiB or 500MB, at least 1MiB.",
        )
    return size


def free_memory() -> int:
    """Return the bytes that this process may still take: of the machine, its control group, its own limit."""
    import psutil

    # All three: in a container the machine's free memory says nothing, and under a batch system neither.
    return max(0, min([psutil.virtual_memory().available, *_left_by_group(), *_left_by_limit()]))


def machine_memory() -> int:
    """Return the bytes that a process of this machine, or of this control group, may have."""
    import psutil

    return min([psutil.virtual_memory().total, *_of_group()])


def default_memory() -> int:
    """Return how much memory a run uses if nobody says: a quarter of what is free."""
    return max(_LEAST, free_memory() // _SHARE)


def _of_group() -> list[int]:
    try:
        most = (_GROUP / "memory.max").read_text(encoding="ascii").strip()
        return [] if most == "max" else [int(most)]
    except (OSError, ValueError):  # another system
        return []


def _left_by_group() -> list[int]:
    try:
        most = (_GROUP / "memory.max").read_text(encoding="ascii").strip()
        used = (_GROUP / "memory.current").read_text(encoding="ascii")
        return [] if most == "max" else [int(most) - int(used)]
    except (OSError, ValueError):  # another system
        return []


def _left_by_limit() -> list[int]:
    try:
        import resource
    except ImportError:  # Windows
        return []
    import psutil

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    # RLIMIT_AS counts addresses, so that `vms` is compared, not what is in memory.
    return [] if limit == resource.RLIM_INFINITY else [limit - psutil.Process().memory_info().vms]
