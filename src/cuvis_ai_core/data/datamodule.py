"""The base class of published data modules; importing this module imports torch and Lightning."""

from abc import abstractmethod
from enum import StrEnum
from itertools import chain
from typing import Any, ClassVar, Final

from cuvis_ai_core.data.created_data_modules import create_data_module
from cuvis_ai_core.data.selectors import attributes, by_position, resolve
from cuvis_ai_core.data.split_leakage import check_promises, needed_attributes, promises_of
from cuvis_ai_core.data.splits_io import load_splits, split_config, universe_hash
from cuvis_ai_core.errors import MissingExtraError, TrainRunError

try:
    from pytorch_lightning import LightningDataModule
    from torch.utils.data import ConcatDataset, DataLoader, Dataset
except ModuleNotFoundError as missing:
    # Something that these need in turn is missing: that is another mistake than an extra.
    if missing.name not in {"torch", "pytorch_lightning"}:
        raise
    raise MissingExtraError(
        f"Data modules are Lightning's, and the package '{missing.name}' is not installed.",
        hint="Install the extra: pip install 'cuvis-ai-core[train]'. Without it there is cuvis_ai_core.data.Cubes.",
        extra="train",
    ) from missing

__all__ = [
    "BaseCuvisAIDataModule",
    "CuvisDataModule",
    "DataLoader",
    "DataStage",
    "Dataset",
    "LightningDataModule",
    "create_data_module",
]


