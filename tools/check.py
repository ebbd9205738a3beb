"""Run every check of this project; the same command for people and for CI.

python tools/check.py            everything
python tools/check.py ruff mypy  only these
python tools/check.py shuffled   tests in a random order, and property tests with new cases; `shuffled SEED` has it
                                 again
python tools/check.py alone 40   40 files of tests, chosen by chance, each by itself and in a random order; `alone 40
                                 SEED` has them again, and `alone` takes all, which takes long

Without a seed it is another one for each commit.
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

ON_REQUEST = ("shuffled", "alone")


def main(words: list[str]) -> int:
    """Run the named checks, or all; return 1 if one failed."""
    names = [word for word in words if not word.isdecimal()]
    numbers = [int(word) for word in words if word.isdecimal()]
    unknown = [name for name in names if name not in {*CHECKS, *ON_REQUEST}]
    if unknown:
        print(f"unknown check '{unknown[0]}'; there are: {', '.join((*CHECKS, *ON_REQUEST))}")
        return 2
    failed = [name for name in names or CHECKS if not _passes(name, numbers)]
    print(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return 1 if failed else 0


def _passes(name: str, numbers: list[int]) -> bool:
    print(f"== {name}", flush=True)
    begun = time.monotonic()
    if name in ("tests", *ON_REQUEST):
        suite.write_bytecode(sys.executable)
    if name == "alone":
        passed = _alone(*numbers)
    elif name == "shuffled":
        passed = _shuffled(*numbers)
    else:
        passed = _runs(CHECKS[name])
    print(f"== {name}: {'passed' if passed else 'FAILED'} in {time.monotonic() - begun:.0f} s", flush=True)
    return passed


def _shuffled(seed: int | None = None) -> bool:
    seed = suite.seed() if seed is None else seed
    print(f"== again: tools/check.py shuffled {seed}", flush=True)
    return _runs(["pytest", *suite.TOGETHER, *suite.shuffled(seed), "--hypothesis-profile", "exploring"])


def _alone(count: int | None = None, seed: int | None = None) -> bool:
    seed = suite.seed() if seed is None else seed
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    chosen = suite.sampled(files, len(files) if count is None else count, seed)
    print(f"== again: tools/check.py alone {len(chosen)} {seed}", flush=True)
    order = suite.shuffled(seed)
    # A file may need a library that is not here.
    failed = [file for file in chosen if not suite.passes(sys.executable, [*order, str(file)], may_be_none=True)]
    print("== failed alone:", *(file.relative_to(ROOT) for file in failed), flush=True)
    return not failed


def _runs(command: list[str]) -> bool:
    if command[0] == "pytest":
        return suite.passes(sys.executable, command[1:])
    # The programs of the environment that runs this, whatever is on PATH.
    program = Path(sys.executable).with_name(command[0])
    return subprocess.run([str(program), *command[1:]], cwd=ROOT, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
