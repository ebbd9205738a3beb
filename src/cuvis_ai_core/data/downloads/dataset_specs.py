"""The public data sets of Cubert on Hugging Face, each at the revision that is meant."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """One public data set.

    Attributes:
        name: By which it is asked for.
        display_name: For people.
        summary: What it has, in a few words.
        repo_id: Owner and name of its repository.
        target_dir: The folder that it is fetched into, below that of all data.
        revision: The commit of its repository.
        size_bytes: How large it is.
        file_count: How many files it has.
        license: Its licence.
        tags: What it is for, of `DATASET_TAGS`.
        camera: What recorded it, of `CAMERAS`.
        description: What it has, in a sentence.
        aliases: Other names.
    """

    name: str
    display_name: str
    summary: str
    repo_id: str
    target_dir: str
    revision: str
    size_bytes: int
    file_count: int
    license: str
    tags: tuple[str, ...]
    camera: str
    description: str
    aliases: tuple[str, ...] = ()

    @property
    def page(self) -> str:
        """Where people read about it, and fetch it by hand."""
        return f"https://huggingface.co/datasets/{self.repo_id}"

    def to_json_dict(self) -> dict[str, Any]:
        """Return it as a row of the list."""
        row = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return row | {"tags": list(self.tags), "aliases": list(self.aliases)}


DATASET_TAGS: Final = ("Anomaly detection", "Segmentation", "Tracking", "Statistical")
CAMERAS: Final = ("XMR", "X4 SWIR")
_ROWS: Final[list[dict[str, Any]]] = json.loads(Path(__file__).with_name("datasets.json").read_text(encoding="utf-8"))
DATASETS: Final = tuple(
    DatasetSpec(**row | {"tags": tuple(row["tags"]), "aliases": tuple(row["aliases"])}) for row in _ROWS
)
