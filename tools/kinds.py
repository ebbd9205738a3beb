"""Make a project of every kind with every build back end on every Python, and see that it works at once.

python tools/kinds.py            on every promised Python that is found here
python tools/kinds.py 3.13       only on this one

The core comes from wheels of this tree, into an environment for each interpreter. A project's own tests, `cuvis-ai
plugins check` and `mypy --strict` run where it was made; then it is installed, and its tests run from what is there.
torch is in the environment of this one's own Python alone; elsewhere a step of its kind may fail if it names torch.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from interpreters import OWN, PROJECT, ROOT, UV, find_interpreters

from cuvis_ai_core.cli.plugins.new.new_command import BACKENDS, KINDS

_STEPS: Final = ("new", "its tests", "check", "mypy", "install", "tests of what is installed")
_TORCH: Final = next(each.split(";")[0] for each in PROJECT["dependency-groups"]["dev"] if each.startswith("torch"))


def main(names: list[str]) -> int:
    """Try all kinds on the named interpreters, print a line for each project, and return 1 if a step failed."""
    failed = 0
    with TemporaryDirectory() as folder:
        wheels = _wheels(Path(folder, "wheels"))
        for version, interpreter in find_interpreters().items():
            if names and version not in names:
                continue
            bin_ = _environment(Path(folder, version), interpreter, wheels, torch=version == OWN)
            for kind in KINDS:
                for backend in BACKENDS:
                    said = _try(Path(folder), bin_, version, kind, backend)
                    failed += said is not None
                    print(f"{version:5} {kind:7} {backend:11} {said or 'all steps passed'}", flush=True)
    return 1 if failed else 0


def _wheels(folder: Path) -> list[str]:
    for project in (ROOT, ROOT / "hookspecs"):
        subprocess.run([UV, "build", "-q", "--wheel", "--out-dir", str(folder), str(project)], check=True)
    return [str(wheel) for wheel in folder.glob("*.whl")]


def _environment(folder: Path, interpreter: str, wheels: list[str], *, torch: bool) -> Path:
    """Return the folder of programs of a new environment with the wheels, and torch where it is pinned."""
    subprocess.run([UV, "venv", "-q", "--python", interpreter, str(folder)], check=True)
    # pip finds the pinned torch where the user's settings say.
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "-q"]
    subprocess.run([*pip, *wheels, "pytest", "mypy", *([_TORCH] if torch else [])], check=True)
    return folder / "bin"


def _try(folder: Path, bin_: Path, version: str, kind: str, backend: str) -> str | None:
    """Return which steps failed, with what they said, or None."""
    name = f"leaf-{kind}-{backend}-{version}".replace("_", "-").replace(".", "")
    project, python = folder / name, str(bin_ / "python")
    pytest = [python, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"]
    commands = (
        [str(bin_ / "cuvis-ai"), "plugins", "new", name, "--kind", kind, "--build-backend", backend],
        pytest,
        [str(bin_ / "cuvis-ai"), "plugins", "check", "."],
        [python, "-m", "mypy", "--strict", "--cache-dir", str(folder / f"mypy-{version}"), "src"],
        [UV, "pip", "install", "-q", "--no-deps", "--python", python, "."],
        [*pytest, "-o", "pythonpath="],
    )
    wrong = []
    for step, command in zip(_STEPS, commands, strict=True):
        place = folder if step == "new" else project
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
        if done.returncode and kind == "torch" and version != OWN and "torch is not installed" in _plain(done):
            print(f"  {step}: says that torch is not installed")
        elif done.returncode:
            wrong.append(f"{step}: {(done.stdout + done.stderr).strip()}")
    subprocess.run([UV, "pip", "uninstall", "-q", "--python", python, name], check=False, capture_output=True)
    return "\n".join(wrong) or None


def _plain(done: "subprocess.CompletedProcess[str]") -> str:
    """Return what was said, with the ways in which Python and mypy say that torch is missing in one."""
    said = done.stdout + done.stderr
    for missing in ("No module named 'torch'", 'library stub for module named "torch"'):
        said = said.replace(missing, "torch is not installed")
    return said


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
