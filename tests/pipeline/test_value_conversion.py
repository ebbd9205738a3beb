import logging
import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from cuvis_ai_schemas.pipeline import PortSpec
from numpy.testing import assert_array_equal

from cuvis_ai_core.errors import PortError
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_core.pipeline import Pipeline

pytest.importorskip("torch")

import torch

ANY = (-1, -1, -1, -1)


class _Echo(ArrayNode):
    """Return what it is given."""

    INPUT_SPECS: ClassVar = {"cube": PortSpec(np.floating, ANY)}
    OUTPUT_SPECS: ClassVar = {"seen": PortSpec(np.generic, ANY)}

    def forward(self, cube: Any) -> dict[str, Any]:
        return {"seen": cube}


class Floating(_Echo):
    """Take any real numbers."""


class Single(_Echo):
    """Take float32."""

    INPUT_SPECS: ClassVar = {"cube": PortSpec(np.float32, ANY)}


class Half(_Echo):
    """Take float16."""

    INPUT_SPECS: ClassVar = {"cube": PortSpec(np.float16, ANY)}


class Counts(_Echo):
    """Take integers."""

    INPUT_SPECS: ClassVar = {"cube": PortSpec(np.integer, ANY)}


class Several(_Echo):
    """Take a list."""

    INPUT_SPECS: ClassVar = {"cube": PortSpec(np.float32, ANY, variadic=True)}
    OUTPUT_SPECS: ClassVar = {"seen": PortSpec(np.float32, ANY)}

    def forward(self, cube: Any) -> dict[str, Any]:
        """Return their sum."""
        return {"seen": sum(cube)}


class Double(_Echo):
    """Give float64."""

    OUTPUT_SPECS: ClassVar = {"seen": PortSpec(np.floating, ANY)}

    def forward(self, cube: Any) -> dict[str, Any]:
        """Return it as float64."""
        return {"seen": cube.astype(np.float64)}


class Tensors(torch.nn.Module):
    """Take tensors of float32."""

    INPUT_SPECS: ClassVar = {"cube": PortSpec(torch.float32, ANY)}
    OUTPUT_SPECS: ClassVar = {"seen": PortSpec(torch.Tensor, ANY)}

    def __init__(self, name: str | None = None) -> None:
        super().__init__()
        self.name = name

    def forward(self, cube: Any) -> dict[str, Any]:
        """Return the tensor."""
        return {"seen": cube}


def _pipeline(*classes: type, edges: tuple[tuple[str, str], ...] = ()) -> Pipeline:
    nodes = [{"name": each.__name__, "class_name": f"{__name__}.{each.__name__}"} for each in classes]
    joined = [{"source": f"{source}.seen", "target": f"{target}.cube"} for source, target in edges]
    return Pipeline.from_dict({"nodes": nodes, "edges": joined})


def _seen(node: type, cube: Any) -> Any:
    return _pipeline(node).forward({"cube": cube})[node.__name__, "seen"]


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ("uint8", "float32"),
        ("uint16", "float32"),
        ("int16", "float32"),
        ("int32", "float64"),
        ("uint64", "float64"),
        ("float16", "float16"),
        ("float32", "float32"),
        ("float64", "float64"),
    ],
)
def test_floating(given: str, seen: str) -> None:
    """A port of real numbers gets integers in a type that holds them, and real numbers as they are."""
    cube = np.arange(120, dtype=given).reshape(1, 2, 3, 20)
    assert_array_equal(_seen(Floating, cube), cube.astype(seen), strict=True)


def test_each_node_gets_its_type() -> None:
    """A value that feeds several nodes reaches each in the type that it takes."""
    cube = np.full((1, 1, 1, 2), 7, dtype=np.uint16)
    outputs = _pipeline(Floating, Counts, Half, Tensors).forward({"cube": cube})
    assert {node: str(value.dtype) for (node, _), value in outputs.items()} == {
        "Floating": "float32",
        "Counts": "uint16",
        "Half": "float16",
        "Tensors": "torch.float32",
    }


def test_edges() -> None:
    """A value that comes by an edge is converted for the node that asks for another type, and for no other."""
    pipeline = _pipeline(Double, Single, Floating, edges=(("Double", "Single"), ("Double", "Floating")))
    outputs = pipeline.forward({"cube": np.full((1, 1, 1, 2), 0.5, dtype=np.float32)})
    assert [outputs[node, "seen"].dtype.name for node in ("Double", "Single", "Floating")] == [
        "float64",
        "float32",
        "float64",
    ]


