"""Libraries that start workers of their own: joblib's loky, with scikit-learn, and torch's data loaders."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

Files = dict[str, str]

LOKY = """
import joblib, sklearn
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
import numpy as np

class OwnClassifier(KNeighborsClassifier):
    def predict(self, X):
        import workers.late
        return super().predict(X) + 0 * len(workers.late.WHO)

def work(x):
    from workers.late import WHO
    return WHO, x, type(x).__name__

def answer():
    classes = np.repeat([0, 1], 10)
    scores = cross_val_score(OwnClassifier(1), classes[:, None] * 1.0, classes, cv=2, n_jobs=2)
    done = joblib.Parallel(n_jobs=2)(joblib.delayed(work)(x) for x in (1, 2.0))
    return [sorted(set(scores)), done, sklearn.__file__.startswith(__import__("sys").prefix)]
"""

LOADER = """
from torch.utils.data import DataLoader, Dataset

class Cubes(Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, index):
        from workers.late import WHO
        return f"{WHO}{index}"

def collate(samples):
    return "".join(samples)

def answer():
    return [
        list(DataLoader(Cubes(), 2, num_workers=2, collate_fn=collate, multiprocessing_context=method))
        for method in ("spawn", "forkserver")
    ]
"""

HOST = """
import json, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from cuvis_ai_core import NodeRegistry

def at(function, value):
    return function(value)

def answers(function, value):
    for method in ("spawn", "forkserver"):
        with ProcessPoolExecutor(1, get_context(method)) as pool:
            yield pool.submit(at, function, value).result()
        with get_context(method).Pool(1) as pool:
            yield pool.apply(function, (value,))
    import joblib
    yield joblib.Parallel(2)(joblib.delayed(function)(each) for each in (value, value))[1]
    yield joblib.Parallel(2)(joblib.delayed(lambda each: function(each))(each) for each in (value, value))[1]

if __name__ == "__main__":
    with NodeRegistry(discover=False) as registry:
        registry.load_plugins(sys.argv[1])
        Echo = registry.get("workers.nodes.Echo")
        print(json.dumps(list(answers(Echo.work, Echo.sample))))
"""

WORK = """
import dataclasses

@dataclasses.dataclass
class Sample:
    x: int

def work(sample):
    from workers.late import WHO
    return [WHO, sample.x, type(sample) is Sample]

Echo.work = staticmethod(work)
Echo.sample = Sample(3)
"""

SCRIPT = """
import json, sys
from cuvis_ai_core import NodeRegistry

if __name__ == "__main__":
    registries = [NodeRegistry(discover=False) for _ in sys.argv[1:]]
    answers = []
    for registry, folder in zip(registries, sys.argv[1:]):
        registry.load_plugin("workers", {"path": folder, "provides": ["workers.nodes.Echo"]})
        answers.append(registry.get("Echo").answer)
    print(json.dumps([answer() for answer in answers]))
"""


@pytest.fixture
def answers(
    tmp_path: Path, project_files: Callable[..., Files], write_files: Callable[[Path, Files], Path]
) -> Callable[..., object]:
    """Return a function that loads two versions of a plugin in a fresh process and returns their answers."""

    def run(code: str, *needs: str) -> object:
        folders = []
        for who in "12":
            files = project_files("workers", dependencies=needs, version=who)
            files["src/workers/nodes.py"] += code + "\nEcho.answer = staticmethod(answer)\n"
            files["src/workers/late.py"] = f"WHO = {who!r}"
            folders.append(str(write_files(tmp_path / who, files)))
        script = tmp_path / "script.py"
        script.write_text(SCRIPT)
        done = subprocess.run(
            [sys.executable, str(script), *folders],
            env={**os.environ, "CUVIS_PLUGINS_DIR": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.slow
def test_workers_of_loky_find_plugin_and_dependency(answers: Callable[..., object]) -> None:
    """`n_jobs=2`: the worker program itself lies in the plugin's target directory, with scikit-learn and joblib."""
    expected = [[[1.0], [[who, 1, "int"], [who, 2.0, "float"]], False] for who in "12"]
    # Another version than this environment has, so that it comes into the target directory.
    needs = f"scikit-learn<{version('scikit-learn')}"
    assert answers(LOKY, needs) == expected


@pytest.mark.slow
def test_workers_of_a_data_loader_read_with_the_plugins_own_class(answers: Callable[..., object]) -> None:
    """Data set, collate function and late import are the version's own."""
    pytest.importorskip("torch")
    assert answers(LOADER, "torch") == [[[f"{who}0{who}1", f"{who}2{who}3"]] * 2 for who in "12"]


@pytest.mark.slow
@pytest.mark.parametrize("how", [pytest.param("with another", marks=pytest.mark.slow), "locked"])
def test_what_a_program_hands_to_processes_is_found_there(
    tmp_path: Path, project_files: Callable[..., Files], write_files: Callable[[Path, Files], Path], how: str
) -> None:
    """Objects and functions of a plugin that was loaded by a manifest of several, or by a lock file."""
    pytest.importorskip("joblib")
    lines = ["plugins:"]
    for name in ("workers", "other"):
        files = project_files(name)
        files[f"src/{name}/nodes.py"] += WORK
        files[f"src/{name}/late.py"] = f"WHO = {name!r}"
        lines.append(f"  {name}: {{path: {write_files(tmp_path / name, files)}, provides: [{name}.nodes.Echo]}}")
    (tmp_path / "plugins.yaml").write_text("\n".join(lines))
    (tmp_path / "host.py").write_text(HOST)
    command = [sys.executable, "-m", "cuvis_ai_core"] if how == "locked" else []
    environment = {**os.environ, "CUVIS_PLUGINS_DIR": str(tmp_path / "cache")}
    if command:
        subprocess.run([*command, "plugins", "lock", str(tmp_path / "plugins.yaml")], env=environment, check=True)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "host.py"), str(tmp_path / "plugins.yaml")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [["workers", 3, True]] * 6
