"""A node whose real self is in a worker process."""

import logging
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from copy import deepcopy
from inspect import Parameter, signature
from itertools import count
from typing import Any, ClassVar, Final, SupportsIndex, TypeVar

from cuvis_ai_core.errors import WorkerEndedError, WorkerError
from cuvis_ai_core.node.base import NodeMixin
from cuvis_ai_core.plugins.worker.connection import Connection
from cuvis_ai_core.plugins.worker.worker_process import Worker

# `next` of a count is one step of C: no two threads get the same number.
_numbers: Final = count(1)

_MOST_KEPT: Final = 2**30
"""Bytes of state that the host keeps of a node, to give it back after a crash."""

_CHANGING: Final = frozenset({"freeze", "unfreeze", "load_state_dict", "reset", "calibrate"})
"""Methods that may change what `state_dict` tells."""

_Answer = TypeVar("_Answer")

logger = logging.getLogger(__name__)


class ProxyNode(NodeMixin):
    """Base class of the classes that stand for node classes of a plugin with `isolation: process`.

    Constructing one constructs the real node in the worker; its methods are those of the real node. Arrays are copied
    there and back; gradients do not cross. After a crash of the worker the next call constructs the node anew, with the
    state that it had last.

    Raises:
        RemoteError: The real node raised an exception.
        WorkerCrashError: The worker ended.
        WorkerError: A value cannot cross, or the plugin is unloaded.
    """

    runs_elsewhere: ClassVar[Worker]
    """The process of the real node. Inputs may be arrays of any library, and no gradients come back."""

    _path: ClassVar[str]
    _declared_parameters: ClassVar[Mapping[str, Parameter]]
    _methods: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # A copy: what the caller changes later is not what the node was constructed with.
        self._arguments: dict[str, Any] = deepcopy({"args": list(args), "kwargs": kwargs})
        self._device = "cpu"
        self._frozen: bool | None = None
        self._is_prepared = False
        # None says "not known", and nothing "has none".
        self._state: Mapping[str, Any] | None = {}
        self._why = ""
        self._moving = threading.Lock()
        self._home = self._settled(self._construct)
        self._first_home = self._home
        self._counting: dict[str, Connection] = {}
        self._remember(self._home)

    def __setattr__(self, name: str, value: object) -> None:
        # The real node would never hear of it.
        if not name.startswith("_") and not hasattr(type(self), name):
            raise WorkerError(
                f"Node '{self.name}': '{name}' cannot be set from here, since the node is in a worker process.",
                hint="Hand it to the constructor, or load the plugin with isolation: scoped.",
                plugin=self.runs_elsewhere.plugin,
                node=self.name,
            )
        # Properties and what the mixin keeps are the host's own matter.
        super().__setattr__(name, value)

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        raise WorkerError(
            f"Node '{self.name}' cannot be copied or pickled, since the node is in a worker process.",
            hint="Construct another one, and hand it the state: other.load_state_dict(node.state_dict()).",
            plugin=self.runs_elsewhere.plugin,
            node=self.name,
        )

    def forward(self, *args: Any, **inputs: Any) -> Any:
        """Compute the output ports from the input ports, in the worker."""
        answer = self._ask("forward", {"args": list(args), "kwargs": inputs})
        return _without_gradient(self.name, answer, (*args, *inputs.values()))

    def __call__(self, *args: Any, **inputs: Any) -> Any:
        """Compute the output ports: `forward` under the name that scripts use."""
        return self.forward(*args, **inputs)

    def statistical_initialization(self, input_stream: Iterable[Mapping[str, Any]]) -> None:
        """Learn from data in the worker, batch by batch.

        Args:
            input_stream: The values of this node's input ports, by port, one mapping per batch.
        """
        connection = self._at_home()
        self._take(connection.request("fit", None, node=self._number, name=self.name, stream=input_stream))
        self._remember(connection)

    @property
    def written_at(self) -> str | None:
        """File and line where the real `forward` begins."""
        place: str | None = self._facts["place"]
        return place

    @property
    def lacks(self) -> tuple[str, ...]:
        """What the real node has not learned yet (see `cuvis_ai_core.node.fitted_state`)."""
        return tuple(self._facts["lacks"])

    @property
    def requires_initial_fit(self) -> bool:
        """Whether this node learns by `statistical_initialization`."""
        return bool(self._facts["waits"])

    @property
    def statistically_initialized(self) -> bool:
        """Whether this node has learned, or has state that was loaded."""
        return bool(self._facts["initialized"])

    @statistically_initialized.setter
    def statistically_initialized(self, value: bool | None) -> None:
        # A pipeline assigns this for every node: a call of the process only where it says something new.
        if value != self._facts["initialized"] or self._facts["unfitted"]:
            self._take(self._ask("initialized", value))

    @property
    def is_to_be_fitted(self) -> bool:
        """Whether training is to fit the real node from statistics."""
        return bool(self._facts["unfitted"])

    @property
    def frozen(self) -> bool:
        """Whether training leaves the real node as it is."""
        return bool(self._facts["frozen"])

    @property
    def has_trainable_parameters(self) -> bool:
        """Whether the real node has parameters that training would change, which cannot be done from here."""
        return bool(self._facts["trainable"])

    def to(self, device: str) -> "ProxyNode":
        """Move the real node to a device; its outputs come back to the CPU."""
        self._take(self._ask("to", str(device)))
        self._device = str(device)
        return self

    def cancel(self) -> None:
        """End what the worker does now, from any thread: whoever waits for it gets a `WorkerCrashError`."""
        self.runs_elsewhere.cancel()

    def _call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method of the real node that is not on every node."""
        # To answer, a process would be started to close a node that it first has to make.
        if method in {"cleanup", "close"} and not self._home.alive:
            return None  # the real node ended with its process, and holds nothing any more
        answer = self._ask(method, {"args": list(args), "kwargs": kwargs})
        if method == "state_dict":
            return answer
        if method == "pooled_metrics":
            return {name: RemoteMetric(self._count, name) for name in answer}
        facts, report = (answer["facts"], answer["report"]) if method == "calibrate" else (answer, None)
        self._keep_chosen(facts["hparams"])
        self._take(facts)
        if method in {"freeze", "unfreeze"}:
            self._frozen = method == "freeze"
        self._is_prepared |= method == "prepare_inference"
        if method in _CHANGING:
            self._remember(self._home)
        return report

    def _count(self, name: str, what: str) -> Any:
        """Have a metric that the node counts on with answer or begin anew.

        Raises:
            WorkerError: What it counted ended with its process.
        """
        given = {"args": [name, what], "kwargs": {}}
        if what == "reset":
            answer = self._ask("pooled_metrics", given)
            self._counting[name] = self._home
            return answer
        connection = self._at_home()
        if connection is self._counting.get(name, self._first_home):
            # Ended since: another process would be asked for a count that it has not.
            with suppress(WorkerEndedError):
                return connection.request("pooled_metrics", given, node=self._number, name=self.name)
        raise WorkerError(
            f"Node '{self.name}': what it counted for '{name}' is lost, since the worker process of plugin "
            f"'{self.runs_elsewhere.plugin}' ended meanwhile.",
            hint="Run the evaluation or the training again: its batches are counted from the first one on.",
            plugin=self.runs_elsewhere.plugin,
            node=self.name,
        )

    def _keep_chosen(self, hparams: Mapping[str, Any]) -> None:
        """Have another worker construct the node with what the real one has changed of its hyper-parameters."""
        before, names = self.hparams, self._declared_parameters
        changed = {name: hparams[name] for name in names if name in hparams and hparams[name] != before.get(name)}
        args = self._arguments["args"]
        by_place = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
        placed = [name for name, each in signature(type(self)).parameters.items() if each.kind in by_place][: len(args)]
        for name, value in changed.items():
            if name in placed:
                args[placed.index(name)] = value
            else:
                self._arguments["kwargs"][name] = value

    def _ask(self, do: str, given: object) -> Any:
        return self._settled(
            lambda connection: connection.request(do, given, node=self._number, name=self.name), self._at_home
        )

    def _settled(self, ask: Callable[[Connection], _Answer], reach: Callable[[], Connection] | None = None) -> _Answer:
        """Ask a process, and another one if it ended before it was asked, by what somebody else did."""
        while True:
            try:
                return ask(self.runs_elsewhere.connection() if reach is None else reach())
            # Ended before it was asked: nothing was lost, so that nobody need hear of it.
            except WorkerEndedError:
                continue

    def _at_home(self) -> Connection:
        """Return a connection to a process with the real node in it."""
        connection = self.runs_elsewhere.connection()
        if self._home is not connection:
            with self._moving:
                # Looked at again with the lock: another thread may have moved the node meanwhile.
                if self._home is not connection:
                    self._revive(connection)
        return connection

    def _construct(self, connection: Connection) -> Connection:
        number = next(_numbers)
        given = {"plugin": self.runs_elsewhere.plugin, "path": self._path, **self._arguments}
        asked = self._arguments["kwargs"].get("name") if isinstance(self._arguments["kwargs"], dict) else None
        facts = connection.request("construct", given, node=number, name=asked)
        self._number = number
        # Not `__del__`, which would run at the end of the interpreter, when connections are gone.
        weakref.finalize(self, connection.forget, number).atexit = False
        self._take(facts)
        return connection

    def _take(self, facts: dict[str, Any]) -> None:
        self._facts = facts
        self._name = facts["name"] or type(self).__name__
        self._execution_stages = frozenset(facts["stages"])
        vars(self).setdefault("_hparams_given", dict(facts["hparams"]))  # what is changed later is told from it
        vars(self).update({"hparams": facts["hparams"], "_unread": facts["unread"], **facts["sizes"]})

    def _remember(self, connection: Connection) -> None:
        """Keep the state of the real node, for another worker."""
        if "state_dict" not in self._methods:
            return
        # Until it is known: what it was before is not what it is.
        self._state, self._why = None, "its process ended before it told its state"
        try:
            state = connection.request("state_dict", {"args": [], "kwargs": {}}, node=self._number, name=self.name)
        except WorkerError as error:
            if not connection.alive:
                raise
            self._why = error.message
            return
        # Before keeping: a state of many gigabytes would be in memory twice for the sake of a crash.
        size = sum(int(getattr(value, "nbytes", 0)) for value in state.values())
        if size > _MOST_KEPT:
            self._why = f"it has {size / 2**30:.1f} GB, and more than {_MOST_KEPT // 2**30} GB are not kept"
            return
        self._state, self._why = state, ""

    def _revive(self, connection: Connection) -> None:
        """Construct the real node in another worker, with the state that it had last.

        Raises:
            WorkerError: That is not known.
        """
        before = self._facts
        if self._state is None or (before["initialized"] and before["waits"] and not self._state):
            why = self._why or "it learned, but its state_dict does not hold what"
            raise WorkerError(
                f"Node '{self.name}': the worker process of plugin '{self.runs_elsewhere.plugin}' ended, and the node "
                f"cannot be brought back as it was: {why}.",
                hint="Build the pipeline anew, with its weights.",
                plugin=self.runs_elsewhere.plugin,
                node=self.name,
            )
        logger.warning("node '%s' starts anew in another worker, without what it remembered from run to run", self.name)
        try:
            self._rebuild(connection, initialized=bool(before["initialized"]))
        except BaseException:
            self._facts = before
            raise
        self._home = connection

    def _rebuild(self, connection: Connection, *, initialized: bool) -> None:
        self._construct(connection)
        if self._state:
            self._take(self._tell(connection, "load_state_dict", self._state))
        if self._frozen is not None:
            self._take(self._tell(connection, "freeze" if self._frozen else "unfreeze"))
        if self._facts["initialized"] != initialized:
            self._take(connection.request("initialized", initialized, node=self._number, name=self.name))
        if self._device != "cpu":
            self._take(connection.request("to", self._device, node=self._number, name=self.name))
        if self._is_prepared:
            self._take(self._tell(connection, "prepare_inference"))

    def _tell(self, connection: Connection, method: str, *args: object) -> dict[str, Any]:
        answer: dict[str, Any] = connection.request(
            method, {"args": list(args), "kwargs": {}}, node=self._number, name=self.name
        )
        return answer


class RemoteMetric:
    """Stands for a metric of torchmetrics, or of its kind, that a node in a worker counts on with.

    Args:
        ask: Has the metric of a name do something, `compute` or `reset`, and returns what it answers.
        name: The name of the number that it answers.
    """

    def __init__(self, ask: Callable[[str, str], Any], name: str) -> None:
        self._ask = ask
        self._name = name

    def compute(self) -> float:
        """Return what all batches so far come to."""
        return float(self._ask(self._name, "compute"))

    def reset(self) -> None:
        """Have it begin anew."""
        self._ask(self._name, "reset")


def _without_gradient(node: str, answer: Any, inputs: tuple[Any, ...]) -> Any:
    """Return outputs whose gradients nobody can ask for unnoticed, where the inputs have some."""
    # Not imported: where nobody has torch, nothing can have a gradient.
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(answer, dict) or not torch.is_grad_enabled():
        return answer
    if not any(isinstance(value, torch.Tensor) and value.requires_grad for value in inputs):
        return answer
    from cuvis_ai_core.plugins.worker.gradients import ending

    return {port: ending(node, value, inputs) for port, value in answer.items()}
