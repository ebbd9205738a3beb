"""What outputs mean, for their pictures: units, names of classes, wavelengths, pixels without data."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.cli.origin import origin_of
from cuvis_ai_core.cli.pictures.drawn import Meaning
from cuvis_ai_core.errors import PipelineError

if TYPE_CHECKING:
    from cuvis_ai_core.pipeline.pipeline import Pipeline
    from cuvis_ai_core.registry import NodeRegistry

CLASS_NAMES = "class_names"
_HINT = 'Write metadata: {class_names: {<node>: {<port>: {"1": corn, "2": grass}}}}'

Address = tuple[str, str]


def class_names(pipeline: "Pipeline") -> dict[Address, dict[int, str]]:
    """Return the names of classes that the metadata of a pipeline have, by node and port.

    Raises:
        PipelineError: They name an output that is not there, or something in them is no class.
    """
    given = pipeline.metadata.get(CLASS_NAMES) or {}
    found: dict[Address, dict[int, str]] = {}
    for node, ports in _mapping(given, "").items():
        for port, names in _mapping(ports, f".{node}").items():
            if port not in pipeline.outputs.get(node, {}):
                raise PipelineError(f"metadata.{CLASS_NAMES}: there is no output '{node}.{port}'.", hint=_HINT)
            where = f".{node}.{port}"
            found[node, port] = {_class(key, where): str(name) for key, name in _mapping(names, where).items()}
    return found


def meanings(
    registry: "NodeRegistry", pipeline: "Pipeline", values: Mapping[Address, Any], cube: NDArray[Any], source: str
) -> Callable[[Address], Meaning]:
    """Return a function that tells what an output means.

    Args:
        registry: Where the classes of nodes come from.
        pipeline: The pipeline.
        values: What it gave.
        cube: What went in, `[1, height, width, channel]`.
        source: Name of the file that it was read from.
    """
    names, no_data = class_names(pipeline), _without_data(cube)

    def meaning(address: Address) -> Meaning:
        node, port = address
        node_class = type(pipeline.nodes[node])
        description = pipeline.outputs[node][port].port.description
        return Meaning(
            measures=description.partition("[")[0].strip(),
            origin=f"{node_class.__name__}, {origin_of(registry, node_class)} · {source}",
            names=names.get(address, {}),
            wavelengths=_wavelengths(values, node),
            no_data=no_data,
        )

    return meaning


def _without_data(cube: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Return which pixels lack data in a band that has any, None where there are none."""
    if cube.dtype.kind != "f":
        return None
    missing: NDArray[np.bool_] = np.zeros(cube.shape[1:3], dtype=np.bool_)
    empty = 0
    for channel in range(cube.shape[-1]):  # band by band: the cube may fill the memory
        finite = np.isfinite(cube[0, ..., channel])
        if finite.any():
            missing |= ~finite
        else:
            empty += 1
    if empty == cube.shape[-1]:
        missing[...] = True
    return missing if missing.any() else None


def _wavelengths(values: Mapping[Address, Any], node: str) -> tuple[float, ...] | None:
    """Return what a node says about the bands of its image: in `wavelengths`, or as published nodes do it."""
    info = values.get((node, "band_info"))
    given = values.get((node, "wavelengths"))
    if given is None and isinstance(info, Mapping):
        given = info.get("band_wavelengths_nm")
    try:
        array = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return tuple(array.tolist()) if array.shape == (3,) and np.isfinite(array).all() else None


def _mapping(given: object, where: str) -> Mapping[Any, Any]:
    if not isinstance(given, Mapping):
        raise PipelineError(f"metadata.{CLASS_NAMES}{where} is {given!r:.60}, no mapping.", hint=_HINT)
    return given


def _class(key: object, where: str) -> int:
    try:
        return int(str(key))
    except ValueError as error:
        raise PipelineError(f"metadata.{CLASS_NAMES}{where}: {key!r} is no class number.", hint=_HINT) from error
