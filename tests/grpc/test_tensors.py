"""Arrays as messages, and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.helpers import dtype_to_proto, numpy_to_proto, proto_to_numpy
from cuvis_ai_core.grpc.messages.tensors import NUMBERS, from_raw, to_array, why_not

DTYPES = st.sampled_from([np.dtype(name) for name in NUMBERS])


@given(DTYPES.flatmap(lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=0, min_side=0, max_side=5))))
def test_an_array_comes_back_as_it_was(array: np.ndarray) -> None:
    """Every dtype of the wire, every shape, empty and zero-dimensional ones too."""
    back = proto_to_numpy(numpy_to_proto(array))
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize(
    ("values", "sent"), [([], True), ([3], True), ([2**63 - 1, 0], True), ([2**63], False), ([0, 2**64 - 1], False)]
)
def test_integers_without_a_sign_are_sent_where_none_becomes_negative(values: list[int], *, sent: bool) -> None:
    """The largest type of the wire has a sign."""
    found = to_array(np.array(values, np.uint64))
    assert (found is not None) == sent
    assert found is None or (found.dtype == np.int64 and found.tolist() == values)


def test_big_endian_and_strided_arrays_are_sent_by_value() -> None:
    """The bytes are little-endian in C order, whatever lies in memory."""
    big = np.arange(12, dtype=">i4").reshape(3, 4).T
    np.testing.assert_array_equal(proto_to_numpy(numpy_to_proto(big)), big)
    assert numpy_to_proto(np.array([1], dtype=">u2")).raw_data == b"\x01\x00"


def test_a_copy_can_be_written_and_a_view_cannot() -> None:
    """`copy=True` is the published default."""
    message = numpy_to_proto(np.zeros(3, np.float32))
    proto_to_numpy(message)[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        proto_to_numpy(message, copy=False)[0] = 1


@pytest.mark.parametrize(
    ("raw", "shape", "dtype"),
    [
        (b"1234", [2], 1),
        (b"", [1 << 62, 4], 1),
        (b"", [-1], 1),
        (b"1234", [1], 0),
        (b"1234", [1], 99),
        (b"", [0] * 65, 1),
        (b"1" * 8, [3, -1], 1),
    ],
)
def test_shapes_that_lie_are_refused_before_anything_is_allocated(raw: bytes, shape: list[int], dtype: int) -> None:
    """Shape, dtype and bytes have to go together."""
    with pytest.raises(ServiceError) as caught:
        from_raw(raw, shape, dtype)
    assert caught.value.code == "INVALID_ARGUMENT"


def test_a_byte_that_is_no_bool_counts_as_true() -> None:
    """NumPy computes nonsense with bools of other bytes than 0 and 1."""
    assert from_raw(b"\x00\x02\xff", [3], 6).view(np.uint8).tolist() == [0, 1, 1]


def test_dtypes_that_the_wire_lacks_become_wider_ones() -> None:
    """int16 travels as int32, without loss; complex numbers are refused."""
    assert proto_to_numpy(numpy_to_proto(np.array([-7], np.int16))).dtype == np.int32
    with pytest.raises(ValueError, match="complex128"):
        numpy_to_proto(np.array([1j]))
    with pytest.raises(ValueError, match="complex64"):
        dtype_to_proto(np.complex64)


def test_what_is_masked_travels_as_no_number() -> None:
    """As a pipeline in this process takes it; an array that hides nothing is sent as it is."""
    masked = np.ma.masked_array(np.array([1, 2, 3], np.float32), mask=[False, True, False])
    assert np.array_equal(proto_to_numpy(numpy_to_proto(masked)), [1, np.nan, 3], equal_nan=True)
    assert proto_to_numpy(numpy_to_proto(np.ma.masked_array([1, 2]))).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.array([1j]), "an array of dtype complex128, which a message does not have: float32, float64, int32"),
        (np.array(["a"]), "an array of dtype "),
        (object(), "of type object, which a message does not have"),
    ],
)
def test_what_cannot_be_sent_is_told_with_the_reason(value: object, reason: str) -> None:
    """It is the dtype of an array, and the type of anything else."""
    assert to_array(value) is None
    assert why_not(value).startswith(reason)


def test_torch_tensors_travel_too() -> None:
    """bfloat16, which the wire lacks, as float32."""
    torch = pytest.importorskip("torch")
    from cuvis_ai_core.grpc.helpers import proto_to_tensor, tensor_to_proto

    tensor = torch.arange(6, dtype=torch.float32, requires_grad=True)
    assert torch.equal(proto_to_tensor(tensor_to_proto(tensor)), tensor.detach())
    assert proto_to_tensor(tensor_to_proto(tensor.detach().bfloat16())).dtype == torch.float32
    assert dtype_to_proto(torch.uint8) == 5
