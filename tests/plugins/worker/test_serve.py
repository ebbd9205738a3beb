"""What a worker's program answers to each request, asked over a connection in this process."""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from cuvis_ai_core.plugins.worker import serve
from cuvis_ai_core.plugins.worker.message_framing import Channel, Message
from cuvis_ai_core.plugins.worker.serve import Server
from cuvis_ai_core.plugins.worker.shared_memory import SMALLEST, SegmentPool
from cuvis_ai_core.plugins.worker.value_encoding import Reader, Writer

NODES = """\
import numpy as np
from cuvis_ai_core.errors import PortError
from cuvis_ai_core.node import ArrayNode
from cuvis_ai_schemas.pipeline import PortSpec

CUBE = PortSpec(np.float32, (-1, "bands"))


class Sum:
    total = 0

    def compute(self):
        return np.float32(self.total)

    def reset(self):
        self.total = 0


class Scale(ArrayNode):
    INPUT_SPECS = {"cube": CUBE, "mask": PortSpec(np.float32, (-1,), optional=True)}
    OUTPUT_SPECS = {"cube": CUBE}

    def __init__(self, factor=2, *, bands=3, **kwargs):
        super().__init__(**kwargs)
        self.factor = self.hparams["factor"] = factor
        self.bands = bands
        self.seen = []
        self.sum = Sum()

    def pooled_metrics(self):
        return {"sum": self.sum}

    def forward(self, cube, mask=None):
        self.sum.total += 1
        self.seen.append(None if mask is None else mask.dtype.name)
        return {"cube": cube * self.factor, "dtype": cube.dtype.name, "seen": list(self.seen)}

    def state_dict(self):
        return {"factor": np.asarray(self.factor)}

    def load_state_dict(self, state):
        self.factor = int(state["factor"])

    def statistical_initialization(self, input_stream):
        self.factor = sum(float(each["cube"].sum()) for each in input_stream)

    def calibrate(self, target, *, twice=False):
        self.factor = float(target.mean())
        return {"target": target, "twice": twice}

    def reset(self):
        raise PortError("no port", hint="a hint", node="one")

    def cleanup(self):
        raise KeyError("a key")

    def close(self):
        raise SystemExit(3)

    def secret(self):
        return "never"


class Takes(ArrayNode):
    INPUT_SPECS = {"cube": CUBE, "raw": PortSpec(np.ndarray, (-1,), optional=True)}
    OUTPUT_SPECS = {"cube": CUBE}

    def forward(self, cube, raw=None):
        return {"cube": cube, "raw": raw}


class Module(Takes):
    evaluated = False
    devices = ()

    def __call__(self, **inputs):
        return {**self.forward(**inputs), "called": [self.evaluated, *self.devices]}

    def eval(self):
        self.evaluated = True

    def to(self, device):
        self.devices += (device,)

    def parameters(self):
        return [type("Weight", (), {"requires_grad": needed}) for needed in (False, bool(self.devices))]


class Keep(Takes):
    kept = None

    def forward(self, cube, raw=None):
        self.kept = cube
        return {}


class Mute(Takes):
    def forward(self, cube, raw=None):
        class PortError(Exception):
            def __str__(self):
                raise ValueError

        raise PortError
"""


