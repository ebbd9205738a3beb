"""The folder of a training that is under way, from which one that was interrupted goes on.

It proves that it is one of ours before anything in it counts: it says in which folder it was made, which a copy or an
archive cannot know, of which training it is, and what its checkpoint is. Links in it are not followed.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import click
from filelock import FileLock, Timeout

from cuvis_ai_core._atomic_writes import write_json
from cuvis_ai_core._folder_removal import remove_tree
from cuvis_ai_core._untrusted_files import read_json
from cuvis_ai_core.cli.shared.progress import report
from cuvis_ai_core.pipeline.weights.node_weights import collect_state
from cuvis_ai_core.pipeline.weights.stored_arrays import State
from cuvis_ai_core.pipeline.weights.torch_file import savable
from cuvis_ai_core.pipeline.weights.weights_file import write_weights
from cuvis_ai_core.training.metrics_csv import write_metrics
from cuvis_ai_core.training.resume_checkpoint import CONFIGURATION, RESUME, is_as_written

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline

logger = logging.getLogger(__name__)

_NAME: Final = "unfinished"
_LOCK: Final = "lock"
_LAST: Final = "last.pt"
_METRICS: Final = "metrics.csv"
_MADE_IN: Final = "folder"


class Unfinished:
    """A folder `unfinished` in the output directory; it is gone when the training has ended well.

    Args:
        output: The output directory.
        configuration: What is trained (`trainrun`), with which code: only the same goes on.
    """

    def __init__(self, output: Path, configuration: Mapping[str, Any]) -> None:
        self.folder = output / _NAME
        # Neither the order of keys in a file nor the number of threads that read makes another training.
        trainrun = dict(configuration.get("trainrun") or {})
        if isinstance(data := trainrun.get("data"), Mapping):
            trainrun["data"] = {key: each for key, each in data.items() if key != "num_workers"}
        text = json.dumps({**configuration, "trainrun": trainrun}, sort_keys=True, default=str)
        self._fingerprint = hashlib.sha256(text.encode()).hexdigest()
        self._lock = FileLock(self.folder / _LOCK)

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Before the lock, which would be opened where a link leads.
            self._refuse_links()
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise self._refusal("is being trained in by another process", "Wait for it, or choose another") from error
        except OSError as error:
            raise self._refusal(f"cannot be written: {error.strerror or error}", "Choose another") from error
        try:
            self._check()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
        names = {_LAST, _METRICS, *(file.name for file in self.folder.glob("*.ckpt"))}
        # A lock and a configuration alone are nothing to go on from.
        kept = kind is not None and not names.isdisjoint(file.name for file in self.folder.iterdir())
        if not kept:
            remove_tree(self.folder)
        if isinstance(error, KeyboardInterrupt):
            error.add_note(self._what_is_kept() if kept else "Nothing of the training is kept: no epoch had ended.")

    def _what_is_kept(self) -> str:
        if any(self.folder.glob("*.ckpt")):
            return f"What was trained so far is kept in {self.folder}; the same command goes on from there."
        what = "last weights" if (self.folder / _LAST).is_file() else "metrics"
        return f"The {what} are kept in {self.folder}; the same command begins anew, since no epoch was saved yet."

    def checkpoints(self) -> dict[str, Path]:
        """Return the checkpoints that are kept, by the names that they get in the output directory."""
        # In the folder itself lies what the training would go on from; only those of users are in folders below.
        files = (file for file in self._files() if file.suffix == ".ckpt" and file.parent != self.folder)
        return {f"checkpoint-{file.name}": file for file in sorted(files) if file.is_file() and not file.is_symlink()}

    def _files(self) -> Iterator[Path]:
        """Yield all that is in the folder, and in folders in it; none of what links lead to."""
        for folder, folders, names in os.walk(self.folder):
            yield from (Path(folder, name) for name in (*folders, *names))

    def _refuse_links(self) -> None:
        for file in (self.folder, *self._files()):
            if file.is_symlink():
                raise self._refusal(
                    f"holds a link, '{file.relative_to(self.folder.parent)}', which no training made",
                    "Remove it, or choose another",
                )

    def _check(self) -> None:
        known = read_json(self.folder / CONFIGURATION)
        others = sorted(file.name for file in self.folder.iterdir() if file.name != _LOCK)
        if known is None and others:
            raise self._refusal(
                f"has files in '{_NAME}' ('{others[0]}') that are of no training that was begun here: there is no "
                f"{CONFIGURATION} that says so",
                "Remove that folder, or choose another",
            )
        if known is not None and known.get("sha256") != self._fingerprint:
            raise self._refusal(
                f"holds an unfinished training of another configuration, in '{_NAME}'",
                "Remove that folder, or choose another",
            )
        if known is not None and (known.get(_MADE_IN) != self._made_in() or not is_as_written(self.folder / RESUME)):
            raise self._refusal(
                f"has a folder '{_NAME}' that was begun elsewhere, or whose {RESUME} is another than was written: "
                "training goes on only where it was begun",
                f"Remove that folder (weights in {_LAST} can be begun from: --override initial_weights=...), or choose "
                "another",
            )
        if (self.folder / RESUME).is_file():
            report(f"Going on with the unfinished training in {self.folder}")
        proof = {"sha256": self._fingerprint, _MADE_IN: self._made_in()}
        write_json(self.folder / CONFIGURATION, {**(known or {}), **proof})

    def _made_in(self) -> int:
        """Return by which number the file system knows the folder."""
        # A rename keeps it; what was copied or unpacked has another one.
        return self.folder.stat().st_ino

    def _refusal(self, problem: str, step: str) -> click.BadParameter:
        return click.BadParameter(
            f"'{self.folder.parent}' {problem}.\n{step} directory: --override output_dir=...", param_hint="output_dir"
        )


@contextmanager
def kept_on_failure(
    folder: Path,
    pipeline: "Pipeline",
    history: Callable[[], Sequence[Mapping[str, float]]],
    epochs: Callable[[], int],
) -> Iterator[None]:
    """Leave the last weights and the metrics of a training that fails, whatever ends it, and say so.

    Args:
        folder: Where.
        pipeline: What is trained.
        history: Returns what each epoch came to.
        epochs: Returns how many were trained, also one whose validation failed.
    """
    try:
        yield
    except BaseException as error:
        if epochs():
            _keep(folder, pipeline, history(), epochs())
            if any(folder.glob("*.ckpt")) and not isinstance(error, KeyboardInterrupt):
                report("The same command goes on from there.")
        raise


def _keep(folder: Path, pipeline: "Pipeline", rows: Sequence[Mapping[str, float]], epochs: int) -> None:
    names: list[str] = []
    state, left = _remaining_state(pipeline)
    metadata = {"pipeline": pipeline.name, "epochs": epochs}
    writers: dict[str, Callable[[Path], None]] = {
        **({_METRICS: partial(write_metrics, rows=rows)} if rows else {}),
        **({_LAST: partial(write_weights, state=state, metadata=metadata)} if state or not left else {}),
    }
    for name, write in writers.items():
        try:
            write(folder / name)
            names.append(name)
        # A full disk, which torch's own writer tells by a RuntimeError.
        except Exception as error:  # noqa: BLE001 - the failure itself is told
            logger.warning("'%s' cannot be written: %s", folder / name, error)
    without = f" without {', '.join(left)}, which cannot be saved" if left else ""
    report(f"Kept in {folder} after {epochs} epoch{'s' * (epochs != 1)}: {', '.join(names) or 'nothing'}{without}.")


def _remaining_state(pipeline: "Pipeline") -> tuple[State, list[str]]:
    """Return what of the weights can be saved, and names of what cannot."""
    state: dict[str, Any] = {}
    left: list[str] = []
    for name, node in pipeline.nodes.items():
        # One by one: a node whose process has ended, which may be what failed, has no state any more.
        try:
            own, unsavable = savable(collect_state({name: node}))
        except Exception as error:  # noqa: BLE001 - the failure itself is told
            logger.warning("the weights of node '%s' are not kept: %s", name, error)
            left.append(name)
        else:
            state |= own
            left.extend(unsavable)
    return state, left
