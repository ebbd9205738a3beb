"""The base class of nodes that compute on arrays of any library."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias

from cuvis_ai_core.errors import InvalidNodeError
from cuvis_ai_core.node.base import NodeMixin

Value: TypeAlias = Any
"""What an edge carries: an array of any library, a number, a text, or an object."""


class ArrayNode(NodeMixin, ABC):
    """Base class of nodes written against the Python array API standard.

    Such a node asks its inputs for their namespace (`array_api_compat.array_namespace`) and uses no other
    library on them, so that it runs on NumPy arrays and on torch tensors alike, on their device and with
    their gradients.

    Cubes are `[batch, height, width, channel]`; wavelengths are `[channel]` in nm.

    A node that learns from data (`statistical_initialization`) names the attributes that hold what it learned in
    `STATE`: they are saved with the pipeline, and come back as NumPy arrays.
    """

    STATE: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def forward(self, *args: Value, **inputs: Value) -> dict[str, Value]:
        """Compute the output ports from the input ports.

        Args:
            args: Unused: input ports are named. (It lets subclasses name their ports in the signature.)
            inputs: One argument per input port that is connected or given, and the `context` of the run where
                `forward` names it.

        Returns:
            Port name to value, for every port in `OUTPUT_SPECS`.
        """

    def __call__(self, **inputs: Value) -> dict[str, Value]:
        """Compute the output ports: `forward` under the name that scripts use."""
        return self.forward(**inputs)

    def state_dict(self) -> dict[str, Value]:
        """Return what this node has learned: attribute in `STATE` to array; those that are None are left out."""
        return {name: value for name in self.STATE if (value := vars(self).get(name)) is not None}

    def load_state_dict(self, state_dict: Mapping[str, Value]) -> None:
        """Take over what `state_dict` returned; an attribute that is not in it becomes None.

        Raises:
            InvalidNodeError: A key is not in `STATE`; nothing was changed.
        """
        if unknown := sorted(set(state_dict) - set(self.STATE)):
            raise InvalidNodeError(
                f"Node '{self.name}' ({type(self).__name__}) keeps no '{unknown[0]}'; "
                f"its STATE is {', '.join(self.STATE) or 'empty'}.",
                node=self.name,
            )
        for name in self.STATE:
            setattr(self, name, state_dict.get(name))
        self.statistically_initialized = bool(state_dict)
