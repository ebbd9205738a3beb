"""Whose a folder of results is: which job's, which code's, and which run works in it."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any, Final

from filelock import FileLock, Timeout

from cuvis_ai_core._atomic_writes import write_json
from cuvis_ai_core._untrusted_files import read_json
from cuvis_ai_core.batch.job import fingerprint
from cuvis_ai_core.errors import BatchError, OutputError
from cuvis_ai_core.results.run_record import RECORD

STATE: Final = ".cuvis-batch"
"""The folder, in that of the results, with what belongs to the job and not to a cube."""

SUMMARY: Final = (RECORD, "cubes.csv", "report.html")
"""Files that say in the end what was done."""

_JOB: Final = "job.json"
_NODES: Final = "nodes.json"
_TURN: Final = 60.0
"""Seconds that runs which begin at once wait for each other."""


@contextmanager
def alone_in(output: Path, shard: tuple[int, int]) -> Iterator[str | None]:
    """Work in a folder with no other run that has the same cubes.

    Args:
        output: The folder of the results, absolute; it is made.
        shard: Number of the run, from 0, and how many share the cubes.

    Yields:
        What is to be said of it: that nobody can know who else works there.

    Raises:
        BatchError: Another run works there.
        OutputError: It cannot be written.
    """
    state = output / STATE
    number, count = shard
    mine = FileLock(state / f"run-{number}-of-{count}.lock")
    try:
        _refuse_links(output)
        state.mkdir(parents=True, exist_ok=True)
        # Looking at the others' locks and taking one's own is one step, else two that begin at once see nobody
        with FileLock(state / "begin.lock", timeout=_TURN):
            # Runs of the same count share no cube; of another count they do, as 0 of 2 and 1 of 3
            others = [other for other in state.glob("run-*.lock") if not other.stem.endswith(f"-of-{count}")]
            if any(_is_held(other) for other in [Path(mine.lock_file), *others]):
                raise BatchError(
                    f"Another run works in '{output}'.",
                    hint="Wait for its end, or share the cubes out: --shard 0/2 here and --shard 1/2 there.",
                )
            # Held by the system, so that a run that was killed leaves nothing behind to be removed by hand
            mine.acquire(timeout=0)
        said = None
    except (OSError, NotImplementedError) as error:  # NotImplementedError: of a file system without locks
        # Which error a file system without locks gives differs: it is tried with a file of our own
        if not state.is_dir() or _has_locks(state):
            raise OutputError(
                f"'{output}' cannot be written: {getattr(error, 'strerror', None) or error}.",
                hint="Choose another folder with --output-dir.",
            ) from error
        said = f"The file system of '{output}' has no locks: see to it yourself that no other run works there."
    try:
        yield said
    finally:
        mine.release()


def claim(output: Path, contents: dict[str, Any]) -> None:
    """Have a folder belong to a job; it may already.

    Raises:
        OutputError: It belongs to another job.
        OSError: It cannot be written.
    """
    file = output / STATE / _JOB
    before = read_json(file)
    if before is None:
        if foreign := next((name for name in SUMMARY if os.path.lexists(output / name)), None):
            raise OutputError(
                f"'{output}' holds '{foreign}', which no run on many cubes wrote; it is not overwritten.",
                hint="Choose another folder with --output-dir.",
            )
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, {"fingerprint": fingerprint(contents), "contents": contents})
        return
    theirs = before.get("contents")
    if theirs != contents:
        old = theirs if isinstance(theirs, dict) else {}
        differing = [key for key in contents if old.get(key) != contents[key]]
        raise OutputError(
            f"'{output}' holds results of another job; what differs: {', '.join(differing) or 'all'}.",
            hint="Choose another folder with --output-dir; the same job goes on where it stopped.",
        )


def _refuse_links(output: Path) -> None:
    """Refuse a folder in whose part for the job a link is: no run made it, and what is written goes elsewhere by it.

    Raises:
        OutputError: There is one.
    """
    state = output / STATE
    found = (Path(folder, name) for folder, folders, names in os.walk(state) for name in (*folders, *names))
    if link := next((each for each in (state, *found) if each.is_symlink()), None):
        raise _link_refused(output, link)


def refuse_linked_cubes(output: Path, names: Iterable[str]) -> None:
    """Refuse a folder of results in which the folder of a cube is a link, or lies behind one.

    Args:
        output: The folder of the results.
        names: Those of the cubes' folders.

    Raises:
        OutputError: There is one.
    """
    folders = {part for name in names for part in (name, *map(str, PurePath(name).parents))}
    if link := next((output / each for each in sorted(folders - {"."}) if (output / each).is_symlink()), None):
        raise _link_refused(output, link)


def is_new(output: Path) -> bool:
    """Tell whether nothing is in a folder, or it is not there."""
    return not output.is_dir() or not any(output.iterdir())


def leave(output: Path) -> None:
    """Take a folder away that was new, and in which no worker ever began: a typo must not claim it.

    Called within `alone_in`. Where another run has begun there meanwhile, it stays.
    """
    state = output / STATE
    # A shard that has begun meanwhile would lose its lock's file, and with it be no longer seen
    if (state / _NODES).exists() or len(list(state.glob("run-*.lock"))) > 1:
        return
    shutil.rmtree(output, ignore_errors=True)


def check_nodes(output: Path, nodes: list[dict[str, Any]]) -> None:
    """See that the code is that of the results that are there.

    Args:
        output: The folder of the results.
        nodes: What workers say of the nodes: classes, and the code that they come from.

    Raises:
        OutputError: It is other code.
        OSError: The folder cannot be written.
    """
    file = output / STATE / _NODES
    before = read_json(file)
    if before is None:
        write_json(file, {"nodes": nodes})
        return
    recorded = before.get("nodes")
    known = [each for each in recorded if isinstance(each, dict)] if isinstance(recorded, list) else []
    old = {str(each.get("name")): _code(each) for each in known}
    new = {each["name"]: _code(each) for each in nodes}
    if old != new:
        differing = [name for name in new if old.get(name) != new[name]]
        raise OutputError(
            f"'{output}' holds results of other code: node {', '.join(differing)} comes from elsewhere now.",
            hint="Choose another folder with --output-dir, or lock the plugins: cuvis-ai plugins lock",
        )


def _code(node: dict[str, Any]) -> dict[str, Any]:
    """Return by what a node's code is known: where it has a hash, a commit around it changes nothing."""
    # Else any commit in a plugin's repository, as of documents, had the folder refused
    around = {"commit", "changed", "edited"} if node.get("sha256") else set()
    return {key: value for key, value in node.items() if key not in around}


def _link_refused(output: Path, link: Path) -> OutputError:
    return OutputError(
        f"'{output}' has a link, '{link.relative_to(output)}', which no run made; nothing is written by way of it.",
        hint="Remove the link, or choose another folder with --output-dir.",
    )


def _has_locks(folder: Path) -> bool:
    """Tell whether a file system has locks: some that are mounted from elsewhere have none."""
    try:
        handle, name = tempfile.mkstemp(dir=folder)
    except OSError:
        return True  # what is wrong is something else
    os.close(handle)
    try:
        FileLock(name).acquire(timeout=0).lock.release()
    except (OSError, NotImplementedError):
        return False
    finally:
        Path(name).unlink(missing_ok=True)
    return True


def _is_held(file: Path) -> bool:
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False
