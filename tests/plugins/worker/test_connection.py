"""A worker as its host sees it, in the place of which stands a small program that says what it is told to say."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import psutil
import pytest

from cuvis_ai_core.errors import RemoteError, WorkerCrashError, WorkerEndedError, WorkerError, WorkerTimeoutError
from cuvis_ai_core.plugins.worker import connection
from cuvis_ai_core.plugins.worker.worker_process import Worker

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no worker is started there")

PROGRAM = """\
#!{python} -S
import json, os, socket, struct, sys, time

end = socket.socket(fileno=int(sys.argv[-1]))


def heard():
    length, size, _ = struct.unpack("!IQH", end.recv(14, socket.MSG_WAITALL))
    return json.loads(end.recv(length, socket.MSG_WAITALL)), size and end.recv(size, socket.MSG_WAITALL)


def say(**header):
    text = json.dumps({{"new": [], "released": [], "used": [], "held": [], **header}}).encode()
    end.sendall(struct.pack("!IQH", len(text), 0, 0) + text)


{lines}
"""

Make = Callable[[str], Worker]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Return a function that gives a worker whose program consists of some lines."""
    monkeypatch.setattr(connection, "_LAST_WORDS", 60.0)  # a busy machine takes its time
    made: list[Worker] = []

    def worker(lines: str) -> Worker:
        program = tmp_path / f"python{len(made)}"
        program.write_text(PROGRAM.format(python=sys.executable, lines=dedent(lines)))
        program.chmod(0o700)
        made.append(Worker("p", program, (), tmp_path / "logs"))
        return made[-1]

    yield worker
    for each in made:
        each.close()


def test_a_worker_is_asked_one_thing_after_the_other(make: Make) -> None:
    """It is one process while that lives, and another one after it ended; one that is closed stays so."""
    lines = """
        while True:
            asked = heard()[0]
            say(answer=[os.getpid(), asked["do"], asked["node"], asked["forget"]])
    """
    worker = make(lines)
    assert worker.pid is None
    first = worker.connection()
    assert worker.connection() is first
    with pytest.raises(WorkerError, match="cannot cross"):
        first.request("some", object())
    first.forget(7)
    assert first.request("some", None, node=3) == [worker.pid, "some", 3, [7]]
    assert first.request("more", None) == [first.pid, "more", 0, []]
    worker.cancel()
    assert (first.alive, worker.pid) == (False, None)
    with pytest.raises(WorkerEndedError, match=r"^The worker process of plugin 'p' was cancelled"):
        first.request("some", None)
    assert worker.connection() is not first
    assert worker.connection().request("some", None)[1:] == ["some", 0, []]
    worker.close()
    with pytest.raises(WorkerError, match="Plugin 'p' is unloaded"):
        worker.connection()


def test_a_worker_that_ended_leaves_no_file_open(make: Make) -> None:
    """Neither its own end of the connection nor ours, nor the pipes of its program."""
    this = psutil.Process()
    before = this.num_fds()
    worker = make("heard()\nsay(answer=1)\nheard()")
    assert worker.connection().request("some", bytearray(10)) == 1
    worker.close()
    end = time.monotonic() + 30
    while this.num_fds() > before and time.monotonic() < end:
        time.sleep(0.001)
    assert this.num_fds() <= before


NEXT = "The next call starts another one. A node that was not yet saved gets the state that it had last."
ANEW = 'If it does so again, install it anew: NodeRegistry.clear_plugin_cache("p").'


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("end.sendall(b'\\xff' * 14); heard(); heard()", "sent what is no message (a message too long)"),
        ("say(new=[['w1', 10]]); heard(); heard()", "sent what is no message (zip() argument 2 is shorter than"),
        ("say(used=['w1'], answer=1); heard(); heard()", "sent what is no message ('w1')"),
        ("say(answer={'!': 'odd'}); heard(); heard()", "sent what is no message ({'!': 'odd'} is no value)"),
        ("say(); heard(); heard()", "sent what is no message ('answer')"),
        ("end.shutdown(socket.SHUT_RDWR); time.sleep(60)", "closed its connection"),
        ("os._exit(5)", "ended by itself with status 5"),
        ("os.kill(os.getpid(), 15)", "was ended by signal SIGTERM"),
    ],
)
def test_a_worker_that_went_wrong_is_ended_and_told_of(
    make: Make, strays: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, lines: str, said: str
) -> None:
    """With the plugin, the node, what happened, and what to do."""
    if "shutdown" in lines:
        monkeypatch.setattr(connection, "_LAST_WORDS", 0.05)  # it does not end by itself
    worker = make(f"heard()\n{lines}")
    begun = worker.connection()
    with pytest.raises(WorkerCrashError) as caught:
        begun.request("forward", None, name="n")
    error = caught.value
    assert error.message.startswith(f"Node 'n': the worker process of plugin 'p' {said}")
    assert error.message.endswith(". It said nothing.")
    assert (error.plugin, error.node, error.log, begun.alive) == ("p", "n", None, False)
    assert error.hint == (NEXT if lines.startswith("say") else ANEW)
    assert error.status == (5 if "_exit" in lines else -15 if "kill" in lines else -9)
    assert strays() == []


