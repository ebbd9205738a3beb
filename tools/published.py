"""Take published versions of the catalogue from the index, and see what of them works with this core.

    python tools/published.py [VERSION ...] [--keep FOLDER]

For each version: how many of its modules can be imported, how many node classes register, how many of the pipeline and
trainrun files that it brings are shown and drawn, how many pipelines of its own nodes alone run on a made-up cube, and
which nodes that need no arguments run on random values (many want others, or to learn first, and say so).

Its dependencies are not installed: third-party packages that are not there are stood in for, by modules in which every
name is a class that takes anything. So a failure is one of this core, or of a version of a package that the catalogue
was not written for. What failed is printed with its reason.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

VERSIONS = ("0.3.0", "0.5.0", "0.10.2", "0.19.3")
PROBE = Path(__file__).with_name("published_probe.py")


def main() -> int:
    """Print a line for each version, and below it what failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="*", default=VERSIONS)
    parser.add_argument("--keep", type=Path, help="folder for the unpacked wheels, by default a temporary one")
    given = parser.parse_args()
    failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        for version in given.versions:
            failures += report(version, probe(unpacked(version, folder)))
    return int(failures > 0)


def unpacked(version: str, folder: Path) -> Path:
    """Return the folder of an unpacked wheel of the catalogue."""
    place = folder / version
    if not place.is_dir():
        wheels = folder / "wheels"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(wheels)]
        subprocess.run([*command, f"cuvis-ai=={version}"], check=True)
        with zipfile.ZipFile(next(wheels.glob(f"cuvis_ai-{version}-*.whl"))) as wheel:
            wheel.extractall(place)
    return place


def probe(place: Path) -> dict[str, Any]:
    """Return what an interpreter of its own found, which has the catalogue on its path."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        subprocess.run([sys.executable, str(PROBE), str(place), str(answer)], cwd=folder, check=True)
        found: dict[str, Any] = json.loads(answer.read_text())
    return found


def report(version: str, found: dict[str, Any]) -> int:
    """Print what was found, and return how much failed."""
    failures = 0
    for kind, results in found["results"].items():
        failed = {name: reason for name, reason in results.items() if reason}
        print(f"cuvis-ai {version}: {kind}: {len(results) - len(failed)} of {len(results)}")
        for name, reason in failed.items():
            print(f"    {name}: {reason}")
        failures += len(failed)
    print(f"cuvis-ai {version}: node classes registered: {found['nodes']}")
    print(f"cuvis-ai {version}: stood in for: {', '.join(found['stood_in']) or 'nothing'}", flush=True)
    return failures


if __name__ == "__main__":
    sys.exit(main())
