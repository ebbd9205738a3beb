"""Files that name a plugin's classes: written in one process, read in another, by private and by public names."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.cli.main import main as cuvis_ai

Files = dict[str, str]

THINGS = """
import dataclasses, pickle

VERSION = {version!r}

@dataclasses.dataclass
class Point:
    x: int
    def who(self):
        from things.late import WHO
        return WHO

def by_python(data):
    return pickle._loads(data)

def by_c(data):
    return pickle.loads(data)

def by_torch(path):
    import torch
    return torch.load(path, weights_only=False)

def by_joblib(path):
    import joblib
    return joblib.load(path)
"""

READ = """
import json, pickle, sys
read = []
for path in sys.argv[1:]:
    with open(path, "rb") as file:
        thing = pickle.load(file)
    read.append([thing.x, thing.who(), type(thing).__name__])
print(json.dumps(read))
"""


def things(version: str) -> Files:
    """Return the modules of a plugin whose objects are saved."""
    return {"src/things/things.py": THINGS.format(version=version), "src/things/late.py": f"WHO = {version!r}\n"}


@pytest.fixture
def folder(tmp_path: Path, project_files: Callable[..., Files], write_files: Callable[..., Path]) -> Path:
    """Return the folder of a local plugin."""
    return write_files(tmp_path / "things", {**project_files("things"), **things("1")})


def load(registry: NodeRegistry, folder: Path) -> Any:
    """Load the local plugin and return its module of things."""
    registry.load_plugin("things", {"path": str(folder), "provides": ["things.nodes.Echo"]})
    return module_of(registry)


def module_of(registry: NodeRegistry) -> Any:
    """Return the module of things of the plugin that is loaded."""
    return registry._members.declared["things"].import_module("things.things")


def save(thing: object, path: Path) -> Path:
    """Pickle an object as the host does."""
    import pickle

    path.write_bytes(pickle.dumps(thing))
    return path


def read(cache: Path, *arguments: object, code: str = READ) -> "subprocess.CompletedProcess[str]":
    """Read files in a fresh process that has loaded nothing."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CUVIS_")}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**environment, "CUVIS_PLUGINS_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )


def answer(done: "subprocess.CompletedProcess[str]") -> Any:
    """Return what a process printed."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_file_is_read_where_nothing_is_loaded(registry: NodeRegistry, folder: Path, cache: Path) -> None:
    """The plugin is brought back from the cache, late imports included, without a word from the program."""
    path = save(load(registry, folder).Point(3), folder / "point")
    assert answer(read(cache, path)) == [[3, "1", "Point"]]


def test_a_child_of_who_read_a_file_reads_it_too(
    registry: NodeRegistry, folder: Path, cache: Path, tmp_path: Path
) -> None:
    """What was brought back is told to its processes as what was loaded is."""
    path = save(load(registry, folder).Point(3), folder / "point")
    script = tmp_path / "child.py"
    script.write_text(
        "import os, pickle, subprocess, sys\n"
        "with open(sys.argv[1], 'rb') as file:\n"
        "    pickle.load(file)\n"
        "if len(sys.argv) == 2:\n"
        "    del os.environ['CUVIS_PLUGINS_DIR']\n"  # so that the child has it from nobody but this process
        "    print(subprocess.run([sys.executable, *sys.argv, 'child'], check=False).returncode)\n"
    )
    done = read(cache, path, code=f"import runpy, sys; sys.argv[0] = {str(script)!r}; runpy.run_path({str(script)!r})")
    assert answer(done) == 0


Manifest = Callable[[str], Path]


@pytest.fixture
def manifest(folder: Path, project_files: Callable[..., Files], write_files: Callable[..., Path]) -> Manifest:
    """Return a function that writes the manifest by which the plugin is loaded: alone, with another or locked."""

    def write(how: str) -> Path:
        lines = ["plugins:", f"  things: {{path: {folder}, provides: [things.nodes.Echo]}}"]
        if how != "alone":
            write_files(folder / "other", project_files("other"))
            lines.append(f"  other: {{path: {folder / 'other'}, provides: [other.nodes.Echo]}}")
        path = folder / "plugins.yaml"
        path.write_text("\n".join(lines))
        if how == "locked":
            assert CliRunner().invoke(cuvis_ai, ["plugins", "lock", str(path)]).exit_code == 0
            NodeRegistry.clear_plugin_cache()
        return path

    return write


@pytest.mark.parametrize("how", ["alone", "with another", "locked"])
def test_a_file_is_read_however_versions_were_chosen(
    registry: NodeRegistry, folder: Path, cache: Path, manifest: Manifest, how: str
) -> None:
    """A plugin that was only ever loaded together with others, or by a lock file, is brought back as any other."""
    registry.load_plugins(manifest(how))
    path = save(module_of(registry).Point(3), folder / "point")
    assert answer(read(cache, path)) == [[3, "1", "Point"]]


FILES = """
import sys
from cuvis_ai_core import NodeRegistry