def test_a_worker_that_answered_before_is_no_broken_install(make: Make) -> None:
    """What raised there is an answer, too."""
    begun = make("heard()\nsay(error={'kind': 'Odd', 'words': 'bad'})\nheard()").connection()
    with pytest.raises(RemoteError, match="bad") as told:
        begun.request("forward", None, name="n")
    assert (told.value.node, told.value.plugin) == ("n", "p")
    with pytest.raises(WorkerCrashError) as caught:
        begun.request("forward", None)
    assert caught.value.hint == NEXT


def test_the_last_ten_lines_that_say_something_are_its_last_words(make: Make, tmp_path: Path) -> None:
    """Without those that are the same for all crashes, and each as long as can be read; the file has all."""
    lines = """
        print("Extension modules: numpy (total: 1)")
        for number in range(12):
            print(f"{number:x}" * 400, end="\\n\\n")
        print('  File "/x/worker/serve.py", line 3 in main')
        print('  File "<frozen runpy>", line 88 in _run_code', flush=True)
        os._exit(1)
    """
    begun = make(f"heard()\n{dedent(lines)}").connection()
    with pytest.raises(WorkerCrashError) as caught:
        begun.request("forward", None)
    words = "".join(f"\n  {number:x}" + f"{number:x}" * 299 for number in range(2, 12))
    log = caught.value.log
    assert caught.value.message == (
        f"The worker process of plugin 'p' ended by itself with status 1. Its last words:{words}\n"
        f"All that it said is in {log}."
    )
    assert log is not None
    assert log.parent == tmp_path / "logs"
    assert log.read_text().startswith("Extension modules: numpy")


def test_a_worker_that_is_late_is_asked_where_it_was(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """And ended."""
    lines = """
        import signal


        def tell(*_):
            print("I was here", flush=True)
            os._exit(1)


        signal.signal(signal.SIGABRT, tell)
        heard()
        say(answer=1)
        time.sleep(600)
    """
    begun = make(lines).connection()
    begun.request("forward", None)
    monkeypatch.setenv("CUVIS_WORKER_TIMEOUT", " 0.2 ")
    with pytest.raises(WorkerTimeoutError) as caught:
        begun.request("forward", None, name="n")
    assert caught.value.message.startswith(
        "Node 'n': the worker process of plugin 'p' took longer than 0.2 s for one call and was ended. "
        "Its last words:\n  I was here\n"
    )
    assert (caught.value.plugin, caught.value.node, caught.value.seconds) == ("p", "n", 0.2)


def test_batches_are_sent_as_they_are_asked_for(make: Make) -> None:
    """Then the end of them; where their maker fails, the worker is told, and what it answers is of no interest."""
    lines = """
        while True:
            found = [heard()[0]["do"]]
            for _ in range(3):
                say(want="batch")
                asked = heard()[0]
                found.append(asked.get("stop") or asked["batch"]["of"])
                if "stop" in asked:
                    break
            say(answer=found)
    """
    begun = make(lines).connection()
    batches: Any = [{"a": 1}, {"a": 2}]

    def failing() -> Iterator[Any]:
        yield {"a": 1}
        raise LookupError("no more")

    for _ in range(2):
        asked = begun.request("fit", None, stream=batches)
        assert asked == ["fit", ["a", 1], ["a", 2], "ended"]
        with pytest.raises(LookupError, match="no more"):
            begun.request("fit", None, stream=failing())
    assert begun.request("fit", None) == ["fit", "ended"]


@pytest.mark.parametrize("late", [False, True])
def test_a_worker_that_cannot_start_is_told_of(tmp_path: Path, *, late: bool) -> None:
    """As one that crashed, with the words of the system, also where it ended before it was asked for anything."""
    begun = Worker("p", tmp_path / "no python", (), tmp_path / "logs").connection()
    while late and begun.alive:
        time.sleep(0.001)
    with pytest.raises(WorkerCrashError, match=r"ended by itself with status 127(.|\n)*not found") as caught:
        begun.request("forward", None)
    assert caught.value.hint == ANEW
    with pytest.raises(WorkerEndedError):
        begun.request("forward", None)
