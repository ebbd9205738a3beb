"""What is said about a plugin that failed to load: in which step, why, where in its code, and what to do next."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from cuvis_ai_core.errors import CuvisError, PluginLoadError, PluginsLoadError
from cuvis_ai_core.plugins.isolation import importlib_bootstrap_statement
from cuvis_ai_core.plugins.isolation.private_names import PREFIX, without_private_names
from cuvis_ai_core.plugins.isolation.scope import MARK
from cuvis_ai_core.plugins.plugin_info import PluginState

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from cuvis_ai_core.plugins.hooks.load_events import Announce
    from cuvis_ai_core.plugins.isolation.scope import Scope

Enter = Callable[[str, str | None], None]
"""Remembers the step that a plugin is at, and announces it as its state where there is a detail to show."""

REGISTERING: Final = "registering"
"""The step that has the state `registered` at its end."""


@contextmanager
def failing(name: str, announce: "Announce", step: str) -> Iterator[Enter]:
    """Turn whatever goes wrong into the error of a plugin that failed, with the step that it was at.

    Args:
        name: Name of the plugin.
        announce: Told of the states that it enters.
        step: The step at which it is at first, named after the state that it brings about or is in.

    Raises:
        PluginLoadError: Something went wrong.
    """

    def enter(reached: str, detail: str | None) -> None:
        nonlocal step
        step = reached
        if detail is not None:
            announce(PluginState(reached), detail)

    try:
        yield enter
    # A plugin that calls sys.exit when it is imported fails, and ends nobody.
    except (Exception, SystemExit) as error:
        announce(PluginState.FAILED, str(step))
        place = _place(error)
        raise PluginLoadError(
            f"Failed to load plugin '{name}' ({step}): {_reason(error, place)}",
            hint=_next_step(name, error),
            plugin=name,
            step=str(step),
            place=place,
        ) from error


def not_loaded(manifest: "Path", plugins: Iterable[str], failed: Mapping[str, Exception]) -> PluginsLoadError:
    """Return the error for a manifest of which some plugins failed."""
    names = list(plugins)
    hints = [getattr(error, "hint", None) for error in failed.values()]
    # What is to be done about several plugins stands once, below all of them.
    shared = dict.fromkeys(hint for hint in hints if hint and hints.count(hint) > 1)
    texts = (
        getattr(error, "message", "") if hint in shared else str(error)
        for hint, error in zip(hints, failed.values(), strict=True)
    )
    return PluginsLoadError(
        "\n".join([f"{len(failed)} of {len(names)} plugins in {manifest} failed to load.", *texts]),
        hint="\n".join(shared) or None,
        loaded=tuple(name for name in names if name not in failed),
        failed=failed,
    )


def _reason(error: BaseException, place: str | None) -> str:
    from cuvis_ai_core._error_location import words_of

    text = error.message if isinstance(error, CuvisError) else words_of(error)
    return without_private_names(text) + (f" ({place})" if place and place not in text else "")


def _place(error: BaseException) -> str | None:
    """Return file and line of the innermost frame that ran the plugin's own code."""
    if isinstance(error, CuvisError):
        return error.place
    from cuvis_ai_core._error_location import innermost

    # Code of plugins has builtins of its own, by which its frames are known.
    return innermost(error, lambda frame: MARK in frame.f_builtins)


def _next_step(name: str, error: BaseException) -> str | None:
    if isinstance(error, CuvisError):
        return error.hint
    if type(error) is ModuleNotFoundError and (error.name or "").startswith(PREFIX):
        return (
            "That module would be the plugin's own, but is not in what was installed: see which packages its "
            f'pyproject.toml installs. Should it be there, fetch anew: NodeRegistry.clear_plugin_cache("{name}").'
        )
    # By its very type: metadata that are missing are a ModuleNotFoundError as well.
    if type(error) is ModuleNotFoundError:
        return (
            _asked_elsewhere(error)
            or _gone_from_its_package(error)
            or "If that is a package of its own, add it to the dependencies in the plugin's pyproject.toml."
        )
    if _place(error) is None:
        return "That looks like a fault of cuvis-ai-core itself; please report it with the traceback."
    library = _imported_then(error)
    if library is not None:
        return (
            f"It was raised while '{library}' was imported, which is not the plugin's: see whether it can be imported "
            "by itself, and in which version."
        )
    return "The plugin's own code raised this."


def _asked_elsewhere(error: ModuleNotFoundError) -> str | None:
    """Return the next step where code that is not the plugin's asked for a module that only the plugin has."""
    from cuvis_ai_core._error_location import frames_of

    # Without those of `importlib.import_module`.
    frames = [frame for frame, _ in frames_of(error) if not _module(frame).startswith("importlib")]
    scopes = [frame.f_builtins[MARK] for frame in frames if MARK in frame.f_builtins]
    if MARK in frames[-1].f_builtins or not any(_is_lent(scope, error.name or "") for scope in scopes):
        return None
    return (
        f"'{error.name}' is installed, but for this plugin alone, and '{_module(frames[-1])}' asked for it, which is "
        "everybody's. Install it beside cuvis-ai-core too, or give the plugin 'isolation: process'."
    )


def _gone_from_its_package(error: ModuleNotFoundError) -> str | None:
    """Return the next step where the package that a missing module is to lie in is there."""
    import sys
    from importlib.metadata import PackageNotFoundError, version

    package, _, below = (error.name or "").partition(".")
    if not below or package not in sys.modules:
        return None
    if package in sys.stdlib_module_names:
        return (
            f"Python {sys.version_info.major}.{sys.version_info.minor} has no such module: what imports it was written "
            "for another one. Take a newer version of it, or give the plugin 'isolation: process' and its 'python'."
        )
    try:
        found = f"{package} {version(package)}"
    except PackageNotFoundError:  # a distribution of another name has it
        found = f"'{package}'"
    return (
        f"{found} is there, and has no such module: what imports it was written for another version. Name those that "
        "suit it in the dependencies in the plugin's pyproject.toml, or take a newer version of what imports it."
    )


def _imported_then(error: BaseException) -> str | None:
    """Return the package of others that an error came out of while code of the plugin imported it, or None."""
    from cuvis_ai_core._error_location import frames_of

    frames = [frame for frame, _ in frames_of(error)]
    # Where the plugin's own file is no Python, none of its code ran.
    own = max((at for at, frame in enumerate(frames) if MARK in frame.f_builtins), default=len(frames))
    rest = [_module(frame) for frame in frames[own + 1 :]]
    if not rest or rest[0] != importlib_bootstrap_statement.__name__:  # called, with whatever it was given
        return None
    modules = (name for name in rest if not name.startswith(("importlib", "cuvis_ai_core.")))
    return next((name.partition(".")[0] for name in modules), None)


def _is_lent(scope: "Scope", name: str) -> bool:
    return name.partition(".")[0] in scope.lent and scope.locate(name) is not None


def _module(frame: "FrameType") -> str:
    return str(frame.f_globals.get("__name__"))
