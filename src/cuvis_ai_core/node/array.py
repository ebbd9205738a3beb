"""The base class of nodes that compute on arrays of any library."""

from abc import ABC, abstractmethod
from typing import Any, TypeAlias

from cuvis_ai_core.node.base import NodeMixin

Value: TypeAlias = Any
"""What an edge carries: an array of any library, a number, a text, or an object."""


class ArrayNode(NodeMixin, ABC):
    """Base class of nodes written against the Python array API standard.

    Such a node asks its inputs for their namespace (`array_api_compat.array_namespace`) and uses no other
    library on them, so that it runs on NumPy arrays and on torch tensors alike, on their device and with
    their gradients.

    Cubes are `[batch, height, width, channel]`; wavelengths are `[channel]` in nm.
    """

    @abstractmethod
    def forward(self, *args: Value, **inputs: Value) -> dict[str, Value]:
        """Compute the output ports from the input ports.

        Args:
            args: Unused: input ports are named. (It lets subclasses name their ports in the signature.)
            inputs: One argument per input port that is connected or given.

        Returns:
            Port name to value, for every port in `OUTPUT_SPECS`.
        """

    def __call__(self, **inputs: Value) -> dict[str, Value]:
        """Compute the output ports: `forward` under the name that scripts use."""
        return self.forward(**inputs)
