"""What a large cube costs beside the bare tools: `python benchmarks/cubes.py [megabytes]`.

The anomaly detector on an ENVI file of 16-bit counts, by `restore-pipeline`, by NumPy in one piece (float32) and by
SPy: the most memory of the process, as multiples of a tile too, and time beside NumPy. Then four nodes, and two
hundred small cubes with one worker beside a plain loop that writes its scores.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from cuvis_ai_core.pipeline.tiling.windows import tile_size

CHANNELS = 128
SMALL = 200
NODES = {
    "rx": "nodes:\n  - {name: rx, class_name: RXDetector}\n",
    "four built-in nodes": """nodes:
  - {name: scaler, class_name: MinMaxNormalizer}
  - {name: detector, class_name: RXDetector}
  - {name: decider, class_name: QuantileDecider}
  - {name: colour, class_name: WavelengthSelector, params: {targets: [650.0, 550.0, 450.0]}}
edges:
  - {source: scaler.outputs.cube, target: detector.inputs.cube}
  - {source: detector.outputs.scores, target: decider.inputs.scores}
""",
}
NUMPY = """
import sys, numpy as np
from spectral import envi
image = np.asarray(envi.open(sys.argv[1]).open_memmap())
pixels = image.reshape(-1, image.shape[-1]).astype(np.float32)
pixels -= pixels.mean(0, dtype=np.float64).astype(np.float32)
covariance = (pixels.T @ pixels / (len(pixels) - 1)).astype(np.float64)
whitened = pixels @ np.linalg.inv(np.linalg.cholesky(covariance)).T.astype(np.float32)
np.save(sys.argv[2], np.einsum("ij,ij->i", whitened, whitened).reshape(image.shape[:2]))
"""
SPY = """
import sys, numpy as np, spectral
np.save(sys.argv[2], spectral.rx(spectral.envi.open(sys.argv[1]).load()))
"""
LOOP = """
import sys, time, numpy as np
from pathlib import Path
begun = time.perf_counter()
for file in sorted(Path(sys.argv[1]).glob("*.npz")):
    pixels = np.load(file)["cube"].reshape(-1, 60).astype(np.float64)
    pixels -= pixels.mean(0)
    whitened = pixels @ np.linalg.inv(np.linalg.cholesky(pixels.T @ pixels / (len(pixels) - 1))).T
    np.savez(Path(sys.argv[2]) / file.name, scores=np.einsum("ij,ij->i", whitened, whitened))
print(time.perf_counter() - begun)
"""
CUBES = """
import sys, time
from pathlib import Path
from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.batch.job import make_job
from cuvis_ai_core.batch.units import Unit
from cuvis_ai_core.batch.worker import Worker
with NodeRegistry() as registry:
    worker = Worker(make_job(registry, Path(sys.argv[3]), None, {}), Path(sys.argv[2]), "0" * 32, "plain")
begun = time.perf_counter()
for file in sorted(Path(sys.argv[1]).glob("*.npz")):
    assert "error" not in worker.run(Unit(str(file), file.stem))
print(time.perf_counter() - begun)
"""


def main(megabytes: int) -> None:
    """Measure, and print a line for each."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _large(folder, megabytes)
        _small(folder)


def _large(folder: Path, megabytes: int) -> None:
    side = int((megabytes * 1e6 / 2 / CHANNELS) ** 0.5)
    tile = tile_size((1, side, side, CHANNELS), 2**31) * CHANNELS * 8
    print(f"{megabytes} MB, {side} x {side} x {CHANNELS}; a tile in float64 has {tile / 2**20:.0f} MiB", flush=True)
    for interleave in ("bip", "bil", "bsq"):
        header = _write(folder, side, interleave)
        bare, most = _run("-c", NUMPY, header, folder / "numpy.npy")
        for name, seconds, memory in (
            ("NumPy", bare, most),
            ("SPy", *_run("-c", SPY, header, folder / "spy.npy")),
            *((each, *_restore(folder, header, text)) for each, text in NODES.items()),
        ):
            print(
                f"{interleave} {name:20} {seconds:7.1f} s = {seconds / bare:5.2f} NumPy   "
                f"{memory / 2**20:6.0f} MiB = {memory / tile:6.1f} tiles",
                flush=True,
            )


def _restore(folder: Path, header: Path, text: str) -> tuple[float, int]:
    (folder / "pipeline.yaml").write_text(text, encoding="utf-8")
    options = ["--pipeline-path", folder / "pipeline.yaml", "--cube-path", header, "--output-dir", folder / "out"]
    return _run("-c", "from cuvis_ai_core.cli.restore_pipeline import main; main()", *options)


def _write(folder: Path, side: int, interleave: str) -> Path:
    """Write an image of counts with an even spectrum, some lines at a time."""
    random = np.random.default_rng(0)
    axes = {"bip": (side, side, CHANNELS), "bil": (side, CHANNELS, side), "bsq": (CHANNELS, side, side)}[interleave]
    with (folder / "cube.img").open("wb") as file:
        for _ in range(axes[0]):
            file.write(random.integers(100, 4000, axes[1:], dtype=np.uint16).tobytes())
    header = folder / "cube.hdr"
    wavelengths = ", ".join(str(400 + 5 * band) for band in range(CHANNELS))
    header.write_text(
        f"ENVI\nsamples = {side}\nlines = {side}\nbands = {CHANNELS}\ndata type = 12\ninterleave = {interleave}\n"
        f"byte order = 0\nwavelength units = nm\nwavelength = {{{wavelengths}}}\n",
        encoding="utf-8",
    )
    return header


def _run(*arguments: object) -> tuple[float, int]:
    """Run Python, and return its seconds of wall time and its most bytes of memory of its own."""
    begun, most = time.perf_counter(), 0
    process = psutil.Popen([sys.executable, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            most = max(most, process.memory_info().rss)
        except psutil.Error:
            break
        time.sleep(0.02)
    if process.wait():
        raise SystemExit(f"ended with {process.returncode}: {arguments}")
    return time.perf_counter() - begun, most


def _small(folder: Path) -> None:
    for name in ("small", "loop", "run"):
        (folder / name).mkdir()
    random = np.random.default_rng(0)
    for number in range(SMALL):
        cube = random.random((100, 100, 60), dtype=np.float32)
        np.savez(folder / "small" / f"{number:03}.npz", cube=cube, wavelengths=np.linspace(400, 1000, 60))
    (folder / "pipeline.yaml").write_text(NODES["rx"], encoding="utf-8")
    rates = {}
    for name, program in (("loop", LOOP), ("run", CUBES)):
        places = (folder / "small", folder / name, folder / "pipeline.yaml")
        command = [sys.executable, "-c", program, *map(str, places)]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        rates[name] = SMALL / float(text.split()[-1])
    print(
        f"{SMALL} small cubes: {rates['run']:.0f} a second with one worker, {rates['loop']:.0f} in a plain loop "
        f"= {rates['run'] / rates['loop']:.2f}"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 256)
