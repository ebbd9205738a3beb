"""The parts of the data that a data module has: batches to train on, to validate on, and to test on."""

from typing import TYPE_CHECKING, Final

from cuvis_ai_core.data.dataset_batches import DatasetBatches
from cuvis_ai_core.plugins.manifest_folders import folders_above
from cuvis_ai_core.training.config import ModuleDataConfig
from cuvis_ai_core.training.cube_splits import Parts
from cuvis_ai_core.training.named_data_modules import make_data_module, set_up
from cuvis_ai_core.training.trainrun import TrainRun

if TYPE_CHECKING:
    from pathlib import Path

    from cuvis_ai_core.data.labels.annotations import Annotations
    from cuvis_ai_core.registry import NodeRegistry

_STAGES: Final = {"train": ("fit", "train", "val"), "val": ("validate", "val"), "test": ("test", "test")}
"""What a part is set up for, and which parts there are then."""


def parts_of(run: TrainRun, registry: "NodeRegistry") -> "Parts | ModuleParts":
    """Return the data of a trainrun.

    Args:
        run: The trainrun.
        registry: Where readers of cubes, and data modules of plugins, come from.

    Raises:
        CubeError: There are no cubes, or a file cannot be opened.
        TrainRunError: The data module is not known, or cannot be made.
    """
    if isinstance(run.config.data, ModuleDataConfig):
        return ModuleParts(run, registry)
    return Parts(run, registry.cube_readers())


class ModuleParts:
    """The data of a trainrun that names a data module; they are opened when batches are asked for.

    Args:
        run: The trainrun.
        registry: Where data modules of plugins come from.

    Raises:
        TrainRunError: The data module is not known, or cannot be made.
    """

    def __init__(self, run: TrainRun, registry: "NodeRegistry") -> None:
        folders = [*folders_above(run.path), *run.plugins_dirs]
        self._module = make_data_module(run.config.data, folders, run.path.absolute().parent, registry)
        self._size = run.config.data.batch_size
        self._found: dict[str, DatasetBatches] = {}
        self.opened: dict[Path, Annotations] = {}
        """No annotations of ours: its own are in its samples."""

    def batches(self, split: str) -> DatasetBatches:
        """Return the batches of a part: `train`, `val` or `test`; none where the data module has none.

        Raises:
            TrainRunError: The data module cannot be set up.
        """
        if split not in self._found:
            set_up(self._module, _STAGES[split][0])
            for each in _STAGES[split][1:]:
                self._found[each] = self._batches(each)
        return self._found[split]

    @property
    def has_test(self) -> bool:
        """Whether the data module has data to test on.

        Raises:
            TrainRunError: The data module cannot be set up for it.
        """
        return bool(len(self.batches("test")))

    def _batches(self, split: str) -> DatasetBatches:
        # Its dataset, not its loader: the order of an epoch has to be ours, so that a training can go on.
        dataset = getattr(getattr(self._module, f"{split}_dataloader")(), "dataset", [])
        return DatasetBatches(dataset, range(len(dataset)), self._size)
