"""Arrays of NumPy and tensors: who gets which, and what is shared or copied on the way."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cuvis_ai_core.node import ArrayNode, Node  # noqa: E402
from cuvis_ai_core.node.array_libraries import converter, converter_of, gets_copy, library_of_input  # noqa: E402
from cuvis_ai_core.node.ports import Port  # noqa: E402


class OfArrays(ArrayNode):
    """Computes with arrays."""

    def forward(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


class OfTensors(Node):
    """Computes with tensors."""

    forward = OfArrays.forward


class Ducktyped:
    """Has no base class."""


class Away(OfTensors):
    """Stands for a node in another process."""

    runs_elsewhere = object()


@pytest.mark.parametrize(
    ("node_class", "libraries"),
    [
        (OfTensors, ["torch", "numpy", "torch", "torch", None]),
        (OfArrays, [None, None, "numpy", "torch", None]),
        (Ducktyped, [None, "numpy", "numpy", "torch", None]),
        (Away, [None] * 5),
    ],
)
def test_who_gets_which_library(node_class: type, libraries: list[str | None]) -> None:
    """By its base class and by what a port declares; of a node elsewhere its process sees to it."""
    ports = [
        Port("plain", "float32", (-1,)),
        Port("numbers", "float32", (-1,), library="numpy"),
        Port("arrays", "array", (-1,), library="numpy" if node_class is not OfTensors else None),
        Port("tensors", "array", (-1,), library="torch"),
        Port("text", "str", (), library="numpy"),
    ]
    node = node_class()
    assert [library_of_input(node, port) for port in ports] == libraries
    own = [name == "numpy" for name in libraries] if node_class is OfTensors else [False] * 5
    assert [gets_copy(node, port) for port in ports] == own


def test_arrays_and_tensors_share_their_memory() -> None:
    """Both ways, on the CPU; whatever is neither stays as it is."""
    array = np.zeros((2, 3), np.float32)
    tensor = converter("torch")(array)
    tensor[0, 0] = 1
    assert array[0, 0] == 1
    back = converter("numpy")(tensor.requires_grad_())
    back[0, 0] = 2
    assert (type(back), array[0, 0]) == (np.ndarray, 2)
    assert converter("torch")(np.float32(2)).item() == 2
    for library in ("torch", "numpy"):
        for value in ("text", None, [1]):
            assert converter(library)(value) is value
    assert converter("torch")(tensor) is tensor
    assert converter("numpy")(array) is array


@pytest.mark.parametrize(
    ("make", "shared"),
    [
        (lambda array: array[::2], True),
        (lambda array: array[::-1], False),
        (lambda array: array[:, ::-1], False),
        (lambda array: array.T, True),
        (lambda array: array[:, :1], True),
        (lambda array: array.astype(">f4"), False),
        (lambda array: np.frombuffer(array.tobytes(), np.float32), False),
    ],
)
def test_what_torch_cannot_share_is_copied(make: Any, *, shared: bool) -> None:
    """The values are the same."""
    array = np.arange(12, dtype=np.float32).reshape(4, 3)
    given = make(array)
    tensor = converter("torch")(given)
    assert tensor.tolist() == given.tolist()
    assert np.shares_memory(tensor.numpy(), array) is shared


def test_an_array_that_was_lent_read_only_is_shared_and_stays_so() -> None:
    """A node that writes to it writes to what it was lent."""
    array = np.zeros(3)
    lent = array.view()
    lent.flags.writeable = False
    tensor = converter("torch")(lent)
    assert np.shares_memory(tensor.numpy(), array)
    assert not lent.flags.writeable


@pytest.mark.parametrize(
    ("dtype", "declared", "given"),
    [
        ("uint16", "array", "float32"),
        ("uint32", "array", "float64"),
        ("uint8", "array", "uint8"),
        ("int16", "array", "int16"),
        ("uint16", "any", "uint16"),
        ("uint16", "uint16", "uint16"),
    ],
)
def test_integers_that_torch_can_only_hold_become_real(dtype: str, declared: str, given: str) -> None:
    """Where any tensor will do."""
    if given.startswith("uint") and not hasattr(torch, given):
        pytest.skip("this torch has no such type")
    tensor = converter("torch", dtype=declared)(np.array([1, 2], dtype))
    assert (str(tensor.dtype), tensor.tolist()) == (f"torch.{given}", [1, 2])


def test_tensors_go_where_they_are_wanted() -> None:
    """Also those that are made of arrays."""
    convert = converter("torch", "meta")
    assert [convert(each).device.type for each in (torch.zeros(2), np.zeros(2))] == ["meta", "meta"]


def test_a_nodes_state_is_kept_with_what_it_computes_with() -> None:
    """Tensors for a torch node, arrays for others."""
    assert type(converter_of(OfTensors())(np.zeros(2))) is torch.Tensor
    assert type(converter_of(OfArrays())(torch.zeros(2))) is np.ndarray
