"""The worker's own program: `python -m cuvis_ai_core.plugins.worker.serve HANDLE [PATH…]`.

It answers one request after the other, until the host lets go of the connection. Whatever a node raises is an answer.
"""

import builtins
import contextlib
import importlib
import inspect
import os
import socket
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from cuvis_ai_core import errors
from cuvis_ai_core._error_location import definition_of, place_of
from cuvis_ai_core.errors import CuvisError, WorkerError
from cuvis_ai_core.node.array_libraries import converter, converter_of, library_of_input
from cuvis_ai_core.node.class_checks import check_class, construct
from cuvis_ai_core.node.constructor_keywords import unread_of
from cuvis_ai_core.node.fitted_state import Learner
from cuvis_ai_core.node.gradient_modes import without_gradients
from cuvis_ai_core.node.ports import Port, read_ports
from cuvis_ai_core.node.torch_modules import is_module
from cuvis_ai_core.plugins.worker import METHODS
from cuvis_ai_core.plugins.worker.class_descriptions import describe_nodes, find_class
from cuvis_ai_core.plugins.worker.message_framing import Channel, Message
from cuvis_ai_core.plugins.worker.shared_memory import WorkerMemory
from cuvis_ai_core.plugins.worker.value_encoding import Reader, Writer

_CALLED: Final = frozenset({"forward", *METHODS})
"""What the host may call on a node."""


_IMPORTLIB: Final = importlib.__file__
_CORE: Final = f"{Path(errors.__file__).parent}{os.sep}"


