"""What a pipeline adds to each node's `forward`, against a plain loop: `python benchmarks/per_node_call.py`.

Chains of trivial nodes hand a small NumPy array on, then a small tensor, with all checks of dtype and shape. A tensor
costs more: what a node writes into what it was given is found by looking before and after.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.node import ArrayNode, Node
from cuvis_ai_core.pipeline import Pipeline

Cube: TypeAlias = Any
Run: TypeAlias = Callable[[Cube], object]

CUBE = PortSpec(dtype=np.float32, shape=(-1, -1, -1, -1))
LENGTHS = (10, 100, 10_000)
ROUNDS = 30
NODE_CALLS_PER_ROUND = 20_000


class PassOn(ArrayNode):
    """Hand the input on."""

    INPUT_SPECS: ClassVar = {"cube": CUBE}
    OUTPUT_SPECS: ClassVar = {"cube": CUBE}

    def forward(self, cube: Cube) -> dict[str, Cube]:
        """Return the input."""
        return {"cube": cube}


class PassTensorOn(Node):
    """Hand the input on."""

    INPUT_SPECS: ClassVar = {"cube": PortSpec(dtype=torch.float32, shape=(-1, -1, -1, -1))}
    OUTPUT_SPECS: ClassVar = INPUT_SPECS

    def forward(self, cube: torch.Tensor, **_: Any) -> dict[str, torch.Tensor]:
        """Return the input."""
        return {"cube": cube}


def chain(length: int, node_class: type) -> Pipeline:
    """Return a pipeline of `length` nodes in a row."""
    path = f"{__name__}.{node_class.__name__}"
    nodes = [{"name": f"n{number}", "class_name": path} for number in range(length)]
    edges = [{"source": f"n{number}.cube", "target": f"n{number + 1}.cube"} for number in range(length - 1)]
    return Pipeline.from_dict({"nodes": nodes, "edges": edges})


def plain_loop(pipeline: Pipeline) -> Run:
    """Return what a person would write by hand, without checks."""
    nodes = [pipeline.nodes[name] for name in pipeline.order]

    def run(cube: Cube) -> Cube:
        for node in nodes:
            cube = node.forward(cube=cube)["cube"]
        return cube

    return run


def with_batch(pipeline: Pipeline) -> Run:
    """Return the run of a pipeline as a function of the cube."""
    return lambda cube: pipeline.forward({"cube": cube})


def seconds(function: Run, cube: Cube, calls: int) -> float:
    """Return the time of one call, the mean of `calls` calls."""
    start = time.perf_counter()
    for _ in range(calls):
        function(cube)
    return (time.perf_counter() - start) / calls


def main() -> None:
    """Measure both in turn and print the medians."""
    array = np.zeros((1, 4, 4, 3), dtype=np.float32)
    print("nodes          plain loop   pipeline   added by the pipeline   ratio     (microseconds per node)")
    for length in LENGTHS:
        _compare(length, PassOn, array)
    _compare(100, PassTensorOn, torch.from_numpy(array))


def _compare(length: int, node_class: type, cube: Cube) -> None:
    pipeline = chain(length, node_class)
    by_hand = plain_loop(pipeline)
    calls = max(NODE_CALLS_PER_ROUND // length, 1)
    pairs = [(seconds(by_hand, cube, calls), seconds(with_batch(pipeline), cube, calls)) for _ in range(ROUNDS)]
    loop, piped = (statistics.median(column) / length * 1e6 for column in zip(*pairs, strict=True))
    kind = "tensor" if node_class is PassTensorOn else "array"
    print(f"{length:5} {kind:8} {loop:10.2f}   {piped:8.2f}   {piped - loop:21.2f}   {piped / loop:5.1f}")


if __name__ == "__main__":
    main()
