"""What the nodes of a pipeline know, handed from one process to another by a file."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvis_ai_core.errors import PipelineError, TrainingError
from cuvis_ai_core.node.torch_modules import is_module
from cuvis_ai_core.pipeline.weights.node_weights import apply_state
from cuvis_ai_core.pipeline.weights.weights_file import SUFFIXES, TORCH, read_weights, write_weights

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class State:
    """What nodes know.

    Attributes:
        file: The file of weights; None if no node keeps any.
        initialized: Whether each node has learned; None of one that says so as it was built, and is to be fitted.
    """

    file: str | None = None
    initialized: dict[str, bool | None] = field(default_factory=dict)


def sources_of(pipeline: "Pipeline") -> dict[str, tuple[str, int, int]]:
    """Return for each node the file of its class, with the size and the time that it has."""
    found = {}
    for name, node in pipeline.nodes.items():
        file = getattr(sys.modules.get(type(node).__module__), "__file__", None)
        if file is not None and Path(file).is_file():
            state = Path(file).stat()
            found[name] = (file, state.st_size, state.st_mtime_ns)
    return found


def refuse_changed(pipeline: "Pipeline", sources: Mapping[str, tuple[str, int, int]]) -> None:
    """Refuse to hand on nodes whose code is another one now: a new process would run that.

    Raises:
        TrainingError: A file has changed.
    """
    now = sources_of(pipeline)
    for name, known in sources.items():
        if now.get(name) != known:
            raise TrainingError(
                f"The code of node '{name}' ('{known[0]}') has changed since its pipeline was built.",
                hint="Load the plugins and the pipeline anew, in a new session.",
            )


def write_state(pipeline: "Pipeline", stem: Path) -> State:
    """Write what the nodes know to a file, and return what it is.

    Args:
        pipeline: The pipeline.
        stem: The file without its suffix.

    Raises:
        TrainingError: A node has learned, and keeps nothing of it in its state.
        PipelineError: What a node keeps cannot be written.
        OSError: The file cannot be written.
    """
    nodes, state = pipeline.nodes, pipeline.state_dict()
    initialized = {name: _has_learned(node) for name, node in nodes.items()}
    for name, node in nodes.items():
        if initialized[name] and getattr(node, "requires_initial_fit", False) and name not in state:
            raise TrainingError(
                f"Node '{name}' ({type(node).__name__}) has learned, and its state_dict() is empty: nothing of it "
                "could be saved or handed on.",
                hint="Keep what is learned in buffers, or have state_dict() and load_state_dict() of the node's own.",
            )
    if not state:
        return State(None, initialized)
    has_modules = any(map(is_module, nodes.values()))
    return State(str(_write(stem, state, (TORCH,) if has_modules else SUFFIXES[::-1])), initialized)


def _has_learned(node: Any) -> bool | None:
    learned = bool(getattr(node, "statistically_initialized", False))
    return None if learned and getattr(node, "is_to_be_fitted", False) else learned


def _write(stem: Path, values: Mapping[str, Mapping[str, Any]], suffixes: Sequence[str]) -> Path:
    """Write to a file of the first kind that takes all values: without torch, it need not be loaded."""
    file = Path(f"{stem}{suffixes[0]}")
    try:
        write_weights(file, values, {})
    except PipelineError:
        if len(suffixes) == 1:
            raise
        return _write(stem, values, suffixes[1:])
    return file


def give_state(pipeline: "Pipeline", state: State) -> None:
    """Have nodes know what was written.

    Raises:
        TrainingError: It does not fit a node.
    """
    if state.file is not None:
        nodes = dict(pipeline.nodes.items())
        for name, values in sorted(read_weights(Path(state.file)).state.items()):
            try:
                # One by one: a node that keeps something may have been given nothing.
                apply_state({each: node for each, node in nodes.items() if each == name}, {name: values}, restore=True)
            except PipelineError as error:
                raise TrainingError(
                    f"The state of node '{name}' does not fit the same node in another process."
                ) from error
    for name, learned in state.initialized.items():
        if hasattr(pipeline.nodes[name], "statistically_initialized"):
            pipeline.nodes[name].statistically_initialized = learned
