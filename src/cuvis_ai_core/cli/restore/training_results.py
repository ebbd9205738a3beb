"""What a training leaves in its folder: the trained pipeline, its trainrun, metrics, matrices, and what ran."""

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_core._atomic_writes import write_atomic
from cuvis_ai_core.pipeline.file.lookup import find_weights
from cuvis_ai_core.pipeline.file.published_keys import with_hparams
from cuvis_ai_core.pipeline.file.writer import to_yaml
from cuvis_ai_core.results.folder import OutputFolder, safe_name
from cuvis_ai_core.results.run_record import RECORD, for_results, input_record, run_record
from cuvis_ai_core.training.metric_pooling import Pool
from cuvis_ai_core.training.metrics_csv import write_matrix, write_metrics
from cuvis_ai_core.training.metrics_pictures import draw_losses, draw_matrix
from cuvis_ai_core.training.trainrun_pipeline import PIPELINE_FILE, PUBLISHED_FOLDER, TRAINRUN

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline
    from cuvis_ai_core.training.calibration import Outcome
    from cuvis_ai_core.training.metrics_csv import Row
    from cuvis_ai_core.training.trainrun import TrainRun

METRICS: Final = "metrics.csv"
LOSS: Final = "loss.png"
CERTAIN: Final = (PIPELINE_FILE, TRAINRUN, METRICS, RECORD)
RECORDED: Final = {"val": "validation", "test": "test"}
"""Part of the data to the key of the record."""


class Results:
    """Writes the results of a training.

    Args:
        run: The resolved trainrun.
        parts: The data of its parts.
    """

    def __init__(self, run: "TrainRun", parts: Any) -> None:
        self._run = run
        self._config = run.config
        self._parts = parts

    def write(self, folder: Path, pipeline: "Pipeline", rows: "list[Row]", checkpoints: Mapping[str, Path]) -> None:
        """Write the trained pipeline, its checkpoints, the metrics of its epochs, and its trainrun."""
        if self._run.published:  # tools that read the file that was given read the trained one too
            pipeline.save_to_file(folder / PIPELINE_FILE)
        else:
            pipeline.save(folder / PIPELINE_FILE)
        for name, file in checkpoints.items():
            shutil.copyfile(file, folder / name)
        write_metrics(folder / METRICS, rows)
        if self._config.training is not None:
            draw_losses(folder / LOSS, rows, for_results(self._config.name))
        weights = find_weights(folder / PIPELINE_FILE)
        named = {"weights": weights.name} if weights else {}
        content = self._config.to_dict()
        kept = self._run.published | {node["name"] for node in pipeline.to_dict()["nodes"] if "hparams" in node}
        written = {**content, "pipeline": with_hparams(content["pipeline"], kept), **named}
        write_atomic(folder / TRAINRUN, to_yaml(for_results(written)))

    def write_where_published(self, target: Path, name: str, nodes: list[dict[str, Any]]) -> None:
        """Have copies of pipeline and weights where published tools look for them."""
        stem = f"{safe_name(name)}_restored"
        with OutputFolder(target / PUBLISHED_FOLDER, (RECORD,)) as output:
            for file in filter(None, (target / PIPELINE_FILE, find_weights(target / PIPELINE_FILE))):
                shutil.copyfile(file, output.staging / f"{stem}{file.suffix}")
            self.write_record(output.staging, nodes, {"val": {}})
            output.publish()

    def write_matrices(self, folder: Path, pool: Pool, part: str = "") -> None:
        """Write the confusion matrices that were measured, as tables and pictures; their names begin with `part`."""
        for name, (matrix, labels) in pool.matrices().items():
            stem = safe_name(part + name.replace("/", "."))
            write_matrix(folder / f"{stem}.csv", matrix, labels)
            draw_matrix(folder / f"{stem}.png", matrix, labels, f"{for_results(self._config.name)}: {name}")

    def write_record(
        self,
        folder: Path,
        nodes: list[dict[str, Any]],
        found: Mapping[str, Mapping[str, float]],
        calibrated: "Outcome | None" = None,
    ) -> None:
        """Write what ran, on what, what became of thresholds, and what was measured on each part of the data."""
        inputs: dict[str, Any] = {
            "trainrun": input_record(self._run.path),
            "annotations": [
                {"path": str(path), "classes": dict(each.classes), "remarks": list(each.remarks)}
                for path, each in self._parts.opened.items()
            ],
        }
        if calibrated is not None:
            inputs["calibration"] = calibrated.record()
        for split, values in found.items():
            # JSON has neither NaN nor infinities (RFC 8259, section 6).
            inputs[RECORDED[split]] = {name: each if math.isfinite(each) else None for name, each in values.items()}
        files = [{"file": file.name} for file in sorted(folder.iterdir())]
        (folder / RECORD).write_text(
            json.dumps(run_record(inputs, nodes, files, []), indent=2) + "\n", encoding="utf-8"
        )
