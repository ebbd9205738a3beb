"""Run every check of this project; the same command for people and for CI.

python tools/check.py            everything
python tools/check.py ruff mypy  only these
"""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

EXAMPLES = sorted(str(folder.relative_to(ROOT)) for folder in ROOT.glob("example_plugins/*/src"))

CHECKS = {
    "format": ["ruff", "format", "--check", "."],
    "ruff": ["ruff", "check", "."],
    "mypy": ["mypy", "src", "hookspecs/src", *EXAMPLES, "tests", "benchmarks", "tools"],
    "imports": ["lint-imports", "--no-cache"],
    "tests": ["pytest", "-q", "-n", "auto"],
}


def main(names: list[str]) -> int:
    """Run the named checks, or all; return 1 if one failed."""
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        print(f"unknown check '{unknown[0]}'; there are: {', '.join(CHECKS)}")
        return 2
    failed = [name for name in names or CHECKS if not _passes(name)]
    print(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return 1 if failed else 0


def _passes(name: str) -> bool:
    program, *arguments = CHECKS[name]
    print(f"== {name}", flush=True)
    begun = time.monotonic()
    # The programs of the environment that runs this, whatever is on PATH.
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    passed = subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    print(f"== {name}: {'passed' if passed else 'FAILED'} in {time.monotonic() - begun:.0f} s", flush=True)
    return passed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