def dill_file(name):
    import dill
    return (lambda value: open(name, "wb").write(dill.dumps(value))), (lambda: dill.load(open(name, "rb")))

def torch_file(name):
    import torch
    return (lambda value: torch.save(value, name)), (lambda: torch.load(name, weights_only=False))

def joblib_file(name):
    import joblib
    return (lambda value: joblib.dump(value, name)), (lambda: joblib.load(name))

def cloudpickle_file(name):
    import cloudpickle, pickle
    return (lambda value: open(name, "wb").write(cloudpickle.dumps(value))), (lambda: pickle.load(open(name, "rb")))

what, kind, name, manifest = sys.argv[1:]
with NodeRegistry(discover=False) as registry:
    if manifest:
        registry.load_plugins(manifest)
    write, read = globals()[kind + "_file"](name)
    if what == "write":
        things = sys.modules[registry.get("things.nodes.Echo").__module__.replace("nodes", "things")]
        write([things.Point(3), things.Point, things.by_c, things.Point(4).who])
    else:
        point, kind, function, method = read()
        print([point.x, point.who(), type(point) is kind, function.__name__, method()])
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["with another", "locked"])
@pytest.mark.parametrize("kind", ["joblib", "cloudpickle", pytest.param("torch", marks=pytest.mark.slow), "dill"])
def test_files_of_other_writers_are_read_too(
    cache: Path, folder: Path, manifest: Manifest, how: str, kind: str
) -> None:
    """Objects, classes, functions and methods: where nothing is loaded, and on a fresh store with the same manifest."""
    pytest.importorskip(kind)
    module = "import things.things\n"
    (folder / "src/things/nodes.py").write_text(module + (folder / "src/things/nodes.py").read_text())
    path, name = manifest(how), folder / "file"
    done = read(cache, "write", kind, name, path, code=FILES)
    assert done.returncode == 0, done.stderr
    for store, loaded in ((cache, ""), (folder / "fresh", path)):
        done = read(store, "read", kind, name, loaded, code=FILES)
        assert (done.stdout, done.stderr[-2000:]) == ("[3, '1', True, 'by_c', '1']\n", "")


def test_a_file_is_read_after_the_code_was_edited(registry: NodeRegistry, folder: Path, cache: Path) -> None:
    """A local plugin is what lies in its folder."""
    path = save(load(registry, folder).Point(3), folder / "point")
    (folder / "src/things/late.py").write_text("WHO = 'edited'\n")
    assert answer(read(cache, path)) == [[3, "edited", "Point"]]


def test_files_of_two_states_of_a_folder_are_read(registry: NodeRegistry, folder: Path, cache: Path) -> None:
    """The process that wrote them had both loaded; the one that reads has the last one, loaded before or not."""
    first = save(load(registry, folder).Point(1), folder / "first")
    (folder / "src/things/late.py").write_text("WHO = 'edited'\n")
    with NodeRegistry(discover=False) as other:
        second = save(load(other, folder).Point(2), folder / "second")
    loaded = (
        "from cuvis_ai_core import NodeRegistry\nimport sys\nregistry = NodeRegistry(discover=False)\n"
        "registry.load_plugin('things', {'path': sys.argv.pop(1), 'provides': ['things.nodes.Echo']})\n"
    )
    expected = [[1, "edited", "Point"], [2, "edited", "Point"]]
    assert answer(read(cache, first, second)) == expected
    assert answer(read(cache, folder, second, first, code=loaded + READ)) == [*reversed(expected)]
    one_class = "\nimport sys\nassert len({type(pickle.load(open(path, 'rb'))) for path in sys.argv[1:]}) == 1"
    assert read(cache, first, second, code=READ + one_class).stderr == ""


