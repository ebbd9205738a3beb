"""One run of a pipeline on a cube, shown while it goes on, with a table of what came out."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_core.cli.restore.pipeline_options import Options
from cuvis_ai_core.cli.shared.output import say
from cuvis_ai_core.cli.shared.progress import TileDisplay, running, working
from cuvis_ai_core.cli.shared.tables import print_table
from cuvis_ai_core.results.cube_run import Run
from cuvis_ai_core.results.output_files import ARCHIVE
from cuvis_ai_core.results.run_record import RECORD

if TYPE_CHECKING:
    from cuvis_ai_core.registry import NodeRegistry

_NO_RUN: Final = "No node ran in the stage 'inference': look at their execution_stages."
_NO_RESULTS: Final = "No output is an array: name others by --keep NODE.PORT, or look at the nodes' execution_stages."


def run_cube(registry: "NodeRegistry", given: Options) -> None:
    """Run a pipeline on a cube, or on several of its file; write the results and print a table of them.

    Args:
        registry: Where the classes of the nodes come from, and the cube readers.
        given: The options of `restore-pipeline`.

    Raises:
        CuvisError: As of `Pipeline.load` and `Run.write_to`.
        OSError: The disk is full.
    """
    assert given.cube_path is not None
    with given.load(registry) as pipeline:
        run = Run(
            registry=registry,
            pipeline=pipeline,
            manifest=given.plugins_path,
            cube_path=given.cube_path,
            measurement=given.measurement,
            annotations=given.annotation_json_path,
            processing_mode=given.processing_mode,
            picture=given.pipeline_vis_ext,
            profiled=given.profile,
            keep=given.keep,
            memory=given.memory,
            format=given.format,
            command=shlex.join(["restore-pipeline", *sys.argv[1:]]),
        )
        folder = given.output_dir or run.default_folder
        several = [
            (replace(run, measurement=each), folder / f"measurement-{each}") for each in given.measurement_indices
        ]
        for one, place in several or [(run, folder)]:
            _run_one(one, place)


def _run_one(run: Run, folder: Path) -> None:
    tiles: list[TileDisplay] = []

    @contextmanager
    def shown(text: str) -> Iterator[None]:
        # Reading and writing have neither nodes nor tiles to tell of.
        if not text.startswith("Running"):
            with working(text):
                yield
            return
        with running(run.registry, text) as display:
            tiles.append(display)
            yield

    def tell(done: int, total: int) -> None:
        tiles[-1](done, total)

    written = run.write_to(folder, shown, tell)
    _print_files(written.files)
    if written.profiler is not None:
        say()
        print_table(written.profiler.headings, written.profiler.rows(), title="Time of the nodes", empty=_NO_RUN)
    say(f"\nWritten to {written.folder}: {_holders(written.files)} {RECORD} says what ran.")


def _holders(files: list[dict[str, Any]]) -> str:
    """Say which files hold arrays."""
    names = list(dict.fromkeys(each["file"] for each in files if "key" in each))
    if names in ([], [ARCHIVE]):
        return f"{ARCHIVE} holds all arrays,"
    return f"{names[0]} holds an array," if len(names) == 1 else f"{', '.join(names)} hold arrays,"


def _print_files(files: list[dict[str, Any]]) -> None:
    def cells(each: dict[str, Any]) -> tuple[str, ...]:
        shape = "x".join(map(str, each["shape"])) or "one value"
        port = (each["node"], each["port"])
        pictures = [other["file"] for other in files if "kind" in other and (other["node"], other["port"]) == port]
        return each["key"], each["dtype"], shape, _number(each["min"]), _number(each["max"]), _short(pictures)

    rows = [cells(each) for each in files if "key" in each]
    print_table(("output", "dtype", "shape", "min", "max", "picture"), rows, title="Results", empty=_NO_RESULTS)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _short(names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more}" if names else "-"