def test_variadic_ports() -> None:
    """Each value of a list is converted, from edges and from the batch."""
    cube = np.full((1, 1, 1, 2), 0.5)
    outputs = _pipeline(Double, Several, edges=(("Double", "Several"),)).forward({"cube": cube})
    assert outputs["Several", "seen"].dtype == np.float32
    assert _seen(Several, [cube, cube]).dtype == np.float32


class Quarter(Double):
    """Give a quarter, as float64."""

    def forward(self, cube: Any) -> dict[str, Any]:
        """Return it."""
        return {"seen": cube.astype(np.float64) / 4}


def test_values_of_a_list_are_converted_one_by_one() -> None:
    """Each stays what its source gave, at its place."""
    pipeline = _pipeline(Double, Quarter, Several, edges=(("Double", "Several"), ("Quarter", "Several")))
    cube = np.full((1, 1, 1, 2), 8.0, dtype=np.float32)
    assert_array_equal(pipeline.forward({"cube": cube})["Several", "seen"], cube + 2)


class AnyTensor(Tensors):
    """Take any tensor."""

    INPUT_SPECS: ClassVar = {"cube": PortSpec(torch.Tensor, ANY)}


@pytest.mark.parametrize(("given", "seen"), [("uint8", "uint8"), ("uint16", "float32"), ("uint32", "float64")])
def test_any_tensor(given: str, seen: str) -> None:
    """Where any tensor will do, integers with which torch cannot compute become real numbers."""
    assert str(_seen(AnyTensor, np.full((1, 1, 1, 2), 7, dtype=given)).dtype) == f"torch.{seen}"


