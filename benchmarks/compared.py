"""This core beside other ways to have plugins: what each costs and does, measured in one run.

    python benchmarks/compared.py [runs]

Installs from the index into environments of its own, in a temporary folder (2 GB, some minutes): of the published core
the last release that loads Git tags by itself (0.6.0) and a new one (0.18.6), pre-commit, npe2, Ray. Each figure is the
median of fresh processes. All that loads a plugin loads the same one: two tags of one repository on loopback, the
second of which needs a package that the first does not. docs/explanation/compared.md has what came out.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import textwrap
import venv
from collections.abc import Callable
from functools import partial
from pathlib import Path

from uv import find_uv_bin

from cuvis_ai_core.testing.git_host import GitHost

TORCH = "torch==2.13.0"  # has a build for the CPU alone
PEERS = {"0.6.0": ["cuvis-ai-core==0.6.0", "cuvis-ai-schemas<0.8", TORCH], "0.18.6": ["cuvis-ai-core==0.18.6", TORCH]}
TOOLS = {"npe2": ["npe2"], "pre-commit": ["pre-commit"], "ray": ["ray", "virtualenv", "pip", "setuptools"]}
DEPENDENCY = "tomli==1.2.3"

PROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "bench-plugin"
version = "{version}"
requires-python = ">=3.11"
dependencies = [{dependencies}]

[project.scripts]
bench-plugin = "bench_plugin:main"
"""
NODE = """\
import torch
from cuvis_ai_core.node import Node
from cuvis_ai_schemas.pipeline import PortSpec


class Bench(Node):
    INPUT_SPECS = {{"value": PortSpec(dtype=torch.float32, shape=(-1,))}}
    OUTPUT_SPECS = {{"value": PortSpec(dtype=torch.float32, shape=(-1,))}}
    VERSION = "{version}"

    def __init__(self, **kwargs):
        super().__init__(**kwargs)

    def forward(self, value, **_):
        return {{"value": value}}
"""
HOOKS = "- {id: bench, name: bench, entry: bench-plugin, language: python}\n"

IMPORTS = """
begun = time.perf_counter()
from cuvis_ai_core.utils.node_registry import NodeRegistry
print(json.dumps(time.perf_counter() - begun))
"""
# What the plugin imports is imported before: only the loading is measured.
LOAD = """
import torch, cuvis_ai_core.node, cuvis_ai_schemas.pipeline
from cuvis_ai_core.utils.node_registry import NodeRegistry
NodeRegistry.set_cache_dir(os.environ["CACHE"])
path = list(sys.path)
entry = {"repo": os.environ["URL"], "tag": "v1.0.0", "provides": ["bench_plugin.nodes.Bench"]}
first, second = NodeRegistry(), NodeRegistry()
begun = time.perf_counter()
first.load_plugin("bench", entry)
one = time.perf_counter() - begun
second.load_plugin("bench", {**entry, "tag": "v2.0.0"})
versions = [registry.get("Bench").VERSION for registry in (first, second)]
first.unload_plugin("bench")
second.unload_plugin("bench")
left = [name for name in sys.modules if name.split(".")[0] == "bench_plugin"]
print(json.dumps({"seconds": one, "versions": versions, "paths left": len(sys.path) - len(path), "modules left": left}))
"""
CALLS = """
import torch
from cuvis_ai_core.node import Node
from cuvis_ai_core.pipeline.pipeline import CuvisPipeline
from cuvis_ai_schemas.pipeline import PortSpec

class Pass(Node):
    INPUT_SPECS = {"value": PortSpec(dtype=torch.float32, shape=(-1,))}
    OUTPUT_SPECS = {"value": PortSpec(dtype=torch.float32, shape=(-1,))}
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
    def forward(self, value, **_):
        return {"value": value}

nodes = [Pass(name=f"n{number}") for number in range(100)]
pipeline = CuvisPipeline("chain")
for one, other in zip(nodes, nodes[1:]):
    pipeline.connect((one.outputs.value, other.inputs.value))
batch = {"value": torch.zeros(4)}

def seconds():
    begun = time.perf_counter()
    pipeline.forward(batch=batch)
    return time.perf_counter() - begun

print(json.dumps(statistics.median(seconds() for _ in range(60)) / 100))
"""
NPE2 = """
begun = time.perf_counter()
from npe2 import PluginManager
PluginManager().discover()
print(json.dumps(time.perf_counter() - begun))
"""
RAY = """
import ray
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)

@ray.remote
def where():
    import tomli
    return tomli.__file__

def seconds(pins):
    begun = time.perf_counter()
    ray.get(where.options(runtime_env={"pip": pins}).remote(), timeout=300)
    return time.perf_counter() - begun

print(json.dumps([seconds([os.environ["PIN"]]) for _ in range(2)]))
"""


