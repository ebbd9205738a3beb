"""Small functions that published software shares."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
    from cuvis_ai_core.data.session_samples import stretched

    return stretched(array, range_min, range_max)


def expand_range_selectors(tokens: Iterable[int | str]) -> list[int]:
    """Return the numbers that a list names: each a number, or a range `first-last` or `first-last:step` with its last.

    Raises:
        ValueError: Something is neither.
    """
    return [number for token in tokens for number in _range(token)]


def _range(token: int | str) -> Iterable[int]:
    if isinstance(token, int):
        return (token,)
    text, _, step = str(token).strip().partition(":")
    first, dash, last = text.partition("-")
    try:
        numbers = range(int(first), int(last if dash else first) + 1, int(step) if step else 1)
    except ValueError:
        numbers = range(0)
    if not numbers:
        raise ValueError(f"'{token}' is no number and no range; write 4, 0-10 or 0-10:2")
    return numbers
