"""The public data sets of Cubert on Hugging Face, each at the revision that is meant."""

from dataclasses import dataclass
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
DATASETS: Final = (
    DatasetSpec(
        name="Lentils",
        display_name="Lentils (single session)",
        summary="One lentil-conveyor session, used by the test suite",
        repo_id="cubert-gmbh/XMR_Lentils",
        target_dir="Lentils",
        revision="24ae01a2a4818156640fc65103aac8e5bc7bcdfc",
        size_bytes=921_338_131,
        file_count=4,
        license="Apache-2.0",
        tags=("Statistical",),
        camera="XMR",
        description=(
            "Single lentil-conveyor CU3S session (Lentils_000) used by the cuvis-ai-core test suite and "
            "the statistical-training examples."
        ),
        aliases=("lentils",),
    ),
    DatasetSpec(
        name="Demo_Industrial_FOD_Lentils",
        display_name="Demo: industrial FOD, lentils",
        summary="69-frame lentil conveyor demo with foreign objects",
        repo_id="cubert-gmbh/XMR_Demo_Industrial_Foreign_Object_Detection_Lentils",
        target_dir="XMR_Demo_Industrial_Foreign_Object_Detection_Lentils",
        revision="6f0e6f0f4e8345a5b9a5a6e1ff66daa06e05a6c9",
        size_bytes=6_442_039_738,
        file_count=21,
        license="Apache-2.0",
        tags=("Anomaly detection", "Segmentation"),
        camera="XMR",
        description=(
            "Hyperspectral foreign-object detection on a lentil conveyor: a 69-frame XMR CU3S session "
            "with pixel-level annotations and the Dinomaly companion pipeline."
        ),
        aliases=("demo_industrial_fod_lentils",),
    ),
    DatasetSpec(
        name="Industrial_FOD_Lentils",
        display_name="Industrial FOD, lentils",
        summary="15 sessions, 1,136 frames, 7 foreign-object classes",
        repo_id="cubert-gmbh/XMR_Industrial_Foreign_Object_Detection_Lentils",
        target_dir="XMR_Industrial_Foreign_Object_Detection_Lentils",
        revision="ce3a213e96f83b0b2499514c09a661e52332110e",
        size_bytes=56_994_450_455,
        file_count=73,
        license="Apache-2.0",
        tags=("Anomaly detection", "Segmentation"),
        camera="XMR",
        description=(
            "Full industrial foreign-object detection dataset on a lentil conveyor: 15 merged XMR CU3S "
            "sessions across three acquisition days (1,136 frames, 696 annotated), pixel-level COCO "
            "masks for 7 foreign-object classes."
        ),
        aliases=("industrial_fod_lentils",),
    ),
    DatasetSpec(
        name="Industrial_FOD_Walnuts",
        display_name="Industrial FOD, walnuts",
        summary="90 recordings, 2,283 frames, 7 classes",
        repo_id="cubert-gmbh/XMR_Industrial_Foreign_Object_Detection_Walnuts",
        target_dir="XMR_Industrial_Foreign_Object_Detection_Walnuts",
        revision="8e9e8604b32c837bfb088b446e264562f2a8c138",
        size_bytes=124_961_934_938,
        file_count=275,
        license="Apache-2.0",
        tags=("Anomaly detection", "Segmentation"),
        camera="XMR",
        description=(
            "Industrial foreign-object detection on walnut kernels and shell fragments: 90 XMR CU3S "
            "recordings from a lab station and a demonstration stand, August to October 2026 (2,283 "
            "frames), COCO masks for 7 classes (shell, kernel, stone, stem, rubber, aluminium shard, "
            "imitation shell), foreign-object and shell segmentation splits; fitted pipelines in "
            "cubert-gmbh/Industrial_Foreign_Object_Detection_Walnuts."
        ),
        aliases=("industrial_fod_walnuts",),
    ),
    DatasetSpec(
        name="Industrial_FOD_Bedding",
        display_name="Industrial FOD, bedding (X4 SWIR)",
        summary="252 VIS+SWIR frames, 23 foreign-object classes",
        repo_id="cubert-gmbh/X4_SWIR_Industrial_Foreign_Object_Detection_Bedding",
        target_dir="X4_SWIR_Industrial_Foreign_Object_Detection_Bedding",
        revision="5c6a22690288b9d8d06552848fd80658e9b57107",
        size_bytes=178_163_344_074,
        file_count=683,
        license="Apache-2.0",
        tags=("Anomaly detection", "Segmentation"),
        camera="X4 SWIR",
        description=(
            "Industrial foreign-object detection in bedding substrate: 6-channel VIS+SWIR X4 still "
            "frames (450/550/625/1050/1200/1450 nm), 252 frames (193 train / 59 val), pixel masks for "
            "23 foreign-object classes."
        ),
        aliases=("industrial_fod_bedding",),
    ),
    DatasetSpec(
        name="Blood_Perfusion",
        display_name="Demo: blood perfusion",
        summary="Blood perfusion reflectance sessions",
        repo_id="cubert-gmbh/XMR_Demo_Blood_Perfusion",
        target_dir="XMR_Demo_Blood_Perfusion",
        revision="a26bc15b84a57143413da066b4df30d5bed4436f",
        size_bytes=11_247_205_611,
        file_count=6,
        license="Apache-2.0",
        tags=("Statistical",),
        camera="XMR",
        description="XMR blood perfusion reflectance dataset (no training annotations).",
        aliases=("blood_perfusion",),
    ),
    DatasetSpec(
        name="Demo_Object_Tracking",
        display_name="Demo: object tracking",
        summary="Multi-person tracking demo, passive and active sessions",
        repo_id="cubert-gmbh/XMR_Demo_Object_Tracking",
        target_dir="XMR_Demo_Object_Tracking",
        revision="714498e5134d1df393d9f2056a2dcf40d58b2256",
        size_bytes=24_354_255_238,
        file_count=18,
        license="Apache-2.0",
        tags=("Tracking", "Segmentation"),
        camera="XMR",
        description=(
            "Hyperspectral multi-person tracking demo: passive SAM3 and active spectral-ink sessions "
            "(no training annotations; the tracking nodes do not train)."
        ),
        aliases=("demo_object_tracking",),
    ),
)
