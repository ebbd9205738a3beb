"""Pieces of images in files: put in order, joined, and as what they stand for."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuvis_ai_core.data.formats.stored_image import Joined, Meaning, RawArray, Stored, check_size, data_of
from cuvis_ai_core.errors import CubeError

DATA = np.arange(2 * 3 * 7, dtype=np.int16).reshape(2, 3, 7)


def _stored(values: Any = DATA, axes: tuple[int, int, int] = (0, 1, 2), meaning: Meaning | None = None) -> Stored:
    return Stored(values, lambda: nullcontext(values), axes, meaning)


@given(st.integers(0, 6), st.integers(1, 7))
def test_bands_of_joined_images(start: int, length: int) -> None:
    """Are those of the parts, one behind the other, whichever of them a piece lies in."""
    parts = [_stored(DATA[..., :2]), _stored(DATA[..., 2:3].astype(np.float32)), _stored(DATA[..., 3:])]
    image, bands = Joined(parts), slice(start, min(start + length, 7))
    found = image.read(slice(1, 2), slice(0, 2), bands)
    np.testing.assert_array_equal(found, DATA[1:2, :2, bands])
    assert (image.shape, image.dtype, found.dtype) == (DATA.shape, np.dtype("f4"), np.dtype("f4"))


class Chunked(np.ndarray):
    """An array with the pieces in which a file stores it."""

    chunks: tuple[int, ...] | None
    shards: tuple[int, ...] | None


def _chunked(chunks: Any, shards: Any = None) -> Any:
    found: Any = DATA.view(Chunked)
    found.chunks, found.shards = chunks, shards
    return found


def test_pieces_of_a_file() -> None:
    """Height and width of a chunk, or of the shard in which it lies; of joined images the larger."""
    assert _stored(_chunked((7, 5, 3)), (2, 0, 1)).chunk == (3, 7)
    assert _stored(_chunked((1, 1, 1), (2, 3, 7))).chunk == (2, 3)
    assert (_stored(_chunked(None)).chunk, _stored().chunk) == ((1, 1), (1, 1))
    assert Joined([_stored(), _stored(_chunked((2, 3, 7))), _stored()]).chunk == (2, 3)


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 0), (3, 1, 0), (2, 0, 3)])
def test_axes_of_a_file_are_put_in_order(axes: tuple[int, int, int]) -> None:
    """Another axis of one element is left out."""
    values = np.moveaxis(DATA[..., np.newaxis], (0, 1, 2, 3), (*axes, *({0, 1, 2, 3} - set(axes))))
    cube = data_of(_stored(values, axes), Path("x"))
    np.testing.assert_array_equal(np.asarray(cube), DATA)
    np.testing.assert_array_equal(cube[1:, 1:, 2:5], DATA[1:, 1:, 2:5])


NAN = float("nan")


@pytest.mark.parametrize(
    ("meaning", "expected"),
    [
        (Meaning(), [[1, 2, 3], [4, 5, 6]]),
        (Meaning(gain=np.asarray(2.0)), [[2, 4, 6], [8, 10, 12]]),
        (Meaning(gain=np.array([1.0, 2.0, 3.0]), offset=np.array([0.0, 0.0, 1.0])), [[1, 4, 10], [4, 10, 19]]),
        (Meaning(offset=np.asarray(1.0), missing=(4, 2)), [[2, NAN, 4], [NAN, 6, 7]]),
        (Meaning(valid=(2, 5)), [[NAN, 2, 3], [4, 5, NAN]]),
        (Meaning(gain=np.asarray(9.0), valid=(2, 5)), [[NAN, 18, 27], [36, 45, NAN]]),
        (Meaning(outside=1.0), [[1, 2, 3], [4, 5, 6]]),
        (Meaning(signed=np.dtype("u1")), [[1, 2, 3], [4, 5, 6]]),
    ],
)
@pytest.mark.parametrize("bands", [slice(0, 3), slice(1, 3), slice(2, 3)])
def test_what_stored_values_stand_for(meaning: Meaning, expected: list[list[float]], bands: slice) -> None:
    """Gain, then offset, of each band its own; "no data" is compared as it is stored. The file's values stay."""
    values = np.array([[[1, 2, 3], [4, 5, 6]]], np.int8)
    image = _stored(values, meaning=meaning)
    found = image.read(slice(0, 1), slice(0, 2), bands)
    np.testing.assert_array_equal(found, np.array([expected])[..., bands])
    changed = np.dtype(meaning.signed or "i1") if not meaning.changes() else np.dtype("f4")
    assert found.dtype == image.dtype == changed
    found[...] = 0
    assert values.sum() == 21


def test_pixels_outside_have_one_value_in_all_bands() -> None:
    """A band alone may well measure it; whether a pixel is outside is told by all, whichever are read."""
    values = np.array([[[0, 0, 0], [0, 5, 0]]], np.int8)
    image = _stored(values, meaning=Meaning(outside=0.0))
    found = image.read(slice(0, 1), slice(0, 2), slice(0, 1))
    np.testing.assert_array_equal(found, [[[NAN], [0]]])
    np.testing.assert_array_equal(_stored(values, meaning=Meaning(outside=1.0)).read(*[slice(0, 1)] * 3), [[[0]]])


def test_raw_values_behind_others(tmp_path: Path) -> None:
    """Are read from their offset, in their byte order, each piece of three axes; no handle stays."""
    file = tmp_path / "x.raw"
    file.write_bytes(b"abc" + DATA.astype(">i2").tobytes())
    raw = RawArray(file, np.dtype(">i2"), 3, (1, *DATA.shape))
    for _ in range(2):
        found = raw[0, slice(1, 2), slice(0, 3), slice(2, 7)]
        np.testing.assert_array_equal(found, DATA[1:2, :, 2:7])


def test_a_piece_larger_than_the_memory_is_refused() -> None:
    """The error names the file and both sizes; what fits is not."""
    check_size(Path("x"), (1, 1, 1), np.dtype("f8"))
    with pytest.raises(CubeError, match=r"1048576 x 1048576 x 1024 values of type float64, .* 8\.39e\+06 GiB") as error:
        check_size(Path("x"), (1 << 20, 1 << 20, 1 << 10), np.dtype("f8"))
    assert error.value.path == Path("x")
