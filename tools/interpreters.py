"""Run the quick tests on every Python that is promised and found here, and on the lowest with the oldest dependencies.

python tools/interpreters.py            what CI does after tools/check.py, which tests this environment's own Python
python tools/interpreters.py 3.13       only this one
python tools/interpreters.py lowest     only the oldest dependencies

Environments are made anew in `.venvs`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import suite

ROOT = Path(__file__).resolve().parent.parent
UV = str(Path(sys.executable).with_name("uv"))
OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WANTED = ["./hookspecs", "-e", ".[demo]", "--group", "dev"]
VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


def main(names: list[str]) -> int:
    """Run the quick tests in the named environments, or in all; return 1 if one failed."""
    interpreters = find_interpreters()
    lowest = promised()[0]
    print("found Python", ", ".join(interpreters) or "in no promised version", flush=True)
    chosen = names or [
        *(version for version in interpreters if version != OWN),
        *(["lowest"] * (lowest in interpreters)),
    ]
    failed = [name for name in chosen if not _passes(name, interpreters.get(lowest if name == "lowest" else name))]
    print(f"failed: {', '.join(failed)}" if failed else "all interpreters passed")
    return 1 if failed else 0


def promised() -> list[str]:
    """Return the versions of Python that the project file promises, lowest first."""
    classifiers = "\n".join(PROJECT["project"]["classifiers"])
    return sorted(re.findall(r":: (3\.\d+)$", classifiers, re.MULTILINE), key=lambda version: int(version[2:]))


def find_interpreters() -> dict[str, str]:
    """Return an interpreter for each promised version that is here: of this environment, uv, the PATH, or pyenv."""
    found: dict[str, str] = {OWN: sys.executable}
    for program in _candidates():
        asked = subprocess.run([program, "-c", VERSION], capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            found.setdefault(asked.stdout.strip(), program)
    return {version: found[version] for version in promised() if version in found}


def _candidates() -> Iterator[str]:
    listed = subprocess.run(
        [UV, "python", "list", "--only-installed", "--offline", "--output-format", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    yield from (each["path"] for each in json.loads(listed.stdout or "[]") if each["path"])
    yield from filter(None, (shutil.which(f"python{version}") for version in promised()))
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for version in promised():
        yield from map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python")))


def _passes(name: str, interpreter: str | None) -> bool:
    if interpreter is None:
        print(f"== {name}: there is no such Python here")
        return False
    print(f"== {name}: {interpreter}", flush=True)
    begun = time.monotonic()
    python = ROOT / ".venvs" / name / "bin" / "python"
    commands = [
        [UV, "venv", "-q", "--clear", "--python", interpreter, str(ROOT / ".venvs" / name)],
        *(_oldest(str(python)) if name == "lowest" else [_uv(str(python), *WANTED)]),
    ]
    passed = all(subprocess.run(command, cwd=ROOT, check=False).returncode == 0 for command in commands)
    suite.write_bytecode(python)
    passed = passed and suite.passes(python, [*suite.TOGETHER, "-m", "not slow", *_order(name)])
    print(f"== {name}: {'passed' if passed else 'FAILED'} in {time.monotonic() - begun:.0f} s", flush=True)
    return passed


def _order(name: str) -> tuple[str, ...]:
    """Return the order of the tests: as they stand, or by chance, in one environment with torch and one without."""
    if name not in {promised()[-1], "lowest"}:
        return suite.IN_ORDER
    order = suite.shuffled(suite.seed())
    print(
        f"== {name}: in a random order; again: .venvs/{name}/bin/python -m pytest -m 'not slow' {order[0]}", flush=True
    )
    return order


def _oldest(python: str) -> list[list[str]]:
    """Return what installs the oldest versions that the project file allows of what it names itself."""
    # pip finds the pinned torch where the user's settings say; uv then leaves it as it is.
    pinned = next(each for each in PROJECT["dependency-groups"]["dev"] if each.startswith("torch"))
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-compile", pinned]
    return [pip, _uv(python, "--resolution", "lowest-direct", *WANTED)]


def _uv(python: str, *options: str) -> list[str]:
    return [UV, "pip", "install", "-q", "--python", python, *options]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
