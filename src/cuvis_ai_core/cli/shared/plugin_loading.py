"""Loading the plugins that a command needs, each shown as it is fetched, built and imported."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cuvis_ai_hookspecs import hookimpl

from cuvis_ai_core._printable_text import shown_in_line
from cuvis_ai_core.cli.shared.output import tell
from cuvis_ai_core.cli.shared.progress import is_live, is_silent, spinner
from cuvis_ai_core.errors import PluginsLoadError
from cuvis_ai_core.plugins.plugin_info import PluginState

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from cuvis_ai_core.registry import NodeRegistry

_ENDS: Final = frozenset({PluginState.ACTIVE, PluginState.FAILED})
_BRIEF: Final = frozenset(
    {PluginState.CACHED, PluginState.PATH_RESOLVED, PluginState.IMPORTING, PluginState.REGISTERED}
)
"""States that pass in a moment: a log does not need a line for each."""


def load_plugins(registry: "NodeRegistry", manifest: Path, *names: str) -> None:
    """Load the plugins of a manifest, all or those named, and show what happens.

    Raises:
        ManifestError: The manifest cannot be read.
        LockError: Its lock file cannot be read, or differs from it.
        PluginLoadError: A plugin that is named failed.
        PluginsLoadError: Some plugins failed.
    """
    with plugin_progress() as display:
        registry.register_hooks(display)
        try:
            registry.load_plugins(manifest, only=names or None)
        except PluginsLoadError as error:
            if names:
                # Whoever names plugins gets the error of one, not a group.
                raise next(iter(error.failed.values())) from error
            raise


def load_named(
    registry: "NodeRegistry", pipeline: Any, folders: Sequence[Path], data_module: str | None = None
) -> None:
    """Load the plugins that a pipeline names, by their manifests in folders, and show what happens.

    The catalogue itself is left out where it is installed: its classes are known by their full paths.

    Args:
        registry: Which is to have them.
        pipeline: The content of a pipeline file, or its model.
        folders: Folders with a manifest for each plugin.
        data_module: A data module, whose plugin is loaded too where it is not installed.

    Raises:
        ManifestError: There is no manifest of a plugin, or it cannot be read.
        PluginLoadError: A plugin failed.
    """
    from cuvis_ai_core.plugins.manifest_folders import needed_plugins

    found = needed_plugins(
        pipeline, folders, None if data_module and registry.data_module(data_module) else data_module
    )
    with plugin_progress() as display:
        registry.register_hooks(display)
        for name, manifest in found.items():
            registry.load_plugin(name, manifest)


@contextmanager
def plugin_progress() -> Iterator["PlainLines | LiveLines"]:
    """Have an observer of the hook `cuvis_ai_plugin_state` that shows the states of plugins on stderr."""
    lines: PlainLines | LiveLines = PlainLines()
    if is_silent():
        lines.stop()
    elif is_live():
        from rich.console import Console

        lines = LiveLines(Console(stderr=True))
    try:
        yield lines
    except KeyboardInterrupt as error:
        error.add_note("What was fetched and built until then is kept in the plugin cache.")
        raise
    finally:
        lines.stop()


class PlainLines:
    """Prints one line per state that takes its time, and per end."""

    def __init__(self) -> None:
        self._stopped = False

    @hookimpl
    def cuvis_ai_plugin_state(self, plugin: str, state: str, detail: str) -> None:
        """Print a line."""
        if not self._stopped and state not in _BRIEF:
            tell(f"{plugin}: {state} {detail}".rstrip())

    def stop(self) -> None:
        """Show no more: that plugins are unloaded in the end is of no interest."""
        self._stopped = True


class LiveLines:
    """Keeps one line per plugin on a terminal, with a spinner while something happens.

    Args:
        console: The terminal.
    """

    def __init__(self, console: "Console") -> None:
        from rich.progress import Progress, SpinnerColumn, TextColumn
        from rich.table import Column

        def cell(field: str) -> TextColumn:
            # Names and details are said by hosts and plugins: `[red]` is no mark-up.
            return TextColumn(field, markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))

        self._progress = Progress(
            SpinnerColumn(spinner(console)),
            cell("{task.description}"),
            cell("{task.fields[state]}"),
            cell("{task.fields[detail]}"),
            console=console,
            # Standard output is lent to standard error already, by `only_results_on_stdout`.
            redirect_stdout=False,
        )
        self._tasks: dict[str, TaskID] = {}
        self._stopped = False

    @hookimpl
    def cuvis_ai_plugin_state(self, plugin: str, state: str, detail: str) -> None:
        """Change the line of a plugin."""
        if self._stopped:
            return
        if plugin not in self._tasks:
            self._progress.start()
            self._tasks[plugin] = self._progress.add_task(shown_in_line(plugin), total=1, state="", detail="")
        self._progress.update(
            self._tasks[plugin], state=str(state), detail=shown_in_line(detail), completed=int(state in _ENDS)
        )

    def stop(self) -> None:
        """Leave the last lines where they are, and show no more."""
        self._stopped = True
        self._progress.stop()
