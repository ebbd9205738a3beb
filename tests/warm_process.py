"""A process that has imported what commands import, and of which those that tests start are forks.

Lightning alone takes four seconds of a processor to import, in each of dozens of commands. What a fork is given is what
a new interpreter would be: arguments, folder, environment, search path, open files, session, process group and signals.
Whoever started it is its parent, so that it is waited for and ended in the same way.
"""

import atexit
import ctypes
import gc
import importlib
import inspect
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import RawIOBase, TextIOWrapper
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Self, TextIO

from cuvis_ai_core.plugins.isolation.private_names import LIVE_PLUGINS

_COMMANDS: Final = (
    "cuvis_ai_core.batch.worker",
    "cuvis_ai_core.cli.restore.restore_trainrun",
    "cuvis_ai_core.grpc.server.training.trainer_program",
)
_TRAINERS: Final = "cuvis_ai_core.training.trainers"
"""These stand for all that they import; one whose libraries are not installed is left out."""

_AT_START: Final = ("PYTHON", "LD_", "MALLOC_", "LC_", "LANG", "TZ", LIVE_PLUGINS)
"""How variables begin that are looked at before a program begins: with others than here, it is a new interpreter."""

_TAKEN_OVER: Final = "PYTHONDONTWRITEBYTECODE"
_LONGEST_LINE: Final = 4096
"""Bytes of a command line that processes are told by."""

_PROGRAM: Final = """\
#!{python} -SE
import json, os, socket, sys

order = dict(session=False, group=-1, ignored=[], blocked=[], environment=dict(os.environ), folder=os.getcwd())
order["arguments"] = [sys.executable, "-c", {code!r}, *sys.argv[1:]]
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asked:
    asked.connect({place!r})
    socket.send_fds(asked, [json.dumps(order).encode()], [0, 1, 2])
    sys.exit(int(asked.recv(64)))
"""
"""What a shell starts: it has a fork get its files, and ends as that does."""

_SUBREAPER: Final = 36  # PR_SET_CHILD_SUBREAPER
_statuses: list[int] = []
"""With what a fork ends, once it does."""


