"""How fast plugins load, as ratios against the bare tools in the same run.

    python benchmarks/loading.py [runs]

Each figure is the median of paired runs, ours and the bare tool in turn.
"""

import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from uv import find_uv_bin

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.plugins.git.signatures import verified
from cuvis_ai_core.testing.git_host import GitHost

PROJECT = {
    "pyproject.toml": """\
[build-system]
requires = ["{backend}"]
build-backend = "{module}"

[project]
name = "bench-plugin"
version = "1.0.0"
requires-python = ">=3.11"
dependencies = ["numpy", "cuvis-ai-core"]
""",
    "src/bench_plugin/__init__.py": "",
    "src/bench_plugin/nodes.py": """\
from typing import Any

from cuvis_ai_core.node import ArrayNode
from cuvis_ai_schemas.pipeline import PortSpec


class Bench(ArrayNode):
    INPUT_SPECS = {"cube": PortSpec(dtype="float32", shape=(-1, -1, -1, -1))}
    OUTPUT_SPECS = {"cube": PortSpec(dtype="float32", shape=(-1, -1, -1, -1))}

    def forward(self, **inputs: Any) -> dict[str, Any]:
        return inputs
""",
}
BACKENDS = {"uv_build": "uv_build", "hatchling": "hatchling.build", "setuptools": "setuptools.build_meta"}
NEAR = 0.02
"""Seconds for which a Git host that is near holds back each answer."""

LATENCY = 0.1
"""Seconds for which the Git host holds back each answer where the network is to be the bound."""

CONFIG = "{{'repo': '{url}', 'tag': 'v1.0.0', 'provides': ['bench_plugin.nodes.Bench']}}"


def main(runs: int) -> None:
    """Print the table."""
    # Who installs a package has its bytecode; without, compiling would be measured.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as folder, GitHost(Path(folder) / "git") as host:
        os.environ["CUVIS_PLUGINS_DIR"] = f"{folder}/plugins"
        print(f"{'':52} {'ours':>9} {'bare':>9} {'ratio':>6} {'plus':>9}")
        _imports(runs)
        urls = {
            backend: host.add(f"bench-{backend}", _files(backend, module), tag="v1.0.0")
            for backend, module in BACKENDS.items()
        }
        for backend, url in urls.items():
            _cold(backend, url, Path(folder), runs)
        _under_policy(urls["uv_build"], Path(folder), runs)
        _warm(urls["uv_build"], runs)
        _second_registry()
    with tempfile.TemporaryDirectory() as folder, GitHost(Path(folder) / "git", stall=NEAR) as host:
        os.environ["CUVIS_PLUGINS_DIR"] = f"{folder}/plugins"
        url = host.add("bench-near", _files("uv_build", BACKENDS["uv_build"]), tag="v1.0.0")
        _cold(f"uv_build, {NEAR} s latency", url, Path(folder), runs)
    with tempfile.TemporaryDirectory() as folder, GitHost(Path(folder) / "git", stall=LATENCY) as host:
        os.environ["CUVIS_PLUGINS_DIR"] = f"{folder}/plugins"
        url = host.add("bench-far", _files("hatchling", BACKENDS["hatchling"]), tag="v1.0.0")
        _cold(f"hatchling, {LATENCY} s latency", url, Path(folder), runs)
        _together(host, Path(folder), runs)


def _files(backend: str, module: str) -> dict[str, str]:
    return {name: text.replace("{backend}", backend).replace("{module}", module) for name, text in PROJECT.items()}


def _imports(runs: int) -> None:
    ours = _script("import cuvis_ai_core.registry")
    bare = _script("import pluggy, yaml")
    _report("import of the registry / pluggy, yaml", runs, ours, bare)


def _cold(backend: str, url: str, folder: Path, runs: int) -> None:
    load = (
        "from cuvis_ai_core import NodeRegistry; "
        f"NodeRegistry(discover=False).load_plugin('bench', {CONFIG.format(url=url)})"
    )
    ours = partial(_fresh, folder, _script(load))
    uv, work = find_uv_bin(), folder / "hand"
    code = "import sys, cuvis_ai_core.registry; sys.path.insert(0, sys.argv[1]); import bench_plugin.nodes"

    def bare() -> None:
        shutil.rmtree(work, ignore_errors=True)
        _call(f"git clone -q --depth 1 --branch v1.0.0 {url} {work}")
        _call(f"{uv} build -q --wheel --python {sys.executable} --out-dir {work}/out {work}")
        wheel = next((work / "out").glob("*.whl"))
        _call(f"{uv} pip install -q --no-deps --python {sys.executable} --target {work}/target {wheel}")
        _call(f"{sys.executable} -c {code!r} {work}/target")

    _report(f"cold load / git, uv, import by hand ({backend})", runs, ours, bare)