def test_gradients_pass() -> None:
    """A tensor keeps its gradients when its type changes."""
    cube = torch.ones((1, 1, 1, 2), dtype=torch.float64, requires_grad=True)
    _pipeline(Tensors).forward({"cube": cube}, "train")["Tensors", "seen"].sum().backward()
    assert cube.grad is not None


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize(
    ("node", "value", "error"),
    [(Single, 1e-42, r"[1-9]\.\de-0[456]"), (Single, 1e-60, "1.0e"), (Half, 1.0004, r"[1-4]\.\de-04")],
)
def test_loss(make: Any, node: type, value: float, error: str, caplog: pytest.LogCaptureFixture) -> None:
    """What values lose is said once, with node, port and size."""
    pipeline = _pipeline(node)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            pipeline.forward({"cube": make(np.full((1, 1, 1, 2), value))})
    assert len(caplog.messages) == 1
    assert f"Input 'cube' of node '{node.__name__}' gets float64 as" in caplog.text
    assert re.search(f"relative error of up to {error}", caplog.text)


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize(
    "values", [[0.1, 1 / 3, 1e30], [0.0, np.nan, np.inf, -np.inf], np.asarray([16777217, 2**31 - 1, 0])]
)
def test_rounding_is_no_loss(make: Any, values: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What float32 rounds, and what is not finite, is nothing to say."""
    with caplog.at_level(logging.WARNING):
        seen = _seen(Single, make(np.asarray(values).reshape(1, 1, 1, -1)))
    np.testing.assert_allclose(np.asarray(seen).ravel(), np.asarray(values), rtol=1e-7)
    assert not caplog.messages


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize(
    ("node", "value", "dtype"),
    [(Single, 1e300, "float64"), (Half, 1e5, "float32"), (Half, 70000, "int32"), (Half, 65535, "uint16")],
)
def test_overflow(make: Any, node: type, value: float, dtype: str) -> None:
    """A value that the type cannot hold is an error with node and port."""
    with pytest.raises(PortError, match=rf"Input 'cube' of node '{node.__name__}': values are too large for {dtype}"):
        _seen(node, make(np.full((1, 1, 1, 1), value).astype(dtype)))


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize("beside", [0.0, np.nan, np.inf, -np.inf, 1.0])
def test_loss_beside_what_has_no_error(make: Any, beside: float, caplog: pytest.LogCaptureFixture) -> None:
    """It is said, whatever else is in the cube: nothing comes of 0 or of infinity that hides it."""
    _seen(Single, make(np.array([beside, 1e-42, beside]).reshape(1, 1, 1, 3)))
    assert "relative error of up to" in caplog.text


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize(
    ("value", "dtype", "said"),
    [
        (255, "uint8", False),
        (-128, "int8", False),
        (2049, "int16", True),
        (2048, "int16", False),
        (3001, "uint16", True),
    ],
)
def test_integers_that_are_rounded(
    make: Any, value: int, dtype: str, caplog: pytest.LogCaptureFixture, *, said: bool
) -> None:
    """By half precision, of which whole numbers beyond 2048 are not all."""
    _seen(Half, make(np.full((1, 1, 1, 1), value, dtype)))
    assert ("relative error of up to" in caplog.text) == said


def test_other_types_are_refused() -> None:
    """Real numbers are not made integers, and truth values no numbers."""
    with pytest.raises(PortError, match="got float32"):
        _seen(Counts, np.zeros((1, 1, 1, 1), dtype=np.float32))
    with pytest.raises(PortError, match="got bool"):
        _seen(Floating, np.zeros((1, 1, 1, 1), dtype=bool))


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
def test_masked_arrays(dtype: str) -> None:
    """What a masked array masks is NaN for a node; where it masks nothing, the values are as they were."""
    values: Any = np.ma.masked_equal(np.arange(4, dtype=dtype).reshape(1, 2, 2, 1), 2)
    seen = _seen(Floating, values)
    assert type(seen) is np.ndarray
    assert_array_equal(seen.ravel(), [0, 1, np.nan, 3])
    assert_array_equal(_seen(Floating, np.ma.masked_array(values.data)), values.data)


class Holes(_Echo):
    """Count what is no number."""

    def forward(self, cube: Any) -> dict[str, Any]:
        """Return how many there are, and whether they are hidden from NumPy."""
        return {"seen": np.full((1, 1, 1, 1), -1 if np.ma.isMaskedArray(cube) else np.isnan(cube).sum())}


class Typed(_Echo):
    """Take anything, and say of which type it is."""

    INPUT_SPECS: ClassVar = {"cube": PortSpec(np.generic, ANY)}

    def forward(self, cube: Any) -> dict[str, Any]:
        """Return zeros of it."""
        return {"seen": np.zeros_like(cube)}


@pytest.mark.parametrize(("masked", "seen"), [(False, "uint16"), (True, "float32")])
def test_a_masked_array_that_masks_nothing_keeps_its_type(*, masked: bool, seen: str) -> None:
    """Only where there is a hole, it takes a type that has one."""
    values: Any = np.ma.masked_array(np.ones((1, 1, 1, 2), np.uint16), mask=[[[[masked, False]]]])
    assert _seen(Typed, values).dtype == seen


def test_arrays_that_are_read_are_in_memory(tmp_path: Path) -> None:
    """Nodes get arrays of NumPy of what other libraries read or compute when it is asked for."""
    values = np.arange(4, dtype=np.int16).reshape(1, 2, 2, 1)
    h5py, netcdf = pytest.importorskip("h5py"), pytest.importorskip("netCDF4")
    zarr, xarray = pytest.importorskip("zarr"), pytest.importorskip("xarray")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["cube"] = values
        for given in (file["cube"], zarr.array(values), xarray.DataArray(values)):
            for node in (Floating, Typed):
                seen = _seen(node, given)
                assert type(seen) is np.ndarray
                assert seen.dtype == (np.int16 if node is Typed else np.float32)
            assert_array_equal(_seen(Floating, given), values)
    with netcdf.Dataset(tmp_path / "a.nc", "w") as file:
        for name, size in zip("byxc", values.shape, strict=True):
            file.createDimension(name, size)
        file.createVariable("cube", "i2", tuple("byxc"), fill_value=2)[...] = values
        assert_array_equal(_seen(Floating, file["cube"]).ravel(), [0, 1, np.nan, 3])


def test_no_node_sees_a_masked_array() -> None:
    """What is handed in is a plain array for the node itself, not only in what it answers."""
    assert _seen(Holes, np.ma.masked_equal(np.arange(4.0).reshape(1, 2, 2, 1), 2)).item() == 1
