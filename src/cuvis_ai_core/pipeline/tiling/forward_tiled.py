"""What `Pipeline.forward_tiled` does: a run by tiles where that is possible, and otherwise in one piece."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cuvis_ai_core.data.lazy_image import LazyImage
from cuvis_ai_core.node.array_node import Value
from cuvis_ai_core.node.tiling_declaration import tiling_of
from cuvis_ai_core.pipeline.execution.input_sources import BatchKey
from cuvis_ai_core.pipeline.execution.plan import Plan, RunStep
from cuvis_ai_core.pipeline.execution.run import answers_of, prepare, run_steps
from cuvis_ai_core.pipeline.execution.run_request import Address
from cuvis_ai_core.pipeline.execution.step import run_step
from cuvis_ai_core.pipeline.tiling.memory_limit import default_memory
from cuvis_ai_core.pipeline.tiling.passes import make_schedule
from cuvis_ai_core.pipeline.tiling.tile_assembly import Gathered, Into
from cuvis_ai_core.pipeline.tiling.tiled_run import Job, Progress, run_tiled
from cuvis_ai_core.pipeline.tiling.windows import image_size, tile_size

__all__ = ["Into", "Progress", "TiledRequest", "forward_tiled"]


@dataclass(frozen=True, slots=True)
class TiledRequest:
    """What a run by tiles is given.

    Attributes:
        batch: What is handed in; images may be lazy.
        context: What nodes are told about the run.
        memory: Bytes that tiles may take; None means a quarter of what is free.
        into: Makes the places of answers.
        progress: Is told after each tile.
    """

    batch: Mapping[BatchKey, Value]
    context: object = None
    memory: int | None = None
    into: Into | None = None
    progress: Progress | None = None


def forward_tiled(
    plan: Plan, nodes: Mapping[str, Any], request: TiledRequest, observed: RunStep | None
) -> dict[Address, Value]:
    """Run a plan, by tiles where that is possible and the images are larger than a tile.

    Args:
        plan: The plan.
        nodes: The nodes by name.
        request: What the run is given.
        observed: Runs a step while somebody looks; None where nobody does.
    """
    run = run_step if observed is None else observed
    image = _image(request.batch)
    if image is not None and plan.stage == "inference":
        schedule = make_schedule(plan, [tiling_of(nodes[step.node]) for step in plan.steps])
        memory = default_memory() if request.memory is None else request.memory
        # An image that is one tile is run as usual: passes and copies would be for nothing.
        if schedule.passes and image[1] * image[2] > tile_size(_largest(request.batch, image), memory):
            return run_tiled(
                Job(schedule, nodes, request.batch, image, memory, request.context, run, request.into, request.progress)
            )
    return _in_one_piece(plan, request, image, run)


def _in_one_piece(
    plan: Plan, request: TiledRequest, image: tuple[int, int, int] | None, run: RunStep
) -> dict[Address, Value]:
    batch = {key: value.whole() if isinstance(value, LazyImage) else value for key, value in request.batch.items()}
    values = prepare(plan, batch, request.context)
    # Its whole images are in `values` as well: released there, they would live on here.
    del batch
    run_steps(plan, values, run)
    answers = answers_of(plan, values)
    if request.into is None:
        return answers
    gathered = Gathered(plan, request.into, image or (0, 0, 0), 0)
    for slot, value in enumerate(answers.values(), plan.first_answer):
        gathered.take(slot, value)
    return gathered.answers()


def _image(batch: Mapping[BatchKey, Value]) -> tuple[int, int, int] | None:
    """Return batch, height and width of the images that are handed in: of the lazy one, else of most cubes."""
    lazy = [value for value in batch.values() if isinstance(value, LazyImage)]
    cubes = lazy or [value for value in batch.values() if len(getattr(value, "shape", ())) == 4]  # noqa: PLR2004
    sizes = Counter(size for each in cubes if (size := image_size(each)))
    # Of most cubes: a spectrum or a reference beside the image may have four axes too.
    return sizes.most_common(1)[0][0] if sizes else None


def _largest(batch: Mapping[BatchKey, Value], image: tuple[int, int, int]) -> tuple[int, ...]:
    return max(tuple(value.shape) for value in batch.values() if image_size(value) == image)
