"""How a node says that it can be computed tile by tile.

`per_pixel = True`: each pixel's answer needs that pixel alone. `halo = n`: and its neighbours, up to n rows and columns
away; at the edges of the image there are none, as in one piece. A node may set `halo` in its constructor. It then gets
tiles `[batch, rows, columns, ...]` of its images in place of the whole ones; inputs and outputs that are no images
(wavelengths, a reference spectrum) are the same for every tile.

A node that needs statistics of the very image that it scores has these methods besides `forward`; the pipeline calls
them in this order, and gets the numbers that `forward` gives for the whole, but for rounding:

- `tile_statistics(**inputs)` of each tile, without neighbours. What it returns is the node's own affair.
- `merge_statistics(left, right)` of two parts of the image (Chan, Golub and LeVeque 1979, "Updating formulae and a
  pairwise algorithm for computing sample variances", for means and covariances).
- `statistics_complete(statistics)`, if it is there: more tiles would not change them.
- `refine_statistics(statistics, **inputs)` of each tile, as long as `statistics_rough(statistics)`: what another look
  at the image gives; the answers are merged as those before, and take their place. Both methods may be left out.
- `forward_tile(statistics, **inputs)` of each tile.

Of a node in a process of its own, `per_pixel` and `halo` count as its class has them; its tiles cross in shared memory.
One that gathers statistics gets whole images there.

These declarations count for the class that has them beside its own `forward`: a class that only derives from it and
computes otherwise has said nothing.
"""

from dataclasses import dataclass
from typing import Any, Final

from cuvis_ai_core.errors import InvalidNodeError

_STATISTICS: Final = ("tile_statistics", "merge_statistics", "forward_tile")
_DECLARATIONS: Final = ("per_pixel", "halo", *_STATISTICS)


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a node is computed by tiles.

    Attributes:
        halo: Rows and columns around a tile that it needs.
        gathers: Whether it gathers statistics of the image first.
        thread_safe: Whether several tiles may be computed at once.
    """

    halo: int
    gathers: bool
    thread_safe: bool


def tiling_of(node: Any) -> Tiling | None:
    """Return how a node is computed by tiles, None where it needs whole images.

    Raises:
        InvalidNodeError: Its halo is no number of pixels, or some of the methods for statistics are missing.
    """
    node_class = type(node)
    # Exchanged in the node itself, as mocks and compilers do: its class has said nothing of that.
    if "forward" in vars(node):
        return None
    said = [name for name in _DECLARATIONS if name in vars(node) or _declares(node_class, name)]
    halo = getattr(node, "halo", None) if "halo" in said else None
    per_pixel = bool(getattr(node, "per_pixel", False)) if "per_pixel" in said else False
    methods = [name for name in _STATISTICS if name in said]
    if halo is None and not per_pixel and not methods:
        return None
    if halo is not None and (isinstance(halo, bool) or not isinstance(halo, int) or halo < 0):
        raise _refusal(node, f"halo is {halo!r}; it is a number of pixels, 0 or more")
    if methods and (missing := [name for name in _STATISTICS if name not in methods]):
        raise _refusal(node, f"it has {methods[0]}, but no method {missing[0]}; the three belong together")
    return Tiling(halo or 0, bool(methods), bool(getattr(node, "thread_safe", False)))


def says(node: Any, question: str, statistics: Any) -> bool:
    """Ask a node `statistics_complete` or `statistics_rough`, if it has that method."""
    method = getattr(type(node), question, None)
    return method is not None and bool(method(node, statistics))


def tiles_elsewhere(node_class: type) -> dict[str, object]:
    """Return what a class says of tiles that counts from another process: nothing where it gathers statistics."""
    if any(_declares(node_class, name) for name in _STATISTICS):
        return {}
    return {name: getattr(node_class, name) for name in ("per_pixel", "halo") if _declares(node_class, name)}


def _declares(node_class: type, name: str) -> bool:
    """Tell whether a class declares something for the `forward` that it has."""
    for each in node_class.__mro__:
        if name in vars(each):
            # The base classes have defaults, which declare nothing.
            return not each.__module__.startswith("cuvis_ai_core.node.")
        if "forward" in vars(each):
            return False
    return False


def _refusal(node: Any, problem: str) -> InvalidNodeError:
    return InvalidNodeError(f"Node '{node.name}' ({type(node).__name__}): {problem}.", node=node.name)