class Host:
    """The other end of the connection."""

    def __init__(self, end: socket.socket, module: str) -> None:
        self._channel = Channel(end)
        self.module = module
        self.pool = SegmentPool("h")

    def send(self, header: dict[str, Any], key: str = "given", value: object = None, **more: Any) -> None:
        """Send a value; arrays travel in the message, or in new memory."""
        writer = Writer(self.pool.make)
        text = writer.write(value)
        new = self.pool.take_new()
        told = [(name, size) for name, size, _ in new]
        handles = [handle for _, _, handle in new]
        self._channel.send({**header, key: text, "new": told, **more}, writer.data, handles, 30)
        for handle in handles:
            os.close(handle)

    def heard(self) -> Message:
        """Return what is answered."""
        message = self._channel.receive(30)
        self.pool.learn(message.header["new"], message.handles)
        return message

    def ask(self, do: object, value: object = None, *, node: int = 1, **more: Any) -> Any:
        """Return the answer to a request, or what is told of an exception."""
        self.send({"do": do, "node": node}, "given", value, **more)
        return self.read(self.heard())

    def read(self, message: Message) -> Any:
        """Return the answer in a message."""
        if "error" in message.header:
            return message.header["error"]
        return Reader(message.data, lambda name, size: memoryview(self.pool.get(name).memory)[:size]).read(
            message.header["answer"]
        )

    def construct(self, *args: object, node: int = 1, of: str = "Scale", **kwargs: object) -> Any:
        """Construct a node."""
        given = {"plugin": "echo", "path": f"{self.module}.{of}", "args": list(args), "kwargs": kwargs}
        return self.ask("construct", given, node=node)

    def call(self, method: str, *args: object, node: int = 1, **kwargs: object) -> Any:
        """Call a method of a node."""
        return self.ask(method, {"args": list(args), "kwargs": kwargs}, node=node)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Return a host whose worker is a thread."""
    module = f"serve_nodes_{uuid4().hex}"
    (tmp_path / f"{module}.py").write_text(NODES)
    monkeypatch.syspath_prepend(tmp_path)
    here, there = socket.socketpair()
    with here, there:
        worker = threading.Thread(target=Server(Channel(there)).run, daemon=True)
        worker.start()
        made = Host(here, module)
        try:
            yield made
        finally:
            made.pool.close()
            here.shutdown(socket.SHUT_RDWR)
            worker.join(30)
            sys.modules.pop(module, None)


FACTS = {
    "name": "Scale",
    "stages": ["always"],
    "hparams": {"factor": 2},
    "unread": [],
    "initialized": False,
    "lacks": ["statistics"],
    "waits": True,
    "unfitted": True,
    "trainable": False,
    "sizes": {"bands": 3},
}


def test_a_node_is_constructed_and_its_facts_are_told(host: Host, tmp_path: Path) -> None:
    """Whatever a pipeline asks a node for; what cannot be constructed is an error of it."""
    facts = host.construct()
    place = facts.pop("place")
    at = NODES.splitlines().index("    def forward(self, cube, mask=None):") + 1
    assert place == f"{tmp_path / host.module}.py, line {at}"
    assert {key: facts[key] for key in FACTS} == FACTS
    assert set(facts) == {*FACTS, "frozen"}
    other = host.construct(5, node=2, bands=7, name="mine")
    assert (other["name"], other["hparams"]["factor"], other["sizes"]) == ("mine", 5, {"bands": 7})
    told = host.construct(1, 2)
    assert (told["kind"], told["like"]) == ("TypeError", "TypeError")
    cube = np.ones((1, 3), np.float32)
    assert [float(host.call("forward", cube, node=each)["cube"][0, 0]) for each in (1, 2)] == [2, 5]


def test_inputs_come_by_place_and_by_name_as_the_node_takes_them(host: Host) -> None:
    """Too many or too few are what Python makes of them."""
    host.construct()
    cube, mask = np.ones((2, 3)), np.zeros(2, np.int64)
    assert host.call("forward", cube)["dtype"] == "float64"
    answer = host.call("forward", cube, mask=mask)
    np.testing.assert_array_equal(answer["cube"], np.full((2, 3), 2))
    assert answer["seen"] == [None, "int64"]
    assert host.call("forward", cube=cube)["seen"][-1] is None
    for told in (host.call("forward", cube, mask, 1), host.call("forward", mask=mask), host.call("forward", 1, cube=2)):
        assert told["kind"] == "TypeError"
    assert len(host.call("forward", cube)["seen"]) == 4


def test_inputs_become_arrays_of_the_library_that_a_port_names(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of a list; a port that takes any, and one that gets nothing, is left as it is."""
    monkeypatch.setattr(serve, "converter", lambda *words: lambda value: [*words, value])
    host.construct(of="Takes")
    assert host.call("forward", 1, 2) == {"cube": 1, "raw": ["numpy", "cpu", "array", 2]}
    assert host.call("forward", cube=1, raw=[2, 3])["raw"] == [["numpy", "cpu", "array", each] for each in (2, 3)]
    assert host.call("forward", 1) == {"cube": 1, "raw": None}