class CuvisDataModule(LightningDataModule):
    """Batches to train on and to validate on, as Lightning asks for them.

    A batch is a mapping of port names to tensors, as `Pipeline.forward` takes it.
    """

    @abstractmethod
    def train_dataloader(self) -> DataLoader[Any]:
        """Return the batches to train on."""

    @abstractmethod
    def val_dataloader(self) -> DataLoader[Any]:
        """Return the batches to validate on."""

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the batches to test on; a module that has some overrides this.

        Raises:
            NotImplementedError: It has none.
        """
        raise NotImplementedError(f"{type(self).__name__} has no batches to test on: it has no test_dataloader.")


class DataStage(StrEnum):
    """What Lightning sets a data module up for."""

    FIT = "fit"
    VALIDATE = "validate"
    TEST = "test"
    PREDICT = "predict"


_PARTS: Final[dict[str | None, tuple[str, ...]]] = {
    DataStage.FIT.value: ("train", "val"),
    DataStage.VALIDATE.value: ("val",),
    DataStage.TEST.value: ("test",),
    DataStage.PREDICT.value: ("predict",),
    None: ("train", "val", "test", "predict"),
}


class _Repeated(ConcatDataset[Any]):
    """A dataset several times, one after the other."""

    def __init__(self, base: Dataset[Any], times: int) -> None:
        super().__init__([base] * times)
        # Published loaders, which make batches of their own, look here for the dataset that is repeated.
        self._base = base


class BaseCuvisAIDataModule(LightningDataModule):
    """Base class of the data modules that newer trainruns name (`data_module`), whose samples selectors pick.

    A data module lists its samples (`enumerate`) and makes a dataset of some of them (`build_dataset_from_refs`); one
    that shares its data out itself says so by `OWNS_SPLITS` and makes the dataset of a stage (`build_stage_dataset`).

    Attributes:
        DATA_MODULE_NAME: The name by which trainruns and manifests know it.
        OWNS_SPLITS: Whether it knows without `splits` what is trained on, validated on and tested on.

    Args:
        splits: A `DataSplitConfig` of the schemas, its content as a mapping, or the path of a `splits.json`.
        batch_size: Samples in a batch.
        num_workers: Processes that read.
        samples_per_frame: How often a sample is trained on in an epoch.
        params: Arguments that are the class's own, kept in the attribute of that name.

    Raises:
        TrainRunError: The splits break a rule, or a sample is to be trained on less than once.
        MissingExtraError: There are splits, and the installed schemas know none.
    """

    DATA_MODULE_NAME: ClassVar[str] = ""
    OWNS_SPLITS: bool = False

    def __init__(
        self,
        *,
        splits: Any = None,
        batch_size: int = 1,
        num_workers: int = 0,
        samples_per_frame: int = 1,
        **params: Any,
    ) -> None:
        super().__init__()
        self.params = params
        self.splits = None if splits is None else split_config(splits)
        self.batch_size = int(batch_size)
        self.num_workers = int(num_workers)
        self.samples_per_frame = int(samples_per_frame)
        if self.samples_per_frame < 1:
            raise TrainRunError(
                f"{type(self).__name__}: samples_per_frame is {samples_per_frame}, and must be 1 or more.",
                hint="It says how often a sample is trained on in an epoch.",
                key="data.params.samples_per_frame",
            )
        self._train_ds: Any = None
        self._val_ds: Any = None
        self._test_ds: Any = None
        self._predict_ds: Any = None
        self._empty: frozenset[str] = frozenset()

    @staticmethod
    def validate_params(params: dict[str, Any]) -> None:
        """Refuse arguments of the constructor that break a rule, with a ValueError; by default none does."""

    def supported_attrs(self) -> frozenset[str]:
        """Return which attributes of samples `enumerate` can tell: `tags`, `category_ids`."""
        return frozenset({"tags", "category_ids"})

    def enumerate(self, required_attrs: frozenset[str] = frozenset()) -> list[Any]:
        """Return all samples in their order, each a `SampleRef` of the schemas with these attributes.

        Raises:
            NotImplementedError: This class has none.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot list its samples: it has no enumerate.")

    def build_dataset_from_refs(self, refs: list[Any]) -> Dataset[Any]:
        """Return the dataset of some of the samples, in their order.

        Raises:
            NotImplementedError: This class makes none.
        """
        raise NotImplementedError(f"{type(self).__name__} has no build_dataset_from_refs.")

    def build_stage_dataset(self, stage: str) -> Dataset[Any]:
        """Return the dataset of `train`, `val`, `test` or `predict` where there are no splits; by default all samples.

        Args:
            stage: Which.
        """
        del stage
        return self.build_dataset_from_refs(self.enumerate())

    def category_name_to_id(self) -> dict[str, int] | None:
        """Return the numbers of categories by their names; None where there are none."""
        return None

    def setup(self, stage: str | None = None) -> None:
        """Make the datasets of a stage, of all where it is None; without splits these are those to predict on.

        Raises:
            TrainRunError: There are no splits to train by, a selector means no sample, or a promise is broken.
        """
        # A text of Lightning's, or a member of `DataStage`.
        named = None if stage is None else str(getattr(stage, "value", stage))
        parts = _PARTS[named]
        if self.splits is not None:
            found = self._selected(parts)
        elif self.OWNS_SPLITS or named == DataStage.PREDICT.value:
            found = {part: self.build_stage_dataset(part) for part in parts}
        elif named is None:
            found = {"predict": self.build_stage_dataset("predict")}
        else:
            raise TrainRunError(
                f"The data module {type(self).__name__} shares nothing out itself, and no splits say what is for "
                f"'{named}'.",
                hint="Name them: data.splits, with train, val and test; or its splits_path.",
                key="data.splits",
            )
        for part, dataset in found.items():
            setattr(self, f"_{part}_ds", dataset)
        self._empty = self._empty - found.keys() | {part for part, dataset in found.items() if dataset is None}

    def _effective_splits(self) -> Any:
        """Return the splits; where they name a file, its own, but for the parts that they select themselves."""
        if self.splits is None or not self.splits.splits_path:
            return self.splits
        read = load_splits(self.splits.splits_path)
        own = {part: selectors for part in _PARTS[None] if (selectors := getattr(self.splits, part))}
        promises = promises_of(self.splits)
        # What the trainrun itself promises holds for the file that it names, unless that says more.
        kept = {"constraints": promises} if promises and not promises_of(read) else {}
        return read.model_copy(update={**own, **kept})

    def _selected(self, parts: tuple[str, ...]) -> dict[str, Any]:
        splits = self._effective_splits()
        selectors = {part: list(getattr(splits, part)) for part in _PARTS[None]}
        supported = frozenset(self.supported_attrs())
        asked = attributes(chain.from_iterable(selectors.values()))
        universe = self.enumerate(asked | needed_attributes(splits, supported))
        if splits.universe_hash and by_position(chain.from_iterable(selectors.values())):
            self._check_hash(splits.universe_hash, universe)
        names = self.category_name_to_id() if "category_ids" in asked else None
        # A promise is about all parts, whichever of them are made.
        known = ("train", "val", "test") if promises_of(splits) else parts
        samples = {part: resolve(selectors[part], universe, names, part) for part in {*known, *parts}}
        if promises_of(splits):
            check_promises(splits, {part: samples[part] for part in ("train", "val", "test")}, supported)
        if not selectors["predict"]:
            samples["predict"] = universe
        return {part: self.build_dataset_from_refs(samples[part]) if samples[part] else None for part in parts}

    @staticmethod
    def _check_hash(expected: str, universe: list[Any]) -> None:
        found = universe_hash(universe)
        if found != expected:
            raise TrainRunError(
                f"splits: they count files ('dir_indices'), and the files are others than they were made for: the hash "
                f"of the data is {found}, and not {expected}.",
                hint="Make the splits anew, or name the files: selectors of the kind 'files'.",
                key="data.splits.universe_hash",
            )

    @property
    def train_ds(self) -> Any:
        """The dataset to train on; None before `setup`."""
        return self._train_ds

    @property
    def val_ds(self) -> Any:
        """The dataset to validate on; None before `setup`, and where there is nothing."""
        return self._val_ds

    @property
    def test_ds(self) -> Any:
        """The dataset to test on; None before `setup`, and where there is nothing."""
        return self._test_ds

    @property
    def predict_ds(self) -> Any:
        """The dataset to predict on; None before `setup`."""
        return self._predict_ds

    def train_dataloader(self) -> Any:
        """Return the batches to train on, in another order each time, each sample `samples_per_frame` times."""
        times = self.samples_per_frame
        dataset = self._train_ds if self._train_ds is None or times == 1 else _Repeated(self._train_ds, times)
        return self._batches(dataset, shuffle=True, name="train")

    def val_dataloader(self) -> Any:
        """Return the batches to validate on; an empty list where there is nothing."""
        return self._batches(self._val_ds, shuffle=False, name="val")

    def test_dataloader(self) -> Any:
        """Return the batches to test on; an empty list where there is nothing."""
        return self._batches(self._test_ds, shuffle=False, name="test")

    def predict_dataloader(self) -> Any:
        """Return the batches to predict on."""
        return self._batches(self._predict_ds, shuffle=False, name="predict")

    def _batches(self, dataset: Any, *, shuffle: bool, name: str) -> Any:
        return [] if name in self._empty else self._loader(dataset, shuffle=shuffle, name=name)

    def _loader(self, dataset: Any, *, shuffle: bool, name: str) -> DataLoader[Any]:
        """Return the batches of a dataset; modules with other wishes override this.

        Raises:
            RuntimeError: `setup` was not called for it.
        """
        if dataset is None:
            raise RuntimeError(
                f"The data module {type(self).__name__} has no batches for '{name}' yet: call setup() first."
            )
        return DataLoader(dataset, batch_size=self.batch_size, shuffle=shuffle, num_workers=self.num_workers)