class Server:
    """Answers requests."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._memory = WorkerMemory()
        self._nodes: dict[int, _Hosted] = {}
        self._sent: set[str] = set()
        self._owner: object = None

    def run(self) -> None:
        """Answer until the connection ends."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._answer(self._channel.receive())

    def _answer(self, message: Message) -> None:
        request = self._opened(message)
        if "do" not in request:  # only news about memory
            return
        writer = Writer(self._memory.room)
        try:
            answer = {"answer": writer.write(self._do(request, message.data))}
        # `sys.exit` in a node would end the process, and be told as a crash.
        except BaseException as error:  # of a node, which may even want to end its program
            writer = Writer(self._memory.room)
            answer = {"error": _told(error, self._owner)}
        # Before replying: arrays that are gone now are told as free with this answer, and not one call later.
        del request, message
        self._reply(answer, writer)

    def _opened(self, message: Message) -> dict[str, Any]:
        request: dict[str, Any] = message.header
        self._memory.pool.learn(request.get("new", ()), message.handles)
        self._memory.pool.drop(request.get("drop", ()))
        self._memory.borrow(request.get("lend", ()))
        self._sent = set()
        for node in request.get("forget", ()):
            self._nodes.pop(node, None)
        return request

    def _reply(self, answer: dict[str, Any], writer: Writer) -> None:
        new = self._memory.pool.take_new()
        held, released = self._memory.report(self._sent)
        header = {
            **answer,
            "used": writer.segments,
            "new": [(name, size) for name, size, _ in new],
            "held": held,
            "released": released,
        }
        handles = [handle for _, _, handle in new]
        try:
            self._channel.send(header, writer.data, handles)
        finally:
            for handle in handles:
                os.close(handle)

    def _lease(self, name: str, size: int) -> Any:
        self._sent.add(name)
        self._memory.leased(name)
        return self._memory.pool.lease(name, size, self._memory.ended)

    def _do(self, request: Mapping[str, Any], data: bytearray) -> Any:
        given = Reader(data, self._lease).read(request["given"])
        hosted = self._nodes.get(request.get("node", 0))
        self._owner = type(hosted.node) if hosted is not None else None  # whose code is called
        match request["do"]:
            case "describe":
                self._owner = next(iter(given["provides"]), None)
                return describe_nodes(**given)
            case "construct":
                return self._construct(request["node"], **given)
            case "fit":
                return self._nodes[request["node"]].fit(self._batches())
            case "to":
                return self._nodes[request["node"]].move(given)
            case "initialized":
                return self._nodes[request["node"]].initialized(value=given)
            # A list is not hashable: what is no text must not reach the set.
            case str() as method if method in _CALLED:
                return self._nodes[request["node"]].call(method, given["args"], given["kwargs"])
        raise ValueError(f"no request {request['do']!r}")

    def _construct(self, number: int, plugin: str, path: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        self._owner = node_class = find_class(plugin, path)
        check_class(node_class)
        hosted = self._nodes[number] = _Hosted(construct(node_class, *args, **kwargs))
        return hosted.facts()

    def _batches(self) -> Iterator[Mapping[str, Any]]:
        """Ask the host for one batch after the other."""
        while True:
            self._reply({"want": "batch"}, Writer(self._memory.room))
            message = self._channel.receive()
            while "batch" not in message.header:
                if "stop" in message.header:
                    self._opened(message)
                    if message.header["stop"] == "failed":
                        raise WorkerError("The stream of batches ended early: its maker failed.")
                    return
                self._answer(message)  # the batch may need other nodes of this plugin
                message = self._channel.receive()
            yield Reader(message.data, self._lease).read(self._opened(message)["batch"])


class _Hosted:
    """A node of the plugin."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self._learner = Learner(node, fresh=True)
        self._device = "cpu"
        self._ports: dict[str, Port] = read_ports(type(node), "INPUT_SPECS")
        self._signature = inspect.signature(node.forward)
        self._libraries = {name: library_of_input(node, port) for name, port in self._ports.items()}
        self._forward = node if is_module(node) else node.forward  # a module is called, so that its hooks run
        if is_module(node):
            node.eval()  # as a pipeline does

    def call(self, method: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Call a method, and return what it answers; with the facts, where it changes the node."""
        with without_gradients([self.node]):
            if method == "forward":
                return self._forward(**self._inputs(args, kwargs))
            if method == "pooled_metrics":
                return self._pooled(*args)
            if method == "load_state_dict":
                args = [self._state(args[0]), *args[1:]]
            if method == "calibrate":
                args = list(map(converter_of(self.node), args))
            # Only names in `_CALLED` come here: the host's messages choose no other attribute.
            answer = getattr(self.node, method)(*args, **kwargs)
        if method == "calibrate":
            return {"report": answer, "facts": self.facts()}
        return dict(answer) if method == "state_dict" else self.facts()

    def _pooled(self, name: str = "", do: str = "") -> list[str] | float | None:
        """Return the names of what the node counts over many batches; or have one of these answer, or begin anew."""
        counting = self.node.pooled_metrics()
        if not name:
            return list(counting)
        if do == "reset":
            counting[name].reset()
            return None
        return float(counting[name].compute())

    def fit(self, batches: Iterator[Mapping[str, Any]]) -> dict[str, Any]:
        """Let the node learn from a stream."""
        with without_gradients([self.node]):
            self.node.statistical_initialization({**each, **self._converted(each)} for each in batches)
        return self.facts()

    def move(self, device: str) -> dict[str, Any]:
        """Move a torch node to a device."""
        if is_module(self.node):
            self.node.to(device)
            self._device = device
        return self.facts()

    def initialized(self, *, value: bool | None) -> dict[str, Any]:
        """Set whether the node has learned."""
        self.node.statistically_initialized = value
        return self.facts()

    def facts(self) -> dict[str, Any]:
        """Return what a pipeline asks a node for."""
        node = self.node
        symbols = {
            size
            for side in ("INPUT_SPECS", "OUTPUT_SPECS")
            for port in read_ports(type(node), side).values()
            for size in port.shape
            if isinstance(size, str)
        }
        parameters = getattr(node, "parameters", None) if is_module(node) else None
        return {
            "name": getattr(node, "name", None),
            "stages": sorted(map(str, getattr(node, "execution_stages", ("always",)))),
            "hparams": dict(getattr(node, "hparams", {})),
            "unread": unread_of(node),
            "frozen": bool(getattr(node, "frozen", True)),
            "initialized": bool(getattr(node, "statistically_initialized", False)),
            "place": definition_of(node.forward),
            "lacks": list(self._learner.lacks()),
            "waits": bool(getattr(node, "requires_initial_fit", False)),
            "unfitted": bool(getattr(node, "is_to_be_fitted", False)),
            "trainable": parameters is not None and any(each.requires_grad for each in parameters()),
            "sizes": {name: getattr(node, name, None) for name in symbols},
        }

    def _inputs(self, args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of `forward` by name, arrays as the node takes them."""
        if args:
            # `zip` below drops what is too many, and finds nothing missing.
            self._signature.bind(*args, **kwargs)  # which raises what Python would
        named = dict(zip(self._signature.parameters, args, strict=False)) | kwargs
        return named | self._converted(named)

    def _converted(self, named: Mapping[str, Any]) -> dict[str, Any]:
        found = {}
        for name, library in self._libraries.items():
            if library is not None and name in named:
                convert, value = converter(library, self._device, self._ports[name].dtype), named[name]
                found[name] = [convert(each) for each in value] if isinstance(value, list) else convert(value)
        return found

    def _state(self, state: Mapping[str, Any]) -> dict[str, Any]:
        convert = converter_of(self.node)
        return {key: convert(value) for key, value in state.items()}


def _told(error: BaseException, owner: object) -> dict[str, Any]:
    """Return what the host is told about an exception."""
    kinds = [each.__name__ for each in type(error).__mro__]
    ours = next((name for name in kinds if isinstance(error, CuvisError) and hasattr(errors, name)), None)
    return {
        "kind": kinds[0],
        "like": next((name for name in kinds if isinstance(getattr(builtins, name, None), type)), None),
        "ours": ours,
        "words": error.message if isinstance(error, CuvisError) else _words(error),
        "hint": error.hint if isinstance(error, CuvisError) else None,
        "trace": _trace(error),
        "place": place_of(error, owner),
    }


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # the plugin's own exception class
        return "(its text cannot be shown)"


def _trace(error: BaseException) -> str:
    """Return the traceback from where it comes to the plugin's code; nothing where our own errors never were there."""
    frames = error.__traceback__
    while frames is not None and _is_ours(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    if frames is None and isinstance(error, CuvisError):
        return ""
    if frames is None and not isinstance(error, SyntaxError):  # which says itself where it is, and shows the line
        frames = error.__traceback__
    try:
        return "".join(traceback.format_exception(type(error), error, frames))
    except Exception:  # the plugin's own exception class
        return _words(error)


def _is_ours(file: str) -> bool:
    """Tell whether a file serves the plugin, or imports it."""
    return file.startswith((_CORE, "<frozen importlib")) or file == _IMPORTLIB


def main() -> None:
    """Serve the connection that the host handed over."""
    handle, *paths = sys.argv[1:]
    # At the end: what is installed in the environment comes first, as for an editable install.
    sys.path += paths  # of a plugin without a project file, which cannot be installed
    end = socket.socket(fileno=int(handle))
    end.set_inheritable(False)
    # A process that the plugin forks must not talk to the host.
    # Two processes that read one socket each take half of a message.
    os.register_at_fork(after_in_child=end.close)
    server = Server(Channel(end))
    server.run()
    # An orderly end waits for threads that are no daemons, and runs `atexit` of whatever was imported.
    os._exit(0)  # whatever threads the plugin has


if __name__ == "__main__":
    main()
