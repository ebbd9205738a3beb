"""The section `data` of a trainrun file: cubes and what is known of them, or a data module."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, field_validator, model_validator

from cuvis_ai_core.data.splits_io import split_config
from cuvis_ai_core.errors import MissingExtraError
from cuvis_ai_core.training.section_base import Section, Texts

SPLITS: Final = ("train", "val", "test")
"""The parts of the data, named like the execution stages in which they are used."""

MODULE: Final = "[module]"
"""What stands in the place of an error about data of a data module, as a member of a union."""

CUBES: Final = "[cubes]"
"""The same about data of cubes."""


class DataConfig(Section):
    """Which cubes are learned from, and what is known about them.

    Attributes:
        cubes: Files, folders or patterns.
        cu3s_file_path: The published name of `cubes` for one session file.
        annotation_json_path: A COCO file, for all cubes.
        masks: A PNG mask or a folder of masks; or one for each of `train`, `val` and `test`, where the parts of data
            are pixels of the same cubes.
        train_ids: Numbers of the cubes to train on; likewise `val_ids` and `test_ids`. Without any of the three every
            part is all cubes.
        train_split: Which share of the cubes, from the first on, is trained on, where no ids are given.
        val_split: Which share, behind these, is validated on; the rest is tested on.
        batch_size: Cubes in a batch.
        shuffle: Whether training sees the cubes in another order in each epoch.
        drop_last: Whether training leaves out a last batch that is not full.
        sampling: `balanced` draws cubes to train on, with replacement, so that pixels of every class are seen equally
            often.
        ignore_label: The label of pixels that say nothing, where losses and metrics do not say their own weight, and
            for balanced sampling.
        num_workers: Threads that read cubes ahead while one batch is trained on.
        processing_mode: What to make of session files.
    """

    cubes: Texts = Field(default_factory=list)
    cu3s_file_path: str | None = None
    annotation_json_path: str | None = None
    masks: str | dict[Literal["train", "val", "test"], str] | None = None
    train_ids: list[Annotated[int, Field(ge=0, strict=True)]] | None = None
    val_ids: list[Annotated[int, Field(ge=0, strict=True)]] | None = None
    test_ids: list[Annotated[int, Field(ge=0, strict=True)]] | None = None
    train_split: float | None = Field(default=None, ge=0, le=1)
    val_split: float | None = Field(default=None, ge=0, le=1)
    batch_size: int = Field(default=1, ge=1, strict=True)
    shuffle: bool = True
    drop_last: bool = False
    sampling: Literal["balanced"] | None = None
    ignore_label: int | None = Field(default=None, strict=True)
    num_workers: int = Field(default=0, ge=0, strict=True)
    processing_mode: str | None = None

    data_module: ClassVar[None] = None

    @model_validator(mode="after")
    def _names_its_cubes_and_masks_once(self) -> "DataConfig":
        if bool(self.cubes) == (self.cu3s_file_path is not None):
            raise ValueError("names the data once: by 'cubes', or by 'cu3s_file_path'")
        if (self.train_split or 0) + (self.val_split or 0) > 1:
            raise ValueError("has shares 'train_split' and 'val_split' of more than 1 together")
        if self.annotation_json_path is not None and self.masks is not None:
            raise ValueError("has both 'annotation_json_path' and 'masks'; keep one")
        return self

    @property
    def places(self) -> list[str]:
        """Files, folders or patterns of cubes."""
        return self.cubes or [str(self.cu3s_file_path)]

    def ids(self, split: str) -> list[int] | None:
        """Return the numbers of the cubes in a part of the data; None means all."""
        given = {name: getattr(self, f"{name}_ids") for name in SPLITS}
        if all(each is None for each in given.values()):
            return None
        return list(given[split] or ())

    def annotations(self, split: str) -> str | None:
        """Return where the annotations of a part of the data are."""
        if isinstance(self.masks, dict):
            return self.masks.get(split)  # type: ignore[call-overload, no-any-return]
        return self.masks or self.annotation_json_path


class ModuleDataConfig(Section):
    """Data of a data module that a plugin or an installed package brings along, as newer published trainruns name it.

    Attributes:
        data_module: The name by which a manifest knows it (`data_module_name`), or the full path of its class.
        splits: Which samples are trained on, validated on and tested on: `train`, `val` and `test`, each a list of
            selectors; or `splits_path`, a file beside this one.
        batch_size: Samples in a batch.
        num_workers: Threads that read samples ahead while one batch is trained on.
        params: What else its constructor takes.
    """

    data_module: str = Field(default="cu3s", min_length=1)
    splits: Any = None
    batch_size: int = Field(default=1, ge=1, strict=True)
    num_workers: int = Field(default=0, ge=0, strict=True)
    params: dict[str, Any] = Field(default_factory=dict)

    @field_validator("splits")
    @classmethod
    def _are_those_of_the_schemas(cls, splits: Any) -> Any:
        try:
            return None if splits is None else split_config(splits)
        except MissingExtraError:  # older schemas know none; whoever needs them says so
            return splits

    shuffle: ClassVar[bool] = True
    drop_last: ClassVar[bool] = False
    sampling: ClassVar[None] = None
    ignore_label: ClassVar[None] = None


def kind_of_data(data: object) -> str:
    """Return which kind of data a section describes: `CUBES` or `MODULE`."""
    own = {"data_module", "splits", "params"}
    named = own & {*data} if isinstance(data, Mapping) else isinstance(data, ModuleDataConfig)
    return MODULE if named else CUBES
