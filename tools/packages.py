"""Load packages as dependencies of a plugin, one by one, and compare with the same folder on a plain path.

python tools/packages.py                            every line of packages.txt, in this environment
python tools/packages.py opencv scipy               only the lines that begin so
python tools/packages.py --host other/bin/python    in another environment that has this core
python tools/packages.py --other-version            in an environment that has the package in an older version
python tools/packages.py --process                  with `isolation: process`

A line of the list has what a plugin requires, separated by blanks, then ` | ` and statements that set `answer`. Each
package is loaded, unloaded and loaded again, and must answer the same as its target directory does on a plain path, and
add to `sys.path` what it adds there. What fails with the same words on both is `alike`. A package that is compiled may
be refused where another version of it is imported. Everything is installed from the index that uv uses. Prints a
line for each; returns 1 if one is wrong.
"""

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from uv import find_uv_bin

ROOT = Path(__file__).resolve().parent.parent
LIST = Path(__file__).with_name("packages.txt")
LIMIT = 900

PROJECT = """\
[project]
name = "cuvis-trial"
version = "1.0.0"
dependencies = {requirements}
[build-system]
requires = ["uv_build>=0.9.17,<0.14"]
build-backend = "uv_build"
[tool.uv.build-backend]
module-root = ""
"""

MODULE = """\
import numpy as np
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_schemas.pipeline import PortSpec
{imports}

def double(x):
    return 2 * x

def answer():
    names = {{"double": double, "__name__": __name__}}
    exec({statements!r}, names)
    return repr(names["answer"])

class Trial(ArrayNode):
    INPUT_SPECS = {{"cube": PortSpec(np.float32, (-1, -1, -1, -1))}}
    OUTPUT_SPECS = {{"text": PortSpec(np.uint8, (-1,))}}

    def forward(self, cube):
        return {{"text": np.frombuffer(answer().encode(), np.uint8)}}
"""

LOADED = """\
import sys
{before}
if __name__ == "__main__":
    import numpy as np
    from cuvis_ai_core import NodeRegistry
    path, registry = list(sys.path), NodeRegistry(discover=False)
    for word in ("first", "again"):
        registry.load_plugin("trial", {entry!r})
        answer = registry.get("Trial")().forward(cube=np.zeros((1, 1, 1, 1), np.float32))["text"]
        print("said", word, answer.tobytes().decode())
        registry.unload_plugin("trial")
    registry.close()
    print("said", "path", [each for each in sys.path if each not in path])
"""

PLAIN = """\
import sys
if __name__ == "__main__":
    path = list(sys.path)
    from cuvis_trial import answer
    print("said", "first", answer())
    print("said", "again", answer())
    print("said", "path", [each for each in sys.path if each not in path])
"""


class Package(NamedTuple):
    """A line of the list."""

    requirements: tuple[str, ...]
    statements: str

    @property
    def name(self) -> str:
        """The distribution that is tried."""
        return self.requirements[0]

    @property
    def imports(self) -> list[str]:
        """The import statements that the statements begin with, as a module has them at its top."""
        found = []
        for node in ast.parse(self.statements).body:
            if not isinstance(node, ast.Import | ast.ImportFrom):
                break
            found.append(ast.unparse(node))
        return found


class Outcome(NamedTuple):
    """What came of a package.

    Attributes:
        package: Name of its distribution.
        host: What the environment has of it.
        verdict: `ok`, if it answered as on a plain path or was refused as it should, `alike` or `WRONG`.
        text: What it answered, or what is wrong.
    """

    package: str
    host: str
    verdict: str
    text: str