def test_a_module_is_called_where_it_was_moved_to(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that its hooks run; it is evaluated, and has inputs on its device. What is no module is moved nowhere."""
    monkeypatch.setattr(serve, "is_module", lambda node: type(node).__name__ == "Module")
    monkeypatch.setattr(serve, "converter", lambda _, device, __: lambda value: [device, value])
    assert host.construct(of="Module")["trainable"] is False
    host.construct(of="Takes", node=2)
    assert host.call("forward", 1, 2) == {"cube": 1, "raw": ["cpu", 2], "called": [True]}
    for node in (1, 2):
        assert host.ask("to", "cuda:1", node=node)["trainable"] is (node == 1)
    assert host.call("forward", 1, 2) == {"cube": 1, "raw": ["cuda:1", 2], "called": [True, "cuda:1"]}
    assert host.call("forward", 1, 2, node=2) == {"cube": 1, "raw": ["cpu", 2]}


def test_what_a_node_counts_is_asked_for_by_its_name(host: Host) -> None:
    """Which names there are, what one comes to, and that it begins anew."""
    host.construct()
    assert host.call("pooled_metrics") == ["sum"]
    for _ in range(2):
        host.call("forward", np.ones((1, 1)))
    assert host.call("pooled_metrics", "sum", "compute") == 2.0
    assert host.call("pooled_metrics", "sum", "reset") is None
    assert host.call("pooled_metrics", "sum", "compute") == 0.0


def test_state_and_calibration_answer_with_what_is_known_now(host: Host) -> None:
    """A state is data; what changes the node answers with its facts, a calibration with its report too."""
    host.construct()
    assert host.call("state_dict") == {"factor": np.asarray(2)}
    assert host.call("load_state_dict", {"factor": np.asarray(4)})["name"] == "Scale"
    assert float(host.call("forward", np.ones((1, 1)))["cube"][0, 0]) == 4
    found = host.call("calibrate", np.asarray([1.0, 2.0]), twice=True)
    assert set(found) == {"report", "facts"}
    assert (list(found["report"]["target"]), found["report"]["twice"]) == ([1, 2], True)
    assert found["facts"]["hparams"] == {"factor": 2}
    assert host.ask("to", "cuda")["name"] == "Scale"
    assert host.ask("initialized", True)["initialized"] is True
    assert host.ask("initialized", False)["initialized"] is False


def test_only_what_is_meant_can_be_asked_for(host: Host) -> None:
    """Neither another method of a node, nor a node that is not there or was let go of."""
    host.construct()
    for do in ("secret", "__class__", "node", ["forward"], None):
        told = host.ask(do, {"args": [], "kwargs": {}})
        assert (told["kind"], told["words"]) == ("ValueError", f"no request {do!r}")
    assert host.call("state_dict", node=7)["kind"] == "KeyError"
    host.construct(node=2)
    host.send({"drop": []}, forget=[2, 9])
    assert host.call("state_dict", node=2)["kind"] == "KeyError"
    assert "factor" in host.call("state_dict")


def test_errors_are_told_with_their_place_and_their_kind(host: Host, tmp_path: Path) -> None:
    """Also that a node wants to end its program; our own errors keep their words and hints."""
    host.construct()
    file = tmp_path / f"{host.module}.py"
    ours = host.call("reset")
    lines = NODES.splitlines()
    at = lines.index('        raise PortError("no port", hint="a hint", node="one")') + 1
    trace = ours.pop("trace")
    assert ours == {
        "kind": "PortError",
        "like": "ValueError",
        "ours": "PortError",
        "words": "no port",
        "hint": "a hint",
        "place": f"{file}, line {at}",
    }
    assert trace.startswith(f'Traceback (most recent call last):\n  File "{file}", line {at}, in reset\n')
    told = host.call("cleanup")
    assert (told["kind"], told["like"], told["ours"], told["words"]) == ("KeyError", "KeyError", None, "'a key'")
    assert (told["hint"], told["place"]) == (None, f"{file}, line {at + 3}")
    assert (host.call("close")["kind"], host.call("close")["like"]) == ("SystemExit", "SystemExit")
    assert host.construct(node=1)["name"] == "Scale"


def test_a_trace_shows_the_code_of_the_plugin_alone(host: Host, tmp_path: Path) -> None:
    """None at all where our own error never was there; where the code cannot be read, the error shows the line.

    A class of the plugin's that has the name of one of ours is none.
    """
    host.construct(of="Mute")
    told = host.call("forward", 1)
    words = "(its text cannot be shown)"
    assert (told["kind"], told["like"], told["ours"], told["words"]) == ("PortError", "Exception", None, words)
    assert f'File "{tmp_path / host.module}.py"' in told["trace"]
    missing = host.construct(of="Missing")
    assert (missing["ours"], missing["trace"]) == ("InvalidNodeError", "")
    assert "serve.py" in host.call("state_dict", node=7)["trace"]
    (tmp_path / f"odd_{host.module}.py").write_text("a = = 1\n")
    host.module = f"odd_{host.module}"
    odd = host.construct()
    assert (odd["kind"], odd["trace"].splitlines()[0]) == (
        "SyntaxError",
        f'  File "{tmp_path / host.module}.py", line 1',
    )


@pytest.mark.parametrize("end", ["ended", "failed"])
def test_a_node_learns_from_batches_that_it_asks_for(host: Host, end: str) -> None:
    """Other nodes are asked meanwhile; where the maker of batches failed, learning fails."""
    host.construct()
    host.construct(node=2)
    host.send({"do": "fit", "node": 1})
    for number in (1, 2):
        assert host.heard().header["want"] == "batch"
        if number == 2:
            host.send({"drop": []})
            assert "factor" in host.call("state_dict", node=2)
        host.send({}, "batch", {"cube": np.full((1, 2), number)})
    assert host.heard().header["want"] == "batch"
    host.send({"stop": end})
    answer = host.read(host.heard())
    if end == "failed":
        assert answer["words"] == "The stream of batches ended early: its maker failed."
    else:
        assert answer["name"] == "Scale"
        assert float(host.call("forward", np.ones((1, 1)))["cube"][0, 0]) == 6


def test_memory_is_told_of_with_every_answer(host: Host) -> None:
    """What is filled, what is still in use and what is not any more; what is lent is used, what is dropped is gone."""
    host.construct()
    size = SMALLEST // 4
    cube = np.ones((1, size), np.float32)
    host.send({"do": "forward", "node": 1}, "given", {"args": [cube], "kwargs": {}})
    first = host.heard()
    assert first.header["used"] == [name for name, _ in first.header["new"]] == ["w1"]
    assert (first.header["held"], first.header["released"]) == ([], [])
    np.testing.assert_array_equal(host.read(first)["cube"], cube * 2)
    host.send({"do": "forward", "node": 1}, "given", {"args": [cube], "kwargs": {}}, lend=["h1"])
    second = host.heard().header
    assert (second["used"], second["new"], second["held"]) == (["h1"], [], [])
    host.send({"drop": ["h1"]})
    host.send({"do": "forward", "node": 1}, "given", {"args": [cube], "kwargs": {}}, lend=["h1"])
    assert "no segment" in host.heard().header["error"]["words"]


def test_memory_that_a_node_keeps_is_told_of_until_it_lets_go(host: Host) -> None:
    """With the answer to the call that it came with, and once with that to the call after which it is free."""
    host.construct(of="Keep")
    told = []
    for number in range(4):
        cube = None if number == 2 else np.ones((1, SMALLEST), np.float32)
        host.send({"do": "forward", "node": 1}, "given", {"args": [cube], "kwargs": {}})
        header = host.heard().header
        told.append((header["held"], header["released"]))
    assert told == [(["h1"], []), (["h2"], ["h1"]), ([], ["h2"]), (["h3"], [])]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted as Linux shows them")
def test_no_file_is_left_open_for_memory_that_was_given_up(host: Host) -> None:
    """Neither that which came with a call, nor that which an answer was in."""
    host.construct()
    opened = []
    for _ in range(4):
        host.call("forward", np.ones((1, SMALLEST), np.float32))
        names = [f"{side}{number}" for side in "hw" for number in range(1, 5)]
        host.send({"drop": names})
        host.pool.drop(names)
        host.call("state_dict")
        opened.append(len(list(Path("/proc/self/fd").iterdir())))
    assert len(set(opened)) == 1
