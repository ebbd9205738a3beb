"""Small functions that published software shares."""

import numpy as np
import pytest

from cuvis_ai_core.utils.general import check_ndim, expand_range_selectors, normalize_per_channel_vectorized


@pytest.mark.parametrize("axes", [0, 1, 3])
def test_the_number_of_axes_is_checked(axes: int) -> None:
    """With the name of the array and what it has."""
    array = np.zeros((2,) * axes)
    check_ndim(array, axes)
    for other in (axes - 1, axes + 1):
        with pytest.raises(ValueError, match=rf"cube must have {other} axes, and has {axes}: its shape is \(.*\)"):
            check_ndim(array, other, "cube")


def test_each_channel_is_stretched() -> None:
    """From one value to another; one of a single value becomes the first."""
    cube = np.array([[[1, 10, 5], [3, 30, 5]], [[2, 20, 5], [5, 40, 5]]])
    found = normalize_per_channel_vectorized(cube, -1, 3)
    assert found.dtype == np.float32
    assert np.allclose(found[..., 0], [[-1, 1], [0, 3]])
    assert (found[..., 1].min(), found[..., 1].max()) == (-1, 3)
    assert (found[..., 2] == -1).all()
    assert (normalize_per_channel_vectorized(cube).min(), normalize_per_channel_vectorized(cube).max()) == (0, 1)


def test_ranges_become_numbers() -> None:
    """As selections of measurements have them."""
    assert list(expand_range_selectors([0, "3-5"])) == [0, 3, 4, 5]
