"""`restore-pipeline` by tiles, stopped at any instant by a real signal."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cuvis_ai_core.results.folder import OutputFolder

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="POSIX signals")]

PIPELINE = """nodes:
  - {name: scaler, class_name: MinMaxNormalizer}
  - {name: rx, class_name: RXDetector}
  - {name: decider, class_name: QuantileDecider}
edges:
  - {source: scaler.cube, target: rx.cube}
  - {source: rx.scores, target: decider.scores}
"""
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background ignores it
from cuvis_ai_core.cli.restore.restore_pipeline import main
print("begun", flush=True)
main(sys.argv[1:])
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("kind", ["npz", "geotiff"])
def test_finished_or_nothing(tmp_path: Path, how: signal.Signals, kind: str) -> None:
    """What is there is finished, by the hashes in its record, or nothing; Ctrl-C leaves nothing beside it."""
    if kind == "geotiff":
        pytest.importorskip("rasterio")
    np.save(tmp_path / "cube.npy", np.random.default_rng(0).integers(1, 4000, (300, 200, 24)).astype(np.uint16))
    (tmp_path / "p.yaml").write_text(PIPELINE, encoding="utf-8")
    options = ["--pipeline-path", "p.yaml", "--cube-path", "cube.npy", "--output-dir", "out", "--memory", "2MiB"]
    options += ["--format", kind, "--keep", "rx.scores", "--keep", "decider.mask"]

    def start() -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", PROGRAM, *options]
        run = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert run.stdout is not None
        assert run.stdout.readline() == "begun\n"
        return run

    begun, whole = time.monotonic(), start()
    assert whole.communicate()[0]
    seconds = time.monotonic() - begun
    wanted = sorted(file.name for file in (tmp_path / "out").iterdir())
    for _ in range(3):
        shutil.rmtree(tmp_path / "out")
        (tmp_path / "out").mkdir()
        run = start()
        time.sleep(random.SystemRandom().uniform(0, seconds * 0.8))
        run.send_signal(how)
        said, _ = run.communicate()
        there = sorted(file.name for file in (tmp_path / "out").iterdir() if not file.name.startswith(".out."))
        assert there in ([], wanted), said
        assert not there or not list(OutputFolder(tmp_path / "out").doubts())
        if how == signal.SIGINT and run.returncode == 130:
            assert "Interrupted" in said
            assert ("No results were written to 'out'" in said) <= (not there)
            assert not list((tmp_path / "out").glob(".out.*"))
    last = start()
    assert last.communicate()[0]
    assert last.returncode == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == wanted
