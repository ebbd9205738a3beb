"""Compare the trained pipeline with a support vector machine on the same split, in the working directory.

The machine has a Gaussian kernel; its two parameters are chosen by cross-validation on the pixels to train on. With
`--at-most-worse-by POINTS` the exit status is 1 if the pipeline is worse by more percentage points.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from joblib import parallel_config
from numpy.typing import NDArray
from PIL import Image
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from cuvis_ai_core import NodeRegistry, Pipeline
from cuvis_ai_core.data import Batches, Cubes
from cuvis_ai_core.training import Predictor

GRID = {"svc__C": [10, 100, 1000], "svc__gamma": [1e-4, 1e-3, 1e-2]}
"""Around the best of a grid with one more step at each side; gammas of 0.1 took half of its time."""


def by_pipeline(registry: NodeRegistry, cubes: Cubes) -> NDArray[Any]:
    """Return the class of each pixel, by the trained pipeline."""
    pipeline = Pipeline.load("indian-pines/pipeline.yaml", node_registry=registry)
    (outputs,) = Predictor(pipeline).predict(Batches(cubes, [0]), keep_ports=["classifier.classes"])
    classes: NDArray[Any] = outputs["classifier", "classes"].numpy()[0]
    return classes


def by_machine(cube: NDArray[Any], train: NDArray[Any], test: NDArray[Any]) -> NDArray[Any]:
    """Return the class of each pixel to test on, by a support vector machine."""
    machine = GridSearchCV(make_pipeline(StandardScaler(), SVC()), GRID, cv=3, n_jobs=-1)
    with parallel_config("threading"):  # libsvm lets other threads run, and processes would import all this again
        machine.fit(cube[train > 0], train[train > 0])
    print(f"support vector machine: {machine.best_params_}")
    found = np.zeros_like(test)
    found[test > 0] = machine.predict(cube[test > 0])
    return found


def main() -> int:
    """Print the accuracy of both, overall and for each class."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--at-most-worse-by", type=float, metavar="POINTS")
    limit = arguments.parse_args().at_most_worse_by
    train, test = (np.asarray(Image.open(f"{name}.png")) for name in ("train", "test"))
    with NodeRegistry() as registry:
        registry.load_plugins(Path(__file__).with_name("plugins.yaml"))
        cubes = Cubes("indian_pines.npz", registry.cube_readers())
        found = {"pipeline": by_pipeline(registry, cubes), "machine": by_machine(cubes[0].data, train, test)}
    print(f"{'class':>8} {'pixels':>8}" + "".join(f"{name:>10}" for name in found))
    for number in range(1, test.max() + 1):
        here = test == number
        shares = "".join(f"{np.mean(each[here] == number):10.1%}" for each in found.values())
        print(f"{number:8} {np.count_nonzero(here):8}{shares}")
    overall = {name: float(np.mean(each[test > 0] == test[test > 0])) for name, each in found.items()}
    print(f"{'overall':>8} {np.count_nonzero(test):8}" + "".join(f"{share:10.1%}" for share in overall.values()))
    return int(limit is not None and 100 * (overall["machine"] - overall["pipeline"]) > limit)


if __name__ == "__main__":
    sys.exit(main())
