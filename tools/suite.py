"""Run tests; and once more, alone, those that failed, where they are few.

Real processes, networks and kills on a machine that does other things too: what fails once in a hundred runs says
little of the change that is tried, and must not hide what it breaks. It is named in the last lines, to be mended.
"""

import json
import os
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

_FEW: Final = 2

_LONGEST: Final = 45 * 60
"""Seconds that all tests may take: thrice what they do on two cores."""

_SOME_FAILED: Final = 1
"""What pytest ends with then; with other numbers where it could not go on."""

_NONE_CHOSEN: Final = 5
"""What it ends with where all tests were left out."""

TOGETHER: Final = ("-n", str((os.cpu_count() or 1) + 2), "--dist", "worksteal")
"""Options to use all processors: a file stays with one process, until another has nothing left to do.

There are more processes than processors: with as many, a sixth of the time went by in waiting, for kills and limits;
with one more, an eighth.
"""

IN_ORDER: Final = ("-p", "no:randomly")


def passes(python: str | Path, options: Sequence[str], *, may_be_none: bool = False) -> bool:
    """Run tests by an interpreter, those that failed twice if they are few, and tell whether all passed.

    Args:
        python: The interpreter of an environment with pytest.
        options: Of pytest, which say what is run.
        may_be_none: Whether it is right that all tests are left out.
    """
    with TemporaryDirectory() as cache:
        command = [str(python), "-m", "pytest", "-q", "-o", f"cache_dir={cache}"]
        ended = _end([*command, *options])
        failed = _failed(Path(cache))
        if ended != _SOME_FAILED or len(failed) > _FEW:
            return ended == 0 or (may_be_none and ended == _NONE_CHOSEN)
        print("== once more, alone:", *failed, flush=True)
        passed = _end([*command, *options, "-n0", "--last-failed"]) == 0
        if passed:
            print("== failed once, and passed alone:", *failed, flush=True)
        return passed


def write_bytecode(python: str | Path) -> None:
    """Have uv's cache hold bytecode, so that tests do not compile the same libraries again and again."""
    _end([str(python), str(ROOT / "tools" / "bytecode.py")])


def seed() -> int:
    """Return a number that is another for each commit, so that what was chosen by chance can be had again."""
    command = ["git", "rev-parse", "--short=7", "HEAD"]
    commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    return int(commit or "0", 16)


def shuffled(number: int) -> tuple[str, ...]:
    """Return options for a random order, which is the same for the same number."""
    return (f"--randomly-seed={number}",)


def sampled(files: Sequence[Path], count: int, number: int) -> list[Path]:
    """Return some of the files, chosen by chance, which is the same for the same number."""
    return sorted(random.Random(number).sample(list(files), min(count, len(files))))  # noqa: S311 -- no secret


def _end(command: Sequence[str]) -> int | None:
    """Return what a command ended with, or None if it was ended."""
    # Containers often forbid bytecode. Thousands of processes would then compile the same modules: five times the work.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = os.times()
    try:
        return subprocess.run(command, cwd=ROOT, env=environment, check=False, timeout=_LONGEST).returncode
    except subprocess.TimeoutExpired:
        print(f"the tests did not end in {_LONGEST // 60} minutes")
        return None
    finally:
        after = os.times()
        processor = sum(after[2:4]) - sum(before[2:4])  # of children, with theirs that somebody waited for
        print(f"== {after.elapsed - before.elapsed:.0f} s by the clock, {processor:.0f} s of processors", flush=True)


def _failed(cache: Path) -> list[str]:
    try:
        return sorted(json.loads((cache / "v" / "cache" / "lastfailed").read_text(encoding="utf-8")))
    except OSError:
        return []
