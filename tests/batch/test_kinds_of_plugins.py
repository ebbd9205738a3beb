"""Workers have plugins of every kind, on this machine and on a cluster of Ray, with the same results."""

import json
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cuvis_ai_core.batch import Local, Ray, run_cubes
from cuvis_ai_core.cli.main import main

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

LAYER = """\
import torch
from cuvis_ai_core.node import Node, PortSpec

SPEC = PortSpec(torch.float32, (-1, -1, -1, -1))


class Moody(Node):
    INPUT_SPECS = {"cube": SPEC}
    OUTPUT_SPECS = {"cube": SPEC}

    def forward(self, cube, **_):
        return {"cube": torch.nn.functional.relu(cube - 0.25)}
"""
KINDS = ["git", "process", "torch"]


@pytest.fixture
def plugin(folder: Path, cache: Path, git_host: Any) -> Callable[[str], None]:
    """Return a function that makes the plugin of the manifest one of a kind."""

    def make(kind: str) -> None:
        entry: dict[str, Any] = {"path": "moody", "provides": ["moody.Moody"]}
        if kind == "git":
            top = folder / "moody"
            files = {str(file.relative_to(top)): file.read_text() for file in top.rglob("*") if file.is_file()}
            shutil.rmtree(folder / "moody")
            url = git_host.add(f"moody-{folder.name}", files, tag="v1.0.0")
            entry = {"repo": url, "tag": "v1.0.0", "provides": ["moody.Moody"]}
        if kind == "process":
            entry["isolation"] = "process"
        if kind == "torch":
            pytest.importorskip("torch")
            (folder / "moody" / "moody" / "__init__.py").write_text(LAYER)
        (folder / "plugins.yaml").write_text(json.dumps({"plugins": {"moody": entry}}))

    return make


def hashes(folder: Path) -> dict[str, str]:
    """Return the hash of the arrays of each cube."""
    return {
        file.parent.name: json.loads(file.read_text())["written"]["outputs.npz"] for file in folder.glob("*/run.json")
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_plugin_of_each_kind_runs_the_same_here_and_on_ray(
    kind: str, folder: Path, cubes: Callable[..., None], plugin: Callable[[str], None], cluster: Any
) -> None:
    """From a Git tag, in a process of its own, with torch: bit for bit."""
    plugin(kind)
    cubes("fine", 6)
    here = run_cubes("moody.yaml", "cubes/*.npy", "here", plugins="plugins.yaml", engine=Local(workers=2))
    engine = Ray(cluster.address, workers=2)
    there = run_cubes("moody.yaml", "cubes/*.npy", "there", plugins="plugins.yaml", engine=engine)
    assert (here.done, there.done) == (6, 6)
    assert hashes(folder / "there") == hashes(folder / "here")


def test_a_bundle_carries_the_plugins_to_the_machines_of_ray(
    folder: Path, cubes: Callable[..., None], plugin: Callable[[str], None], cluster: Any, git_host: Any
) -> None:
    """Without a network, unpacked once; the results are those of the manifest."""
    plugin("git")
    cubes("fine", 6)
    made = CliRunner().invoke(main, ["plugins", "bundle", "plugins.yaml", "-o", "plugins.tar.gz"])
    assert made.exit_code == 0, made.output
    run_cubes("moody.yaml", "cubes/*.npy", "here", plugins="plugins.yaml")
    engine = Ray(cluster.address, workers=2, bundle=folder / "plugins.tar.gz")
    report = run_cubes("moody.yaml", "cubes/*.npy", "there", plugins="plugins.yaml", engine=engine)
    assert report.done == 6
    assert hashes(folder / "there") == hashes(folder / "here")


def test_a_bundle_serves_a_machine_with_a_store_of_its_own_and_no_index(
    folder: Path,
    cubes: Callable[..., None],
    plugin: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    new_cluster: Callable[[], Any],
) -> None:
    """What its build needs comes from the bundle too; its own variable says where its plugin cache is."""
    plugin("git")
    cubes("fine", 3)
    made = CliRunner().invoke(main, ["plugins", "bundle", "plugins.yaml", "-o", "plugins.tar.gz"])
    assert made.exit_code == 0, made.output
    with ExitStack() as ending, monkeypatch.context() as there:
        there.setenv("CUVIS_PLUGINS_DIR", str(folder / "its plugins"))
        there.setenv("UV_CACHE_DIR", str(folder / "its uv"))
        there.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
        there.setenv("UV_HTTP_RETRIES", "0")
        cluster = ending.enter_context(new_cluster())
        there.undo()
        monkeypatch.setenv("CUVIS_PLUGINS_DIR", str(folder / "not there"))
        engine = Ray(cluster.address, workers=2, bundle=folder / "plugins.tar.gz")
        report = run_cubes("moody.yaml", "cubes/*.npy", "out", plugins="plugins.yaml", engine=engine)
    assert (report.done, report.failed) == (3, 0)
    assert list((folder / "its plugins").rglob("moody*"))
