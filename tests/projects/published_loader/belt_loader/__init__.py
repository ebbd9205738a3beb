"""A small package of data modules that imports what published ones import."""

from pathlib import Path

import numpy as np
from cuvis_ai_core.data.datamodule import BaseCuvisAIDataModule, DataStage
from cuvis_ai_core.data.selectors import _norm_source
from PIL import Image
from torch.utils.data import Dataset


class Frames(Dataset):
    def __init__(self, refs):
        self.refs = refs

    def __len__(self):
        return len(self.refs)

    def __getitem__(self, number):
        ref = self.refs[number]
        cube = np.load(ref.source)
        item = {"cube": cube if ref.index is None else cube[ref.index], "stem": ref.stem, "mesu_index": number}
        if ref.annotation:
            item["mask"] = np.asarray(Image.open(ref.annotation), dtype=np.int32)
        return item


class BeltModule(BaseCuvisAIDataModule):
    DATA_MODULE_NAME = "belt"

    def __init__(self, *, splits=None, batch_size=1, num_workers=0, folder=None, several=False, samples_per_frame=1):
        super().__init__(
            splits=splits, batch_size=batch_size, num_workers=num_workers, samples_per_frame=samples_per_frame
        )
        self.folder, self.several, self.stages = Path(folder), several, []

    @staticmethod
    def validate_params(params):
        if not Path(params.get("folder", "")).is_dir():
            raise ValueError(f"there is no folder {params.get('folder')}")

    def setup(self, stage=None):
        self.stages.append(stage == DataStage.FIT or stage)
        super().setup(stage)

    def enumerate(self, required_attrs=frozenset()):
        from cuvis_ai_schemas.training.data import SampleRef

        refs = []
        for file in sorted(self.folder.glob("*.npy")):
            mask = self.folder / "masks" / f"{file.stem}.png"
            source = _norm_source(str(file))
            marked = mask.exists() and bool(np.asarray(Image.open(mask)).any())
            more = {"tags": ["anomalous" if marked else "normal"]} if "tags" in required_attrs else {}
            more |= {"category_ids": [1] if marked else []} if "category_ids" in required_attrs else {}
            for index in range(len(np.load(file))) if self.several else [None]:
                refs.append(
                    SampleRef(source=source, index=index, annotation=str(mask) if mask.exists() else None, **more)
                )
        return refs

    def build_dataset_from_refs(self, refs):
        return Frames(refs)

    def category_name_to_id(self):
        return {"stone": 1, "normal": 0}


class Sharing(BeltModule):
    """Shares its samples out itself."""

    OWNS_SPLITS = True

    def build_stage_dataset(self, stage):
        refs = self.enumerate()
        return Frames({"train": refs[:2], "val": refs[2:3]}.get(stage, refs[3:]))
