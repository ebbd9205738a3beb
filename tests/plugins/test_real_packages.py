"""Packages of the field as they are on the index, as dependencies of plugins: as on a plain path, or refused."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # what is installed is large

TOOL = Path(__file__).resolve().parents[2] / "tools/packages.py"

Files = dict[str, str]

TWO = """
import json, sys
import numpy as np
from cuvis_ai_core import NodeRegistry
from cuvis_ai_core.errors import PluginLoadError

entries = json.loads(sys.argv[1])
said = []
with NodeRegistry(discover=False) as first, NodeRegistry(discover=False) as second:
    for registry, name, isolation in ((first, "first", "scoped"), *((second, "second", each) for each in sys.argv[2:])):
        try:
            entries[name]["isolation"] = isolation
            registry.load_plugin(name, entries[name])
            cube = np.zeros((1, 1, 1, 1), np.float32)
            said.append(registry.get("Versions")().forward(cube=cube)["text"].tobytes().decode().split())
        except PluginLoadError as error:
            ran = [module for module in sys.modules if module.endswith("second.nodes")]
            said.append([type(error.__cause__).__name__, str(error), ran])
print(json.dumps(said))
"""

MODULES = {"opencv-python-headless": "cv2", "scikit-image": "skimage", "scikit-learn": "sklearn"}

COMPILED = {
    "opencv-python-headless": "5.0.0.93",
    "scikit-image": "0.26.0",
    "scikit-learn": "1.9.1",
    "pandas": "3.1.1",
    "matplotlib": "3.11.2",
    "h5py": "3.16.0",
}
OLDER = dict(zip(COMPILED, ("4.14.0.94", "0.25.2", "1.8.0", "2.3.3", "3.10.9", "3.15.1"), strict=True))

USER = """

class Versions(Echo):
    OUTPUT_SPECS = {{"text": PortSpec(np.uint8, (-1,))}}

    def forward(self, cube):
        import {imports}
        return {{"text": np.frombuffer(" ".join([{values}]).encode(), np.uint8)}}
