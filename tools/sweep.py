"""Do the same with every node class of an installed catalogue on two cores, and print where they differ.

    python tools/sweep.py probe ANSWER.json      # in an environment that has the catalogue and one core
    python tools/sweep.py compare HERE.json THERE.json

Each class is constructed with its defaults or the arguments that its signature asks for, alone and in a pipeline of one
node; is looked at; learns; runs in every stage on the same values; is saved, loaded, and runs again. Both cores are
asked by names that they share, and what one of them cannot do is part of the answer.
"""

import contextlib
import importlib
import inspect
import io
import json
import pkgutil
import sys
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

SIZES = (2, 6, 8, 61)
ROUNDS = 3
STAGES = ("train", "val", "test", "inference")
ARGUMENTS: dict[str, Any] = {
    "channel": 1,
    "entries": [["one", [255, 0, 0]]],
    "k": 3,
    "min_wavelength_nm": 500.0,
    "n_components": 3,
    "n_select": 4,
    "normal_class_ids": [0],
    "occlusion_end_frame": 3,
    "occlusion_start_frame": 1,
    "output_channels": 3,
    "points": [{"x": 2, "y": 2, "label": 1}],
    "prompt_frame_id": 0,
    "reference_wavelengths": [500.0, 600.0, 700.0],
    "rep_dim": 4,
    "threshold": 0.5,
    "track_ids": [1],
    "wavelengths": [500.0, 600.0, 700.0],
    "windows": [[450.0, 500.0], [550.0, 600.0], [650.0, 700.0]],
}
"""For parameters without a default; numbers of channels are those of the cube."""
FILES = {
    ".json": {
        "images": [{"id": 0, "file_name": "0.png", "width": 8, "height": 6}],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 1, 3, 3], "track_id": 1, "score": 1.0}],
        "categories": [{"id": 1, "name": "one"}],
    }
}


def classes() -> Iterator[type]:
    """Yield the node classes of the catalogue that can be constructed."""
    import cuvis_ai  # type: ignore[import-not-found]

    from cuvis_ai_core.node.node import Node

    for found in pkgutil.walk_packages(cuvis_ai.__path__, "cuvis_ai."):
        with contextlib.suppress(Exception):
            module = importlib.import_module(found.name)
            for each in vars(module).values():
                is_own = inspect.isclass(each) and each.__module__ == found.name
                if is_own and issubclass(each, Node) and not inspect.isabstract(each):
                    yield each


def arguments_of(node_class: type, folder: Path) -> dict[str, Any]:
    """Return values of the parameters that have no default."""
    asked = [
        each.name
        for each in inspect.signature(node_class.__init__).parameters.values()  # type: ignore[misc]
        if each.default is each.empty and each.kind not in {each.VAR_KEYWORD, each.VAR_POSITIONAL}
    ]
    return {name: argument(name, folder) for name in asked[1:]}


def argument(name: str, folder: Path) -> Any:
    """Return a value of one parameter."""
    if name.endswith(("_dir", "_path")):
        kind = ".json" if "json" in name else ".mp4" if "video" in name else ".npy" if "file" in name else ".png"
        place = folder / (name if name.endswith("_dir") else f"{name}{kind}")
        if kind in FILES and not name.startswith("output"):
            place.write_text(json.dumps(FILES[kind]), encoding="utf-8")
        return str(place)
    return ARGUMENTS.get(name, SIZES[-1] if "channels" in name or "bands" in name else 1)


def batch_of(node: Any, number: int, *, sparse: bool = False) -> dict[str, Any]:
    """Return values of a node's input ports, the same in every process; where sparse, of those that it needs."""
    batch = {}
    for port, spec in type(node).INPUT_SPECS.items():
        is_several = isinstance(spec, list) or getattr(spec, "variadic", False)
        one = spec[0] if isinstance(spec, list) else spec
        if sparse and getattr(one, "optional", False):
            continue
        value = value_of(node, port, one, number)
        batch[port] = [value] if is_several else value
    return batch


