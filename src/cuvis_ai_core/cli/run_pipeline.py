"""One run of a pipeline on a cube, shown while it goes on, with a table of what came out."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core.cli.output import say
from cuvis_ai_core.cli.progress import TileDisplay, running, working
from cuvis_ai_core.cli.tables import print_table
from cuvis_ai_core.results.outputs import ARCHIVE
from cuvis_ai_core.results.record import RECORD
from cuvis_ai_core.results.run import Run

_NO_RUN: Final = "No node ran in the stage 'inference': look at their execution_stages."
_NO_RESULTS: Final = "No output is an array: look at what nodes answer, and at their execution_stages."


def run_all(run: Run, folder: Path | None, measurements: tuple[int, ...]) -> None:
    """Run a pipeline on several cubes of a file, as `run_one` does on one; without any, on that one.

    Args:
        run: What is run on what.
        folder: Folder of the results; each of several cubes has one in it: `measurement-3`.
        measurements: Their numbers.
    """
    if not measurements:
        run_one(run, folder)
    for number in measurements:
        run_one(replace(run, measurement=number), (folder or run.default_folder) / f"measurement-{number}")


def run_one(run: Run, folder: Path | None) -> None:
    """Run a pipeline on a cube, write the results and print a table of them.

    Args:
        run: What is run on what.
        folder: Folder of the results; by default one in the working directory, named after the pipeline.

    Raises:
        CuvisError: As of `Run.write_to`.
        OSError: The disk is full.
    """
    tiles: list[TileDisplay] = []

    @contextmanager
    def shown(text: str) -> Iterator[None]:
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
