"""Checks that hold for every node, whatever it computes: `check_node(MyNode)` in a plugin's tests.

A node is built, run on made-up values by a pipeline of its own, and run again in other ways that must not change its
answer. What is found wrong is one error with a sentence for each.
"""

import inspect
import pickle
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core._error_location import words_of
from cuvis_ai_core.node.base import NodeMixin
from cuvis_ai_core.node.dtypes import NUMPY
from cuvis_ai_core.node.ports import FREE, Port, read_ports
from cuvis_ai_core.node.tiling_declaration import tiling_of
from cuvis_ai_core.pipeline.pipeline import Pipeline

_SIZES: Final = (1, 7, 5, 31)
"""Of free axes: batch, height, width, channels, each another, so that none stands for another by accident."""

_AXES: Final[Mapping[int, tuple[int, ...]]] = {1: (3,), 2: (0, 3), 3: (0, 1, 2), 4: (0, 1, 2, 3)}
"""Which of these a port of so many axes has: a spectrum, a spectrum for each image, a mask, images."""

Values = dict[str, Any]


class NodeCheckError(AssertionError):
    """What is wrong with a node; `faults` has a sentence for each."""

    def __init__(self, node: str, faults: list[str]) -> None:
        super().__init__(f"{node}:\n" + "\n".join(f"- {fault}" for fault in faults))
        self.faults = faults


def check_node(node_class: type, *, inputs: Mapping[str, Any] | None = None, **params: Any) -> None:
    """Raise if a node does not keep what every node promises.

    Args:
        node_class: The class.
        inputs: Values for its inputs, by port; by default random ones that its ports take, in [0, 1).
        params: Arguments of its constructor.

    Raises:
        NodeCheckError: With a sentence for each fault.
    """
    faults = list(find_faults(node_class, inputs=inputs, **params))
    if faults:
        raise NodeCheckError(node_class.__name__, faults)


def find_faults(node_class: Any, *, inputs: Mapping[str, Any] | None = None, **params: Any) -> Iterator[str]:
    """Yield what is wrong with a node, a sentence each; the arguments are those of `check_node`."""
    declared = list(_declaration(node_class))
    yield from declared
    if declared:
        return
    try:
        node = node_class(**params)
    except Exception as error:
        yield f"it cannot be built: {words_of(error)}"
        return
    yield from _parameters(node_class, node, params)
    check = _Check(node_class, params, node)
    values = dict(inputs) if inputs is not None else made_up(node)
    try:
        first = check.run(node, values)
    except Exception as error:
        yield f"it does not run on {_shown(values)}: {words_of(error)}"
        return
    yield from check.all(node, values, first)


def _declaration(node_class: Any) -> Iterator[str]:
    if not (isinstance(node_class, type) and issubclass(node_class, NodeMixin)):
        yield "it does not derive from cuvis_ai_core.node.ArrayNode or Node"
        return
    for near in ("INPUT_SPEC", "OUTPUT_SPEC", "INPUTS_SPECS", "OUTPUTS_SPECS", "INPUTS", "OUTPUTS"):
        if near in vars(node_class):
            yield f"it has {near}; the name is {'INPUT_SPECS' if near.startswith('IN') else 'OUTPUT_SPECS'}"
            return
    if not node_class.OUTPUT_SPECS:
        yield "it declares no outputs in OUTPUT_SPECS"
    taken = inspect.signature(node_class.forward).parameters
    if not any(each.kind is each.VAR_KEYWORD for each in taken.values()):
        missing = [name for name in node_class.INPUT_SPECS if name not in taken]
        if missing:
            given = [name for name in taken if name not in {"self", "context"}]
            yield f"forward takes {given}, but the input ports are {list(node_class.INPUT_SPECS)}"
    if not (node_class.__doc__ or "").strip():
        yield "its class has no docstring: nobody is told what it computes"


