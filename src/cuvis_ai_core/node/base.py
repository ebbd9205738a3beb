"""What all nodes share, whatever they compute with: name, hyper-parameters, stages."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeAlias

from cuvis_ai_core.errors import InvalidNodeError

STAGES = frozenset({"always", "train", "val", "test", "inference"})
"""The execution stages of the published schemas (`cuvis_ai_schemas.enums.ExecutionStage`)."""

Hyperparameter: TypeAlias = Any
"""Whatever a pipeline file can hold."""


class NodeMixin:
    """Ports, hyper-parameters, execution stages and name of a node.

    A node class declares its ports in `INPUT_SPECS` and `OUTPUT_SPECS` (port name to
    `cuvis_ai_schemas.pipeline.PortSpec`) and computes in `forward`, whose arguments are the input ports and
    whose result is a dict of output ports.

    Args:
        name: Name of this node in its pipeline; by default the name of its class.
        execution_stages: Stage or stages in which a pipeline runs this node; None means always.
        hparams: Hyper-parameters, kept so that the node can be written to a pipeline file and built again.

    Raises:
        InvalidNodeError: A stage is not one of `STAGES`.
    """

    INPUT_SPECS: ClassVar[Mapping[str, Any]] = {}
    OUTPUT_SPECS: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self,
        name: str | None = None,
        execution_stages: Iterable[str] | None = None,
        **hparams: Hyperparameter,
    ) -> None:
        super().__init__()
        self._name = name or type(self).__name__
        stages = [execution_stages] if isinstance(execution_stages, str) else execution_stages
        self._execution_stages = frozenset(map(stage_name, stages or ("always",)))
        self.hparams = hparams
        if unknown := sorted(self._execution_stages - STAGES):
            raise InvalidNodeError(
                f"Node '{self._name}': unknown execution stage '{unknown[0]}'. Stages are {', '.join(sorted(STAGES))}.",
                node=self._name,
            )

    @property
    def name(self) -> str:
        """Name of this node; it cannot be changed."""
        return self._name

    @property
    def execution_stages(self) -> frozenset[str]:
        """Stages in which a pipeline runs this node."""
        return self._execution_stages

    def should_execute(self, stage: str) -> bool:
        """Tell whether this node runs in `stage`."""
        return "always" in self._execution_stages or stage_name(stage) in self._execution_stages

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.hparams.items())
        return f"{type(self).__name__}({arguments})"


def stage_name(stage: object) -> str:
    """Return the name of a stage that is given as text or as a member of an enum."""
    return str(getattr(stage, "value", stage))


def is_node_class(candidate: object) -> bool:
    """Tell whether `candidate` is a class with what every node class has: ports and `forward`."""
    return (
        isinstance(candidate, type)
        and isinstance(getattr(candidate, "INPUT_SPECS", None), Mapping)
        and isinstance(getattr(candidate, "OUTPUT_SPECS", None), Mapping)
        and callable(getattr(candidate, "forward", None))
    )
