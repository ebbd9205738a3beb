"""What the programs' names start: Ctrl-C during the imports of a command ends in a word and not in a traceback."""

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
    try:
        # Importing is part of it: much of a command's first second is imports, and Ctrl-C ended them in a traceback.
        import_module(module).main(prog_name=name)
    except KeyboardInterrupt:
        # Not `click.echo`: what was interrupted may be the import of click.
        sys.stderr.write("\nInterrupted.\n")
        sys.exit(130)  # as cuvis_ai_core.cli.shared.error_messages, which is not imported yet