def _parameters(node_class: Any, node: Any, params: Mapping[str, Any]) -> Iterator[str]:
    taken = inspect.signature(node_class).parameters.values()
    named = [each.name for each in taken if each.kind in {each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY}]
    for name in dict.fromkeys([*named, *params]):
        if name not in {"name", "execution_stages"} and name not in node.hparams:
            yield f"the hyper-parameter '{name}' is not handed to super().__init__: a saved pipeline may lose it"


class _Check:
    """Runs a node in one way and another.

    Args:
        node_class: Its class.
        params: Arguments of its constructor.
        node: The node as it was built.
    """

    def __init__(self, node_class: type, params: Mapping[str, Any], node: Any) -> None:
        self._class = node_class
        self._params = params
        self._learned = node.requires_initial_fit and not node.statistically_initialized
        if self._learned:
            node.statistical_initialization([made_up(node, seed) for seed in range(2)])

    def run(self, node: Any, values: Mapping[str, Any]) -> Values:
        """Run a node by a pipeline of its own, which checks types, shapes, and that nothing given is written into."""
        found = _pipeline(node).forward({f"{node.name}.{key}": value for key, value in values.items()})
        return {port: value for (_, port), value in found.items()}

    def all(self, node: Any, values: Values, first: Values) -> Iterator[str]:
        """Yield what differs where nothing may."""
        yield from self._same("run again on the same values", first, lambda: self.run(node, values))
        yield from self._same("saved and loaded", first, lambda: self.run(self._reloaded(node), values))
        yield from self._same("pickled", first, lambda: self.run(pickle.loads(pickle.dumps(node)), values))  # noqa: S301
        yield from self._same("computed by tiles, as it declares", first, lambda: self._by_tiles(node, values))
        yield from self._same("given a batch of two", first, lambda: self._batched(node, values, first))
        yield from self._same("given float64", first, lambda: self._wider(node, values), tolerance=1e-3)
        yield from self._missing(node, values, first)

    def _same(
        self, how: str, first: Values, again: Callable[[], Values | None], tolerance: float = 1e-5
    ) -> Iterator[str]:
        try:
            second = again()
        except Exception as error:
            yield f"{how}, it fails: {words_of(error)}"
            return
        for port, value in first.items():
            if second is not None and not _equal(value, second[port], tolerance):
                yield f"{how}, its output '{port}' is another"

    def _reloaded(self, node: Any) -> Any:
        other = self._class(**self._params)
        state = node.state_dict()
        with tempfile.TemporaryDirectory() as folder:
            if state:
                file = Path(folder) / "state"
                file.write_bytes(pickle.dumps({key: _array(value) for key, value in state.items()}))
                kept = pickle.loads(file.read_bytes())  # noqa: S301
                other.load_state_dict({key: _like(kept[key], state[key]) for key in state})
        other.statistically_initialized = node.statistically_initialized
        return other

    def _by_tiles(self, node: Any, values: Values) -> Values | None:
        if tiling_of(node) is None or not any(np.ndim(value) == len(_SIZES) for value in values.values()):
            return None
        batch = {f"{node.name}.{key}": value for key, value in values.items()}
        # One byte: with the smallest tiles there are.
        found = _pipeline(node).forward_tiled(batch, memory=1)
        return {port: value for (_, port), value in found.items()}

    def _batched(self, node: Any, values: Values, first: Values) -> Values | None:
        """Have each image of a batch answered as if it were alone."""
        images = {key for key, value in values.items() if np.ndim(value) == len(_SIZES)}
        if not images or len(images) != sum(np.ndim(value) > 1 for value in values.values()) or self._learned:
            return None
        double = {key: _twice(value) if key in images else value for key, value in values.items()}
        found = self.run(node, double)
        alone = {port: value for port, value in first.items() if np.ndim(value) and np.shape(value)[0] == 1}
        return {**first, **{port: found[port][:1] for port in alone}}

    def _wider(self, node: Any, values: Values) -> Values | None:
        if any(port.dtype != "floating" for port in _ports(node).values() if not port.optional):
            return None
        return self.run(node, {key: _array(value).astype(np.float64) for key, value in values.items()})

    def _missing(self, node: Any, values: Values, first: Values) -> Iterator[str]:
        """A pixel without data must not come out as zero."""
        cubes = [
            key for key, value in values.items() if np.ndim(value) == len(_SIZES) and _array(value).dtype.kind == "f"
        ]
        if not cubes:
            return
        holed = dict(values)
        for key in cubes:
            cube = np.array(_array(values[key]))
            cube[0, 1, 1] = np.nan
            holed[key] = _like(cube, values[key])
        try:
            found = self.run(node, holed)
        except Exception:
            return
        for port, value in found.items():
            array, before = _array(value), _array(first[port])
            size = next(iter(np.shape(values[key])[1:3] for key in cubes))
            if array.dtype.kind == "f" and array.shape[1:3] == size:
                pixel = array[0, 1, 1]
                if (pixel == 0).all() and (before[0, 1, 1] != 0).any():
                    yield f"a pixel that is not a number comes out of '{port}' as zero, as if it were a value"


