"""The part of a value that lies in a tile; what is no image is the same for all of them."""

from cuvis_ai_core.data.lazy_image import LazyImage
from cuvis_ai_core.node.array_node import Value
from cuvis_ai_core.pipeline.tiling.windows import Window, image_size


def part_of(value: Value, window: Window, image: tuple[int, int, int]) -> Value:
    """Return the part of an image in a window; what is no image stays as it is."""
    if isinstance(value, list | tuple):
        return [part_of(each, window, image) for each in value]
    if image_size(value) != image:
        return value
    rows, columns = window.slices
    return value.tile(rows, columns) if isinstance(value, LazyImage) else value[:, rows, columns]


def cropped(value: Value, there: Window, wanted: Window, batch: int) -> Value:
    """Return the part in a tile of what was computed for a larger one around it."""
    if isinstance(value, list | tuple):
        return [cropped(each, there, wanted, batch) for each in value]
    if image_size(value) != (batch, *there.size):
        return value
    rows, columns = wanted.within(there)
    return value[:, rows, columns]


def whole(value: Value) -> Value:
    """Return a value as an array in memory."""
    return value.whole() if isinstance(value, LazyImage) else value
