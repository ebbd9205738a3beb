"""The parts of the data that a trainrun names: batches to train on, to validate on, and to test on."""

import logging
from collections.abc import Sequence
from pathlib import Path

from cuvis_ai_core.data import Batches, Cubes, open_annotations
from cuvis_ai_core.data.formats.envi.file_names import find_header
from cuvis_ai_core.data.labels.annotations import Annotations
from cuvis_ai_core.data.readers import Readers
from cuvis_ai_core.errors import TrainRunError
from cuvis_ai_core.training.config import DataConfig
from cuvis_ai_core.training.trainrun import TrainRun

logger = logging.getLogger(__name__)


class Parts:
    """The data of a trainrun; cubes are read when batches are asked for.

    Args:
        run: The trainrun.
        readers: Suffix to reader, as `NodeRegistry.cube_readers()` gives them.

    Raises:
        CubeError: There are no cubes, or a file cannot be opened.
        TrainRunError: The data are those of a data module.
    """

    def __init__(self, run: TrainRun, readers: Readers) -> None:
        if not isinstance(run.config.data, DataConfig):
            raise TrainRunError("The data are of a data module, and name no cubes.", path=run.path, key="data")
        self._run = run
        self._data = run.config.data
        places = [run.locate(place) for place in self._data.places]
        self.cubes = Cubes(places, readers, processing_mode=self._data.processing_mode)
        self._say_what_is_in_two_parts()
        self.opened: dict[Path, Annotations] = {}
        """The annotations that batches were asked for with, by their path."""

    def batches(self, split: str) -> Batches:
        """Return the batches of a part: `train`, `val` or `test`.

        Raises:
            TrainRunError: It names a cube that is not there.
            AnnotationError: Its annotations cannot be read.
            MissingExtraError: They need a package that is not installed.
        """
        return Batches(self.cubes, self._numbers(split), self._annotations(split), self._data.batch_size)

    @property
    def has_test(self) -> bool:
        """Whether the trainrun names data to test on."""
        named = self._data.ids("test") or (isinstance(self._data.masks, dict) and "test" in self._data.masks)
        return bool(named or self._data.share("test", len(self.cubes)))

    def _say_what_is_in_two_parts(self) -> None:
        """Say which cube is trained on and validated or tested on too, but for parts that have masks of their own."""
        if isinstance(self._data.masks, dict) or self._data.ids("train") is None:
            return
        trained = {_same(self.cubes, number): number for number in self._numbers("train")}
        for split in ("val", "test"):
            for number in self._numbers(split):
                if (other := trained.get(_same(self.cubes, number))) is not None:
                    logger.warning(
                        "data: cube %d ('%s') is in '%s', and as cube %d in 'train': what is measured on it says "
                        "nothing about other cubes",
                        *(number, self.cubes.place(number)[0], split, other),
                    )

    def _numbers(self, split: str) -> Sequence[int]:
        ids = self._data.ids(split)
        if ids is None:
            share = self._data.share(split, len(self.cubes))
            return range(len(self.cubes)) if share is None else share
        beyond = [number for number in ids if number >= len(self.cubes)]
        if beyond:
            raise TrainRunError(
                f"Trainrun file {self._run.path}: data.{split}_ids: there is no cube {beyond[0]}; the "
                f"data are cubes 0 to {len(self.cubes) - 1}.",
                path=self._run.path,
                key=f"data.{split}_ids",
            )
        return ids

    def _annotations(self, split: str) -> Annotations | None:
        place = self._data.annotations(split)
        if place is None:
            return None
        path = self._run.locate(place)
        if path not in self.opened:
            self.opened[path] = open_annotations(path)
        return self.opened[path]


def _same(cubes: Cubes, number: int) -> tuple[Path, int]:
    """Return what two numbers of the same cube have in common: its file, of ENVI the header, and its number there."""
    file, index = cubes.place(number)
    header = None if file.suffix.lower() == ".hdr" else find_header(file)
    return (header or file).resolve(), index