def _pipeline(node: Any) -> Pipeline:
    # Its end would end the node.
    return Pipeline("check", allow_untrained=True).add(node)


def _ports(node: Any) -> dict[str, Port]:
    return read_ports(type(node), "INPUT_SPECS")


def made_up(node: Any, seed: int = 0, sizes: Sequence[int] = _SIZES) -> Values:
    """Return values that the inputs of a node take: whatever axis is free has a size of its own."""
    random = np.random.default_rng(seed)
    values: Values = {}
    for name, port in _ports(node).items():
        if port.optional:
            continue
        free = [sizes[axis] for axis in _AXES.get(len(port.shape), ())] or [2] * len(port.shape)
        chosen = tuple(_size(node, size, each) for size, each in zip(port.shape, free, strict=True))
        values[name] = _wavelengths(chosen) if name == "wavelengths" else _random(port, chosen, random)
    return values


def _size(node: Any, declared: object, free: int) -> int:
    if isinstance(declared, str):
        declared = getattr(node, declared, FREE)
    return free if declared in {FREE, None} else int(str(declared))


def _random(port: Port, sizes: tuple[int, ...], random: np.random.Generator) -> Any:
    if port.dtype == "str":
        return "text"
    dtype = (
        np.dtype(port.dtype) if port.dtype not in {"floating", "array", "number", "any", "inexact"} else np.dtype("f4")
    )
    if port.dtype == "integer":
        dtype = np.dtype("i4")
    array = (random.random(sizes) * (1 if dtype.kind == "f" else 5)).astype(dtype)
    if port.library == NUMPY or port.library is None:
        return array
    import torch

    return torch.from_numpy(array)


def _wavelengths(sizes: tuple[int, ...]) -> NDArray[np.float64]:
    """Return wavelengths of visible light and near infrared, in nm, as a cube gives them."""
    return np.linspace(400.0, 1100.0, sizes[-1]) if sizes else np.array(400.0)


def _array(value: Any) -> NDArray[Any]:
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def _like(array: Any, other: Any) -> Any:
    if hasattr(other, "detach"):
        import torch

        return torch.as_tensor(array)
    return array


def _twice(value: Any) -> Any:
    array = _array(value)
    other = array[:, ::-1] / 2 if array.dtype.kind == "f" else array[:, ::-1]  # of another mean, too
    return _like(np.concatenate([array, other.astype(array.dtype)]), value)


def _equal(one: Any, other: Any, tolerance: float) -> bool:
    left, right = _array(one), _array(other)
    if left.shape != right.shape:
        return False
    if left.dtype.kind not in "fc":
        return bool((left == right).all())
    return bool(np.allclose(left, right, rtol=tolerance, atol=tolerance, equal_nan=True))


def _shown(values: Mapping[str, Any]) -> str:
    return (
        ", ".join(f"{key} {_array(value).dtype} {list(np.shape(value))}" for key, value in values.items()) or "nothing"
    )
