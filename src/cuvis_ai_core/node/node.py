"""The base class of nodes that compute with torch; importing this module imports torch."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from cuvis_ai_core.errors import InvalidNodeError, MissingExtraError
from cuvis_ai_core.node.base import Hyperparameter, NodeMixin
from cuvis_ai_core.node.gradient_modes import keep_for_gradients

try:
    import torch
    from torch import nn
except ModuleNotFoundError as missing:
    if missing.name != "torch":
        raise
    raise MissingExtraError(
        "cuvis_ai_core.node.Node is a torch module, and torch is not installed.",
        hint="Install the extra: pip install 'cuvis-ai-core[torch]'. Without torch, nodes derive from ArrayNode.",
        extra="torch",
    ) from missing

__all__ = ["Node"]


class Node(NodeMixin, nn.Module, ABC):
    """Base class of nodes that compute with torch: an `nn.Module` with ports.

    Inputs arrive as tensors on the device of the pipeline, cubes as `[batch, height, width, channel]`; an input port
    whose dtype is one of NumPy gets a NumPy array. Plain attributes may be set before `super().__init__`.

    A node that learns from data (`statistical_initialization`) keeps what it learned in buffers. A buffer that is
    None or empty takes the shape that is loaded. Buffers named in `TRAINABLE_BUFFERS` are parameters while the node
    is unfrozen.

    Args:
        name: Name of this node in its pipeline; by default the name of its class.
        execution_stages: Stage or stages in which a pipeline runs this node; None means `EXECUTION_STAGES`.
        hparams: Hyper-parameters, kept so that the node can be written to a pipeline file and built again.

    Raises:
        InvalidNodeError: A stage is not one of `cuvis_ai_core.node.base.STAGES`.
    """

    TRAINABLE_BUFFERS: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        name: str | None = None,
        execution_stages: Iterable[str] | None = None,
        **hparams: Hyperparameter,
    ) -> None:
        super().__init__(name, execution_stages, **hparams)
        self._frozen = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        names: object = cls.TRAINABLE_BUFFERS
        if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
            raise InvalidNodeError(
                f"TRAINABLE_BUFFERS of {cls.__name__} must be a tuple of strings, and is {names!r}.",
                hint="Write, with the comma: TRAINABLE_BUFFERS = ('weights',)",
                node=cls.__name__,
            )

    @abstractmethod
    def forward(self, *args: Any, **inputs: Any) -> dict[str, Any]:
        """Compute the output ports from the input ports.

        Args:
            args: Unused: input ports are named. (It lets subclasses name their ports in the signature.)
            inputs: One argument per input port that is connected or given, and the `context` of the run where
                `forward` takes one of that name, or any.

        Returns:
            Port name to value, for every port in `OUTPUT_SPECS`.
        """

    def __getattr__(self, name: str) -> Any:
        try:
            # torch's comes first: parameters, buffers and modules are found by it.
            return nn.Module.__getattr__(self, name)
        except AttributeError:
            return NodeMixin.__getattr__(self, name)  # type: ignore[attr-defined] # hidden from checkers

    def fit(self, input_stream: Iterable[Mapping[str, Any]]) -> None:
        """Learn from data, as `statistical_initialization` does."""
        self.statistical_initialization(input_stream)

    def validate_serialization_support(self) -> tuple[bool, str]:
        """Tell whether what this node keeps can be saved and read back, and why not."""
        try:
            state = self.state_dict()
            type(self).load_state_dict(self, state)
        except Exception as error:  # noqa: BLE001 - of whatever its author wrote
            return False, f"{type(error).__name__}: {error}"
        return True, "OK"

    @property
    def frozen(self) -> bool:
        """Whether training leaves this node as it is."""
        return self._frozen

    def freeze(self) -> None:
        """Have no parameter change: none needs a gradient, and trainable buffers are buffers.

        Raises:
            AttributeError: There is no buffer of a name in `TRAINABLE_BUFFERS`; nothing was changed.
        """
        self._check_registered()
        for name in self.TRAINABLE_BUFFERS:
            parameter = self._parameters.pop(name, None)
            if parameter is not None:
                self._buffers[name] = parameter.detach()
        self.requires_grad_(requires_grad=False)
        self._frozen = True

    def unfreeze(self) -> None:
        """Have all parameters trained, and those buffers that are named in `TRAINABLE_BUFFERS`.

        Raises:
            InvalidNodeError: Such a buffer holds no floating-point numbers; nothing was changed.
            AttributeError: There is no buffer of such a name; nothing was changed.
        """
        self._check_registered()
        keep_for_gradients(self)
        trainable = {name: self._buffers[name] for name in self.TRAINABLE_BUFFERS if name in self._buffers}
        for name, buffer in trainable.items():
            if buffer is not None and not (buffer.is_floating_point() or buffer.is_complex()):
                raise InvalidNodeError(
                    f"Node '{self.name}': buffer '{name}' is in TRAINABLE_BUFFERS and has the dtype {buffer.dtype}; "
                    "only floating-point numbers can be trained.",
                    node=self.name,
                )
        for name, buffer in trainable.items():
            if buffer is not None:
                del self._buffers[name]
                self._parameters[name] = nn.Parameter(buffer.detach())
        self.requires_grad_(requires_grad=True)
        self._frozen = False

    def _check_registered(self) -> None:
        for name in self.TRAINABLE_BUFFERS:
            if name not in self._buffers and name not in self._parameters:
                raise AttributeError(
                    f"Node '{self.name}' ({type(self).__name__}) has no buffer '{name}' of TRAINABLE_BUFFERS: "
                    f"its __init__ calls self.register_buffer({name!r}, ...)"
                )

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:  # noqa: FBT001, FBT002 - torch's signature
        """Take over parameters and buffers; a buffer that is None or empty takes the shape that is loaded.

        Raises:
            RuntimeError: A key is missing or unknown (unless `strict` is false), or a shape differs.
        """
        for name, buffer in list(self._buffers.items()):
            value = state_dict.get(name)
            # torch keeps no place for a buffer that is None, and refuses another shape than that of an empty one.
            if isinstance(value, torch.Tensor) and (buffer is None or buffer.numel() == 0):
                self._buffers[name] = torch.empty_like(value, device=None if buffer is None else buffer.device)
        result = super().load_state_dict(state_dict, strict=strict, assign=assign)
        self.statistically_initialized = bool(state_dict)
        return result
