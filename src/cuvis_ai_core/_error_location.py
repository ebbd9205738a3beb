"""Where in its author's code an error comes from: file and line, for a text."""

import inspect
import os
from collections.abc import Callable, Iterator
from functools import cache
from types import FrameType, TracebackType
from typing import Any, Final

_SCOPED: Final = "cuvis_ai_core.scoped."
"""Below it lie the private packages of plugins: `cuvis_ai_core.scoped.<plugin>.<its top-level module>`."""

_OURS: Final = f"{os.path.dirname(__file__)}{os.sep}"  # noqa: PTH120 - pathlib costs more than all else here


def place_of(error: BaseException, owner: object) -> str | None:
    """Return the innermost line of the author's code that an error came through.

    That is a line in the package of `owner`, else one that is of no library, else the line where `owner` begins.

    Args:
        error: What was raised; what a worker process told of one says itself where it was.
        owner: The function, method, object or class whose code was called, or the name of its module.

    Returns:
        `FILE, line NUMBER`; None where nothing is known, as for compiled code.
    """
    told = getattr(error, "place", None)
    if isinstance(told, str):
        return told
    home = _root(_module_of(owner))
    return (
        innermost(error, lambda frame: _root(str(frame.f_globals.get("__name__"))) == home)
        or innermost(error, lambda frame: not _is_library(frame.f_code.co_filename))
        or (None if hasattr(error, "hint") else definition_of(owner))  # errors of ours need not be the author's
    )


def words_of(error: BaseException) -> str:
    """Return class and text of an exception, without the advice and the traceback that errors of this package carry."""
    try:
        text = str(getattr(error, "message", error))
    except Exception:  # noqa: BLE001 - the exception class may be the author's own
        return f"{type(error).__name__} (its text cannot be shown)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def innermost(error: BaseException, wanted: Callable[[FrameType], bool]) -> str | None:
    """Return file and line of the innermost frame of a kind that an error came through."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    found = [(frame.f_code.co_filename, line) for frame, line in frames_of(error) if wanted(frame)]
    return f"{found[-1][0]}, line {found[-1][1]}" if found else None


def definition_of(owner: object) -> str | None:
    """Return file and line where a function or a class begins; None where it is not written in Python."""
    try:
        if owner is None or isinstance(owner, str):
            return None
        told = getattr(getattr(owner, "__self__", None), "written_at", None)  # of a node that stands for another one
        if isinstance(told, str):
            return told
        unwrapped: Any = inspect.unwrap(getattr(owner, "__func__", owner))  # type: ignore[arg-type]
        code = getattr(unwrapped, "__code__", None)
        if code is not None:
            return f"{code.co_filename}, line {code.co_firstlineno}"
        kind = unwrapped if isinstance(unwrapped, type) else type(unwrapped)
        return f"{inspect.getsourcefile(kind)}, line {inspect.getsourcelines(kind)[1]}"
    except (OSError, TypeError, ValueError):
        return None


def frames_of(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    """Yield the frames that an error came through with their lines, the innermost last."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _module_of(owner: object) -> str:
    if isinstance(owner, str):
        return owner
    bound_to = getattr(owner, "__self__", None)  # a method may be inherited: the author's class is that of its object
    if bound_to is not None and not inspect.ismodule(bound_to):
        owner = bound_to if isinstance(bound_to, type) else type(bound_to)
    return str(getattr(owner, "__module__", None) or type(owner).__module__)


def _root(module: str) -> str:
    """Return the top of what one author wrote: a top-level module, that of a plugin with its private package."""
    parts = module.split(".")
    return ".".join(parts[: 4 if module.startswith(_SCOPED) else 2 if parts[0] == "cuvis_ai_core" else 1])


def _is_library(file: str) -> bool:
    return file.startswith(("<", *_library_folders())) or file.endswith(".pyx")  # compiled code names its own source


@cache
def _library_folders() -> tuple[str, ...]:
    import site
    import sysconfig

    paths = sysconfig.get_paths()
    folders = [paths["stdlib"], paths["purelib"], paths["platlib"], *site.getsitepackages()]
    return (_OURS, *(f"{folder}{os.sep}" for folder in folders))
