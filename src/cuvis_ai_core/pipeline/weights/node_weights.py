"""What the nodes of a pipeline have learned: collected from them, and given back."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cuvis_ai_core._nearest import did_you_mean
from cuvis_ai_core.errors import CuvisError, PipelineError
from cuvis_ai_core.node.array_libraries import converter_of
from cuvis_ai_core.pipeline.weights.stored_arrays import State
from cuvis_ai_core.pipeline.weights.torch_file import for_torch, is_extra

logger = logging.getLogger(__name__)

Nodes = Mapping[str, Any]


def collect_state(nodes: Nodes) -> dict[str, dict[str, Any]]:
    """Return the state of each node that has one, by node and key."""
    states = {name: _state_of(node) for name, node in nodes.items()}
    return {name: state for name, state in states.items() if state}


def apply_state(nodes: Nodes, state: State, *, restore: bool, path: Path | None = None) -> None:
    """Give nodes their state.

    Args:
        nodes: The nodes by name.
        state: Node to key to array.
        restore: Whether all nodes are as they were before where one refuses. That takes a copy of their state.
        path: The file that the state was read from, for messages.

    Raises:
        PipelineError: There is no node of a name, a node that has a state gets none, or a key or a shape does not fit.
    """
    wanted = {name: values for name, values in state.items() if values}
    before: dict[str, _Backup] = {}
    try:
        _check_names(nodes, wanted)
        before |= {name: _Backup(nodes[name]) for name in wanted} if restore else {}
        for name, values in wanted.items():
            _load(name, nodes[name], values)
    except PipelineError as error:
        for backup in before.values():
            backup.restore()
        if path is not None:
            error.message, error.path = f"{path}: {error.message}", path
        raise


def apply_fitting(nodes: Nodes, state: State) -> list[str]:
    """Give nodes their state where it fits, and return the names of those that got all they keep.

    Of a node whose keys differ, those that it keeps are taken; a node that refuses them, as for a shape, is as it was
    before. What is left out, and what a node was not given, is logged.
    """
    given = []
    for name, values in ((name, values) for name, values in state.items() if values):
        if not hasattr(nodes.get(name), "load_state_dict"):
            logger.warning("weights are left out: the pipeline has no node '%s' that keeps state", name)
            continue
        node = nodes[name]
        before = _Backup(node)
        try:
            missing = _load_fitting(name, node, values, before)
        except PipelineError as error:
            before.restore()
            logger.warning("weights are left out: %s", error.message)
        else:
            given += [] if missing else [name]
    return given


def _load_fitting(name: str, node: Any, values: Mapping[str, Any], before: "_Backup") -> list[str]:
    """Give a node those keys that it keeps, log the others, and return those of its own that were not given."""
    own = before.values
    missing = [key for key in own if key not in values]
    if not missing:
        try:
            _load(name, node, values)
        except PipelineError:
            before.restore()  # torch copies what fits before it refuses
        else:
            return []
    # A buffer that is None, and an attribute of `STATE` that is, are in no state yet.
    known = {*own, *getattr(node, "_buffers", ()), *getattr(node, "STATE", ())}
    common = {key: value for key, value in values.items() if key in known}
    additional = [key for key in values if key not in known]
    if not common or not (additional or missing):
        _load(name, node, values)  # for its words
        return missing
    _load(name, node, {**own, **common})
    if missing:
        before.restore_initialized()  # which says that it has all of it
    told = {"it keeps no": additional, "it was not given": missing}
    words = "; ".join(f"{rule} {', '.join(map(repr, keys))}" for rule, keys in told.items() if keys)
    logger.warning("weights fit node '%s' (%s) in part: %s", name, type(node).__name__, words)
    return missing


def check_state(nodes: Nodes) -> None:
    """Check that what nodes keep beside arrays can be saved, and read back.

    Raises:
        PipelineError: Something cannot.
    """
    for name, node in nodes.items():
        try:
            state = _state_of(node)
        except Exception as error:
            words = error.message if isinstance(error, CuvisError) else f"{type(error).__name__}: {error}"
            raise PipelineError(
                f"The state of node '{name}' ({type(node).__name__}) could not be saved after a training: {words}",
                hint="Look at its get_extra_state and state_dict.",
                node=name,
            ) from error
        for key, value in state.items():
            if not is_extra(key):
                continue
            _check_is_read_back(name, node, key)
            try:
                for_torch(name, key, value)
            except PipelineError as error:
                error.message = error.message.replace("cannot be saved", "could not be saved after a training", 1)
                raise


def _check_is_read_back(name: str, node: Any, key: str) -> None:
    from torch.nn import Module

    place = key.rpartition(".")[0]
    owner = node.get_submodule(place) if hasattr(node, "get_submodule") else node
    # torch's own raises when the weights are read, which is after the training.
    if getattr(type(owner), "set_extra_state", None) is Module.set_extra_state:
        raise PipelineError(
            f"Node '{name}' ({type(node).__name__}) has get_extra_state and no set_extra_state"
            f"{f', in {place!r}' if place else ''}: what it keeps could not be read back.",
            hint="Write set_extra_state(self, state), which takes what get_extra_state returned.",
            node=name,
        )


def _check_names(nodes: Nodes, wanted: State) -> None:
    for name in wanted:
        if name not in nodes:
            raise PipelineError(
                f"The weights do not fit: the pipeline has no node '{name}'.{did_you_mean(name, nodes)}", node=name
            )
        if not hasattr(nodes[name], "load_state_dict"):
            raise PipelineError(f"The weights do not fit: node '{name}' keeps no state.", node=name)
    for name, node in nodes.items():
        if name not in wanted and (own := _state_of(node)):
            raise PipelineError(
                f"The weights do not fit: they have nothing for node '{name}', which keeps {', '.join(own)}.", node=name
            )


class _Backup:
    """A copy of a node's state."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self.values = _copy(_state_of(node))
        self._initialized = getattr(node, "statistically_initialized", False)
        self._empty = [each for each in _buffers(node) if each[2] is None or not each[2].numel()]

    def restore(self) -> None:
        """Give it back."""
        for part, key, buffer in self._empty:  # which took the shape of what was loaded
            setattr(part, key, buffer)
        try:
            self._node.load_state_dict(self.values)
        except Exception:
            if self.values:  # a node that had nothing need not take nothing
                raise
        self.restore_initialized()

    def restore_initialized(self) -> None:
        """Have the node say as before whether it has learned."""
        if hasattr(self._node, "statistically_initialized"):
            self._node.statistically_initialized = self._initialized


