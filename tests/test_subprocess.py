"""Programs that are started end with who started them, whoever is killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import psutil
import pytest

from cuvis_ai_core._process_group import how_it_ended
from cuvis_ai_core._subprocess import Programs, pause, run
from cuvis_ai_core.errors import TimeLimitError, ToolNotFoundError

Strays = Callable[[], list[str]]

PARENT = """\
from cuvis_ai_core._subprocess import run
print(flush=True)
run(["sh", "-c", "sleep 300 & echo begun >&2; sleep 300"])
"""


@pytest.fixture
def parent(strays: Strays, interruptible: None) -> Iterator["subprocess.Popen[str]"]:
    """Return a process, in a group of its own, that runs a shell with a child, once both are there."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    while [line.partition(" ")[0] for line in _commands(process)].count("sleep") < 2:
        pass
    yield process
    process.kill()
    process.communicate()


def _commands(process: "subprocess.Popen[str]") -> list[str]:
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            found.append(" ".join(child.cmdline()))
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.mark.parametrize("kill", [os.kill, os.killpg])
def test_a_program_ends_with_the_process_that_started_it(
    parent: "subprocess.Popen[str]", strays: Strays, kill: Callable[[int, int], None]
) -> None:
    """It and its own children, where that process is killed alone or with its whole group."""
    kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert strays() == []


def test_the_children_of_a_program_end_with_it(parent: "subprocess.Popen[str]", strays: Strays) -> None:
    """Where the program is killed alone, the process that started it goes on without waiting for them."""
    (program,) = psutil.Process(parent.pid).children()
    program.kill()
    parent.wait()
    assert strays() == []


def test_a_program_that_was_killed_says_so() -> None:
    """It left no words of its own."""
    finished = run(["sh", "-c", "kill -9 $$"])
    assert finished.returncode == -9
    assert "sh was ended by signal SIGKILL" in finished.stderr


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "ended by itself with status 0"),
        (3, "ended by itself with status 3"),
        (-1, "was ended by signal SIGHUP"),
        (-9, "was ended by signal SIGKILL, which is also what the system does when memory runs out"),
        (-35, "was ended by signal 35"),
    ],
)
@pytest.mark.skipif("sys.platform == 'win32'", reason="its statuses say nothing of signals")
def test_how_a_process_ended_is_said_in_words(status: int, words: str) -> None:
    """Most real-time signals have no name."""
    assert how_it_ended(status) == words


def test_a_program_beyond_its_time_ends_with_its_children(strays: Strays, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole group goes."""
    monkeypatch.setenv("CUVIS_INSTALL_TIMEOUT", "0.3")
    with pytest.raises(TimeLimitError):
        run(["sh", "-c", "sleep 300 & sleep 300"])
    assert strays() == []


def test_a_program_is_ended_by_an_interrupt(parent: "subprocess.Popen[str]", strays: Strays) -> None:
    """Ctrl-C reaches the process that started it, which ends it."""
    parent.send_signal(signal.SIGINT)
    assert parent.wait() == -signal.SIGINT
    assert strays() == []


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("trap", "status"), [('""', "0"), ("-", str(-signal.SIGINT))], ids=["ignored", "as usual"])
def test_programs_ignore_interrupts_where_this_process_does(trap: str, status: str) -> None:
    """As a shell has it: what `nohup` began is not interrupted, neither are its children."""
    code = "from cuvis_ai_core._subprocess import run\nprint(run(['sh', '-c', 'kill -INT $$']).returncode)"
    command = ["sh", "-c", f'trap {trap} INT; exec "$@"', "sh", sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == status


def test_a_daemon_that_keeps_the_output_open_is_not_waited_for(strays: Strays) -> None:
    """As ssh's does that serves later connections: it has left the group, and lives on."""
    finished = run(["sh", "-c", "setsid sleep 300 & echo $!; exec sleep 0.2"])
    daemon = psutil.Process(int(finished.stdout))
    assert daemon.is_running()
    daemon.kill()


def test_much_output_is_read_while_the_program_runs() -> None:
    """More than a pipe holds, on both ways."""
    finished = run(["sh", "-c", "yes | head -c 300000; yes no | head -c 300000 >&2"])
    assert (len(finished.stdout), len(finished.stderr), finished.returncode) == (300_000, 300_000, 0)


def test_a_program_that_writes_without_end_is_ended() -> None:
    """What a host has it say would fill the memory; of its messages the last ones are kept."""
    finished = run(["yes", "refs/tags/v1"])
    assert finished.returncode != 0
    assert finished.stdout == ""
    assert "wrote more than 64 MiB" in finished.stderr
    noisy = run(["sh", "-c", "yes no | head -c 20000000 >&2; echo last >&2"])
    assert len(noisy.stderr) < 10**7
    assert noisy.stderr.endswith("last\n")


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are those of Linux")
def test_a_program_has_the_memory_that_it_may_have() -> None:
    """And no more; who starts it keeps all of its own."""
    code = "print(len(bytearray({}))) "
    assert run([sys.executable, "-c", code.format(10)], memory=2**28).returncode == 0
    finished = run([sys.executable, "-c", code.format(2**29)], memory=2**28)
    assert (finished.returncode, "MemoryError" in finished.stderr) == (1, True)


def test_what_would_steer_a_terminal_is_taken_out() -> None:
    """A host may send any text; lines stay lines, and of what is written over another the last is left."""
    finished = run(["printf", "a\\033[31mb\\r\\nc\\td\\n10%%\\r20%%\\r\\n"])
    assert finished.stdout == "a?[31mb\nc\td\n20%\n"


def test_a_program_that_is_not_there_is_named() -> None:
    """As it was asked for."""
    with pytest.raises(ToolNotFoundError, match="'no-such-program' was not found"):
        run(["no-such-program"])


def test_a_program_reads_no_input() -> None:
    """It meets the end of its input at once, on no terminal."""
    assert run(["cat"]).returncode == 0
    assert run(["sh", "-c", "test -t 0"]).returncode == 1


IGNORING = """
import signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
from cuvis_ai_core._subprocess import run
print([run(["sh", "-c", code]).returncode for code in ("exit 0", "exit 7", "kill -9 $$", "kill -9 0")])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_a_process_that_ignores_the_end_of_its_children_is_told_how_they_ended() -> None:
    """Supervisors have it so, and servers that want no zombies: what fails must not look as if it had gone well."""
    done = subprocess.run([sys.executable, "-c", IGNORING], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[0, 7, 137, -9]\n"


@pytest.mark.parametrize("when", ["before", "while"])
def test_programs_that_nobody_wants_any_more_are_ended(strays: Strays, when: str) -> None:
    """Those that run, and those that a thread is about to start."""
    with Programs.together() as programs:
        if when == "before":
            programs.end()
        finished = run(["sleep", "20"], meanwhile=programs.end if when == "while" else None)
    assert finished.returncode < 0
    assert strays() == []


def test_a_pause_before_a_program_that_nobody_wants_any_more_ends() -> None:
    """Whoever interrupts does not wait for it."""
    with Programs.together() as programs:
        pause(0.001)
        programs.end()
        pause(100_000)


def test_programs_are_collected_as_long_as_somebody_asks_for_that() -> None:
    """The outermost collection counts, and the next one is another."""
    with Programs.together() as programs, Programs.together() as inner:
        assert inner is programs
        programs.end()
    with Programs.together() as others:
        assert others is not programs
    assert run(["true"]).returncode == 0