"""


@pytest.mark.parametrize(
    "package",
    ["opencv-python-headless", "scikit-image", "h5netcdf", "protobuf", "all-at-once"],
)
def test_a_package_answers_as_on_a_plain_path(package: str) -> None:
    """Loaded, unloaded and loaded again, by the script that tries them all."""
    arguments = ["--list", str(TOOL.with_name("realistic.txt"))] if package == "all-at-once" else [package]
    done = subprocess.run([sys.executable, str(TOOL), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_private_copy_answers_as_on_a_plain_path() -> None:
    """Where the program has another version, imported or not."""
    done = subprocess.run(
        [sys.executable, str(TOOL), "--other-version", "dill"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def two(
    tmp_path: Path, cache: Path, project_files: Callable[..., Files], write_files: Callable[..., Path]
) -> Callable[..., Any]:
    """Return a function that loads two plugins with versions of their own, and returns what each said.

    The second one in each kind of isolation that is named, in the same process. By default versions, else what its
    `code` says.
    """

    def load(first: dict[str, str], second: dict[str, str], *isolations: str, code: str = "") -> Any:
        entries: dict[str, Any] = {}
        for name, pins in {"first": first, "second": second}.items():
            requirements = tuple(f"{distribution}=={version}" for distribution, version in pins.items())
            modules = [MODULES.get(each, each) for each in pins]
            files = project_files(name, dependencies=requirements)
            values = ", ".join(f"{module}.__version__" for module in modules)
            files[f"src/{name}/nodes.py"] += code or USER.format(imports=", ".join(modules), values=values)
            entries[name] = {"path": str(write_files(tmp_path / name, files)), "provides": [f"{name}.nodes.Versions"]}
        done = subprocess.run(
            [sys.executable, "-c", TWO, json.dumps(entries), *(isolations or ["scoped"])],
            env={**os.environ, "CUVIS_PLUGINS_DIR": str(cache)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return load


def test_two_versions_of_what_is_pure_run_side_by_side(two: Callable[..., Any]) -> None:
    """Each plugin has its own, and one OpenCV that suits both is shared."""
    opencv = {"opencv-python-headless": "5.0.0.93"}
    said = two({**opencv, "einops": "0.8.0"}, {**opencv, "einops": "0.8.1"})
    assert said == [["5.0.0", "0.8.0"], ["5.0.0", "0.8.1"]]


def test_two_versions_of_what_is_compiled_are_refused_before_anything_is_imported(two: Callable[..., Any]) -> None:
    """The error names both sides and the way out, which is then taken."""
    first, second = {"opencv-python-headless": "5.0.0.93"}, {"opencv-python-headless": "4.10.0.84"}
    (answered, (kind, message, ran), apart) = two(first, second, "scoped", "process")
    assert (answered, kind, ran) == (["5.0.0"], "DependencyConflictError", [])
    for words in ("opencv-python-headless==4.10.0.84", "5.0.0.93", "isolation: process"):
        assert words in message
    assert apart == ["4.10.0"]


def shown(pins: dict[str, str]) -> list[str]:
    """Return the versions as the modules have them."""
    return [version.rpartition(".")[0] if name.startswith("opencv") else version for name, version in pins.items()]


def test_two_plugins_with_all_that_is_usual_differ_in_what_is_pure(two: Callable[..., Any]) -> None:
    """Transformers and einops in two versions, over one copy of everything that is compiled."""
    first = {**COMPILED, "transformers": "5.24.0", "einops": "0.8.2"}
    second = {**COMPILED, "transformers": "5.19.0", "einops": "0.8.1"}
    assert two(first, second) == [shown(first), shown(second)]


def test_two_plugins_with_all_that_is_usual_in_other_versions_need_a_process(two: Callable[..., Any]) -> None:
    """Refused before anything of the second is imported, with the way out, which is then taken."""
    first, second = {**COMPILED, "transformers": "5.24.0"}, {**OLDER, "transformers": "4.57.6"}
    (answered, (kind, message, ran), apart) = two(first, second, "scoped", "process")
    assert (answered, kind, ran) == (shown(first), "DependencyConflictError", [])
    assert "isolation: process" in message
    assert apart == shown(second)


BOARD = """

import importlib.metadata
import pkg_resources, setuptools, tensorboard, tensorboard.default
from torch.utils.tensorboard import SummaryWriter

class Versions(Echo):
    OUTPUT_SPECS = {"text": PortSpec(np.uint8, (-1,))}

    def forward(self, cube):
        from tempfile import TemporaryDirectory
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        with TemporaryDirectory() as folder:
            with SummaryWriter(folder) as writer:
                writer.add_scalar("scalar", 0.5, 0)
            events = EventAccumulator(folder).Reload()
            (scalar,) = events.Scalars("scalar")
        answer = pkg_resources.parse_version("1").base_version
        said = [setuptools.__version__, tensorboard.__version__, scalar.value, answer]
        said += [importlib.metadata.version("setuptools"), pkg_resources.get_distribution("setuptools").version]
        said += [pkg_resources.require("tensorboard")[0].version]
        return {"text": np.frombuffer(" ".join(map(str, said)).encode(), np.uint8)}
"""


def test_torch_finds_the_tensorboard_of_a_plugin_with_an_old_setuptools(two: Callable[..., Any]) -> None:
    """Private for the sake of `pkg_resources`, which newer ones have not and which answers with it, and TensorBoard."""
    pytest.importorskip("torch")
    olders = "80.9.0", "80.10.2"
    first, second = ({"tensorboard": "2.20.0", "setuptools": older} for older in olders)
    found = two(first, second, code=BOARD)
    assert found == [[older, "2.20.0", "0.5", "1", older, older, "2.20.0"] for older in olders]