class WarmProcess:
    """The process, and what is asked of it; it ends with whoever made it.

    Args:
        trains: Whether it imports Lightning, which takes ten times as long as all else.
    """

    def __init__(self, *, trains: bool) -> None:
        self._trains = trains
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = {name: value for name, value in os.environ.items() if name != LIVE_PLUGINS}
        self.at_start: Final = _at_start(self._environment)
        self.limits: Final = _limits()

    def _begin(self) -> None:
        if self._process is not None:
            return
        self._socket, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # One thread: libraries start others when they are imported, which no fork has.
        environment = {name: value for name, value in self._environment.items() if name != "PYTHONPATH"}
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, __file__, str(its.fileno()), str(self._trains), " " * _LONGEST_LINE]
        self._process = subprocess.Popen(command, env=environment, pass_fds=[its.fileno()], stdin=subprocess.DEVNULL)
        its.close()
        self._socket.recv(64)  # it has imported all: whoever waits for what a command says need not wait for that

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._socket.close()
            self._process.wait()

    def fork(self, order: dict[str, Any], files: list[int]) -> int:
        """Have a command begin, and return its process, a child of this one.

        Args:
            order: See `_become`.
            files: The standard input, output and error.
        """
        with self._lock:
            self._begin()
            prctl = ctypes.CDLL(None).prctl
            # The process forks twice: what it leaves behind falls to the next one above that takes it.
            prctl(_SUBREAPER, 1, 0, 0, 0)
            try:
                socket.send_fds(self._socket, [json.dumps(order).encode()], files)
                process = int(self._socket.recv(64))
                if process < 0:
                    raise OSError(-process, os.strerror(-process), order["folder"])
                return process
            finally:
                prctl(_SUBREAPER, 0, 0, 0, 0)

    @contextmanager
    def programs(self, folder: Path, **codes: str) -> Iterator[None]:
        """Have a folder with programs, by their names, which a shell finds; each runs some code in a fork."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as heard:
            place = str(folder / "socket")
            heard.bind(place)
            heard.listen()
            for name, code in codes.items():
                program = folder / name.replace("_", "-")
                program.write_text(_PROGRAM.format(python=sys.executable, place=place, code=code), encoding="utf-8")
                program.chmod(0o755)
            listening = threading.Thread(target=self._listen, args=(heard,))
            listening.start()
            try:
                yield
            finally:
                heard.shutdown(socket.SHUT_RDWR)
                listening.join()

    def _listen(self, heard: socket.socket) -> None:
        with suppress(OSError):  # it was shut down
            while True:
                threading.Thread(target=self._answer, args=(heard.accept()[0],)).start()

    def _answer(self, asked: socket.socket) -> None:
        with asked:
            data, files, *_ = socket.recv_fds(asked, 1 << 20, 3)
            process = self.fork(json.loads(data), files)
            for each in files:
                os.close(each)
            ended = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
            asked.send(b"%d" % (ended if ended >= 0 else 128 - ended))

    @contextmanager
    def starts_commands(self) -> Iterator[None]:
        """Have `subprocess` start commands of this interpreter by the process, where that makes no difference."""
        made = subprocess.Popen
        with self._lock:
            self._begin()
        subprocess.Popen = _popen(self)  # type: ignore[misc,assignment]
        try:
            yield
        finally:
            subprocess.Popen = made  # type: ignore[misc]


def _popen(warm: WarmProcess) -> type[subprocess.Popen[Any]]:
    names = list(inspect.signature(subprocess.Popen._execute_child).parameters)  # type: ignore[attr-defined]

    class Popen(subprocess.Popen[Any]):
        """A process that was started, or forked."""

        def _execute_child(self, *given: Any) -> None:
            options = dict(zip(names, (self, *given), strict=True))
            environment = dict(os.environ if options["env"] is None else options["env"])
            here = (_at_start(environment), _limits())
            if not _can_be_forked(options) or here != (warm.at_start, warm.limits):
                super()._execute_child(*given)  # type: ignore[misc]
                return
            ignored = [each for each in signal.valid_signals() if signal.getsignal(each) == signal.SIG_IGN]
            order = {
                "arguments": [os.fspath(each) for each in options["args"]],
                "environment": environment,
                "folder": os.fspath(options["cwd"] or Path.cwd()),
                "session": options["start_new_session"],
                "group": options.get("process_group", -1),
                "ignored": [int(each) for each in ignored],
                "blocked": [int(each) for each in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
            }
            files = [options["p2cread"], options["c2pwrite"], options["errwrite"]]
            files = [number if each == -1 else each for number, each in enumerate(files)]
            self.pid = warm.fork(order, files)
            self._child_created = True
            pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
            self._close_pipe_fds(*map(options.__getitem__, pipes))  # type: ignore[attr-defined]

    return Popen


def _can_be_forked(options: dict[str, Any]) -> bool:
    words = options["args"]
    alike = (
        not isinstance(words, str | bytes | os.PathLike)
        and len(words) > 2
        and words[0] == sys.executable
        and words[1] in {"-c", "-m"}
    )
    plain = not any(options[name] for name in ("preexec_fn", "pass_fds", "shell", "executable"))
    same = all(options[name] in {None, -1} for name in ("gid", "gids", "uid", "umask"))
    return alike and plain and same and options["close_fds"]


def _at_start(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_AT_START) and name != _TAKEN_OVER}


def _limits() -> list[tuple[int, int]]:
    """Return how much of everything a process may have, as its parent could."""
    import resource  # which Windows does not have, where nothing is forked

    return [resource.getrlimit(getattr(resource, each)) for each in sorted(dir(resource)) if each.startswith("RLIMIT_")]


def _serve(orders: socket.socket) -> Callable[[], object]:
    """Fork for each order; return in the forks alone, what such a one does."""
    while True:
        data, files, *_ = socket.recv_fds(orders, 1 << 20, 3)
        if not data:
            os._exit(0)
        between = os.fork()
        if not between:
            ours = os.getpid()
            if os.fork():
                os._exit(0)
            while os.getppid() == ours:
                os.sched_yield()
            order = json.loads(data)
            try:
                _place(order)
            except OSError as error:
                orders.send(b"-%d" % (error.errno or 1))
                os._exit(255)
            orders.send(b"%d" % os.getpid())
            return _become(order, files)
        os.waitpid(between, 0)
        for each in files:
            os.close(each)


def _place(order: dict[str, Any]) -> None:
    """Be in the session, process group and folder, of which whoever ordered it may take for granted that it is."""
    if order["session"]:
        os.setsid()
    if order["group"] >= 0:
        os.setpgid(0, order["group"])
    os.chdir(order["folder"])


def _become(order: dict[str, Any], files: list[int]) -> Callable[[], object]:
    """Be as a new interpreter is that a command was given to; return what runs it."""
    for number, file in enumerate(files):
        os.dup2(file, number)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = _text(number, getattr(sys, name))
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.environ.clear()
    os.environ.update(order["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for each in order["ignored"]:
        signal.signal(each, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, order["blocked"])
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    sys.orig_argv = order["arguments"]
    _show(sys.orig_argv)
    _, kind, what, *sys.argv[1:] = order["arguments"]
    sys.argv[0] = kind
    added = [str(Path(each).absolute()) for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    sys.path[:] = ["" if kind == "-c" else str(Path.cwd()), *added, *sys.path]
    importlib.invalidate_caches()
    tempfile.tempdir = None  # where it was found when the trainers were imported
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
    if kind == "-m":
        sys.modules.pop(what, None)
        return lambda: runpy.run_module(what, run_name="__main__", alter_sys=True)
    main = sys.modules["__main__"] = ModuleType("__main__")
    return lambda: exec(compile(what, "<string>", "exec"), main.__dict__)


def _show(arguments: list[str]) -> None:
    """Have the process be seen with its own command line, which lies where the system put that of its parent."""
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # as proc_pid_stat(5) has them
    line = b"".join(os.fsencode(each) + b"\0" for each in arguments)[: end - start - 1]
    ctypes.memmove(start, line.ljust(end - start, b"\0"), end - start)


def _text(file: int, before: Any) -> TextIO:
    """Return a standard stream anew: an old one remembers whether it was a terminal, or could be sought in."""
    buffered = 0 if isinstance(before.buffer, RawIOBase) else -1
    raw: Any = open(file, before.buffer.mode, buffered, closefd=False)  # noqa: SIM115 - as long as the process
    (raw if buffered == 0 else raw.raw).name = before.name
    stream = TextIOWrapper(
        raw,
        before.encoding,
        before.errors,
        line_buffering=buffered != 0 and (file == 2 or raw.isatty()),
        write_through=before.write_through,
    )
    stream.mode = before.mode  # type: ignore[misc]
    return stream


def _run(command: Callable[[], object]) -> None:
    """Run a command to its end, and leave out what an interpreter takes apart then, which it shares until it does."""
    status: Any = None
    try:
        command()
    except SystemExit as ended:
        status = ended.code
        if not isinstance(status, int | None):
            raise
    _statuses.append(status or 0)


def _end() -> None:
    """End here, where all is done but for that; registered first, it is called last."""
    if _statuses:
        with suppress(OSError, ValueError):  # else the interpreter says what cannot be written
            for each in (sys.stdout, sys.stderr):
                each.flush()
            os._exit(_statuses[0] & 0xFF)


if __name__ == "__main__":
    atexit.register(_end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, which is for the tests
    del sys.path[0]
    for _each in (*_COMMANDS, _TRAINERS) if sys.argv[2] == "True" else _COMMANDS:
        try:
            importlib.import_module(_each)
        except ImportError as _missing:
            if _missing.name == _each:
                raise
    gc.collect()
    gc.freeze()
    _orders = socket.socket(fileno=int(sys.argv[1]))
    _orders.send(b"ready")
    _run(_serve(_orders))
