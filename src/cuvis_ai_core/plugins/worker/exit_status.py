"""What the exit status of a worker process means: a signal, memory that ran out, an end of its own."""

import signal


def meaning_of(status: int | None) -> str:
    """Return, to be read after the name of a process, how it ended.

    Args:
        status: Its exit status as `subprocess.Popen.returncode` has it; None for one that has not ended.
    """
    if status is None:
        return "does not answer"
    if status < 0:
        # Real-time signals have no name in Python, and `Signals(35)` is a ValueError.
        name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
        memory = ", which is also what the system does when memory runs out" if -status == signal.SIGKILL else ""
        return f"was ended by signal {name}{memory}"
    return f"ended by itself with status {status}"
