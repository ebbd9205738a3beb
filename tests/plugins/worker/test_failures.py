"""What goes wrong in a worker stays there: the host goes on, and so does the next call."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from cuvis_ai_core import NodeRegistry, Pipeline
from cuvis_ai_core.errors import NodeRunError, RemoteError, WorkerCrashError, WorkerError, WorkerTimeoutError

Construct = Callable[..., Any]
Strays = Callable[[], list[str]]

CUBE = np.ones((1, 2, 2, 3), np.float32)


def test_an_exception_comes_back_with_its_traceback(node: Construct) -> None:
    """It is of the class of that name where Python has one, and says where the plugin raised it."""
    with pytest.raises(ValueError, match="too bright") as caught:
        node("Misbehaving", name="bad").forward(what="raise_error")
    error: Any = caught.value
    assert isinstance(error, RemoteError)
    assert (error.kind, error.words, error.plugin, error.node) == ("ValueError", "too bright", "process_nodes", "bad")
    assert "nodes.py" in error.trace
    assert 'raise ValueError("too bright")' in str(error)


def test_an_exception_of_the_plugin_comes_back_under_its_name(node: Construct) -> None:
    """Its class is not there, but its name is."""
    with pytest.raises(RemoteError, match="of the plugin") as caught:
        node("Misbehaving").forward(what="raise_own")
    assert type(caught.value).__name__ == caught.value.kind == "Named"


def test_a_failed_constructor_is_an_error_of_the_pipeline(registry: NodeRegistry) -> None:
    """The words are those of the plugin."""
    config = {"nodes": [{"name": "s", "class_name": "Scale", "params": {"factor": 0}}]}
    with pytest.raises(ValueError, match=re.escape("Node 's' (Scale) cannot be built: factor must not be 0 (")):
        Pipeline.from_dict(config, node_registry=registry)


def test_a_node_that_ends_its_program_only_fails(node: Construct) -> None:
    """`sys.exit` is an exception like others."""
    bad = node("Misbehaving")
    with pytest.raises(RemoteError, match="I leave"):
        bad.forward(what="system_exit")
    assert bad.forward(what="fine")["answer"] == "fine"


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("segfault", "was ended by signal SIGSEGV"),
        ("exit", "ended by itself with status 3"),
        ("kill", "was ended by signal SIGKILL, which is also what the system does when memory runs out"),
    ],
)
def test_a_crash_is_an_error_and_the_next_call_works(node: Construct, what: str, said: str) -> None:
    """It names node and plugin; another worker answers the next call."""
    bad = node("Misbehaving", name="bad")
    before = bad.forward(what="pid")["answer"]
    with pytest.raises(WorkerCrashError) as caught:
        bad.forward(what=what)
    assert f"Node 'bad': the worker process of plugin 'process_nodes' {said}" in str(caught.value)
    assert bad.forward(what="pid")["answer"] != before


def test_the_last_words_of_a_crashed_worker_are_kept(node: Construct, shared_cache: Path) -> None:
    """They stand in the error, and in a file that it names."""
    with pytest.raises(WorkerCrashError, match="these are my last words") as caught:
        node("Misbehaving").forward(what="exit")
    assert caught.value.log is not None
    assert caught.value.log.parent == shared_cache / ".logs"
    assert caught.value.log.read_text() == "these are my last words\n"
    assert str(caught.value.log) in str(caught.value)


def test_a_segfault_says_where_it_was(node: Construct) -> None:
    """The file and line of the plugin stand in the log."""
    with pytest.raises(WorkerCrashError) as caught:
        node("Misbehaving").forward(what="segfault")
    assert caught.value.log is not None
    assert re.search(r'nodes\.py", line \d+ in segfault', caught.value.log.read_text())


def test_few_logs_are_kept(node: Construct, shared_cache: Path) -> None:
    """The oldest go."""
    logs = shared_cache / ".logs"
    logs.mkdir(parents=True, exist_ok=True)
    for number in range(30):
        path = logs / f"old-{number}.log"
        path.write_text("old")
        os.utime(path, (number, number))
    with pytest.raises(WorkerCrashError):
        node("Misbehaving").forward(what="exit")
    assert len(list(logs.iterdir())) == 20
    assert not (logs / "old-10.log").exists()


def test_a_call_has_a_time_limit(node: Construct, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says where it was, and where the limit is set; the next call works."""
    bad = node("Misbehaving", name="bad")
    monkeypatch.setenv("CUVIS_WORKER_TIMEOUT", "0.5")
    with pytest.raises(TimeoutError, match="CUVIS_WORKER_TIMEOUT") as caught:
        bad.forward(what="loop")
    assert isinstance(caught.value, WorkerTimeoutError)
    assert (caught.value.node, caught.value.seconds) == ("bad", 0.5)
    assert caught.value.log is not None
    assert "in loop" in caught.value.log.read_text()
    monkeypatch.delenv("CUVIS_WORKER_TIMEOUT")
    assert bad.forward(what="fine")["answer"] == "fine"


