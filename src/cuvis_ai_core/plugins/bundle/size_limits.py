"""How much a bundle may unpack to: what is small in an archive may fill a disk, or the memory."""

from typing import Final, NamedTuple

from cuvis_ai_core.errors import BundleError

_FREE: Final = 64 * 2**20
"""Bytes that anything may unpack to, however well it is packed."""


class Limits(NamedTuple):
    """What a bundle may unpack to, with all that is packed in its files.

    Attributes:
        size: Bytes of all files, those in wheels and in packs of Git included.
        ratio: How many times as large as it is packed.
        files: Number of files.
        depth: Folders in each other.
        name: Bytes of a path.
    """

    size: int = 20 * 10**9
    ratio: int = 100
    files: int = 200_000
    depth: int = 40
    name: int = 500


class Meter:
    """Counts what comes out of something that is packed, and refuses what is too much, while it comes.

    Args:
        what: What it is, for errors.
        packed: Its bytes.
        limits: What it may unpack to.
        above: What it lies in, where all of it counts as well.
    """

    def __init__(self, what: str, packed: int, limits: Limits, above: "Meter | None" = None) -> None:
        self.limits = limits
        self._what = what
        self._packed = packed
        self._above = above
        self._size = 0
        self._files = 0

    def grow(self, size: int) -> None:
        """Count bytes.

        Raises:
            BundleError: They are too many.
        """
        self._size += size
        self._refuse("size", self._size, "bytes")
        # While it grows, not at the end: at the end the disk would be full.
        if self._size > _FREE and self._size > self._packed * self.limits.ratio:
            self._too_much("ratio", f"{self.limits.ratio} times its {self._packed} bytes")
        if self._above is not None:
            self._above.grow(size)

    def count(self, name: str, *, files: int = 1) -> None:
        """Count files.

        Raises:
            BundleError: They are too many, or the name is too long, or too deep.
        """
        self._files += files
        self._refuse("files", self._files, "files")
        self._refuse("depth", name.count("/") + 1, "folders in each other")
        self._refuse("name", len(name.encode(errors="surrogateescape")), "bytes in the path of a file")
        if self._above is not None:
            self._above.count("", files=files)

    def _refuse(self, limit: str, found: int, unit: str) -> None:
        most: int = getattr(self.limits, limit)
        if found > most:
            self._too_much(limit, f"{most} {unit}")

    def _too_much(self, limit: str, most: str) -> None:
        raise BundleError(
            f"{self._what} unpacks to more than {most}, which is the limit '{limit}'. Nothing was put in place.",
            hint="If you know that it is meant, raise the limit: "
            f"cuvis-ai plugins unbundle ARCHIVE --limit {limit}=NUMBER",
        )
