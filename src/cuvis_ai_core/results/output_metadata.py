"""What outputs mean, for their pictures: units, names of classes, wavelengths, pixels without data."""

from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cuvis_ai_core.data.lazy_array import blocks_of
from cuvis_ai_core.errors import PipelineError
from cuvis_ai_core.results.node_origin import origin_of
from cuvis_ai_core.results.pictures.picture_types import Meaning

if TYPE_CHECKING:
    from cuvis_ai_core.data import Cube
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
    known = {(node, port) for node, ports in pipeline.outputs.items() for port in ports}
    return read_class_names(pipeline.metadata, known)


def read_class_names(metadata: Mapping[str, Any], known: Collection[Address]) -> dict[Address, dict[int, str]]:
    """Return the names of classes that metadata have for outputs, of which those in `known` are there.

    Raises:
        PipelineError: As `class_names`.
    """
    given = metadata.get(CLASS_NAMES) or {}
    found: dict[Address, dict[int, str]] = {}
    for node, ports in _mapping(given, "").items():
        for port, names in _mapping(ports, f".{node}").items():
            if (node, port) not in known:
                raise PipelineError(f"metadata.{CLASS_NAMES}: there is no output '{node}.{port}'.", hint=_HINT)
            where = f".{node}.{port}"
            found[node, port] = {_class(key, where): str(name) for key, name in _mapping(names, where).items()}
    return found


def meanings(
    registry: "NodeRegistry", pipeline: "Pipeline", values: Mapping[Address, Any], cube: "Cube", source: str
) -> Callable[[Address], Meaning]:
    """Return a function that tells what an output means.

    Args:
        registry: Where the classes of nodes come from.
        pipeline: The pipeline.
        values: What it gave.
        cube: What went in.
        source: Name of the file that it was read from.
    """
    names, no_data = class_names(pipeline), cache(lambda: _without_data(cube))

    def meaning(address: Address) -> Meaning:
        node, port = address
        node_class = type(pipeline.nodes[node])
        description = pipeline.outputs[node][port].port.description
        return Meaning(
            measures=description.partition("[")[0].strip(),
            origin=f"{node_class.__name__}, {origin_of(registry, node_class)} · {source}",
            names=names.get(address, {}),
            wavelengths=_wavelengths(values, node),
            no_data=no_data() if _counts(values.get(address)) else None,
        )

    return meaning


def _counts(value: object) -> bool:
    """Tell whether a value is of whole numbers, in which a pixel without data is 0 like others."""
    # By its name: torch may not be installed.
    return str(getattr(value, "dtype", "")).removeprefix("torch.").startswith(("bool", "int", "uint"))


def _without_data(cube: "Cube") -> NDArray[np.bool_] | None:
    """Return which pixels lack data in a band that has any, None where there are none."""
    if cube.data.dtype.kind != "f":
        return None
    good = np.ones(cube.data.shape[-1], bool) if cube.good_bands is None else cube.good_bands.copy()
    found = np.zeros_like(good)
    for block in blocks_of(cube.data):
        found |= np.isfinite(block).any(axis=(0, 1))
        if found[good].all():
            break
    good &= found
    lines = [~np.isfinite(block[..., good]).all(axis=-1) for block in blocks_of(cube.data)]
    missing: NDArray[np.bool_] = np.concatenate(lines) if good.any() else np.ones(cube.data.shape[:2], np.bool_)
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
