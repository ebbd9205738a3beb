"""A pipeline run on the samples of a data module: what a published `restore-pipeline --data-module` does."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from cuvis_ai_core.cli.restore.describe_pipeline import draw_pipeline
from cuvis_ai_core.cli.restore.pipeline_options import Options
from cuvis_ai_core.cli.shared.output import say
from cuvis_ai_core.cli.shared.progress import running
from cuvis_ai_core.cli.shared.tables import print_table
from cuvis_ai_core.pipeline.profiler import Profiler
from cuvis_ai_core.plugins.manifest_folders import folders_above
from cuvis_ai_core.training.named_data_modules import module_to_predict
from cuvis_ai_core.training.predictor import Predictor

if TYPE_CHECKING:
    from cuvis_ai_core.registry import NodeRegistry


def run_data_module(registry: "NodeRegistry", given: Options) -> None:
    """Run a pipeline on all samples of a data module, and print what came out and how long each node took.

    Nothing is written but what nodes write: batches are no images with a place of their own.

    Args:
        registry: Where the classes of the nodes come from, and the data module of a plugin.
        given: The options of `restore-pipeline`.

    Raises:
        click.BadParameter: An argument is not `KEY=VALUE`, or a key stands twice.
        TrainRunError: The data module is not known, or cannot be made or set up.
        CuvisError: The pipeline cannot be loaded, or fails.
    """
    assert given.data_module is not None
    arguments = _by_name(given.data_arg)
    with given.load(registry) as pipeline:
        draw_pipeline(pipeline, given)
        profiler, told, count = Profiler(), _Told(), 0
        above = folders_above(pipeline.files.file) if pipeline.files else []
        batches = module_to_predict(given.data_module, arguments, [*above, *given.plugins_dir], registry)
        registry.register_hooks(profiler)
        kept = given.keep or pipeline.last_outputs()
        with running(registry, f"Running {len(pipeline.nodes)} nodes on the data module '{given.data_module}'"):
            for outputs in Predictor(pipeline).outputs_of(batches, kept):
                count += 1
                told.take(outputs)
    print_table(
        ("output", "dtype", "shape", "min", "max"), told.rows(), title="Results", empty="No output is an array."
    )
    say()
    print_table(profiler.headings, profiler.rows(), title="Time of the nodes", empty="No node ran.")
    say(f"\nRun on {count} batches of the data module '{given.data_module}'.")


def _by_name(texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for text, (key, equals, _) in zip(texts, pairs, strict=True):
        if not key or not equals:
            raise click.BadParameter(f"'{text}' is not KEY=VALUE.", param_hint="--data-arg")
        # `dict` would take the last one without a word.
        if sum(key == other for other, *_ in pairs) > 1:
            raise click.BadParameter(f"'{key}' stands twice.", param_hint="--data-arg")
    return {key: value for key, _, value in pairs}


class _Told:
    """Type, shape, least and greatest value of each output, over all batches."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], tuple[str, str, float, float]] = {}

    def take(self, outputs: Mapping[tuple[str, str], Any]) -> None:
        """Count the outputs of a batch."""
        from cuvis_ai_core.results.output_values import as_array

        for address, value in outputs.items():
            array = None if value is None else as_array(value)
            if array is None:
                continue
            known, shape = self._found.get(address), "x".join(map(str, array.shape)) or "one value"
            real = array.size and array.dtype.kind in "biuf"
            least, most = (float(array.min()), float(array.max())) if real else (float("inf"), float("-inf"))
            if known is not None:
                shape = shape if shape == known[1] else "different ones"
                least, most = min(least, known[2]), max(most, known[3])
            self._found[address] = (str(array.dtype), shape, least, most)

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row for each output."""
        return [
            (".".join(address), dtype, shape, *(("-", "-") if least > most else (f"{least:.4g}", f"{most:.4g}")))
            for address, (dtype, shape, least, most) in self._found.items()
        ]
