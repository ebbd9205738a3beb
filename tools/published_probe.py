"""Look at one unpacked wheel of the catalogue, in an interpreter of its own; `published.py` runs it.

python tools/published_probe.py FOLDER ANSWER.json
"""

import contextlib
import importlib
import importlib.util
import io
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

OURS = "cuvis_ai"
"""With this begin the names of what is looked at, and of other plugins."""

HERE = str(Path(__file__))
DRAWN = {"pipeline": ["--pipeline-vis-ext", "md"], "trainrun": []}
SIZES = (2, 6, 7, 61)
"""Of axes that are free."""


class StandIn(type):
    """The type of classes that take anything and have every attribute."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return make_class(name)


def make_class(name: str) -> StandIn:
    """Return a class that can be called, derived from, and used as a decorator."""
    body: dict[str, Any] = {
        "__init__": lambda *_, **__: None,
        "__call__": lambda self, *given, **_: given[0] if given else self,
        "__getattr__": lambda _, key: make_class(key)(),
        "__module__": "stood_in",
    }
    return StandIn(name, (), body)


class StoodIn(ModuleType):
    """A module in which every name is such a class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return make_class(name)


class Finder:
    """Finds what nobody else found: top-level packages of others."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        """Return the spec of a stood-in module, where a module of this name is wanted by the catalogue."""
        top = name.partition(".")[0]
        if top.startswith(OURS) or top in sys.stdlib_module_names or (top != name and top not in self.found):
            return None
        if not any("cuvis_ai" in str(frame) for frame in callers()):
            return None
        self.found.add(top)
        spec = ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]
        spec.submodule_search_locations = []
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module."""
        return StoodIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Run nothing."""


def callers() -> Iterator[str]:
    """Yield the file that imports something now: the nearest that is none of the import system."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if "importlib" not in file and file != HERE:
            yield file
            return
        frame = frame.f_back  # type: ignore[assignment]


def outcome(work: Callable[[], object]) -> str | None:
    """Return why something failed in one line, None where it worked."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            work()
    except (Exception, SystemExit) as error:  # noqa: BLE001
        if isinstance(error, SystemExit) and not error.code:
            return None
        text = said.getvalue() if isinstance(error, SystemExit) else f"{type(error).__name__}: {error}"
        return " ".join(text.split())[-400:]
    return None


def modules_of(place: Path) -> list[str]:
    """Return the names of the modules of the catalogue."""
    files = sorted((place / "cuvis_ai").rglob("*.py"))
    parts = [file.relative_to(place).with_suffix("").parts for file in files]
    return [".".join(each[:-1] if each[-1] == "__init__" else each) for each in parts]


def registered() -> int:
    """Return how many node classes of the catalogue register."""
    from cuvis_ai_core.utils.node_registry import NodeRegistry

    return NodeRegistry.auto_register_package("cuvis_ai")


def catalogue_nodes() -> list[type]:
    """Return the node classes of the catalogue that can be made without arguments."""
    import inspect

    from cuvis_ai_core.plugins.package_nodes import node_classes

    def is_free(node_class: type) -> bool:
        empty, several = inspect.Parameter.empty, {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
        parameters = inspect.signature(node_class).parameters.values()
        return all(each.default is not empty or each.kind in several for each in parameters)

    return list(filter(is_free, node_classes("cuvis_ai", "cuvis_ai_core.node.node.Node")))


def files_of(place: Path, kind: str) -> list[Path]:
    """Return the files of a kind that the catalogue brings."""
    return sorted((place / "cuvis_ai" / "configs" / kind).rglob("*.yaml"))


def show(name: str, arguments: Sequence[str]) -> Callable[[], object]:
    """Return what calls the entry point that the catalogue declares for a command."""

    def call() -> object:
        entry = getattr(importlib.import_module("cuvis_ai_core.utils.restore"), name)
        before, sys.argv = sys.argv, [name, *arguments]
        try:
            return entry()
        finally:
            sys.argv = before

    return call


def runnable(place: Path) -> list[Path]:
    """Return the pipeline files all of whose nodes are the catalogue's own."""
    import yaml

    def own(file: Path) -> bool:
        nodes = yaml.safe_load(file.read_text(encoding="utf-8")).get("nodes") or ()
        return all(str(node.get("class_name", node.get("class"))).startswith("cuvis_ai.") for node in nodes)

    return list(filter(own, files_of(place, "pipeline")))


def write_cube(path: Path) -> None:
    """Write a cube of 61 bands, as the camera of the catalogue's files has them."""
    import numpy as np

    random = np.random.default_rng(7)
    cube = random.random((24, 32, 61), dtype=np.float32) + np.linspace(0.1, 0.9, 61, dtype=np.float32)
    np.savez(path, cube=cube, wavelengths=np.linspace(430, 910, 61))


def run_node(node_class: type) -> None:
    """Run a node that can be made without arguments on random values of its ports.

    Raises:
        Exception: Whatever it raises.
    """
    import torch

    from cuvis_ai_core.pipeline.pipeline import Pipeline

    name = node_class.__name__
    nodes = [{"name": name, "class_name": f"{node_class.__module__}.{name}"}]
    pipeline = Pipeline.from_dict({"nodes": nodes}, allow_untrained=True)
    batch = {}
    for (_, port), resolved in pipeline.required_inputs().items():
        dtype = getattr(torch, resolved.port.dtype, torch.float32)
        shape = [size if size > 0 else SIZES[axis % 4] for axis, size in enumerate(resolved.sizes)]
        values = torch.rand(shape)
        batch[port] = values > 0.5 if dtype is torch.bool else (values * 2).to(dtype)  # noqa: PLR2004
    pipeline.forward(batch)


def main() -> None:
    """Look, and write what was found."""
    place, answer = Path(sys.argv[1]).absolute(), Path(sys.argv[2])
    sys.path.insert(0, str(place))
    finder = Finder()
    sys.meta_path.append(finder)
    warnings.simplefilter("ignore")
    found: dict[str, dict[str, str | None]] = {"modules": {}}
    for name in modules_of(place):
        found["modules"][name] = outcome(partial(importlib.import_module, name))
    numbers: list[int] = []
    found["registering"] = {"auto_register_package": outcome(lambda: numbers.append(registered()))}
    for kind, entry in (("pipeline", "restore_pipeline_cli"), ("trainrun", "restore_trainrun_cli")):
        results = found[f"{kind} files"] = {}
        for file in files_of(place, kind):
            shown = str(file.relative_to(place / "cuvis_ai" / "configs"))
            results[shown] = outcome(show(entry, [f"--{kind}-path", str(file), *DRAWN[kind]]))
    write_cube(Path("scene.npz"))
    results = found["pipelines run"] = {}
    for file in runnable(place):
        arguments = ["--pipeline-path", str(file), "--cube-path", "scene.npz", "--allow-untrained"]
        results[file.stem] = outcome(show("restore_pipeline_cli", [*arguments, "--output-dir", file.stem]))
    results = found["nodes run on random values"] = {}
    for each in catalogue_nodes():
        results[f"{each.__module__}.{each.__name__}"] = outcome(partial(run_node, each))
    sys.meta_path.remove(finder)
    answer.write_text(json.dumps({"results": found, "nodes": numbers, "stood_in": sorted(finder.found)}))


if __name__ == "__main__":
    main()
