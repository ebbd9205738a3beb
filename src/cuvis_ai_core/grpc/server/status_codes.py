"""The one place that says which gRPC status an error becomes, and with which words."""

import errno
import os
import re
from typing import Any, Final
from urllib.parse import quote

from cuvis_ai_core import errors
from cuvis_ai_core.errors import CuvisError, NodeRunError, RemoteError, ServiceError
from cuvis_ai_core.grpc.server.hints_for_clients import for_clients

INTERNAL: Final = "INTERNAL"
_MOST_BYTES: Final = 4000
"""Of a text: status messages travel in headers, which hold 8 kB, with letters beyond ASCII as `%C3%A4`."""

_CODES: Final[tuple[tuple[type[BaseException], str], ...]] = (  # the first one that fits counts
    (errors.NotAllowedError, "PERMISSION_DENIED"),
    (errors.PluginNotLoadedError, "NOT_FOUND"),
    (errors.LocalPathError, "NOT_FOUND"),
    (errors.RepositoryNotFoundError, "NOT_FOUND"),
    (errors.TagNotFoundError, "NOT_FOUND"),
    (errors.PluginConflictError, "FAILED_PRECONDITION"),
    (errors.OfflineError, "FAILED_PRECONDITION"),
    (errors.AuthenticationError, "FAILED_PRECONDITION"),
    (errors.MissingExtraError, "FAILED_PRECONDITION"),
    (errors.NetworkError, "UNAVAILABLE"),
    (errors.WorkerTimeoutError, "DEADLINE_EXCEEDED"),
    (errors.TimeLimitError, "DEADLINE_EXCEEDED"),
    (errors.ManifestError, "INVALID_ARGUMENT"),
    (errors.LockError, "INVALID_ARGUMENT"),
    (errors.NodeError, "INVALID_ARGUMENT"),
    (errors.YamlError, "INVALID_ARGUMENT"),
    (errors.PipelineError, "INVALID_ARGUMENT"),
    (errors.CubeError, "INVALID_ARGUMENT"),
    (errors.AnnotationError, "INVALID_ARGUMENT"),
    (errors.TrainRunError, "INVALID_ARGUMENT"),
    (errors.PluginError, "FAILED_PRECONDITION"),
    (errors.TrainingError, "FAILED_PRECONDITION"),
    (FileNotFoundError, "NOT_FOUND"),
    (PermissionError, "PERMISSION_DENIED"),
    (MemoryError, "RESOURCE_EXHAUSTED"),
)
_TO_BLAME: Final = (ValueError, TypeError, IndexError)
"""What nodes raise that cannot work on their input."""

_CONTROLS: Final = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Signs that a terminal obeys, that change the direction of others, or that nobody sees."""

_OF_A_PATH: Final = frozenset(
    {errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EILSEQ, errno.ENXIO}
)
"""What the file system says of a path that can be none."""

_MOST_OF_A_PATH: Final = 200


def code_of(error: BaseException) -> str:
    """Return the name of the gRPC status that an error becomes."""
    if isinstance(error, ServiceError):
        return error.code
    if _is_out_of_memory(error):
        return "RESOURCE_EXHAUSTED"
    if isinstance(error, NodeRunError):
        return _of_node(error)
    if isinstance(error, RecursionError):  # of what a client sent: what is nested deeper than Python goes
        return "INVALID_ARGUMENT"
    if isinstance(error, OSError) and (code := _code_of_file(error)) is not None:
        return code
    found = next((code for kind, code in _CODES if isinstance(error, kind)), INTERNAL)
    return found if isinstance(error, CuvisError | OSError | MemoryError) else INTERNAL


def words_for(error: BaseException, number: str) -> str:
    """Return what a client is told: no traceback; of a bug only the number under which the log has it."""
    if code_of(error) == INTERNAL:
        return f"{plain_words(error)}\nThe server's log has the rest under {number}."
    return plain_words(error)


def plain_words(error: BaseException) -> str:
    """Return what is said of an error: no traceback, and of a bug nothing."""
    if isinstance(error, CuvisError):
        hint = (
            None
            if isinstance(error.__cause__ if isinstance(error, NodeRunError) else error, RemoteError)
            else error.hint
        )
        if not isinstance(error, ServiceError):  # those are said for clients, and for whoever runs the server
            hint = for_clients(hint)
        text = "\n".join(filter(None, [error.message or str(error), hint]))
    elif isinstance(error, RecursionError):
        text = "The message is nested too deeply."
    elif isinstance(error, OSError) and code_of(error) != INTERNAL:
        text = _of_a_file(error)
    else:
        text = "The server failed."
    return shown(text)


def _code_of_file(error: OSError) -> str | None:
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EMFILE}:
        return "RESOURCE_EXHAUSTED"
    return "INVALID_ARGUMENT" if error.errno in _OF_A_PATH and error.filename is not None else None


def _of_a_file(error: OSError) -> str:
    """Return what the system says of a file, which may be called as long as somebody likes."""
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    return f"{error.strerror}: '{name[:_MOST_OF_A_PATH]}{'…' * (len(name) > _MOST_OF_A_PATH)}'" if name else str(error)


def shown(text: str) -> str:
    """Return a text without signs that a terminal would obey, and not longer than a header takes."""
    # Halves of surrogate pairs cannot be sent: gRPC would abort with an error of its own.
    clean = _CONTROLS.sub("?", text).encode(errors="replace").decode()
    # Measured as it is sent: gRPC writes other letters as %XX, three bytes for one.
    while len(quote(clean)) > _MOST_BYTES:
        clean = f"{clean[: len(clean) * 3 // 4]} …"
    return clean


def _of_node(error: NodeRunError) -> str:
    cause: Any = error.__cause__
    if isinstance(cause, errors.WorkerTimeoutError):
        return "DEADLINE_EXCEEDED"
    if isinstance(cause, errors.PortError):  # a node looks closer than its ports can say
        return "INVALID_ARGUMENT"
    return "INVALID_ARGUMENT" if isinstance(cause, _TO_BLAME) and _is_foreign(cause) else INTERNAL


def _is_foreign(cause: BaseException) -> bool:
    """Tell whether an exception is a node's own, raised here or in a process of its own."""
    return isinstance(cause, RemoteError) or not isinstance(cause, CuvisError)


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Tell whether memory, of the machine or of a GPU, is what was missing."""
    while error is not None:
        # By name: `torch.cuda.OutOfMemoryError`, where torch may not be there.
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True
        if isinstance(error, RuntimeError) and "can't allocate memory" in str(error):  # torch, on the CPU
            return True
        error = error.__cause__
    return False