def test_a_call_can_be_cancelled_from_another_thread(node: Construct) -> None:
    """Whoever waits for it is told; the next call works."""
    bad = node("Misbehaving")
    timer = threading.Timer(0.3, bad.cancel)
    timer.start()
    with pytest.raises(WorkerCrashError, match="was cancelled"):
        bad.forward(what="loop")
    timer.join()
    assert bad.forward(what="fine")["answer"] == "fine"


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_the_call(node: Construct) -> None:
    """Control-C reaches whoever waits, and the worker does not go on."""
    bad = node("Misbehaving")
    pid = bad.forward(what="pid")["answer"]
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        bad.forward(what="loop")
    timer.join()
    assert not psutil.pid_exists(pid)
    assert bad.forward(what="fine")["answer"] == "fine"


def test_a_flood_of_output_does_no_harm(node: Construct) -> None:
    """Its end is kept, and no more."""
    bad = node("Misbehaving")
    assert bad.forward(what="flood")["answer"] == "still here"
    with pytest.raises(WorkerCrashError, match="flood") as caught:
        bad.forward(what="exit")
    assert caught.value.log is not None
    assert caught.value.log.stat().st_size < 2**18


@pytest.mark.parametrize("what", ["fork", "start"])
def test_processes_that_a_worker_starts_end_with_it(
    load: Callable[[], NodeRegistry], strays: Strays, what: str
) -> None:
    """Those that it forked and those that it started."""
    registry = load()
    bad: Any = registry.get("Misbehaving")()
    bad.forward(what=what)
    assert bad.forward(what="fine")["answer"] == "fine"
    registry.close()
    assert strays() == []


def test_processes_that_a_crashed_worker_started_end_too(node: Construct, strays: Strays) -> None:
    """Nobody has to close anything."""
    bad = node("Misbehaving")
    bad.forward(what="start")
    with pytest.raises(WorkerCrashError):
        bad.forward(what="kill")
    assert strays() == []


HOST = """
import sys
from cuvis_ai_core import NodeRegistry
from pathlib import Path
NodeRegistry.set_cache_dir(sys.argv[1])
registry = NodeRegistry(discover=False)
provides = ["process_nodes.nodes.Misbehaving"]
registry.load_plugin("process_nodes", {"path": sys.argv[2], "provides": provides, "isolation": "process"})
node = registry.get("Misbehaving")()
node.forward(what="start")
print(node.forward(what="pid")["answer"], flush=True)
node.forward(what=sys.argv[3])
"""


@pytest.mark.parametrize("what", ["fine", "loop"])
def test_no_worker_survives_a_host_that_is_killed(shared_cache: Path, strays: Strays, what: str) -> None:
    """Whether it is busy or not; nor does what it started."""
    project = Path(__file__).parents[2] / "projects" / "process_nodes"
    command = [sys.executable, "-c", HOST + "import time; time.sleep(60)", str(shared_cache), str(project), what]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        worker = psutil.Process(int(host.stdout.readline()))
        assert worker.is_running()
        host.kill()
    assert strays() == []


def test_a_node_gets_its_last_state_in_another_worker(node: Construct) -> None:
    """What it learned, and whether it has; hyper-parameters and name are those that it was built with."""
    scale = node("Scale", factor=3.0, name="s")
    scale.statistical_initialization([{"cube": CUBE}, {"cube": 3 * CUBE}])
    scale.statistically_initialized = True
    _crash(node)
    assert scale.forward(cube=CUBE)["mean"] == 2.0
    assert scale.forward(cube=CUBE)["cube"].max() == 3.0
    assert (scale.name, scale.statistically_initialized) == ("s", True)


