"""Whether a node has learned what it needs: statistics of data, or weights by training."""

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any

from cuvis_ai_core.node.proxy_nodes import is_elsewhere
from cuvis_ai_core.node.torch_modules import is_module


class Fitted:
    """Base class of nodes that note whether they have learned, by data or by state that was loaded."""

    _requires_initial_fit_override: bool | None = None
    _statistically_initialized: bool | None

    _was_given: bool = False
    """Whether somebody said, after it was built, that it has learned or not."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "statistical_initialization" in vars(cls):
            cls.statistical_initialization = _noting(cls.statistical_initialization)  # type: ignore[method-assign]
        if "load_state_dict" in vars(cls):
            loading: Any = cls
            loading.load_state_dict = _noting_state(loading.load_state_dict)

    def statistical_initialization(self, input_stream: Iterable[Mapping[str, Any]]) -> None:
        """Learn from data before the first run; a node that does so overrides this.

        Args:
            input_stream: The values of this node's input ports, by port, one mapping per batch. It is read once and
                may be longer than memory.
        """

    @property
    def requires_initial_fit(self) -> bool:
        """Whether this node learns by `statistical_initialization`; `_requires_initial_fit_override` goes first."""
        if self._requires_initial_fit_override is not None:
            return bool(self._requires_initial_fit_override)
        return type(self).statistical_initialization is not Fitted.statistical_initialization

    @property
    def statistically_initialized(self) -> bool:
        """Whether this node has learned, or has state that was loaded."""
        return bool(self._statistically_initialized)

    @statistically_initialized.setter
    def statistically_initialized(self, value: bool | None) -> None:
        # None: it runs as it was built, and is to be fitted all the same.
        self._statistically_initialized = value is None or value
        self._was_given = value is not None

    @property
    def is_to_be_fitted(self) -> bool:
        """Whether training is to fit this node from statistics: it learns so, and has neither learned nor been loaded.

        A published node that runs without having learned says by `_statistically_initialized`, when it is built, that
        it is initialised; training fits it all the same.
        """
        own = type(self).statistically_initialized is not Fitted.statistically_initialized
        return self.requires_initial_fit and not (self.statistically_initialized and (own or self._was_given))


def _noting(learn: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that lets a node learn, and notes that it has, whoever calls it."""

    @wraps(learn)
    def statistical_initialization(self: Fitted, *args: Any, **kwargs: Any) -> Any:
        answer = learn(self, *args, **kwargs)
        self.statistically_initialized = True
        return answer

    return statistical_initialization


def _noting_state(load: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that gives a node its state, and notes that it has learned, unless the method itself notes it."""

    @wraps(load)
    def load_state_dict(self: Fitted, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        if type(self).statistically_initialized is not Fitted.statistically_initialized:
            return load(self, state_dict, *args, **kwargs)  # a node in a process of its own notes it there
        before = self._statistically_initialized
        self._statistically_initialized = None
        try:
            answer = load(self, state_dict, *args, **kwargs)
        except BaseException:
            self._statistically_initialized = before
            raise
        self._was_given = True
        if self._statistically_initialized is None:
            self._statistically_initialized = bool(state_dict)
        return answer

    return load_state_dict


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

    def of_copy(self, node: Any) -> "Learner":
        """Return the same of a copy of the node."""
        other = Learner(node, fresh=False)
        if self._weights and self._as_built():
            ours = {id(each) for each, _ in self._weights}
            names = [name for name, each in self._node.named_parameters() if id(each) in ours]
            copies = dict(node.named_parameters())
            # A copy has not been written as often. By name: a module may copy itself in a way of its own.
            other._weights = [(copies[name], copies[name]._version) for name in names if name in copies]
        return other

    def _as_built(self) -> bool:
        # What took the place of a parameter is not as it was built.
        now = set(map(id, self._node.parameters()))
        return all(id(each) in now and each._version == version for each, version in self._weights)
