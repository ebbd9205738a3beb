"""Make a release of both distributions: build, check, try, write the changelog, tag.

python tools/release.py 1.1.0 --dry-run     all but commit and tags
python tools/release.py 1.1.0

What is built lies in `dist` afterwards. Uploading and pushing the tags are left to whoever may (RELEASING.md).
"""

import argparse
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
UV = str(Path(sys.executable).with_name("uv"))
PROJECTS = {"cuvis-ai-core": ROOT, "cuvis-ai-hookspecs": ROOT / "hookspecs"}


def main(arguments: list[str]) -> None:
    """Release, or stop at what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", help="version of cuvis-ai-core, as it stands in pyproject.toml")
    parser.add_argument("--dry-run", action="store_true", help="commit and tag nothing")
    options = parser.parse_args(arguments)
    versions = {name: _project(folder)["version"] for name, folder in PROJECTS.items()}
    if versions["cuvis-ai-core"] != options.version:
        sys.exit(
            f"pyproject.toml has version {versions['cuvis-ai-core']}: write {options.version} there, and commit it"
        )
    if _run("git", "status", "--porcelain", quiet=True) and not options.dry_run:
        sys.exit("commit or remove first what `git status` shows")
    changelog = ["--draft"] if options.dry_run else ["--yes"]
    _run(UV, "tool", "run", "towncrier", "build", "--version", options.version, *changelog)
    if not options.dry_run:
        _join_older(options.version)
    _build()
    _check()
    _try_out(options.version)
    if not options.dry_run:
        _run("git", "commit", "--quiet", "--all", "--message", f"Release {options.version}")
        _tag(versions)


def _join_older(version: str) -> None:
    """Have what was written of this version before there were fragments stand below its heading."""
    changelog = ROOT / "CHANGELOG.md"
    text = changelog.read_text(encoding="utf-8")
    changelog.write_text(text.replace(f"## {version} (unreleased)", "### From the beginning"), encoding="utf-8")


def _project(folder: Path) -> dict[str, str]:
    project: dict[str, str] = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project


def _build() -> None:
    shutil.rmtree(DIST, ignore_errors=True)
    for folder in PROJECTS.values():
        _run(UV, "build", "--quiet", "--out-dir", str(DIST), str(folder))


def _check() -> None:
    files = [str(file) for file in sorted(DIST.glob("cuvis_ai_*"))]
    _run(UV, "tool", "run", "twine", "check", "--strict", *files)
    for wheel in (file for file in files if file.endswith(".whl")):
        # The licence of the font lies beside it and among the licences; the one file at the top lets child processes
        # find plugins.
        _run(UV, "tool", "run", "check-wheel-contents", "--ignore", "W002,W009", wheel)


def _try_out(version: str) -> None:
    """Run the demonstration from the wheels alone, in a new environment, far from this folder."""
    with TemporaryDirectory() as folder:
        wheels = [str(wheel) for wheel in DIST.glob("*.whl")]
        core = next(wheel for wheel in wheels if "core" in wheel)
        python = Path(folder, "env", "Scripts" if os.name == "nt" else "bin", "python")
        _run(sys.executable, "-m", "venv", str(python.parents[1]))
        _run(str(python), "-m", "pip", "install", "-q", *(set(wheels) - {core}), f"{core}[demo]")
        _run(str(python), "-m", "cuvis_ai_core", "demo", "--output-dir", "demo", folder=folder)
        said = _run(str(python), "-m", "cuvis_ai_core", "--version", folder=folder, quiet=True)
        if version not in said:
            sys.exit(f"the installed wheel says {said.strip()!r}, not {version}")


def _tag(versions: dict[str, str]) -> None:
    for name, version in versions.items():
        tag = f"v{version}" if name == "cuvis-ai-core" else f"hookspecs-v{version}"
        if not _run("git", "tag", "--list", tag, quiet=True):  # the contract changes more rarely than the core
            _run("git", "tag", "--annotate", "--message", f"{name} {version}", tag)


def _run(*command: str, folder: str | Path = ROOT, quiet: bool = False) -> str:
    if not quiet:
        print("$", *command, flush=True)
    done = subprocess.run(command, cwd=folder, check=False, text=True, stdout=subprocess.PIPE if quiet else None)
    if done.returncode:
        sys.exit(f"failed with status {done.returncode}: {' '.join(command)}")
    return done.stdout or ""


if __name__ == "__main__":
    main(sys.argv[1:])