@pytest.mark.slow
def test_a_node_gets_loaded_state_in_another_worker(node: Construct) -> None:
    """That of the last `load_state_dict`."""
    scale = node("Scale")
    scale.load_state_dict({"mean": np.array(5.0)})
    _crash(node)
    assert scale.state_dict()["mean"] == 5.0


def test_a_node_whose_state_is_not_known_says_so(node: Construct) -> None:
    """What it learned is in no `state_dict`: to go on without would be wrong."""
    forgetful = node("Forgetful", name="f")
    forgetful.statistical_initialization([{"cube": CUBE}])
    forgetful.statistically_initialized = True
    _crash(node)
    with pytest.raises(WorkerError, match=r"Node 'f': .* cannot be brought back as it was: it learned"):
        forgetful.forward(cube=CUBE)


def _crash(node: Construct) -> None:
    with pytest.raises(WorkerCrashError):
        node("Misbehaving").forward(what="kill")


@pytest.mark.slow
def test_other_workers_go_on_where_one_crashes(load: Callable[[], NodeRegistry]) -> None:
    """Each registry has its own."""
    one, other = load(), load()
    bad, good = one.get("Misbehaving")(), other.get("Misbehaving")()
    pid = good.forward(what="pid")["answer"]
    with pytest.raises(WorkerCrashError):
        bad.forward(what="kill")
    assert good.forward(what="pid")["answer"] == pid


def test_a_crash_in_a_pipeline_names_the_node(registry: NodeRegistry) -> None:
    """The pipeline's error says which node failed in which stage."""
    pipeline = Pipeline.from_dict({"nodes": [{"name": "bad", "class_name": "Misbehaving"}]}, node_registry=registry)
    with pytest.raises(NodeRunError, match="Node 'bad' failed in stage 'inference': WorkerCrashError"):
        pipeline.forward({"what": "kill"})
    assert pipeline.forward({"what": "fine"})["bad", "answer"] == "fine"


def test_a_stream_that_fails_fails_the_learning(node: Construct) -> None:
    """The exception is the stream's own; the node can learn again."""
    scale = node("Scale")

    def stream() -> Any:
        yield {"cube": CUBE}
        raise LookupError("no more cubes")

    with pytest.raises(LookupError, match="no more cubes"):
        scale.statistical_initialization(stream())
    scale.statistical_initialization([{"cube": CUBE}])
    assert scale.state_dict()["mean"] == 1.0


def test_workers_start_lazily_and_end_with_the_registry(load: Callable[[], NodeRegistry], strays: Strays) -> None:
    """Loading alone starts none, once the plugin is known; its nodes share one."""
    load().close()
    registry = load()
    assert strays() == []
    nodes = [registry.get("Misbehaving")() for _ in range(3)]
    assert len({node.forward(what="pid")["answer"] for node in nodes}) == 1
    registry.unload_plugin("process_nodes")
    assert strays() == []
    with pytest.raises(WorkerError, match="Plugin 'process_nodes' is unloaded"):
        nodes[0].forward(what="fine")


def test_threads_take_turns(registry: NodeRegistry) -> None:
    """Several threads call nodes of one worker at once; each gets its own answer."""
    echo: Any = registry.get("Echo")()
    wrong: list[Any] = []

    def call(number: int) -> None:
        answers = [echo.forward(value=np.full(20_000, number))["value"][-1] for _ in range(50)]
        wrong.extend(answer for answer in answers if answer != number)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.slow
def test_workers_of_several_sessions_run_at_once(
    load: Callable[[], NodeRegistry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of two waits for the other."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("CUVIS_WORKER_TIMEOUT", "60")
    nodes: list[Any] = [load().get("Misbehaving")() for _ in range(2)]
    answers = []
    threads = [threading.Thread(target=lambda each=each: answers.append(each.forward(what="meet"))) for each in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [{"answer": "met"}] * 2


def test_what_a_worker_prints_is_logged(load: Callable[[], NodeRegistry], caplog: pytest.LogCaptureFixture) -> None:
    """Line by line, while it runs, with the plugin's name."""
    caplog.set_level("INFO", "cuvis_ai_core.plugins.worker")  # before its worker starts, which then is listened to
    node: Any = load().get("Misbehaving")()
    node.forward(what="say")
    deadline = time.monotonic() + 30
    while "plugin 'process_nodes': the second line" not in caplog.messages and time.monotonic() < deadline:
        time.sleep(0.01)
    assert caplog.messages[-2:] == ["plugin 'process_nodes': a line", "plugin 'process_nodes': the second line"]
