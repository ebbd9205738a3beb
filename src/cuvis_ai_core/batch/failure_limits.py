"""When a cube, or the whole run, is given up, and which part of the cubes it has."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """When a cube, or the whole, is given up.

    Attributes:
        timeout: Seconds that a cube may take; also setting up the workers, which has five minutes at least.
        max_failures: With how many failed cubes no further one is begun.
        retry_failed: Whether cubes that failed before are tried again.
        shard: Number of this run, from 0, and how many share the cubes.
    """

    timeout: float | None = None
    max_failures: int | None = None
    retry_failed: bool = False
    shard: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        number, count = self.shard
        if not 0 <= number < count:
            raise ValueError(f"shard {number}/{count}: the number counts from 0, and is less than {count}")
        if self.timeout is not None and not self.timeout > 0:
            raise ValueError(f"timeout {self.timeout}: no cube is done in that time; it is a number of seconds above 0")
