"""`cuvis-ai plugins new`: what is asked for, and what is said afterwards."""

import importlib.util
from pathlib import Path

import click

from cuvis_ai_core.cli.plugins.new.project_files import BACKENDS, KINDS, write_project
from cuvis_ai_core.cli.shared.options import GivenText, shared_options
from cuvis_ai_core.cli.shared.output import say


@click.command("new")
@click.argument("name", type=GivenText())
@click.option(
    "--kind",
    type=click.Choice(sorted(KINDS)),
    default="array",
    show_default=True,
    metavar="KIND",
    help="What it has first: array, torch, hooks or reader.",
)
@click.option(
    "--build-backend",
    type=click.Choice(sorted(BACKENDS)),
    default="hatchling",
    show_default=True,
    metavar="NAME",
    help="What builds it: hatchling, setuptools or uv_build.",
)
@shared_options
def new(name: str, kind: str, build_backend: str) -> None:
    """Make a plugin's project in a new folder NAME: package, node, pipeline file, tests, manifest, Git repository.

    It works at once: its tests pass, and its pipeline runs.
    """
    folder = write_project(Path(name), kind, build_backend)
    say(f"Made {folder}. Next:")
    say(f"  cd {folder}")
    # torch is an extra (decision 3), and its tests are left out where it is missing.
    if kind == "torch" and importlib.util.find_spec("torch") is None:
        say("  pip install -e .   # torch is not installed here, and the tests need it")
    # The core does not bring it, and with the core's wheel alone the next line would fail.
    if importlib.util.find_spec("pytest") is None:
        say("  pip install pytest   # it is not installed here")
    say("  python -m pytest -q")
    say("  cuvis-ai plugins check .")
