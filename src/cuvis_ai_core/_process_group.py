"""Programs in process groups of their own, which end with them and with the process that started them.

On Linux and macOS a program leads a session of its own, in which a small shell waits for the end of a pipe: the system
closes the other end when this process ends, however it ends, and the shell kills the whole process group, the program's
own children included. That group also ends with the program, so that one killed alone leaves no children. On Windows a
program is ended at its time limit; after a hard kill of this process it may run to its end, in its own temporary
folder.
"""

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import subprocess

WATCHED: Final = (
    ("/bin/sh", "-c", 'exec 3<&0 </dev/null; { read -r _ <&3; kill -9 0; } >/dev/null 2>&1 & exec "$@" 3<&-', "sh")
    if sys.platform != "win32"
    else ()
)
"""Starts the watcher, then becomes the program: both are in one process group. Costs half a millisecond."""

GRACE: Final = 2.0
"""Seconds for which output is awaited after the program and its group ended: a daemon (ssh's) may hold the pipes."""


def how_it_ended(status: int) -> str:
    """Return, to be read after the name of a process, how it ended by its status: a signal, or by itself."""
    if status >= 0:
        return f"ended by itself with status {status}"
    memory = ", which is also what the system does when memory runs out"
    return f"was ended by signal {signal_name(-status)}{memory if -status == getattr(signal, 'SIGKILL', 0) else ''}"


def signal_name(number: int) -> str:
    """Return the name of a signal, or its number."""
    # Real-time signals have no name in Python, and `Signals(35)` is a ValueError.
    return signal.Signals(number).name if number in set(signal.Signals) else str(number)


def end_with_parent() -> None:
    """Have the system end this process when the thread that started it has ended, however that was (Linux).

    Elsewhere, and beside it, whoever needs that watches a pipe: which a thread does not, while another one holds the
    interpreter.
    """
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


def end_running(process: "subprocess.Popen[bytes]") -> None:
    """End a program and all that it started, unless it has ended."""
    # Once it has ended, its number may be that of another program.
    if process.returncode is None:
        end_group(process)


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """End a program if it still runs, and all that it started; its watcher, too, which keeps the group's number."""
    # macOS refuses where all of the group have ended already.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
