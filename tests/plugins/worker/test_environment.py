"""The environment of a plugin in a process of its own: what is in it, and how it is kept in the plugin cache."""

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from click.testing import CliRunner
from cuvis_ai_hookspecs import hookimpl
from uv import find_uv_bin

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.cli.main import main
from cuvis_ai_core.errors import PluginLoadError, PluginsLoadError
from cuvis_ai_core.plugins.cache.housekeeping import entries
from cuvis_ai_core.plugins.cache.store import Store
from cuvis_ai_core.plugins.plugin_info import PluginState

Construct = Callable[..., Any]
MakeWheel = Callable[..., None]
Files = dict[str, str]


@pytest.fixture
def own(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NodeRegistry]:
    """Return a registry with a plugin cache of its own."""
    with NodeRegistry(discover=False) as registry:
        yield registry


def environments(cache: Path) -> list[Path]:
    """Return the environments in a plugin cache."""
    return sorted((cache / ".envs").glob("*/*"))


def test_a_worker_has_a_python_of_its_own(node: Construct, shared_cache: Path) -> None:
    """It runs in the environment, with nothing of the host's on its search path."""
    python, _, prefix, path = node("Misbehaving").forward(what="python")["answer"]
    assert tuple(python) == sys.version_info[:2]
    assert Path(prefix).is_relative_to(shared_cache / ".envs")
    assert not any(Path(each).is_relative_to(sys.prefix) for each in path if each)


def test_a_worker_has_this_package(node: Construct, shared_cache: Path) -> None:
    """The same code as its host, and the host's version of the schemas."""
    files, core, schemas = node("Misbehaving").forward(what="core")["answer"]
    assert (core, schemas) == (version("cuvis-ai-core"), version("cuvis-ai-schemas"))
    for file in map(Path, files):
        assert file.is_relative_to(shared_cache)
        here = sys.modules[file.parent.name].__file__
        assert here is not None
        assert file.read_text() == Path(here).read_text()


