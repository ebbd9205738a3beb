"""What a run answers: a dict, which a notebook shows as a table with small pictures."""

from typing import Any, Final

from cuvis_ai_core.node.array_node import Value
from cuvis_ai_core.pipeline.execution.run_request import Address

_MOST_CLASSES: Final = 255
_LONGEST: Final = 192
_WIDE: Final = "width:10rem;image-rendering:pixelated"


class Results(dict[Address, Value]):
    """Values by (node, port)."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        """Show this in a notebook: each output with its type, its range, and what it looks like."""
        from cuvis_ai_core.pages.html import table

        rows = [(f"{node}.{port}", *_cells(value)) for (node, port), value in self.items()]
        return table(("output", "dtype", "shape", "least", "greatest", ""), rows)


def _cells(value: Any) -> tuple[object, ...]:
    import numpy as np

    array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    if value is None or array.dtype.kind not in "biuf" or not array.size:
        return type(value).__name__, "-", "-", "-", ""
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    ends = (f"{finite.min():.6g}", f"{finite.max():.6g}") if finite.size else ("-", "-")
    return str(array.dtype), " x ".join(map(str, array.shape)) or "one value", *ends, _look(array)


def _look(array: Any) -> object:
    """Return a small picture of the first image of an output, where it is one: scores, classes, colours."""
    import numpy as np

    from cuvis_ai_core.pages.colour_maps import NO_DATA, class_colours, viridis
    from cuvis_ai_core.pages.html import picture
    from cuvis_ai_core.pages.image_encoding import encoded, levels

    match array.shape:
        case (_, height, width) | (_, height, width, 1 | 3) if min(height, width) > 1:
            step = max(1, -(-max(height, width) // _LONGEST))
        case _:
            return ""
    image = array[0, ::step, ::step]
    if image.shape[2:] == (3,):
        if image.dtype != np.uint8:
            image = np.stack([levels(np.asarray(image[..., each], np.float32)) for each in range(3)], axis=-1)
        return picture(encoded(image), "png", "colours", style=_WIDE)
    image = image.reshape(image.shape[:2])
    if image.dtype.kind == "f":
        drawn = viridis(256)[levels(image.astype(np.float32))]
        drawn[~np.isfinite(image)] = NO_DATA
        return picture(encoded(drawn), "png", "scores", style=_WIDE)
    classes, places = np.unique(image.astype(np.int64), return_inverse=True)
    if len(classes) > _MOST_CLASSES:
        return picture(encoded(levels(image.astype(np.float32))), "png", "numbers", style=_WIDE)
    colours = np.array(class_colours([int(each) for each in classes]), np.uint8)
    # The places are flat in NumPy 1, and have the shape of the image since NumPy 2.
    return picture(encoded(colours[places.reshape(image.shape)]), "png", "classes", style=_WIDE)
