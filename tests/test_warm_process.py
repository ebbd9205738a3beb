"""What is forked for a command is as a new interpreter would be: `tests/warm_process.py`."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.warm_process import WarmProcess

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only there are commands forked"),
]

STATE = """
import os, signal, sys, tempfile
names = ("argv", "orig_argv", "flags", "dont_write_bytecode")
print([getattr(sys, name) for name in names], os.getcwd())
print(*sorted(os.environ.items()), sep="\\n")
print(tempfile.gettempdir())
print([path for path in sys.path if path != "/nowhere"], __name__, sys.modules["__main__"].__dict__ is globals())
print(os.getppid(), os.getpgid(0) == os.getpid(), os.getsid(0) == os.getpid(), os.getpriority(os.PRIO_PROCESS, 0))
print({each: signal.getsignal(each) for each in sorted(signal.valid_signals())}, signal.pthread_sigmask(0, []))
for stream in (sys.stdin, sys.stdout, sys.stderr):
    print(stream.name, stream.mode, stream.encoding, stream.errors, stream.line_buffering, stream.isatty())
print(open("/proc/self/cmdline").read().rstrip("\\0").split("\\0"))
print(len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), repr(sys.stdin.read()))
print("said", file=sys.stderr)
"""

LATE = """
import os, threading, time
threading.Thread(target=lambda: time.sleep(0.1) or os.write(2, b"the last")).start()
"""

Start = Callable[[], AbstractContextManager[None]]


@pytest.fixture(params=["new", "forked"])
def start(request: pytest.FixtureRequest, warm_process: WarmProcess) -> Start:
    """Return what has commands started in one way."""
    return nullcontext if request.param == "new" else warm_process.starts_commands


def test_a_command_finds_what_it_would_find(warm_process: WarmProcess, tmp_path: Path) -> None:
    """Arguments, folder, variables, search path, parent, group and session, signals, and standard streams."""
    variables = {**os.environ, "OWN": "value", "TMPDIR": str(tmp_path)}
    for options in ({"start_new_session": True}, {"cwd": tmp_path}, {"process_group": 0}):
        command = [sys.executable, "-c", STATE, "an argument", "--another"]
        given: Any = {"input": "typed", "capture_output": True, "text": True, "env": variables, **options}
        new = subprocess.run(command, check=True, **given)
        with warm_process.starts_commands():
            forked = subprocess.run(command, check=True, **given)
        assert forked.stdout.splitlines() == new.stdout.splitlines()
        assert forked.stderr == new.stderr


def test_a_command_is_forked_but_where_an_interpreter_looks_at_variables_first(warm_process: WarmProcess) -> None:
    """What is imported in the one is there already; in the other, `sitecustomize` and the like may be."""
    command = [sys.executable, "-c", "import sys; print('numpy' in sys.modules)"]
    with warm_process.starts_commands():
        assert subprocess.check_output(command, text=True) == "True\n"
        for name in ("PYTHONPATH", "PYTHONWARNINGS", "LD_LIBRARY_PATH", "TZ", "LC_ALL"):
            assert subprocess.check_output(command, text=True, env={**os.environ, name: "."}) == "False\n"
        import resource

        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (before[0] - 1, before[1]))
        try:
            assert subprocess.check_output(command, text=True) == "False\n"
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_a_shell_finds_programs_that_are_forks(warm_process: WarmProcess, tmp_path: Path) -> None:
    """With their arguments, files and status."""
    code = "import sys; print('numpy' in sys.modules, *sys.argv[1:], sys.stdin.read()); sys.exit(3)"
    with warm_process.programs(tmp_path, a_program=code):
        line = f"echo in | {tmp_path}/a-program an 'other argument' | cat; exit ${{PIPESTATUS[1]}}"
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("True an other argument in\n\n", "", 3)


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("", 0, ""),
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit('a reason')", 1, "a reason\n$"),
        ("import atexit, os; atexit.register(os.write, 2, b'at the end'); raise SystemExit(4)", 4, "at the end$"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n$"),
        ("import os; os._exit(5)", 5, ""),
        ("import os; os.abort()", -signal.SIGABRT, ""),
        ("raise KeyboardInterrupt", -signal.SIGINT, "KeyboardInterrupt\n$"),
        (LATE, 0, "the last$"),
    ],
)
def test_a_command_ends_as_it_would(start: Start, code: str, status: int, said: str) -> None:
    """With its exit status, by a signal, after the threads it waits for, and with what it says at the end."""
    with start():
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert re.search(said, done.stderr)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_command_is_ended_as_it_would_be(start: Start, how: signal.Signals) -> None:
    """It and its group by a signal, whoever waits for it."""
    code = "import time; print('begun', flush=True); time.sleep(60)"
    with start():
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        assert process.poll() is None
        os.killpg(process.pid, how)
        assert process.wait(timeout=60) == -how


def test_a_module_runs_as_it_would(start: Start) -> None:
    """By `-m`, with what it says to a file that is full."""
    with start(), Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "__hello__"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        failed = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stdout == "Hello world!\n"
    assert failed.returncode in {1, 120}  # where it is written at once, or in the end
    assert "No space left on device" in failed.stderr
