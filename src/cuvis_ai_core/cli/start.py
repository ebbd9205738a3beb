"""What the programs' names start: Ctrl-C during the imports of a command ends in a word and not in a traceback."""

import os
import sys
from importlib import import_module


def cuvis_ai() -> None:
    """Run `cuvis-ai`."""
    run("cuvis_ai_core.cli.main")


def cuvis_server() -> None:
    """Run `cuvis-server`."""
    run("cuvis_ai_core.grpc.production_server")


def provision() -> None:
    """Run `provision`."""
    run("cuvis_ai_core.cli.provision")


def restore_pipeline() -> None:
    """Run `restore-pipeline`."""
    run("cuvis_ai_core.cli.restore.restore_pipeline")


def restore_trainrun() -> None:
    """Run `restore-trainrun`."""
    run("cuvis_ai_core.cli.restore.restore_trainrun")


def run(module: str, name: str | None = None) -> None:
    """Run the command `main` of a module, under the name of its program or another; it ends the process."""
    _fill_closed_handles()
    try:
        # Importing is part of it: much of a command's first second is imports, and Ctrl-C ended them in a traceback.
        import_module(module).main(prog_name=name)
    except KeyboardInterrupt:
        # Not `click.echo`: what was interrupted may be the import of click.
        sys.stderr.write("\nInterrupted.\n")
        sys.exit(130)  # as cuvis_ai_core.cli.shared.error_messages, which is not imported yet


def _fill_closed_handles() -> None:
    """Have something behind the handles of standard input, output and error, also where one was closed.

    The next file that is opened would take its place, and whatever writes there would write into that file.
    """
    for handle in range(3):
        try:
            os.fstat(handle)
        except OSError:
            # Takes the lowest handle that is free, which is this one; programs that are started get it, too.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - it is open till the end