def test_an_object_that_was_read_is_of_the_class_that_is_loaded_next(
    registry: NodeRegistry, folder: Path, cache: Path
) -> None:
    """Reading and loading mean the same modules."""
    path = save(load(registry, folder).Point(3), folder / "point")
    code = (
        "import pickle, sys\nthing = pickle.load(open(sys.argv[1], 'rb'))\n"
        "from cuvis_ai_core import NodeRegistry\nregistry = NodeRegistry(discover=False)\n"
        "registry.load_plugin('things', {'path': sys.argv[2], 'provides': ['things.nodes.Echo']})\n"
        "package = registry.get('Echo').__module__.removesuffix('nodes')\n"
        "print(sys.modules[package + 'things'].Point is type(thing))"
    )
    assert read(cache, path, folder, code=code).stdout == "True\n"


def test_files_of_two_tags_are_read_each_with_its_own(
    cache: Path, git_host: Any, project_files: Callable[..., Files]
) -> None:
    """In one process, by whoever reads them."""
    url = git_host.add("two-tags", {**project_files("things"), **things("1.0")}, tag="v1.0")
    git_host.commit("two-tags", things("1.1"), tag="v1.1")
    paths = []
    for tag in ("v1.0", "v1.1"):
        with NodeRegistry(discover=False) as registry:
            registry.load_plugin("things", {"repo": url, "tag": tag, "provides": ["things.nodes.Echo"]})
            module = registry._members.declared["things"].import_module("things.things")
            paths.append(save(module.Point(0), cache.parent / tag))
    assert answer(read(cache, *paths)) == [[0, "1.0", "Point"], [0, "1.1", "Point"]]
    NodeRegistry.clear_plugin_cache("things")
    done = read(cache, paths[0])
    assert "names a class of plugin 'things_v1_0' (name and tag" in done.stderr
    assert "is not loaded and is not in" in done.stderr
    assert "CUVIS_PLUGINS_DIR" in done.stderr


def test_a_plugin_that_was_installed_for_another_environment_is_named(
    registry: NodeRegistry, folder: Path, cache: Path
) -> None:
    """What its dependencies are here is not known then."""
    path = save(load(registry, folder).Point(3), folder / "point")
    marker = next(cache.glob(".targets/*/*/cuvis-target.json"))
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "hosts": ["another"]}))
    done = read(cache, path)
    assert "plugin 'things@" in done.stderr
    assert "for another environment only" in done.stderr
    assert "Load that plugin at that tag first" in done.stderr


@pytest.fixture
def two(
    cache: Path, tmp_path: Path, project_files: Callable[..., Files], write_files: Callable[..., Path]
) -> Iterator[list[Any]]:
    """Return the module of things of two versions, each in a registry of its own."""
    registries = [NodeRegistry(discover=False) for _ in "12"]
    modules = []
    for registry, version in zip(registries, "12", strict=True):
        files = {**project_files("things"), **things(version)}
        modules.append(load(registry, write_files(tmp_path / f"version{version}", files)))
    yield modules
    for registry in registries:
        registry.close()


@pytest.fixture(scope="module")
def by_public_name(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with files that name the class by its public path, as published weights do."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "things").mkdir()
    (folder / "things/__init__.py").touch()
    (folder / "things/things.py").write_text(THINGS.format(version="public"))
    (folder / "things/late.py").write_text("WHO = 'public'")
    code = (
        "import pickle, joblib\nfrom things.things import Point\n"
        "joblib.dump(Point(1), 'joblib')\nopen('pickle', 'wb').write(pickle.dumps(Point(1)))\n"
        "try:\n    import torch\nexcept ModuleNotFoundError:\n    pass\nelse:\n    torch.save(Point(1), 'torch')"
    )
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
    return folder


@pytest.mark.parametrize(
    ("how", "loads"), [("by_c", 20_000), ("by_python", 20_000), ("by_torch", 300), ("by_joblib", 1000)]
)
def test_public_names_mean_the_version_that_reads(two: list[Any], by_public_name: Path, how: str, loads: int) -> None:
    """Two threads over two versions, every load the right class: C's pickle and Python's, torch and joblib."""
    kind = how.removeprefix("by_")
    if kind == "torch":
        pytest.importorskip("torch")
    source: Any = (
        str(by_public_name / kind) if kind in {"torch", "joblib"} else (by_public_name / "pickle").read_bytes()
    )
    wrong: list[int] = []

    def work(module: Any) -> None:
        reading = getattr(module, how)
        wrong.append(sum(type(reading(source)) is not module.Point for _ in range(loads)))

    threads = [threading.Thread(target=work, args=[module]) for module in two]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [0, 0]
