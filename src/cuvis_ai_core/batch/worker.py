"""A worker: loads the plugins and the pipeline once, and then runs cube after cube.

`python -m cuvis_ai_core.batch.worker` is one that reads a line for each cube and answers a line for each; what nodes
print goes to its log. It ends at once with whoever started it, however that ends.
"""

import errno
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TextIO

from cuvis_ai_core._process_group import end_with_parent
from cuvis_ai_core.batch.engine import FULL
from cuvis_ai_core.batch.job import Job
from cuvis_ai_core.batch.job_cubes import Unit, batch_record
from cuvis_ai_core.batch.worker_memory import limit_memory, peak_memory
from cuvis_ai_core.errors import CuvisError, OutputError
from cuvis_ai_core.pipeline.pipeline import Pipeline
from cuvis_ai_core.registry import NodeRegistry
from cuvis_ai_core.results.cube_run import Run
from cuvis_ai_core.results.run_record import node_records

_LONGEST: Final = 4000
"""Signs of the text of an error that are kept."""


class Worker:
    """Runs a job's pipeline on cubes.

    Args:
        job: What is done to each.
        output: The folder of the results.
        fingerprint: Of the job.
        name: By which it is known in records.

    Raises:
        CuvisError: The plugins or the pipeline cannot be loaded.
    """

    def __init__(self, job: Job, output: Path, fingerprint: str, name: str) -> None:
        self._fingerprint = fingerprint
        self._name = name
        self._output = output
        registry = NodeRegistry()
        if job.manifest is not None:
            registry.load_plugins(job.manifest)
        pipeline = Pipeline.load(
            job.pipeline,
            node_registry=registry,
            weights=job.weights,
            device=job.device,
            overrides=job.overrides,
            allow_untrained=job.allow_untrained,
        )
        self.nodes = node_records(registry, pipeline)
        self._run = Run(
            registry=registry,
            pipeline=pipeline,
            manifest=Path(job.manifest) if job.manifest else None,
            cube_path=Path(),
            measurement=job.measurement,
            processing_mode=job.processing_mode,
            keep=job.keep,
            memory=job.memory,
            format=job.format,
            page=False,  # there is one for all cubes
            nodes=self.nodes,
        )

    def run(self, unit: Unit, tries: int = 1) -> dict[str, Any]:
        """Run one cube, and return what became of it: seconds, and an error if there is one."""
        begun = time.monotonic()
        found: dict[str, Any] = {}
        try:
            state = _state(unit)

            def about() -> Mapping[str, Any]:
                seconds = round(time.monotonic() - begun, 4)
                record = batch_record(unit, self._fingerprint, state, seconds=seconds, worker=self._name, tries=tries)
                return {"batch": record}

            replace(self._run, cube_path=Path(unit.cube), about=about).write_to(self._output / unit.name)
        except (Exception, SystemExit) as error:  # one bad cube is not the end of the others
            found |= told(error)
        return found | {"seconds": round(time.monotonic() - begun, 4), "peak": peak_memory()}


def _state(unit: Unit) -> list[int]:
    try:
        return unit.state()
    except OSError:  # whoever reads it says why; if it can be read all the same, it counts as changed next time
        return []


def told(error: BaseException) -> dict[str, Any]:
    """Return what is said of an error."""
    text = str(error) if isinstance(error, CuvisError) else f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError):
        text = "It ran out of memory. Give its worker more, with fewer --workers, or have tiles take less: --memory"
    found = {"error": text[:_LONGEST], "kind": type(error).__name__, "node": getattr(error, "node", None)}
    number = _no_cubes_fault(error)
    return found | ({"full": number} if number else {})


def _no_cubes_fault(error: BaseException) -> int | None:
    """Return what is wrong where it is no cube's fault: a disk is full, or may not be written."""
    each: BaseException | None = error
    while each is not None:
        number = each.errno if isinstance(each, OSError) else None
        if number in FULL or (number == errno.EROFS and isinstance(error, OutputError)):
            return number
        # The error of a node wraps that of the system, which alone has a number
        each = each.__cause__
    return None


def main() -> None:
    """Serve whoever started this process, by lines of JSON."""
    # Libraries of C print to descriptor 1 whatever `sys.stdout` is
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what nodes print is no answer
    end_with_parent()
    asked: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    # Read in a thread, so that the end of the driver is seen while a cube runs
    threading.Thread(target=_read, args=(sys.stdin, asked.put), daemon=True).start()
    setup = asked.get()
    limit_memory(setup["memory"])
    try:
        worker = Worker(Job.from_dict(setup["job"]), Path(setup["output"]), setup["fingerprint"], setup["name"])
    except (Exception, SystemExit) as error:  # told to whoever started it
        _say(answers, {"event": "broken", **told(error)})
        return
    _say(answers, {"event": "ready", "nodes": worker.nodes, "peak": peak_memory()})
    while True:
        unit = asked.get()
        _say(answers, {"event": "done", **worker.run(Unit(unit["cube"], unit["name"]), unit["tries"])})


def _read(stream: TextIO, put: Callable[[dict[str, Any]], None]) -> None:
    for line in stream:
        put(json.loads(line))
    # `sys.exit` in a thread ends only that thread
    os._exit(0)  # whoever started this process is gone, or needs it no more; it may be in the middle of a cube


def _say(stream: TextIO, answer: dict[str, Any]) -> None:
    stream.write(json.dumps(answer) + "\n")
    stream.flush()


if __name__ == "__main__":
    main()
