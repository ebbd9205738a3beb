"""What a pipeline adds to each node's `forward`, against a plain loop: `python benchmarks/per_node_call.py`.

Chains of trivial nodes hand a small NumPy array on, with all checks of dtype and shape.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

import numpy as np
from cuvis_ai_schemas.pipeline import PortSpec

from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.pipeline import Pipeline

Cube: TypeAlias = np.ndarray[Any, Any]
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


def chain(length: int) -> Pipeline:
    """Return a pipeline of `length` nodes in a row."""
    nodes = [{"name": f"n{number}", "class_name": f"{__name__}.PassOn"} for number in range(length)]
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
    cube = np.zeros((1, 4, 4, 3), dtype=np.float32)
    print("nodes   plain loop   pipeline   added by the pipeline   ratio     (microseconds per node)")
    for length in LENGTHS:
        pipeline = chain(length)
        by_hand = plain_loop(pipeline)
        calls = max(NODE_CALLS_PER_ROUND // length, 1)
        pairs = [(seconds(by_hand, cube, calls), seconds(with_batch(pipeline), cube, calls)) for _ in range(ROUNDS)]
        loop, piped = (statistics.median(column) / length * 1e6 for column in zip(*pairs, strict=True))
        print(f"{length:5}   {loop:10.2f}   {piped:8.2f}   {piped - loop:21.2f}   {piped / loop:5.1f}")


if __name__ == "__main__":
    main()
