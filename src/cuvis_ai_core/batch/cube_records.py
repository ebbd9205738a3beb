"""What is known of each cube: its own record beside its results, or why it failed.

A cube is done when its folder has a record of this job for the cube as it is, with the files that it names. The record
comes there at once with the results, so that there is no instant at which one of them is without the other. Files that
were cut off or changed since are no results any more.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core._atomic_writes import write_json
from cuvis_ai_core._untrusted_files import read_json
from cuvis_ai_core.batch.folder_ownership import STATE
from cuvis_ai_core.batch.job_cubes import Unit, unit_id
from cuvis_ai_core.results.folder import not_as_written, put_aside
from cuvis_ai_core.results.run_record import RECORD

_FAILED: Final = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a cube.

    Attributes:
        unit: The cube.
        error: Why it failed, None where it did not.
        kind: Class of the error.
        node: The node that failed, if one did.
        seconds: How long it took.
        worker: Which worker did it.
        tries: How often it was begun.
        values: Least and greatest value of each output, by `node.port`.
    """

    unit: Unit
    error: str | None = None
    kind: str | None = None
    node: str | None = None
    seconds: float = 0.0
    worker: str = ""
    tries: int = 1
    values: dict[str, tuple[float | None, float | None]] | None = None


class Records:
    """The records of a job.

    Args:
        output: The folder of the results.
        fingerprint: Of the job.
    """

    def __init__(self, output: Path, fingerprint: str) -> None:
        self._output = output
        self._fingerprint = fingerprint

    def known(self, units: Iterable[Unit]) -> Iterator[tuple[Unit, Outcome | None]]:
        """Yield each cube with what became of it, None where it is still to do, or has changed since."""
        for unit in units:
            yield unit, self._done(unit) or self._failed(unit)

    def had(self, unit: Unit) -> bool:
        """Tell whether a cube that is to do has results of this job."""
        return (self._output / unit.name / RECORD).is_file()

    def make_way(self, unit: Unit) -> list[str]:
        """Put results aside that somebody changed, and return what they are called now.

        Raises:
            OSError: They cannot be renamed.
        """
        return put_aside(self._output / unit.name)

    def fail(self, outcome: Outcome) -> None:
        """Note that a cube failed.

        Raises:
            OSError: The disk is full.
        """
        file = self._file(outcome.unit)
        file.parent.mkdir(parents=True, exist_ok=True)
        data = {
            "name": outcome.unit.name,
            "cube": outcome.unit.cube,
            "cube_state": _state(outcome.unit),
            "error": outcome.error,
            "kind": outcome.kind,
            "node": outcome.node,
            "seconds": outcome.seconds,
            "worker": outcome.worker,
            "tries": outcome.tries,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_json(file, data)

    def forget_failure(self, unit: Unit) -> None:
        """Forget that a cube failed: it is done, or is tried again."""
        self._file(unit).unlink(missing_ok=True)

    def _file(self, unit: Unit) -> Path:
        return self._output / STATE / _FAILED / f"{unit_id(unit)}.json"

    def _done(self, unit: Unit) -> Outcome | None:
        folder = self._output / unit.name
        record = read_json(folder / RECORD)
        about = record.get("batch") if record else None
        if not isinstance(about, dict) or about.get("fingerprint") != self._fingerprint:
            return None
        # Size and time of the cube's files: a hash would read all cubes again at each start
        if about.get("cube_state") != _state(unit):
            return None
        assert record is not None
        if next(not_as_written(folder, record), None) is not None:
            return None
        try:
            values = {
                f"{each['node']}.{each['port']}": (_number(each["min"]), _number(each["max"]))
                for each in record.get("files", [])
                if isinstance(each, dict) and "key" in each
            }
            return Outcome(unit, **_counted(about), values=values)
        except (KeyError, TypeError, ValueError, OverflowError):  # damaged, or made by somebody: then it is no record
            return None

    def _failed(self, unit: Unit) -> Outcome | None:
        data: dict[str, Any] | None = read_json(self._file(unit))
        if data is None or data.get("cube_state") != _state(unit):
            return None
        try:
            counted = _counted(data)
        except (TypeError, ValueError, OverflowError):
            return None
        kind, node = (None if data.get(key) is None else str(data[key]) for key in ("kind", "node"))
        return Outcome(unit, error=str(data.get("error")), kind=kind, node=node, **counted)


def _counted(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "seconds": float(data.get("seconds") or 0),
        "worker": str(data.get("worker") or ""),
        "tries": int(data.get("tries") or 1),
    }


def _number(value: object) -> float | None:
    if value is not None and not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return value


def _state(unit: Unit) -> list[int] | None:
    try:
        return unit.state()
    except OSError:
        return None
