"""`cuvis-ai plugins try`: load a plugin for once, show its nodes with their ports, and run each on a small cube."""

import inspect
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cuvis_ai_core.cli.shared.error_messages import FAILED
from cuvis_ai_core.cli.shared.options import GivenText, allow_build_option, offline_option, path_option, shared_options
from cuvis_ai_core.cli.shared.output import say

if TYPE_CHECKING:
    from cuvis_ai_core.data import Cube
    from cuvis_ai_core.registry import NodeRegistry


@click.command("try")
@click.argument("source", type=GivenText(), metavar="PATH|URL[@TAG]")
@path_option("--cube", description="A cube to run its nodes on.  [default: 20 x 16 pixels of Indian Pines]")
@allow_build_option
@offline_option
@shared_options
def try_plugin(source: str, cube: Path | None) -> None:
    """Load a plugin that no manifest names, show its nodes with their ports, and run each of them on a small cube.

    Nothing of it stays but what the plugin cache has. Values that no cube has are made up. The exit status is 1 if a
    node fails.
    """
    from cuvis_ai_core.cli.plugins.check.subject import find
    from cuvis_ai_core.cli.plugins.check.trial_run import entry_of, provided
    from cuvis_ai_core.cli.shared.plugin_loading import plugin_progress
    from cuvis_ai_core.cli.shared.progress import working
    from cuvis_ai_core.cli.shared.tables import print_table
    from cuvis_ai_core.data import read_cube
    from cuvis_ai_core.errors import InvalidNodeError
    from cuvis_ai_core.registry import NodeRegistry
    from cuvis_ai_core.testing.real_scene import small_scene

    subject = find(source, None)
    nodes = provided(subject)
    if not nodes:
        raise InvalidNodeError(
            f"No node class is found in {source}.", hint=f"See what is wrong: cuvis-ai plugins check {source}", node=""
        )
    with NodeRegistry(discover=False) as registry:
        with plugin_progress() as display:
            registry.register_hooks(display)
            registry.load_plugin(subject.plugin, entry_of(subject, nodes))
        # Else the end of the registry would be told as well: that the plugin is unloaded.
        registry.unregister_hooks(display)
        scene = read_cube(cube, registry.cube_readers()) if cube else small_scene()
        found = [(path, registry.get(path)) for path in registry.plugin_info(subject.plugin).nodes]
        print_table(
            ("node", "inputs", "outputs"),
            [(node.__name__, _ports(node, "INPUT_SPECS"), _ports(node, "OUTPUT_SPECS")) for _, node in found],
            title=f"{subject.name} has",
        )
        with working("Running its nodes"):
            rows = [(node.__name__, *_run(registry, node, scene)) for _, node in found]
    say()
    height, width, channels = scene.data.shape
    print_table(("node", "time", "what came out"), rows, title=f"On {height} x {width} pixels of {channels} bands")
    if any(cells[1] == _FAILED for cells in rows):
        raise click.exceptions.Exit(FAILED)


_FAILED = "failed"


def _ports(node_class: type, side: str) -> list[str]:
    from cuvis_ai_core.node.ports import read_ports

    return [f"{port.name}: {port}" for port in read_ports(node_class, side).values()] or ["-"]


def _run(registry: "NodeRegistry", node_class: Any, cube: "Cube") -> tuple[str, str | list[str]]:
    """Return how long a node took and what it answered; or why it did not."""
    from cuvis_ai_core._error_location import words_of
    from cuvis_ai_core.errors import CuvisError
    from cuvis_ai_core.node.class_checks import check_class, construct
    from cuvis_ai_core.pipeline.pipeline import Pipeline

    needed = [
        name
        for name, each in inspect.signature(node_class).parameters.items()
        if each.default is each.empty and each.kind not in {each.VAR_KEYWORD, each.VAR_POSITIONAL}
    ]
    # Made-up values would be refused by the constructor, or taken, and say nothing of the node then.
    if needed:
        return "-", f"not run: it needs {', '.join(needed)}"
    try:
        check_class(node_class)
        defaults = registry.node_defaults(registry.public_path(node_class))
        node = construct(node_class, **(defaults.params if defaults else {}))
        values = _values(node, cube)
        if node.requires_initial_fit and not node.statistically_initialized:
            node.statistical_initialization([values])
        pipeline = Pipeline("try", node_registry=registry, allow_untrained=True).add(node)
        # Behind the learning, which happens once.
        begun = time.perf_counter()
        results = pipeline.forward({f"{node.name}.{port}": value for port, value in values.items()})
        spent = time.perf_counter() - begun
    except CuvisError as error:
        return _FAILED, [error.message, *(error.hint or "").splitlines()]
    except ValueError as error:  # of its constructor: it says what it needs
        return "-", f"not run: {error}"
    except Exception as error:
        return _FAILED, words_of(error)
    return f"{spent * 1000:.1f} ms", list(_answers(results)) or "nothing in the stage 'inference'"


def _values(node: Any, cube: "Cube") -> dict[str, Any]:
    """Return values for the inputs of a node: the cube where it fits, else made-up ones."""
    from cuvis_ai_core.node.ports import FREE, read_ports
    from cuvis_ai_core.testing.node_checks import made_up

    batch = cube.batch()
    values = made_up(node, sizes=batch["cube"].shape)
    for name, port in read_ports(type(node), "INPUT_SPECS").items():
        image = len(port.shape) == batch["cube"].ndim and all(size in {FREE, 1} for size in port.shape)
        if name == "wavelengths" and name in batch:
            values[name] = _as(values.get(name), batch[name])
        elif name in values and image:
            # A port of one channel gets one band: real numbers tell more than made-up ones.
            data = batch["cube"] if port.shape[-1] == FREE else batch["cube"][..., :1]
            values[name] = _as(values[name], data)
    return values


def _as(example: Any, array: Any) -> Any:
    """Return an array in the type and the library of another value."""
    if hasattr(example, "detach"):
        import torch

        return torch.as_tensor(array).to(example.dtype)
    return array.astype(example.dtype) if example is not None else array


def _answers(results: Any) -> Iterator[str]:
    import numpy as np

    for (_, port), value in results.items():
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
        if array.dtype.kind not in "biuf" or not array.size:
            yield f"{port}: {type(value).__name__}"
            continue
        shape = " x ".join(map(str, array.shape)) or "one value"
        missing = int(np.isnan(array).sum()) if array.dtype.kind == "f" else 0
        # NumPy warns of arrays that hold nothing but NaN, and answers with NaN.
        spread = f"{np.nanmin(array):.4g} to {np.nanmax(array):.4g}" if missing < array.size else "not a number"
        yield f"{port}: {array.dtype} {shape}, {spread}{f', {missing} NaN' if 0 < missing < array.size else ''}"