def value_of(node: Any, port: str, spec: Any, number: int) -> Any:
    """Return a value of one port."""
    import numpy as np
    import torch

    dtype = spec["dtype"] if isinstance(spec, dict) else spec.dtype
    given = spec["shape"] if isinstance(spec, dict) else spec.shape
    name = str(dtype).removeprefix("torch.").removeprefix("<class '").removesuffix("'>").removeprefix("numpy.")
    if name in {"str", "dict", "list"}:
        return {"str": "text", "dict": {}, "list": []}[name]
    sizes = [getattr(node, each, 3) if isinstance(each, str) else each for each in given]
    shape = [each if isinstance(each, int) and each > 0 else SIZES[i % 4] for i, each in enumerate(sizes)]
    if "wavelengths" in port:
        shape = [SIZES[-1]] if len(shape) == 1 else [*shape[:-1], SIZES[-1]]
        values = np.broadcast_to(np.linspace(430, 910, shape[-1]), shape)
    else:
        values = np.random.default_rng(zlib.crc32(f"{port}{number}".encode())).random(shape)
    if name == "bool":
        return torch.from_numpy(values > 0.5)  # noqa: PLR2004
    if not name.startswith(("float", "ndarray")) and "wavelengths" not in port:
        values = values * 2
    if getattr(dtype, "__module__", "") == "numpy":
        return np.asarray(values, np.float32 if name == "ndarray" else dtype)
    return torch.from_numpy(np.ascontiguousarray(values)).to(getattr(torch, name, torch.float32))


