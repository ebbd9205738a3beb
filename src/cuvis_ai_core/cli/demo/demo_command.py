"""`cuvis-ai demo`: see two versions of a plugin work side by side."""

from pathlib import Path

import click

from cuvis_ai_core.cli.shared.options import GivenPath, shared_options
from cuvis_ai_core.cli.shared.output import say
from cuvis_ai_core.errors import CuvisError


@click.command()
@click.option(
    "--output-dir",
    type=GivenPath(file_okay=False),
    default=Path("demo-output"),
    show_default=True,
    help="Folder for everything that the demonstration writes, its plugin cache included.",
)
@shared_options
def demo(output_dir: Path) -> None:
    """Load plugins from Git tags and local paths, run them on a real cube, draw a picture."""
    from cuvis_ai_core.cli.demo.closing_text import next_steps, print_loaded
    from cuvis_ai_core.cli.demo.steps import run_demo
    from cuvis_ai_core.cli.demo.workspace import Workspace
    from cuvis_ai_core.cli.shared.progress import report

    workspace = Workspace(output_dir)
    try:
        if not workspace.is_free():
            raise click.BadParameter(
                f"{workspace.root} holds other files; choose a new or an empty folder.",
                param_hint="--output-dir",
            )
        loaded = run_demo(workspace, report)
    except OSError as error:
        # Some of our errors are of the system's classes too, and say more.
        if isinstance(error, CuvisError):
            raise
        raise click.BadParameter(
            f"'{workspace.root}' cannot be written: {error.strerror or error}. Choose another folder.",
            param_hint="--output-dir",
        ) from error
    say()
    print_loaded(loaded, workspace)
    for path in workspace.written.kept:
        say(f"Kept as it is, since it was edited: {path}")
    say(f"\nPicture: {workspace.picture}\n\n{next_steps(workspace)}")
