import numpy as np
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_schemas.pipeline import PortSpec


class Data(ArrayNode):
    INPUT_SPECS = {"cube": PortSpec(np.float32, (-1, -1, -1, -1))}
    OUTPUT_SPECS = {"cube": PortSpec(np.float32, (-1, -1, -1, -1))}

    def forward(self, cube):
        return {"cube": cube}

    READ = property(lambda self: {name: read().strip() for name, read in WAYS.items()})


import importlib.util
import inspect
import os
import pkgutil
import sys
import warnings
from importlib import resources
from importlib.resources import as_file, files
from pathlib import Path

import package_data


def by_file():
    with open(os.path.join(os.path.dirname(__file__), "data.txt")) as file:
        return file.read()


def by_package_path():
    return (Path(package_data.__path__[0]) / "data.txt").read_text()


def by_public_name():
    return files("package_data").joinpath("data.txt").read_text()


def by_package():
    return (resources.files(package_data) / "data.txt").read_text()


def by_own_package_name():
    return (files(__package__) / "data.txt").read_text()


def in_a_folder_that_is_no_package():
    return (files("package_data.files") / "data.txt").read_text()


def below_the_package():
    return (files("package_data") / "files" / "data.txt").read_text()


def as_a_file():
    with as_file(files("package_data") / "data.txt") as path:
        return path.read_text()


def by_pkgutil():
    return pkgutil.get_data("package_data", "data.txt").decode()


def by_pkgutil_and_own_name():
    return pkgutil.get_data(__name__, "data.txt").decode()


def by_open_text():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated in 3.11 and 3.12
        with resources.open_text("package_data", "data.txt") as file:
            return file.read()


def by_loader():
    return package_data.__loader__.get_data(str(Path(package_data.__file__).with_name("data.txt"))).decode()


def by_spec():
    spec = importlib.util.find_spec("package_data")
    return (Path(spec.submodule_search_locations[0]) / "data.txt").read_text()


def by_inspect():
    return Path(inspect.getfile(Data)).with_name("data.txt").read_text()


def by_the_module_of_a_class():
    return Path(sys.modules[Data.__module__].__file__).with_name("data.txt").read_text()


WAYS = {
    name: value for name, value in list(globals().items()) if inspect.isfunction(value) and value.__module__ == __name__
}