def test_a_worker_gets_no_credentials(node: Construct, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables are chosen: what programs and libraries need, and no token, key or password."""
    kept = {"PATH": "/some/bin", "LD_LIBRARY_PATH": "/opt/lib", "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1"}
    kept |= {"CUDA_VISIBLE_DEVICES": "0", "HF_HOME": "/models", "https_proxy": "http://127.0.0.1:1"}
    secret = {
        "GITHUB_TOKEN": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "HF_TOKEN": "x",
        "UV_INDEX_URL": "http://u:p@127.0.0.1",
    }
    secret |= {
        "HTTPS_PROXY": "http://user:word@127.0.0.1:1",
        "PYTHONPATH": "/x",
        "http_proxy": "user:word@127.0.0.1:1",
        "CUDA_LICENSE": "x",
        "NUMBA_PASS": "x",
        "DATABASE_URL": "x",
        "CUDA_API_KEY": "x",
    }
    bad = node("Misbehaving")
    bad.cancel()
    for name, value in (kept | secret).items():
        monkeypatch.setenv(name, value)
    environment = bad.forward(what="environment")["answer"]
    assert kept.items() <= environment.items()
    assert not secret.keys() & environment.keys()


def test_another_numpy_lives_beside_that_of_the_host(own: NodeRegistry) -> None:
    """The example plugin asks for an old one, is refused in this process, and works in its own."""
    folder = Path(__file__).parents[3] / "example_plugins" / "old_numpy"
    config = {"path": str(folder), "provides": ["cuvis_ai_old_numpy.trapezoid.BandIntegral"]}
    with pytest.raises(PluginLoadError, match=r"requires numpy<2\.2,>=2\.1, but ") as caught:
        own.load_plugin("old_numpy", config)
    assert "isolation: process" in str(caught.value)

    own.load_plugin("old_numpy", {**config, "isolation": "process"})
    node: Any = own.get("BandIntegral")()
    answer = node.forward(cube=np.ones((1, 2, 2, 3), np.float32), wavelengths=np.array([400.0, 500.0, 700.0]))
    np.testing.assert_array_equal(answer["integral"], np.full((1, 2, 2, 1), 300, np.float32))
    assert answer["numpy_version"].startswith("2.1.")
    assert not np.__version__.startswith("2.1.")


@pytest.mark.slow
def test_auto_is_a_process_where_nothing_else_is_possible(own: NodeRegistry, cache: Path) -> None:
    """It is scoped where it can be; what it had to become is remembered, and found without asking uv."""
    folder = Path(__file__).parents[3] / "example_plugins" / "old_numpy"
    config = {"path": str(folder), "provides": ["cuvis_ai_old_numpy.trapezoid.BandIntegral"], "isolation": "auto"}
    own.load_plugin("old_numpy", config)
    assert own.plugin_info("old_numpy").target in environments(cache)
    with NodeRegistry(discover=False, offline=True) as other:
        states: list[str] = []
        other.register_hooks(_Observer(states))
        other.load_plugin("old_numpy", config)
        assert states == [
            PluginState.PATH_RESOLVED,
            PluginState.IMPORTING,
            PluginState.REGISTERED,
            PluginState.ACTIVE,
        ]


class _Observer:
    def __init__(self, states: list[str]) -> None:
        self._states = states

    @hookimpl
    def cuvis_ai_plugin_state(self, state: str) -> None:
        """Note the state."""
        self._states.append(state)


def test_auto_is_scoped_where_that_is_possible(
    own: NodeRegistry, local_plugin: Callable[..., Path], cache: Path
) -> None:
    """No environment is made."""
    own.load_plugin("echo", {"path": str(local_plugin()), "provides": ["echo_plugin.nodes.Echo"], "isolation": "auto"})
    assert environments(cache) == []


def test_auto_fails_for_other_reasons_as_scoped_does(
    own: NodeRegistry, local_plugin: Callable[..., Path], cache: Path
) -> None:
    """A class that is not there is not there in another process either."""
    config = {"path": str(local_plugin()), "provides": ["echo_plugin.nodes.Ecko"], "isolation": "auto"}
    states: list[str] = []
    own.register_hooks(_Observer(states))
    with pytest.raises(PluginLoadError, match="Ecko"):
        own.load_plugin("echo", config)
    assert states[-1] == PluginState.FAILED
    assert environments(cache) == []


def test_a_plugin_from_git_runs_in_a_process(
    own: NodeRegistry,
    git_plugin: Callable[..., str],
    cache: Path,
    make_wheel: MakeWheel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With its own version and dependencies; the second load needs neither network nor tools."""
    make_wheel(tmp_path / "wheels", "cuvis-test-dep", "1.0", {"cuvis_test_dep.py": "VERSION = '1.0'"})
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    config = {
        "repo": git_plugin("1.2.0", dependencies=("cuvis-test-dep", "cuvis-ai-core")),
        "tag": "v1.2.0",
        "provides": ["echo_plugin.nodes.Echo"],
        "isolation": "process",
    }
    own.load_plugin("echo", config)
    info = own.plugin_info("echo")
    assert (info.kind, info.tag, info.version) == ("git", "v1.2.0", "1.2.0")
    assert list(info.target.glob("lib/*/site-packages/cuvis_test_dep.py"))
    own.close()
    monkeypatch.setenv("PATH", "")
    with NodeRegistry(discover=False, offline=True) as registry:
        registry.load_plugin("echo", config)
        node: Any = registry.get("Echo")()
        assert node.forward(cube=np.zeros((1, 1, 1, 1), np.float32))["cube"].shape == (1, 1, 1, 1)


@pytest.mark.slow
def test_a_python_that_is_not_there_is_named(own: NodeRegistry, config: dict[str, Any], cache: Path) -> None:
    """With those that are there; nothing is downloaded or left behind."""
    with pytest.raises(PluginLoadError, match=r"Python 3\.40 is not installed here\. Installed are: .*3\.") as caught:
        own.load_plugin("process_nodes", {**config, "python": "3.40"})
    assert "uv python install 3.40" in str(caught.value)
    assert environments(cache) == []
    assert list((cache / ".tmp").iterdir()) == []


def test_a_plugin_may_have_another_python(own: NodeRegistry, config: dict[str, Any]) -> None:
    """Any that uv finds here and this package supports; this one is found in any case."""
    command = [find_uv_bin(), "python", "list", "--only-installed", "--no-python-downloads", "--output-format", "json"]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    found = {(each["version_parts"]["major"], each["version_parts"]["minor"]) for each in listed}
    supported = sorted(found & {(3, minor) for minor in (11, 12, 13)}, key=lambda each: each == sys.version_info[:2])
    wanted = supported[0]
    own.load_plugin("process_nodes", {**config, "python": ".".join(map(str, wanted))})
    python, *_ = own.get("Misbehaving")().forward(what="python")["answer"]
    assert tuple(python) == wanted


def test_a_dependency_conflict_names_both_sides(
    own: NodeRegistry, local_plugin: Callable[..., Path], cache: Path
) -> None:
    """An older core is not to be had in a process either."""
    folder = local_plugin(dependencies=("cuvis-ai-core<1",))
    with pytest.raises(PluginLoadError, match="Dependency conflict") as caught:
        own.load_plugin("echo", {"path": str(folder), "provides": ["echo_plugin.nodes.Echo"], "isolation": "process"})
    assert "cuvis-ai-core" in str(caught.value)
    assert environments(cache) == []


def test_a_dependency_without_a_wheel_is_not_built(
    own: NodeRegistry, local_plugin: Callable[..., Path], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in this process: building would run the code of who knows whom."""
    sources = local_plugin("dep", package="cuvis_test_unbuilt")
    command = [find_uv_bin(), "build", "-q", "--sdist", "--out-dir", str(tmp_path / "sdists"), str(sources)]
    subprocess.run(command, check=True)
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "sdists"))
    folder = local_plugin(dependencies=("cuvis-test-unbuilt",))
    with pytest.raises(PluginLoadError, match="cuvis-test-unbuilt"):
        own.load_plugin("echo", {"path": str(folder), "provides": ["echo_plugin.nodes.Echo"], "isolation": "process"})
    assert environments(cache) == []


@pytest.mark.slow
def test_a_dependency_from_a_repository_is_built(
    own: NodeRegistry, local_plugin: Callable[..., Path], git_plugin: Callable[..., str], cache: Path, tmp_path: Path
) -> None:
    """Its author has no wheel of it; a lock file holds its commit."""
    url = git_plugin(package="cuvis_test_from_git")
    folder = local_plugin(dependencies=(f"cuvis-test-from-git @ git+{url}@v1.0.0",))
    entry = {"path": str(folder), "provides": ["echo_plugin.nodes.Echo"], "isolation": "process"}
    own.load_plugin("echo", entry)
    assert list(own.plugin_info("echo").target.glob("lib/*/site-packages/cuvis_test_from_git"))
    own.unload_plugin("echo")
    manifest = manifest_of(tmp_path, echo=entry)
    result = CliRunner().invoke(main, ["plugins", "lock", str(manifest)])
    assert result.exit_code == 0, result.output
    assert re.search(r"cuvis-test-from-git @ git\+\S+@[0-9a-f]{40}", manifest.with_suffix(".lock").read_text())
    own.load_plugins(manifest)
    assert list(own.plugin_info("echo").target.glob("lib/*/site-packages/cuvis_test_from_git"))


@pytest.mark.slow
def test_a_local_folder_without_a_project_file_works(
    own: NodeRegistry, node_source: Callable[..., str], write_files: Callable[[Path, Files], Path], tmp_path: Path
) -> None:
    """It has no dependencies but what nodes need, with a warning."""
    folder = write_files(tmp_path / "bare", {"bare_nodes.py": node_source()})
    with pytest.warns(UserWarning, match="no dependencies"):
        own.load_plugin("bare", {"path": str(folder), "provides": ["bare_nodes.Echo"], "isolation": "process"})
    assert own.get("Echo")().forward(cube=np.zeros((1, 1, 1, 1), np.float32))


@pytest.mark.slow
def test_an_edit_of_a_local_plugin_is_seen_without_an_install(
    own: NodeRegistry, local_plugin: Callable[..., Path], cache: Path
) -> None:
    """The next load sees new code; one of another project file replaces the environment."""
    folder = local_plugin()
    config = {"path": str(folder), "provides": ["echo_plugin.nodes.Echo"], "isolation": "process"}
    own.load_plugin("echo", config)
    before = environments(cache)
    nodes = folder / "src/echo_plugin/nodes.py"
    nodes.write_text(nodes.read_text().replace("class Echo(ArrayNode):", 'class Echo(ArrayNode):\n    """New."""\n'))
    own.unload_plugin("echo")
    own.load_plugin("echo", config)
    assert own.get("Echo").__doc__ == "New."
    assert environments(cache) == before

    project = folder / "pyproject.toml"
    project.write_text(project.read_text().replace('"1.0.0"', '"1.1.0"'))
    own.unload_plugin("echo")
    own.load_plugin("echo", config)
    (now,) = environments(cache)
    assert now != before[0]
    assert own.plugin_info("echo").version == "1.1.0"


@pytest.mark.slow
def test_an_altered_environment_is_noticed(own: NodeRegistry, local_plugin: Callable[..., Path], cache: Path) -> None:
    """By loading where it shows, by `plugins verify` in any case; clearing the plugin is the remedy."""
    config = {"path": str(local_plugin()), "provides": ["echo_plugin.nodes.Echo"], "isolation": "process"}
    own.load_plugin("echo", config)
    own.unload_plugin("echo")
    (environment,) = environments(cache)
    (packages,) = environment.glob("lib/*/site-packages")
    module = packages / "pluggy" / "__init__.py"
    module.unlink()  # it may be a link to a file of uv's cache, which is not to be altered
    module.write_text("raise ImportError")
    result = CliRunner().invoke(main, ["plugins", "verify"])
    assert result.exit_code == 1
    assert f"installed files in {environment} were changed" in " ".join(result.output.split())
    record = next(packages.glob("pluggy-*/RECORD"))
    text = record.read_text()
    record.unlink()
    record.write_text(text + "\n")
    with pytest.raises(PluginLoadError, match="Tag mismatch in cache for plugin 'echo': installed files"):
        own.load_plugin("echo", config)
    NodeRegistry.clear_plugin_cache("echo")
    assert environments(cache) == []
    own.load_plugin("echo", config)


@pytest.mark.slow
def test_an_environment_in_use_is_kept(own: NodeRegistry, local_plugin: Callable[..., Path], cache: Path) -> None:
    """Clearing names the process; after unloading, the environment goes."""
    own.load_plugin(
        "echo", {"path": str(local_plugin()), "provides": ["echo_plugin.nodes.Echo"], "isolation": "process"}
    )
    assert [entry.kind for entry in entries(Store(cache))] == ["environment"]
    NodeRegistry.clear_plugin_cache()
    assert len(environments(cache)) == 1
    own.close()
    NodeRegistry.clear_plugin_cache()
    assert environments(cache) == []


@pytest.mark.slow
def test_an_environment_that_is_half_made_is_made_anew(
    own: NodeRegistry, local_plugin: Callable[..., Path], cache: Path
) -> None:
    """It counts when its marker is there."""
    config = {"path": str(local_plugin()), "provides": ["echo_plugin.nodes.Echo"], "isolation": "process"}
    own.load_plugin("echo", config)
    own.unload_plugin("echo")
    (environment,) = environments(cache)
    (environment / "cuvis-environment.json").unlink()
    shutil.rmtree(environment / "lib")
    own.load_plugin("echo", config)
    assert environments(cache) == [environment]


@pytest.mark.slow
def test_an_environment_from_before_this_package_was_edited_goes(
    own: NodeRegistry, local_plugin: Callable[..., Path], cache: Path
) -> None:
    """Who works on this package has one environment for each plugin, not one for each edit."""
    told = json.loads(distribution("cuvis-ai-core").read_text("direct_url.json") or "{}")
    if not told.get("dir_info", {}).get("editable"):
        pytest.skip("this package is not installed so that it can be edited")
    config = {"path": str(local_plugin()), "provides": ["echo_plugin.nodes.Echo"], "isolation": "process"}
    own.load_plugin("echo", config)
    own.unload_plugin("echo")
    (environment,) = environments(cache)
    environment.rename(environment.with_name("before"))
    own.load_plugin("echo", config)
    assert environments(cache) == [environment]


@pytest.mark.slow
def test_who_needs_the_same_environment_waits_for_it(local_plugin: Callable[..., Path], cache: Path) -> None:
    """It is made once, whoever asks at the same time."""
    config = {"path": str(local_plugin()), "provides": ["echo_plugin.nodes.Echo"], "isolation": "process"}
    made: list[str] = []

    class Watching:
        @hookimpl
        def cuvis_ai_plugin_state(self, state: str, detail: str) -> None:
            if state == PluginState.INSTALLING and detail.startswith("an environment"):
                made.append(detail)

    def load() -> list[str]:
        with NodeRegistry(discover=False) as registry:
            registry.register_hooks(Watching())
            registry.load_plugin("echo", config)
            return registry.list_plugins()

    with ThreadPoolExecutor(2) as pool:
        assert [future.result() for future in [pool.submit(load), pool.submit(load)]] == [["echo"], ["echo"]]
    assert len(made) == len(environments(cache)) == 1


@pytest.mark.slow
def test_a_read_only_cache_can_be_loaded_from(
    own: NodeRegistry, local_plugin: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing has to be written for a plugin that is there."""
    config = {"path": str(local_plugin()), "provides": ["echo_plugin.nodes.Echo"], "isolation": "process"}
    own.load_plugin("echo", config)
    own.unload_plugin("echo")

    def refuse(*_: object) -> None:
        raise AssertionError("something is written")

    monkeypatch.setattr("cuvis_ai_core._atomic_writes.write_atomic", refuse)
    own.load_plugin("echo", config)
    assert own.list_plugins() == ["echo"]


def test_a_failed_load_leaves_no_process(own: NodeRegistry, config: dict[str, Any]) -> None:
    """The worker that was asked for the classes ends."""
    before = psutil.Process().children(recursive=True)
    with pytest.raises(PluginLoadError):
        own.load_plugin("process_nodes", {**config, "provides": ["process_nodes.nodes.Missing"]})
    assert psutil.Process().children(recursive=True) == before


def manifest_of(folder: Path, **entries: dict[str, Any]) -> Path:
    """Write a manifest, and return it."""
    path = folder / "plugins.yaml"
    path.write_text(json.dumps({"plugins": entries}))
    return path


@pytest.mark.slow
def test_a_lock_file_holds_for_a_process_too(
    own: NodeRegistry,
    local_plugin: Callable[..., Path],
    cache: Path,
    tmp_path: Path,
    make_wheel: MakeWheel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All that is in the environment is locked, and installed as it is locked; `auto` is what it became."""
    wheels = tmp_path / "wheels"
    make_wheel(wheels, "cuvis-test-dep", "1.0", {"cuvis_test_dep.py": "VERSION = '1.0'"})
    monkeypatch.setenv("UV_FIND_LINKS", str(wheels))
    folder = local_plugin(dependencies=("cuvis-test-dep", "numpy>=2.1,<2.2"))
    entry = {"path": str(folder), "provides": ["echo_plugin.nodes.Echo"], "isolation": "auto"}
    manifest = manifest_of(tmp_path, echo=entry)
    result = CliRunner().invoke(main, ["plugins", "lock", str(manifest)])
    assert result.exit_code == 0, result.output
    (locked,) = environments(cache)
    lock = manifest.with_suffix(".lock").read_text()
    assert 'isolation = "process"' in lock
    flat = " ".join(lock.split()).replace("[ ", "[").replace(", ]", "]")
    assert 'requirements = ["cuvis-test-dep", "numpy<2.2,>=2.1"]' in flat
    assert '"cuvis-test-dep==1.0"' in lock
    assert "numpy==2.1." in lock
    assert "cuvis-ai-core" not in lock

    make_wheel(wheels, "cuvis-test-dep", "2.0", {"cuvis_test_dep.py": "VERSION = '2.0'"})
    with NodeRegistry(discover=False, offline=True) as other:  # it is installed already
        other.load_plugins(manifest)
        assert other.plugin_info("echo").target == locked
    assert CliRunner().invoke(main, ["plugins", "lock", str(manifest)]).exit_code == 0
    assert manifest.with_suffix(".lock").read_text() == lock  # what is locked stays
    NodeRegistry.clear_plugin_cache()
    own.load_plugins(manifest)
    target = own.plugin_info("echo").target
    assert list(target.glob("lib/*/site-packages/cuvis_test_dep-1.0.dist-info"))


@pytest.mark.slow
def test_a_dry_run_of_locking_installs_nothing(
    own: NodeRegistry, local_plugin: Callable[..., Path], cache: Path, tmp_path: Path
) -> None:
    """What was there stays there, too."""
    entry = {"path": str(local_plugin()), "provides": ["echo_plugin.nodes.Echo"], "isolation": "process"}
    manifest = manifest_of(tmp_path, echo=entry)
    dry = ["plugins", "lock", "--dry-run", str(manifest)]
    result = CliRunner().invoke(main, dry)
    assert result.exit_code == 0, result.output
    assert environments(cache) == []
    assert CliRunner().invoke(main, ["plugins", "lock", str(manifest)]).exit_code == 0
    before = environments(cache)
    assert CliRunner().invoke(main, dry).exit_code == 0
    assert environments(cache) == before != []


@pytest.mark.slow
def test_plugins_of_both_kinds_take_one_way(
    local_plugin: Callable[..., Path],
    git_plugin: Callable[..., str],
    cache: Path,
    tmp_path: Path,
    make_wheel: MakeWheel,
    own: NodeRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One in this process and one in its own are locked, verified and found together; one that fails fails alone."""
    for number in ("1.0", "2.0"):
        make_wheel(tmp_path / "wheels", "cuvis-test-dep", number, {"cuvis_test_dep.py": f"VERSION = '{number}'"})
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    scoped = {"repo": git_plugin(package="first", dependencies=("cuvis-test-dep<2",)), "tag": "v1.0.0"}
    scoped_entry = {**scoped, "provides": ["first.nodes.Echo"]}
    process_entry = {
        "path": str(local_plugin("second", package="second", dependencies=("cuvis-test-dep>=2",))),
        "provides": ["second.nodes.Echo"],
        "isolation": "process",
    }
    manifest = manifest_of(tmp_path, first=scoped_entry, second=process_entry)
    result = CliRunner().invoke(main, ["plugins", "lock", str(manifest)])
    assert result.exit_code == 0, result.output
    lock = manifest.with_suffix(".lock").read_text()
    assert '"cuvis-test-dep==1.0"' in lock
    assert '"cuvis-test-dep==2.0"' in lock
    assert sorted(each.kind for each in entries(Store(cache))) == ["checkout", "environment", "target"]
    assert CliRunner().invoke(main, ["plugins", "verify"]).exit_code == 0
    with NodeRegistry(discover=False, offline=True) as other:
        assert other.load_plugins(manifest) == 2
    assert CliRunner().invoke(main, ["plugins", "lock", str(manifest)]).exit_code == 0
    assert manifest.with_suffix(".lock").read_text() == lock

    local_plugin("second", package="second", dependencies=("cuvis-test-dep>=3",))
    manifest.with_suffix(".lock").unlink()
    with pytest.raises(PluginsLoadError, match="cuvis-test-dep"):
        own.load_plugins(manifest)
    assert own.list_plugins() == ["first"]


def test_what_can_live_nowhere_cannot_be_locked(
    local_plugin: Callable[..., Path], cache: Path, tmp_path: Path, own: NodeRegistry
) -> None:
    """With `auto` a process is tried too, once; the error is that of the process."""
    entry = {"path": str(local_plugin(dependencies=("cuvis-ai-core<1",))), "provides": ["echo_plugin.nodes.Echo"]}
    manifest = manifest_of(tmp_path, echo={**entry, "isolation": "auto"})
    result = CliRunner().invoke(main, ["plugins", "lock", str(manifest)])
    assert result.exit_code == 1
    assert "the worker process of a plugin has that version too" in " ".join(result.output.split())
    assert not manifest.with_suffix(".lock").exists()
    assert environments(cache) == []


@pytest.mark.slow
def test_a_lock_file_that_lacks_something_says_so(
    own: NodeRegistry,
    local_plugin: Callable[..., Path],
    tmp_path: Path,
    make_wheel: MakeWheel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A local plugin that needs more than it did."""
    make_wheel(tmp_path / "wheels", "cuvis-test-dep", "1.0", {"cuvis_test_dep.py": ""})
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    entry = {"path": str(local_plugin()), "provides": ["echo_plugin.nodes.Echo"], "isolation": "process"}
    manifest = manifest_of(tmp_path, echo=entry)
    assert CliRunner().invoke(main, ["plugins", "lock", str(manifest)]).exit_code == 0
    local_plugin(dependencies=("cuvis-test-dep",))
    with pytest.raises(
        PluginsLoadError, match=r"What is locked for plugin 'echo' is not all that it needs: .*cuvis-test-dep"
    ):
        own.load_plugins(manifest)


MEET = """
import os, time
from pathlib import Path

place = Path(os.environ["TMPDIR"])
(place / f"here-{os.getpid()}").touch()
while len(list(place.glob("here-*"))) < 2:
    time.sleep(0.005)
"""


@pytest.mark.slow
def test_several_plugins_are_prepared_at_once(
    own: NodeRegistry,
    project_files: Callable[..., Files],
    write_files: Callable[[Path, Files], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each waits for the other; what observers hear, they hear in the thread of the caller."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("CUVIS_WORKER_TIMEOUT", "60")
    entries = {}
    for name in ("first", "second"):
        files = project_files(name)
        files[f"src/{name}/nodes.py"] += MEET
        write_files(tmp_path / name, files)
        entries[name] = {"path": name, "provides": [f"{name}.nodes.Echo"], "isolation": "process"}
    states: list[str] = []
    threads: set[int] = set()

    class Watching:
        @hookimpl
        def cuvis_ai_plugin_state(self, plugin: str, state: str) -> None:
            threads.add(threading.get_ident())
            if state == PluginState.ACTIVE:
                states.append(plugin)

    own.register_hooks(Watching())
    assert own.load_plugins(manifest_of(tmp_path, **entries)) == 2
    assert states == ["first", "second"]
    assert threads == {threading.get_ident()}


@pytest.mark.slow
def test_plugins_in_processes_fail_each_for_itself(
    own: NodeRegistry, project_files: Callable[..., Files], write_files: Callable[[Path, Files], Path], tmp_path: Path
) -> None:
    """The others are loaded, and no process of the failed one is left."""
    for name in ("good", "bad"):
        write_files(tmp_path / name, project_files(name, node="Echo" if name == "good" else "Ecko"))
    entries = {
        name: {"path": name, "provides": [f"{name}.nodes.Echo"], "isolation": "process"} for name in ("bad", "good")
    }
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(PluginsLoadError, match="Ecko"):
        own.load_plugins(manifest_of(tmp_path, **entries))
    assert own.get("good.nodes.Echo")().forward(cube=np.zeros((1, 1, 1, 1), np.float32))
    own.close()
    assert set(psutil.Process().children(recursive=True)) == before


HOOKS = """\
from cuvis_ai_hookspecs import hookimpl

@hookimpl(specname="cuvis_ai_nodes")
def more():
    return ["echo_plugin.more.More", "echo_plugin.more.Less"]

@hookimpl(specname="cuvis_ai_nodes", wrapper=True)
def fewer():
    return [[node for node in answer if not str(node).endswith("Less")] for answer in (yield)]

@hookimpl
def cuvis_ai_config_dirs():
    yield "/first"
    yield "/second"
"""


@pytest.mark.slow
def test_hooks_in_a_process_are_pluggys_too(
    own: NodeRegistry, local_plugin: Callable[..., Path], node_source: Callable[..., str]
) -> None:
    """Other names, wrappers and generators; one that fails is told with its plugin."""
    folder = local_plugin(extra='[project.entry-points."cuvis_ai.nodes"]\nhooks = "echo_plugin.hooks"\n')
    (folder / "src/echo_plugin/more.py").write_text(node_source("More"))
    (folder / "src/echo_plugin/hooks.py").write_text(HOOKS)
    entry = {"path": str(folder), "provides": ["echo_plugin.nodes.Echo"], "isolation": "process"}
    own.load_plugin("echo", entry)
    assert sorted(own.plugin_registry) == ["Echo", "More"]
    assert own.config_owners() == {Path("/first"): "echo", Path("/second"): "echo"}
    own.unload_plugin("echo")
    (folder / "src/echo_plugin/hooks.py").write_text(HOOKS.replace("    yield ", "    1 / 0\n    yield ", 1))
    with pytest.raises(PluginLoadError, match="'echo:hooks': hook cuvis_ai_config_dirs failed: ZeroDivisionError"):
        own.load_plugin("echo", entry)
    for arguments in ("extra", "*, extra"):
        wrong = (
            f"from cuvis_ai_hookspecs import hookimpl\n\n\n@hookimpl\ndef cuvis_ai_nodes({arguments}):\n    return []\n"
        )
        (folder / "src/echo_plugin/hooks.py").write_text(wrong)
        with pytest.raises(PluginLoadError, match=r"Plugin 'echo:hooks': .*cuvis_ai_nodes.*extra") as told:
            own.load_plugin("echo", entry)
        assert "Traceback" not in str(told.value)
