"""Run every check of this project; the same command for people and for CI.

python tools/check.py            everything
python tools/check.py ruff mypy  only these
python tools/check.py shuffled   tests in a random order, the same for one commit, and property tests with new cases
python tools/check.py alone      each file of tests in a process of its own, which takes long
"""

import subprocess
import sys
import time
from pathlib import Path

import suite

ROOT = Path(__file__).resolve().parent.parent

EXAMPLES = sorted(str(folder.relative_to(ROOT)) for folder in ROOT.glob("example_plugins/*/src"))

CHECKS = {
    "format": ["ruff", "format", "--check", "."],
    "ruff": ["ruff", "check", "."],
    "mypy": ["mypy", "src", "hookspecs/src", *EXAMPLES, "tests", "benchmarks", "tools"],
    "imports": ["lint-imports", "--no-cache"],
    "tests": ["pytest", *suite.TOGETHER, *suite.IN_ORDER],
}

ON_REQUEST = {
    "shuffled": ["pytest", *suite.TOGETHER, *suite.shuffled(), "--hypothesis-profile", "exploring"],
    "alone": ["pytest", *suite.IN_ORDER],
}


def main(names: list[str]) -> int:
    """Run the named checks, or all; return 1 if one failed."""
    known = CHECKS | ON_REQUEST
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"unknown check '{unknown[0]}'; there are: {', '.join(known)}")
        return 2
    failed = [name for name in names or CHECKS if not _passes(name)]
    print(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return 1 if failed else 0


def _passes(name: str) -> bool:
    print(f"== {name}", flush=True)
    begun = time.monotonic()
    if name == "alone":
        passed = not [
            file for file in sorted((ROOT / "tests").rglob("test_*.py")) if not _runs([*ON_REQUEST[name], str(file)])
        ]
    else:
        passed = _runs((CHECKS | ON_REQUEST)[name])
    print(f"== {name}: {'passed' if passed else 'FAILED'} in {time.monotonic() - begun:.0f} s", flush=True)
    return passed


def _runs(command: list[str]) -> bool:
    if command[0] == "pytest":
        return suite.passes(sys.executable, command[1:])
    # The programs of the environment that runs this, whatever is on PATH.
    program = Path(sys.executable).with_name(command[0])
    return subprocess.run([str(program), *command[1:]], cwd=ROOT, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