def plain(value: Any) -> Any:
    """Return a value as JSON has it, tensors by their shapes and digests of their values."""
    import numpy as np
    import torch

    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray) and value.dtype != object:
        numbers = np.nan_to_num(value.astype(np.float64).ravel())
        parts = np.array_split(numbers, 4) if numbers.size >= 4 else [numbers]  # noqa: PLR2004
        return [f"{value.dtype}{list(value.shape)}", *(float(f"{each.mean():.4g}") for each in parts if each.size)]
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in sorted(value.items(), key=lambda item: str(item[0]))}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(each) for each in (sorted(value, key=str) if isinstance(value, (set, frozenset)) else value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(getattr(value, "value", None) or type(value).__name__)


def told(work: Callable[[], Any]) -> Any:
    """Return what some work returns, or the kind and first words of its error."""
    import torch

    torch.manual_seed(7)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return plain(work())
    except (Exception, SystemExit) as error:  # noqa: BLE001
        return {"error": type(error).__name__, "words": " ".join(str(error).split())[:300]}


def asked(something: Any, method: str) -> Any:
    """Return what a method answers, which one of the cores may not have."""
    return told(lambda: getattr(something, method)())  # noqa: PLW0108 - it is looked up within


def looks(node: Any) -> dict[str, Any]:
    """Return what a node says of itself."""
    kind = type(node)
    return {
        "hparams": told(lambda: dict(node.hparams)),
        "category": asked(kind, "get_category"),
        "tags": asked(kind, "get_tags"),
        "icon": asked(kind, "get_icon_name"),
        "stages": told(lambda: sorted(each.value for each in node.execution_stages)),
        "needs to learn": told(lambda: node.requires_initial_fit),
        "learned": told(lambda: node._statistically_initialized),  # noqa: SLF001
        "frozen": told(lambda: node.frozen),
        "weights": told(lambda: dict(node.state_dict())),
        "trainable": told(lambda: [name for name, each in node.named_parameters() if each.requires_grad]),
        "ports": told(lambda: {name: [each.spec.dtype, each.spec.shape] for name, each in ports(node)}),
        "supports serialization": asked(node, "validate_serialization_support"),
    }


def ports(node: Any) -> Iterator[tuple[str, Any]]:
    """Yield the ports of a node that have one specification, by name."""
    for side, specs in (("inputs", type(node).INPUT_SPECS), ("outputs", type(node).OUTPUT_SPECS)):
        for name in specs:
            port = getattr(getattr(node, side), name)
            if hasattr(port.spec, "dtype"):
                yield f"{side}.{name}", port


def runs(pipeline: Any, node: Any) -> dict[str, Any]:
    """Return what a pipeline of one node answers in each stage, and to those inputs alone that it needs."""
    answers = {stage: told(partial(run, pipeline, node, stage)) for stage in STAGES}
    return {**answers, "sparse": told(partial(run, pipeline, node, "val", sparse=True))}


def run(pipeline: Any, node: Any, stage: str, *, sparse: bool = False) -> dict[str, Any]:
    """Return what a pipeline of one node answers, by port."""
    from cuvis_ai_schemas.enums import ExecutionStage
    from cuvis_ai_schemas.execution import Context

    kind = ExecutionStage(stage)
    context = Context(stage=kind, epoch=1, batch_idx=1, global_step=1)
    given = pipeline.forward(batch=batch_of(node, 0, sparse=sparse), stage=kind, context=context)
    return {str(key[1] if isinstance(key, tuple) else key): each for key, each in given.items()}


def learn(node: Any) -> str:
    """Let a node learn from some batches, where its class can."""
    if not node.requires_initial_fit:
        return "nothing"
    node.statistical_initialization(iter([batch_of(node, number) for number in range(ROUNDS)]))
    return "learned"


def case(node_class: type, folder: Path) -> dict[str, Any]:
    """Return all that is told of a class."""
    given = arguments_of(node_class, folder)
    found: dict[str, Any] = {"arguments": plain(given)}
    made: list[Any] = []
    found["built"] = told(lambda: made.append(node_class(**given, name="one")))
    if made:
        found["looks"] = looks(made[0])
        found |= in_a_pipeline(f"{node_class.__module__}.{node_class.__name__}", given, folder)
    return found


def in_a_pipeline(path: str, given: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return what is told of a class as the only node of a pipeline."""
    from cuvis_ai_core.pipeline.factory import PipelineBuilder
    from cuvis_ai_core.pipeline.pipeline import CuvisPipeline

    class_key, hparams_key = ("class", "params") if is_old() else ("class_name", "hparams")
    line = {"name": "one", class_key: path, hparams_key: given}
    content = {"metadata": {"name": "sweep"}, "nodes": [line], "connections": []}
    pipelines: list[Any] = []
    found = {"pipeline": told(lambda: pipelines.append(PipelineBuilder().build_from_config(content)))}
    if not pipelines:
        return found
    node = only_node(pipelines[0])
    found["before learning"] = runs(pipelines[0], node)
    found["learning"] = told(lambda: learn(node))
    found["weights learned"] = told(lambda: dict(node.state_dict()))
    found["after learning"] = runs(pipelines[0], node)
    found["frozen"] = told(lambda: [node.freeze(), node.frozen, node.unfreeze(), node.frozen])
    file = folder / "saved.yaml"
    found["saved"] = told(lambda: pipelines[0].save_to_file(str(file)) and None)
    found["loaded"] = told(lambda: pipelines.append(CuvisPipeline.load_pipeline(str(file))))
    if pipelines[1:]:
        node = only_node(pipelines[1])
        found["loaded hparams"] = told(lambda: dict(node.hparams))
        found["loaded runs"] = runs(pipelines[1], node)
    return found


def only_node(pipeline: Any) -> Any:
    """Return the node of a pipeline that has one."""
    return next(iter(pipeline.nodes() if callable(pipeline.nodes) else pipeline.nodes))


def is_old() -> bool:
    """Return whether the core reads pipelines of the first generation alone."""
    from importlib.metadata import version

    return version("cuvis-ai-core").startswith(("0.1.", "0.2."))


def probe(answer: Path) -> None:
    """Write what is told of each class."""
    warnings.simplefilter("ignore")
    found = {}
    for each in classes():
        with tempfile.TemporaryDirectory() as folder:
            text = json.dumps(case(each, Path(folder))).replace(folder, "FOLDER")
        found[f"{each.__module__}.{each.__name__}"] = json.loads(text)
        print(".", end="", flush=True)
    answer.write_text(json.dumps(found, indent=1), encoding="utf-8")


def differences(here: Any, there: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield where two answers differ; errors are alike whatever their words."""
    if isinstance(here, dict) and isinstance(there, dict):
        if "error" in here and "error" in there:
            return
        for key in sorted({*here, *there}):
            yield from differences(here.get(key, "-"), there.get(key, "-"), f"{place}/{key}" if place else key)
    elif here != there:
        yield place, here, there


def compare(here: Path, there: Path) -> None:
    """Print the differences, those of one place together."""
    one, two = (json.loads(each.read_text(encoding="utf-8")) for each in (here, there))
    places: dict[str, list[str]] = {}
    for name in sorted({*one, *two}):
        for place, mine, other in differences(one.get(name, {}), two.get(name, {})):
            shown = f"{name.rpartition('.')[2]}: {json.dumps(mine)[:300]} | {json.dumps(other)[:300]}"
            places.setdefault(place, []).append(shown)
    print(f"{len(one)} and {len(two)} classes")
    for place, lines in sorted(places.items()):
        print(f"{place}: {len(lines)}", *lines, sep="\n    ")


if __name__ == "__main__":
    work, *files = map(str, sys.argv[1:])
    if work == "probe":
        probe(Path(files[0]))
    else:
        compare(*map(Path, files))