def main(runs: int) -> None:
    """Print what was measured."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # installed packages have bytecode
    with tempfile.TemporaryDirectory() as temporary, GitHost(Path(temporary) / "git") as host:
        folder = Path(temporary)
        pythons = {"this core": Path(sys.executable)}
        pythons |= {f"published {version}": _environment(folder / version, wanted) for version, wanted in PEERS.items()}
        tools = {name: _environment(folder / name, wanted) for name, wanted in TOOLS.items()}
        url = host.add("bench", _files("1.0.0", ""), tag="v1.0.0")
        host.commit("bench", _files("2.0.0", f'"{DEPENDENCY}"'), tag="v2.0.0")
        print(f"{'':58} {'milliseconds':>12}", flush=True)
        for name, python in pythons.items():
            _say(f"import the registry, {name}", runs, partial(_answer, python, IMPORTS))
        _say("import npe2 and look for plugins", runs, partial(_answer, tools["npe2"], NPE2))
        for name, python in pythons.items():
            _say(f"per torch node of a pipeline, {name}", runs, partial(_answer, python, CALLS))
        for name, python in list(pythons.items())[:2]:
            _loads(name, python, url, folder, runs)
        _hooks(tools["pre-commit"], url, folder, runs)
        first, again = json.loads(_run(tools["ray"], RAY, {"PIN": DEPENDENCY}))
        print(f"{'an environment for one package, Ray, first / again':58} {first * 1e3:9.1f} / {again * 1e3:.1f}")


def _environment(folder: Path, wanted: list[str]) -> Path:
    """Make an environment with packages of the index, and return its Python."""
    venv.create(folder, with_pip=True, symlinks=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-qq", *wanted], check=True)
    if TORCH in wanted:  # the index has none that goes with a torch for the CPU alone; nothing here needs it
        subprocess.run([python, "-m", "pip", "uninstall", "-q", "-y", "torchvision"], check=True)
    return python


def _files(version: str, dependencies: str) -> dict[str, str]:
    return {
        "pyproject.toml": PROJECT.format(version=version, dependencies=dependencies),
        "bench_plugin/__init__.py": "def main():\n    pass\n",
        "bench_plugin/nodes.py": NODE.format(version=version),
        ".pre-commit-hooks.yaml": HOOKS,
    }


def _run(python: Path, code: str, variables: dict[str, str]) -> str:
    """Run code in a fresh process of an environment, and return its last line."""
    programs = os.pathsep.join([str(python.parent), str(Path(find_uv_bin()).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": programs, "VIRTUAL_ENV": str(python.parents[1])} | variables
    prelude = "import json, os, statistics, sys, time\n"
    done = subprocess.run(
        [python, "-W", "ignore", "-c", prelude + textwrap.dedent(code)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{python}: {done.stderr[-2000:]}")
    return done.stdout.splitlines()[-1]


def _answer(python: Path, code: str) -> float:
    return float(json.loads(_run(python, code, {})))


def _say(what: str, runs: int, measure: Callable[[], float]) -> None:
    measure()  # once, so that bytecode is there
    print(f"{what:58} {statistics.median(measure() for _ in range(runs)) * 1e3:12.4f}", flush=True)


def _loads(name: str, python: Path, url: str, folder: Path, runs: int) -> None:
    """Load one tag, then another in the same process, first with an empty cache; say what is left of it."""
    cold, warm = [], []
    before = _packages(python)
    for number in range(runs):
        variables = {"URL": url, "CACHE": str(folder / f"cache-{name}-{number}"), "HOME": str(folder)}
        cold.append(json.loads(_run(python, LOAD, variables)))
        warm.append(json.loads(_run(python, LOAD, variables)))
    for state, said in (("first", cold), ("again", warm)):
        print(f"{f'load a Git tag, {state}, {name}':58} {statistics.median(s['seconds'] for s in said) * 1e3:12.1f}")
    print(f"  two tags in two registries answer {warm[-1]['versions']}; paths left {warm[-1]['paths left']}")
    print(f"  packages that came into the environment: {sorted(_packages(python) - before) or 'none'}", flush=True)


def _packages(python: Path) -> set[str]:
    return set(json.loads(_run(python, _PACKAGES, {})))


_PACKAGES = """
from importlib.metadata import distributions
print(json.dumps([f"{each.name} {each.version}" for each in distributions()]))
"""


def _hooks(python: Path, url: str, folder: Path, runs: int) -> None:
    """Run a hook of pre-commit from the same repository, with an empty store and with a full one."""
    project = folder / "project"
    project.mkdir()
    configuration = f"repos: [{{repo: '{url}', rev: v1.0.0, hooks: [{{id: bench}}]}}]\n"
    (project / ".pre-commit-config.yaml").write_text(configuration, encoding="utf-8")
    for command in (["git", "init", "-q"], ["git", "add", "."]):
        subprocess.run(command, cwd=project, check=True)
    code = f"""
    import subprocess
    command = [{str(python.with_name("pre-commit"))!r}, "run", "--all-files"]
    begun = time.perf_counter()
    subprocess.run(command, cwd={str(project)!r}, check=True, capture_output=True)
    print(json.dumps(time.perf_counter() - begun))
    """
    times = []
    for number in range(runs):
        variables = {"PRE_COMMIT_HOME": str(folder / f"hooks-{number}")}
        times.append([float(json.loads(_run(python, code, variables))) for _ in range(2)])
    first, again = (statistics.median(column) * 1e3 for column in zip(*times, strict=True))
    print(f"{'run a hook from a Git tag, pre-commit, first / again':58} {first:9.1f} / {again:.1f}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
