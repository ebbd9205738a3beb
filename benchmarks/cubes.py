"""What a large cube costs beside the bare tools: `python benchmarks/cubes.py [megabytes]`.

The anomaly detector on an ENVI file of 16-bit counts, by `restore-pipeline`, by NumPy in one piece (float32) and by
SPy, and by a prototype of tiles: the most memory of the process, as multiples of a tile too, and time beside NumPy.
Then four nodes, and two hundred small cubes with one worker beside two plain loops: one that writes its scores and
nothing else, and one that writes what a worker writes (scores, a picture with a colour bar, a record with hashes).
"""

import os
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
PROTOTYPE = """
import sys, numpy as np
from spectral import envi
image = envi.open(sys.argv[1]).open_memmap()
lines = max(1, 2**20 // (image.shape[1] * image.shape[2]))
parts = [slice(top, top + lines) for top in range(0, image.shape[0], lines)]
count, mean, scatter = 0, 0.0, 0.0
for part in parts:
    pixels = np.asarray(image[part], dtype=np.float64).reshape(-1, image.shape[2])
    own = pixels.mean(0)
    pixels -= own
    apart, total = own - mean, count + len(pixels)
    scatter = scatter + pixels.T @ pixels + np.outer(apart, apart) * (count * len(pixels) / total)
    mean, count = mean + apart * (len(pixels) / total), total
whitening = np.linalg.inv(np.linalg.cholesky(scatter / (count - 1))).T
scores = np.empty(image.shape[:2], dtype=np.float32)
for part in parts:
    pixels = (np.asarray(image[part], dtype=np.float64).reshape(-1, image.shape[2]) - mean) @ whitening
    scores[part] = np.einsum("ij,ij->i", pixels, pixels).reshape(-1, image.shape[1])
np.save(sys.argv[2], scores)
"""
LOOP = """
import hashlib, json, os, sys, time, numpy as np
from pathlib import Path
from PIL import Image, ImageDraw
from cuvis_ai_core.pages.colour_maps import viridis
files, output = sorted(Path(sys.argv[1]).glob("*.npz")), Path(sys.argv[2])
palette = viridis(240).tobytes()

def scores_of(cube):
    pixels = cube.reshape(-1, 60).astype(np.float64)
    pixels -= pixels.mean(0)
    whitened = pixels @ np.linalg.inv(np.linalg.cholesky(pixels.T @ pixels / (len(pixels) - 1))).T
    return np.einsum("ij,ij->i", whitened, whitened).reshape(cube.shape[:2]).astype(np.float32)

def picture(scores, file):
    low, high = np.percentile(scores, (2, 98))
    levels = np.rint(np.clip((scores - low) / (high - low), 0, 1) * 239).astype(np.uint8)
    page = np.zeros((750, 628), dtype=np.uint8)
    page[60:660, 14:614] = levels.repeat(6, 0).repeat(6, 1)
    page[670:684, 14:614] = np.arange(600) * 240 // 600
    page = Image.fromarray(page)
    draw = ImageDraw.Draw(page)
    for at, text in enumerate(("rx.scores", "stretched", *map(str, np.linspace(low, high, 5).round(1)))):
        draw.text((14 + 80 * at, 700), text, 239)
    page.putpalette(palette)
    page.save(file, compress_level=1)

def synced(file):
    with file.open("r+b") as stream:
        os.fsync(stream.fileno())
    return hashlib.sha256(file.read_bytes()).hexdigest()

begun = time.process_time() + 1j * time.perf_counter()
for file in files:
    cube = np.load(file)["cube"]
    scores = scores_of(cube)
    folder = output / file.stem
    folder.mkdir()
    np.savez(folder / "outputs.npz", scores=scores)
    if sys.argv[4] == "files":
        picture(scores, folder / "scores.png")
        hashes = {each.name: synced(each) for each in folder.iterdir()}
        record = {"cube": hashlib.sha256(cube).hexdigest(), "shape": cube.shape, "files": hashes}
        record |= {"min": float(scores.min()), "max": float(scores.max())}
        (folder / "run.json").write_text(json.dumps(record, indent=2))
        synced(folder / "run.json")
took = time.process_time() + 1j * time.perf_counter() - begun
print(took.real, took.imag)
"""
CUBES = """
import sys, time
from pathlib import Path
from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.batch.job import make_job
from cuvis_ai_core.batch.job_cubes import Unit
from cuvis_ai_core.batch.worker import Worker
with NodeRegistry() as registry:
    worker = Worker(make_job(registry, Path(sys.argv[3]), None, {}), Path(sys.argv[2]), "0" * 32, "plain")
begun = time.process_time() + 1j * time.perf_counter()
for file in sorted(Path(sys.argv[1]).glob("*.npz")):
    assert "error" not in worker.run(Unit(str(file), file.stem))
took = time.process_time() + 1j * time.perf_counter() - begun
print(took.real, took.imag)
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
            ("prototype of tiles", *_run("-c", PROTOTYPE, header, folder / "prototype.npy")),
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
    return _run("-c", "from cuvis_ai_core.cli.restore.restore_pipeline import main; main()", *options)


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
    (folder / "small").mkdir()
    random = np.random.default_rng(0)
    for number in range(SMALL):
        cube = random.random((100, 100, 60), dtype=np.float32)
        np.savez(folder / "small" / f"{number:03}.npz", cube=cube, wavelengths=np.linspace(400, 1000, 60))
    (folder / "pipeline.yaml").write_text(NODES["rx"], encoding="utf-8")
    taken = {}
    for name, program in (("scores", LOOP), ("files", LOOP), ("worker", CUBES)):
        (folder / name).mkdir()
        command = ["-c", program, folder / "small", folder / name, folder / "pipeline.yaml", name]
        # with one thread each, as workers have them that share a machine
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        text = subprocess.run(
            [sys.executable, *map(str, command)], check=True, capture_output=True, text=True, env=os.environ | threads
        ).stdout
        taken[name] = [float(each) / SMALL * 1000 for each in text.split()[-2:]]
    for name, loop in (("scores alone", taken["scores"]), ("the same files", taken["files"])):
        processor, wall = (bare / ours for bare, ours in zip(loop, taken["worker"], strict=True))
        print(
            f"{SMALL} small cubes: {taken['worker'][0]:.1f} ms of processor each by a worker, {loop[0]:.1f} in a plain "
            f"loop that writes {name}: {processor:.2f} of its speed ({wall:.2f} by the clock)"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 256)
