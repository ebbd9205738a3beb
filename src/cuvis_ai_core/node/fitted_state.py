"""Whether a node has learned what it needs: statistics of data, or weights by training."""

from typing import Any

from cuvis_ai_core.node.array_libraries import is_elsewhere, is_module


class Learner:
    """A node that may have to learn yet.

    Weights are to be trained where, when the node is built, they need a gradient and their module is in training mode:
    an author who loads trained ones freezes them, or calls `eval()`. They are trained, or loaded, once they change.

    Args:
        node: The node.
        fresh: Whether it was built just now; else its weights are what its owner wants them to be.
    """

    def __init__(self, node: Any, *, fresh: bool) -> None:
        self._node = node
        self._weights: list[tuple[Any, int]] = []
        if fresh and is_module(node):
            modules = [module for module in node.modules() if module.training]
            weights = [each for module in modules for each in module.parameters(recurse=False) if each.requires_grad]
            # torch counts how often a tensor is written
            self._weights = [(each, each._version) for each in weights]

    def lacks(self) -> tuple[str, ...]:
        """Return what the node has not learned: `statistics`, `weights`, or nothing."""
        node = self._node
        if is_elsewhere(node):
            lacks: tuple[str, ...] = getattr(node, "lacks", ())
            return lacks
        if getattr(node, "statistically_initialized", False):
            return ()
        statistics = ["statistics"] * bool(getattr(node, "requires_initial_fit", False))
        return (*statistics, *["weights"] * (bool(self._weights) and self._as_built()))

    def _as_built(self) -> bool:
        # What took the place of a parameter is not as it was built.
        now = set(map(id, self._node.parameters()))
        return all(id(each) in now and each._version == version for each, version in self._weights)
