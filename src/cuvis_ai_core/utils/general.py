"""Small functions that published software shares."""

from typing import TYPE_CHECKING, Any

from cuvis_ai_core.data.index_ranges import expand_range_selectors

if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = ["check_ndim", "expand_range_selectors", "normalize_per_channel_vectorized"]


def check_ndim(x: Any, expected_dims: int, name: str = "array") -> None:
    """Check how many axes an array has.

    Raises:
        ValueError: It has more or fewer.
    """
    if len(x.shape) != expected_dims:
        raise ValueError(
            f"{name} must have {expected_dims} axes, and has {len(x.shape)}: its shape is {tuple(x.shape)}"
        )


def normalize_per_channel_vectorized(
    array: "NDArray[Any]", range_min: float = 0.0, range_max: float = 1.0
) -> "NDArray[Any]":
    """Return a cube in which each channel runs from one value to another.

    Args:
        array: `[height, width, channel]`.
        range_min: What the lowest value of a channel becomes; so does a channel that has one value only.
        range_max: What the highest becomes.

    Returns:
        float32, of the same shape.
    """
    # When it is called: importing this module costs no NumPy.
    from cuvis_ai_core.data.cu3s_samples import stretched

    return stretched(array, range_min, range_max)
