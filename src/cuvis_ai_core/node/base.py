"""What all nodes share, whatever they compute with: name, hyper-parameters, stages."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias, TypeVar

from cuvis_ai_core.errors import InvalidNodeError
from cuvis_ai_core.node.fitted_state import Fitted
from cuvis_ai_core.node.hyper_parameters import Recorded
from cuvis_ai_core.node.port_handles import (
    PortHandles,
    input_handles,
    input_ports,
    output_handles,
    output_ports,
    port_handle,
)

if TYPE_CHECKING:
    from cuvis_ai_schemas.enums import ExecutionStage

STAGES = frozenset({"always", "train", "val", "test", "inference"})
"""The execution stages of the published schemas (`cuvis_ai_schemas.enums.ExecutionStage`)."""

Hyperparameter: TypeAlias = Any
"""Whatever a pipeline file can hold."""

_Method = TypeVar("_Method", bound=Callable[..., Any])

_NOTHING: Final = "__does_nothing__"


def does_nothing(method: _Method) -> _Method:
    """Mark a method of a base class that is there to be overridden: nobody needs to call it (see `overrides`)."""
    setattr(method, _NOTHING, True)
    return method


class NodeMixin(Fitted, Recorded):
    """Ports, hyper-parameters, execution stages and name of a node.

    A node class declares its ports in `INPUT_SPECS` and `OUTPUT_SPECS` (port name to
    `cuvis_ai_schemas.pipeline.PortSpec`) and computes in `forward`, whose arguments are the input ports and
    whose result is a dict of output ports. `node.inputs.<port>` and `node.outputs.<port>` stand for its ports;
    `node.<port>` does too, where an input and an output do not share the name.

    A node may say that it can be computed tile by tile (see `cuvis_ai_core.node.tiling_declaration`); one that says
    nothing gets whole images.

    Attributes:
        per_pixel: Each pixel's answer needs that pixel alone (and what statistics the node gathers before).
        halo: It needs its neighbours too, up to so many rows and columns away.
        thread_safe: `forward` may be computing several tiles at once, each in a thread.

    Args:
        name: Name of this node in its pipeline; by default the name of its class.
        execution_stages: Stage or stages in which a pipeline runs this node; None means `EXECUTION_STAGES`. A class
            that declares that takes no others.
        hparams: Hyper-parameters, kept so that the node can be written to a pipeline file and built again.

    Raises:
        InvalidNodeError: A stage is not one of `STAGES`, or the class has declared them.
    """

    INPUT_SPECS: ClassVar[Mapping[str, Any]] = {}
    OUTPUT_SPECS: ClassVar[Mapping[str, Any]] = {}
    EXECUTION_STAGES: ClassVar[Iterable[str]] = frozenset({"always"})
    _category: Any = None
    _tags: Iterable[Any] = frozenset()
    _icon_name: str | None = None

    per_pixel: bool = False
    halo: int | None = None
    thread_safe: bool = False

    def __init__(
        self,
        name: str | None = None,
        execution_stages: Iterable[str] | None = None,
        **hparams: Hyperparameter,
    ) -> None:
        # On to `nn.Module`, where the node is one.
        super().__init__()
        self._name = name or type(self).__name__
        if execution_stages is not None:
            self._check_declares_no_stages()
        self._execution_stages = self._checked_stages(execution_stages or self.EXECUTION_STAGES)
        self._statistically_initialized = False
        self.hparams = hparams
        vars(self)["_hparams_given"] = dict(hparams)

    @classmethod
    def get_execution_stages(cls) -> "frozenset[ExecutionStage]":
        """Return the stages in which nodes of this class run, unless it declares none and a node is given others.

        Raises:
            ValueError: One is no stage.
        """
        from cuvis_ai_schemas.enums import ExecutionStage

        stages = cls.EXECUTION_STAGES
        return frozenset(ExecutionStage(stage_name(each)) for each in ([stages] if isinstance(stages, str) else stages))

    @classmethod
    def get_category(cls) -> Any:
        """Return the `NodeCategory` that editors show this class under."""
        from cuvis_ai_schemas.enums import NodeCategory

        return cls._category if cls._category is not None else NodeCategory.UNSPECIFIED

    @classmethod
    def get_tags(cls) -> frozenset[Any]:
        """Return the `NodeTag`s of this class."""
        return frozenset(cls._tags)

    @classmethod
    def get_icon_name(cls) -> str:
        """Return the name of the icon that editors show: its own, or that of its category."""
        return cls._icon_name or str(cls.get_category().value)

    @staticmethod
    def consume_base_kwargs(
        kwargs: dict[str, Any], default_stages: Iterable[str] | None = None
    ) -> tuple[str | None, Iterable[str] | None]:
        """Take `name` and `execution_stages` out of a constructor's keyword arguments.

        Args:
            kwargs: The keyword arguments; afterwards without the two.
            default_stages: The stages of a node for which none are given, or `null` in a file.

        Returns:
            Name and stages, for the base class.
        """
        return kwargs.pop("name", None), kwargs.pop("execution_stages", None) or default_stages

    @property
    def name(self) -> str:
        """Name of this node; it cannot be changed."""
        return self._name

    @property
    def execution_stages(self) -> "frozenset[ExecutionStage]":
        """Stages in which a pipeline runs this node, members of `ExecutionStage`, which are equal to their names.

        They may be changed before it joins one, unless its class declares them.
        """
        from cuvis_ai_schemas.enums import ExecutionStage

        return frozenset(map(ExecutionStage, self._execution_stages))

    @execution_stages.setter
    def execution_stages(self, stages: Iterable[str]) -> None:
        self._check_declares_no_stages()
        self._execution_stages = self._checked_stages(stages)
        self._assigned_stages = True

    def _check_declares_no_stages(self) -> None:
        # As the published core since it has EXECUTION_STAGES: a file with other stages would run nowhere else.
        if type(self).EXECUTION_STAGES is not NodeMixin.EXECUTION_STAGES:
            raise InvalidNodeError(
                f"Node '{self._name}': class {type(self).__name__} declares the stages in which it runs "
                "(EXECUTION_STAGES), and takes no execution_stages.",
                hint="Leave execution_stages out, or declare others in a subclass.",
                node=self._name,
            )

    def _checked_stages(self, stages: Iterable[str]) -> frozenset[str]:
        named = frozenset(map(stage_name, [stages] if isinstance(stages, str) else stages))
        if unknown := sorted(named - STAGES):
            raise InvalidNodeError(
                f"Node '{self._name}': unknown execution stage '{unknown[0]}'. Stages are {', '.join(sorted(STAGES))}.",
                node=self._name,
            )
        return named

    def should_execute(self, stage: str) -> bool:
        """Tell whether this node runs in `stage`."""
        return "always" in self._execution_stages or stage_name(stage) in self._execution_stages

    @property
    def inputs(self) -> PortHandles:
        """The input ports, as attributes: `node.inputs.cube`."""
        return input_handles(self)

    @property
    def outputs(self) -> PortHandles:
        """The output ports, as attributes: `node.outputs.scores`."""
        return output_handles(self)

    @property
    def _input_ports(self) -> dict[str, Any]:
        """The input ports by name, as published software asks for them."""
        return input_ports(self)

    @property
    def _output_ports(self) -> dict[str, Any]:
        """The output ports by name, as published software asks for them."""
        return output_ports(self)

    if TYPE_CHECKING:  # what a class from a registry has, whichever of the two base classes it derives from

        def forward(self, *args: Any, **inputs: Any) -> dict[str, Any]: ...  # noqa: D102

        def __call__(self, *args: Any, **inputs: Any) -> dict[str, Any]: ...  # noqa: D102

        def state_dict(self, *args: Any, **kwargs: Any) -> Any: ...  # noqa: D102

        def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any: ...  # noqa: D102

    if not TYPE_CHECKING:  # a checker would take every misspelt attribute for a port

        def __getattr__(self, name: str) -> object:
            return port_handle(self, name)

    @does_nothing
    def prepare_inference(self) -> None:
        """Make what inference needs of final weights on their device, such as an engine that is compiled of them.

        A pipeline calls it when it has been loaded and moved to its device, in the order in which nodes run, and again
        after weights were loaded: where what was made is of these weights, there is nothing to do. What it raises ends
        the loading. By default it does nothing.
        """

    def cleanup(self) -> None:
        """Let go of what this node holds (files, windows, memory of a GPU), when its pipeline is closed."""

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.hparams.items())
        return f"{type(self).__name__}({arguments})"


def overrides(node_class: type, name: str) -> bool:
    """Tell whether a class has a method that does something."""
    method = getattr(node_class, name, None)
    return callable(method) and not getattr(method, _NOTHING, False)


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