def _buffers(node: Any) -> Iterator[tuple[Any, str, Any]]:
    for part in node.modules() if hasattr(node, "modules") else ():
        # No public way tells of those that are None.
        yield from ((part, key, buffer) for key, buffer in part._buffers.items())


def _load(name: str, node: Any, values: Mapping[str, Any]) -> None:
    own = _state_of(node)
    try:
        convert = converter_of(node)
        node.load_state_dict({key: value if is_extra(key) else convert(value) for key, value in values.items()})
    # torch has no class of its own for this, and nodes raise what they like.
    except Exception as error:
        words = error.message if isinstance(error, CuvisError) else f"{type(error).__name__}: {error}"
        problem = _difference(own, values, words) or words
        raise PipelineError(
            f"The weights do not fit node '{name}' ({type(node).__name__}): {problem}", node=name
        ) from error


def _state_of(node: Any) -> dict[str, Any]:
    """Return a node's state; it may override `state_dict` without arguments, or have none."""
    state_dict = getattr(node, "state_dict", None)
    return dict(state_dict()) if callable(state_dict) else {}


def _copy(values: Mapping[str, Any]) -> dict[str, Any]:
    def copied(value: Any) -> Any:
        for method in ("clone", "copy"):  # of torch, and of NumPy
            if hasattr(value, method):
                return getattr(value, method)()
        return value

    return {key: copied(value) for key, value in values.items()}


def _difference(own: Mapping[str, Any], given: Mapping[str, Any], words: str) -> str | None:
    """Say which key does not fit what a node had before: one of those that its own words name."""
    absent = [key for key in own if key not in given and key in words]
    unknown = [key for key in given if key not in own and key in words]
    # One key by two names: what a wrapper puts before all keys, as `module.` of DataParallel.
    longer = [(ours, theirs) for ours in absent for theirs in unknown if theirs.endswith(f".{ours}")]
    if longer:
        ours, theirs = longer[0]
        return f"they have '{theirs}' for '{ours}': take '{theirs.removesuffix(ours)}' away from the keys."
    if absent:
        return f"'{absent[0]}' is missing."
    if unknown:
        return f"it keeps no '{unknown[0]}'.{did_you_mean(unknown[0], own)}"
    for key in (key for key in given if key in own and key in words):
        given_shape, own_shape = (list(getattr(each, "shape", ())) for each in (given[key], own[key]))
        if given_shape != own_shape:
            return f"'{key}' has the shape {given_shape}, the node's is {own_shape}."
    return None
