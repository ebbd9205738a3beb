"""What is said about a plugin that failed to load: in which step, why, where in its code, and what to do next."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cuvis_ai_core.errors import CuvisError, PluginLoadError
from cuvis_ai_core.plugins.isolation.private_names import PREFIX, without_private_names
from cuvis_ai_core.plugins.isolation.scope import MARK
from cuvis_ai_core.plugins.manager import PluginState

Announce = Callable[[PluginState, str], None]
"""Tells observers that a plugin entered a state, with a detail to show."""


Enter = Callable[[PluginState, str | None], None]
"""Remembers the state that a plugin is in, and announces it where there is a detail to show."""


@contextmanager
def failing(name: str, announce: Announce, step: PluginState) -> Iterator[Enter]:
    """Turn whatever goes wrong into the error of a plugin that failed, with the state that it was in.

    Args:
        name: Name of the plugin.
        announce: Told of the states that it enters.
        step: The state in which it is at first.

    Raises:
        PluginLoadError: Something went wrong.
    """

    def enter(state: PluginState, detail: str | None) -> None:
        nonlocal step
        step = state
        if detail is not None:
            announce(state, detail)

    try:
        yield enter
    except (Exception, SystemExit) as error:
        announce(PluginState.FAILED, str(step))
        raise PluginLoadError(
            f"Failed to load plugin '{name}' ({step}): {_reason(error)}",
            hint=_next_step(name, error),
            plugin=name,
            step=str(step),
        ) from error


def _reason(error: BaseException) -> str:
    if isinstance(error, CuvisError):
        return without_private_names(error.message)
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the plugin's own exception class
        text = "(its text cannot be shown)"
    place = _place(error)
    return without_private_names(f"{type(error).__name__}: {text}") + (f" ({place})" if place else "")


def _place(error: BaseException) -> str | None:
    """Return file and line of the innermost frame that ran the plugin's own code."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    place, trace = None, error.__traceback__
    while trace is not None:
        if MARK in trace.tb_frame.f_builtins:
            place = f"{trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _next_step(name: str, error: BaseException) -> str | None:
    if isinstance(error, CuvisError):
        return error.hint
    if type(error) is ModuleNotFoundError and (error.name or "").startswith(PREFIX):
        return (
            "That module would be the plugin's own, but is not in what was installed: see which packages its "
            f'pyproject.toml installs. Should it be there, fetch anew: NodeRegistry.clear_plugin_cache("{name}").'
        )
    if type(error) is ModuleNotFoundError:
        return "If that is a package of its own, add it to the dependencies in the plugin's pyproject.toml."
    if _place(error) is None:
        return "That looks like a fault of cuvis-ai-core itself; please report it with the traceback."
    return "The plugin's own code raised this."
