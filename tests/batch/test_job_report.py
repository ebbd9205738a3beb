"""How a job stands, as programs and people read it."""

import re
from pathlib import Path

from cuvis_ai_core.batch.job_progress import Report
from cuvis_ai_core.batch.job_report import write_metrics


def test_the_file_for_prometheus_has_a_line_for_each_state(tmp_path: Path) -> None:
    """How many cubes are done, failed, done before and left, and since when the run goes on."""
    file = tmp_path / "cuvis.prom"
    write_metrics(Report(tmp_path, total=9, done=4, failed=2, skipped=1), file)
    values = dict(line.rsplit(" ", 1) for line in file.read_text().splitlines() if not line.startswith("#"))
    assert re.fullmatch(r"\d+\.\d{3}", values.pop("cuvis_batch_seconds"))
    assert values == {
        f'cuvis_batch_cubes{{state="{state}"}}': count
        for state, count in (("done", "4"), ("failed", "2"), ("skipped", "1"), ("left", "2"))
    }