def _under_policy(url: str, folder: Path, runs: int) -> None:
    """Load by a policy that asks for a signed tag, and without one; and verify that tag alone."""
    keys, repository = folder / "keys", folder / "git" / url.rpartition("/")[2]
    keys.mkdir()
    _call(f"ssh-keygen -q -t ed25519 -N '' -f {keys}/key")
    (keys / "signers").write_text(f"me@lab.org {(keys / 'key.pub').read_text()}")
    policy = keys / "policy.yaml"
    policy.write_text(f'allow: [{{repo: "{url}", signed_by: lab}}]\nsigners: {{lab: signers}}\n')
    who = "-c user.name=Me -c user.email=me@lab.org -c gpg.format=ssh"
    _call(f"git -C {repository} {who} -c user.signingkey={keys}/key tag -s -f -m x v1.0.0 v1.0.0^{{}}")
    load = (
        "from cuvis_ai_core import NodeRegistry; "
        f"NodeRegistry(discover=False).load_plugin('bench', {CONFIG.format(url=url)})"
    )
    allowed = f"import os; os.environ['CUVIS_POLICY'] = {str(policy)!r}; {load}"
    ours, bare = (partial(_fresh, folder, _script(code)) for code in (allowed, load))
    _report("cold load by a policy with signers / without", runs, ours, bare)
    commit = subprocess.run(
        ["git", "-C", repository, "rev-parse", "v1.0.0^{}"], check=True, capture_output=True, text=True
    ).stdout.strip()
    command = f"git -C {repository} -c gpg.ssh.allowedSignersFile={keys}/signers verify-tag v1.0.0"
    verify = partial(verified, repository, "v1.0.0", commit, keys / "signers", "policy.yaml:1")
    _report("verify a signed tag / git verify-tag", runs, lambda: (verify(), None)[1], partial(_quiet, command))


def _warm(url: str, runs: int) -> None:
    prepare = (
        "import time, sys, pydantic, numpy, cuvis_ai_schemas.pipeline, cuvis_ai_core.node, cuvis_ai_core.registry; "
    )
    with NodeRegistry(discover=False) as registry:
        registry.load_plugin("bench", {"repo": url, "tag": "v1.0.0", "provides": ["bench_plugin.nodes.Bench"]})
        target = registry.plugin_info("bench").target
    load = f"cuvis_ai_core.registry.NodeRegistry().load_plugin('bench', {CONFIG.format(url=url)})"
    plain = f"sys.path.insert(0, {str(target)!r}); import bench_plugin.nodes"
    # The computing time says more than the other where the machine has more to do.
    for clock, what in (("perf_counter", ""), ("process_time", ", CPU")):
        timed = f"begun = time.{clock}(); {{}} ; print(time.{clock}() - begun)"
        mine, bare = (_inner(prepare + timed.format(code)) for code in (load, plain))
        _report(f"warm load / bare import, fresh process{what}", runs, mine, bare)
    counted = "before = set(sys.modules); {}; new = set(sys.modules) - before; print(len(new), sum(map(OURS, new)))"
    ours = "OURS = lambda name: name.startswith('cuvis_ai_core.') and not name.startswith('cuvis_ai_core.scoped.'); "
    found = subprocess.run(
        [sys.executable, "-c", prepare + ours + counted.format(load)], check=True, capture_output=True, text=True
    )
    total, own = found.stdout.split()
    print(f"{'  modules that a warm load imports / of them ours':52} {total:>9} {own:>9}", flush=True)


def _together(host: GitHost, folder: Path, runs: int) -> None:
    """Load eight plugins of one manifest, and the same eight one after the other, from a host that takes its time."""
    names = [f"bench{number}" for number in range(8)]
    entries = {}
    for name in names:
        files = {
            path.replace("bench_plugin", name): text.replace("bench-plugin", name)
            for path, text in _files("uv_build", BACKENDS["uv_build"]).items()
        }
        url = host.add(name, files, tag="v1.0.0")
        entries[name] = {"repo": url, "tag": "v1.0.0", "provides": [f"{name}.nodes.Bench"]}
    manifest = folder / "plugins.yaml"
    manifest.write_text(json.dumps({"plugins": entries}))
    load = "from cuvis_ai_core import NodeRegistry; registry = NodeRegistry(discover=False); "
    at_once = _script(f"{load}registry.load_plugins({str(manifest)!r})")
    in_a_row = _script(f"{load}[registry.load_plugin(name, entry) for name, entry in {entries!r}.items()]")

    ours, row = partial(_fresh, folder, at_once), partial(_fresh, folder, in_a_row)
    _report(f"eight plugins at once / in a row ({LATENCY} s latency)", max(runs // 5, 2), ours, row)


def _second_registry() -> None:
    NodeRegistry(discover=False).nodes()
    times = []
    for _ in range(200):
        begun = time.perf_counter()
        NodeRegistry()
        times.append(time.perf_counter() - begun)
    print(f"{'second registry':52} {statistics.median(times) * 1e3:7.3f}ms")


def _fresh(folder: Path, run: Callable[[], None]) -> None:
    """Run something with an empty plugin cache."""
    shutil.rmtree(folder / "plugins", ignore_errors=True)
    run()


def _quiet(command: str) -> None:
    subprocess.run(shlex.split(command), check=True, capture_output=True)


def _call(command: str) -> None:
    subprocess.run(shlex.split(command), check=True, capture_output=True)


def _script(code: str) -> Callable[[], None]:
    def run() -> None:
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)

    return run


def _inner(code: str) -> Callable[[], float]:
    def run() -> float:
        finished = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        return float(finished.stdout)

    return run


def _report(name: str, runs: int, ours: Callable[[], float | None], bare: Callable[[], float | None]) -> None:
    pairs = [(_seconds(ours), _seconds(bare)) for _ in range(runs + 1)][1:]
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    figures = f"{mine * 1e3:7.1f}ms {theirs * 1e3:7.1f}ms {ratio:6.2f} {(mine - theirs) * 1e3:+7.1f}ms"
    print(f"{name:52} {figures}", flush=True)


def _seconds(run: Callable[[], float | None]) -> float:
    begun = time.perf_counter()
    told = run()
    return told if told is not None else time.perf_counter() - begun


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
