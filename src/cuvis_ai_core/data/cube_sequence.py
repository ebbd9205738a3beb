"""Many cubes, one in memory at a time."""

import logging
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import overload

from cuvis_ai_core.data.cube import Cube
from cuvis_ai_core.data.cube_files import find_cube_files
from cuvis_ai_core.data.readers import Readers, log_remarks, open_cubes

_log = logging.getLogger(__name__)


class Cubes(Sequence[Cube]):
    """The cubes of one or more files, counted through; each is read when it is asked for and kept by nobody.

    Of each type of file the first is opened to learn whether such files hold one cube or several.

    Args:
        places: Files, folders or patterns, as in `find_cube_files`. What their readers remark is logged once.
        readers: Suffix to reader, as `NodeRegistry.cube_readers()` gives them.
        processing_mode: What to make of recorded counts, for readers that can process (`.cu3s`).

    Raises:
        CubeError: Nothing is there, or a file cannot be opened.
    """

    def __init__(
        self, places: str | Path | Iterable[str | Path], readers: Readers, *, processing_mode: str | None = None
    ) -> None:
        self.files = tuple(find_cube_files(places, readers))
        self._readers = readers
        self._mode = processing_mode
        self._opened: tuple[Path, Sequence[Cube]] | None = None
        self._single: set[str] = set()
        self._said: set[str] = set()
        self._ends = list(accumulate(map(self._count, self.files)))

    def __len__(self) -> int:
        return self._ends[-1]

    @overload
    def __getitem__(self, index: int) -> Cube: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Cube]: ...
    def __getitem__(self, index: int | slice) -> Cube | Sequence[Cube]:
        """Read one cube.

        Raises:
            IndexError: There is no cube of that number.
            CubeError: It cannot be read.
        """
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        file, number = self.place(index % len(self))
        if file.suffix.lower() in self._single:
            return self._say(open_cubes(file, self._readers, processing_mode=self._mode)[0])
        return self._say(self._open(file)[number])

    def __iter__(self) -> Iterator[Cube]:
        for number in range(len(self)):
            yield self[number]

    def place(self, number: int) -> tuple[Path, int]:
        """Return the file of a cube, and its number in that file."""
        # A file without cubes has the end of the one before it: right of both is the next.
        at = bisect_right(self._ends, number)
        return self.files[at], number - (self._ends[at - 1] if at else 0)

    def _say(self, cube: Cube) -> Cube:
        """Log what the reader remarked, each sentence for the first cube of which it is true."""
        new = [remark for remark in cube.remarks if remark not in self._said]
        self._said.update(new)
        log_remarks(_log, cube.source, new)
        return cube

    def _count(self, file: Path) -> int:
        if file.suffix.lower() in self._single:
            return 1
        cubes = open_cubes(file, self._readers, processing_mode=self._mode)
        # Learned once for each suffix: ten thousand files are not opened only to be counted.
        if isinstance(cubes, list) and len(cubes) == 1:
            self._single.add(file.suffix.lower())
        return len(cubes)

    def _open(self, file: Path) -> Sequence[Cube]:
        """Return an open file of several cubes; the last one stays open, since neighbours are asked for in turn."""
        opened = self._opened  # several threads may read
        if opened is None or opened[0] != file:
            # Let go of the old one first: one file is open at a time.
            self._opened = None
            self._opened = opened = (file, open_cubes(file, self._readers, processing_mode=self._mode))
        return opened[1]