def read_list(path: Path = LIST) -> list[Package]:
    """Return the packages of a list."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return [Package(tuple(line.split(" | ", 1)[0].split()), line.split(" | ", 1)[1]) for line in lines]


class Trial:
    """A plugin that depends on one package, in a folder of its own.

    Args:
        package: What it depends on.
        folder: Where everything is made.
        host: The interpreter of an environment that has this core.
        isolation: How the plugin is loaded.
    """

    def __init__(self, package: Package, folder: Path, host: str, isolation: str) -> None:
        self._package = package
        self._folder = folder
        self._host = host
        self._plugin = folder / "plugin"
        self._cache = folder / "cache"
        self._entry = {"path": str(self._plugin), "provides": ["cuvis_trial.Trial"], "isolation": isolation}
        module = self._plugin / "cuvis_trial/__init__.py"
        module.parent.mkdir(parents=True)
        requirements = json.dumps(["cuvis-ai-core", *package.requirements])
        (self._plugin / "pyproject.toml").write_text(PROJECT.format(requirements=requirements), encoding="utf-8")
        text = MODULE.format(imports="\n".join(package.imports), statements=package.statements)
        module.write_text(text, encoding="utf-8")

    def outcome(self, host: str, before: str = "") -> Outcome:
        """Load the plugin, run it on a plain path, and compare.

        Args:
            host: What the environment has of the package, in words.
            before: Statements of the program before it loads the plugin.
        """
        got, errors = self._run(self._host, "loaded.py", LOADED.format(before=before, entry=self._entry))
        if "Dependency conflict: " in errors and "isolation: process" in errors:
            if "cuvis-ai-core itself needs it" in errors:
                return Outcome(self._package.name, host, "ok", "refused: this core itself needs it")
            if before:
                return Outcome(self._package.name, host, "ok", "refused: another version is imported")
        wanted, plain_errors = self._plain()
        if self._entry["isolation"] == "process":
            wanted["path"] = "[]"  # what is added is added in the worker
        if got == wanted and "path" in got:
            return Outcome(self._package.name, host, "ok", got["first"])
        if "path" not in wanted and got == wanted and _last(plain_errors) in errors:
            return Outcome(self._package.name, host, "alike", _last(plain_errors))
        text = f"{got} for {wanted} {_last(plain_errors)}: {_last(errors)}"
        return Outcome(self._package.name, host, "WRONG", text)

    def _plain(self) -> tuple[dict[str, str], str]:
        if self._entry["isolation"] == "process":
            python = next(self._cache.glob(".envs/*/*/bin/python"), None)
            return self._run(str(python), "plain.py", PLAIN) if python else ({}, "no environment was made")
        target = next(self._cache.glob(".targets/*/*/"), self._folder)
        path = os.pathsep.join(map(str, (target, self._plugin)))
        return self._run(self._host, "plain.py", PLAIN, PYTHONPATH=path)

    def _run(self, python: str, name: str, code: str, **more: str) -> tuple[dict[str, str], str]:
        program = self._folder / name
        program.write_text(code, encoding="utf-8")
        own = {"CUVIS_PLUGINS_DIR": "cache", "MPLCONFIGDIR": "matplotlib", "NUMBA_CACHE_DIR": "numba"}
        folders = {variable: str(self._folder / folder) for variable, folder in own.items()}
        environment = {**os.environ, **folders, "HF_HUB_OFFLINE": "1", **more}
        done = subprocess.run(
            [python, str(program)], capture_output=True, text=True, env=environment, timeout=LIMIT, check=False
        )
        said = [line.split(" ", 2)[1:] for line in done.stdout.splitlines() if line.startswith("said ")]
        return dict(said), done.stderr


def _last(errors: str) -> str:
    return next((line for line in reversed(errors.splitlines()) if "Error" in line), errors[-300:].strip())


def attempts(package: Package, host: str, isolation: str) -> Iterator[Outcome]:
    """Try a package in an environment."""
    with tempfile.TemporaryDirectory(prefix="package-") as folder:
        yield Trial(package, Path(folder), host, isolation).outcome("as it is")


def attempts_beside_older(package: Package) -> Iterator[Outcome]:
    """Try a package where the environment has it in an older version, first only installed, then also imported."""
    with tempfile.TemporaryDirectory(prefix="package-") as name:
        folder = Path(name)
        newest = _newest(package)
        older = _environment(folder / "host", newest.name.replace("==", "<"))
        for host, before in (("older, not imported", ""), ("older, imported", "\n".join(package.imports))):
            yield Trial(newest, folder / host.replace(" ", ""), older, "scoped").outcome(host, before)


def _newest(package: Package) -> Package:
    arguments = [find_uv_bin(), "pip", "compile", "-q", "--no-deps", "--no-annotate", "--no-header", "--python"]
    done = subprocess.run(
        [*arguments, sys.executable, "-"], input=package.name, capture_output=True, text=True, check=True
    )
    return package._replace(requirements=(done.stdout.strip(), *package.requirements[1:]))


def _environment(folder: Path, *requirements: str) -> str:
    """Make an environment with this core and more, and return its interpreter."""
    uv, python = find_uv_bin(), str(folder / "bin/python")
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(folder)], check=True)
    own = [f"-e{ROOT}", f"{ROOT}/hookspecs"]
    subprocess.run([uv, "pip", "install", "-q", "--python", python, *own, *requirements], check=True)
    return python


def _tried(package: Package, given: argparse.Namespace) -> Iterator[Outcome]:
    try:
        if given.other_version:
            yield from attempts_beside_older(package)
        else:
            yield from attempts(package, given.host, "process" if given.process else "scoped")
    except (OSError, subprocess.SubprocessError) as error:
        yield Outcome(package.name, "as it is", "WRONG", f"{type(error).__name__}: {error}")


def main(arguments: list[str]) -> int:
    """Try packages, and return 1 if one is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="beginnings of the names of packages")
    parser.add_argument("--list", type=Path, default=LIST)
    parser.add_argument("--host", default=sys.executable)
    parser.add_argument("--process", action="store_true")
    parser.add_argument("--other-version", action="store_true")
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args(arguments)
    chosen = [each for each in read_list(given.list) if not given.names or each.name.startswith(tuple(given.names))]
    wrong = 0
    with ThreadPoolExecutor(given.jobs) as pool:
        for outcomes in pool.map(lambda package: list(_tried(package, given)), chosen):
            for outcome in outcomes:
                wrong += outcome.verdict == "WRONG"
                print(f"{outcome.verdict:5}", outcome.package, outcome.host, outcome.text, sep=" | ", flush=True)
    print(f"{len(chosen)} packages, {wrong} wrong")
    return bool(wrong) or not chosen


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
