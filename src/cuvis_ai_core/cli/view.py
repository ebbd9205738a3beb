"""`cuvis-ai view`: a page that shows a cube."""

import os
from pathlib import Path

import click

from cuvis_ai_core.cli.shared.options import (
    GivenPath,
    WholeNumber,
    path_option,
    plugins_option,
    shared_options,
    unpack_limit_option,
)
from cuvis_ai_core.cli.shared.output import say


@click.command()
@click.argument("cube", type=GivenPath())
@path_option(
    "--output", description="The page.  [default: <name of the cube>.html in the working directory]", short="-o"
)
@plugins_option
@click.option(
    "--measurement",
    type=WholeNumber(min=0),
    metavar="NUMBER",
    help="Which cube of a file that holds several, from 0.",
)
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@unpack_limit_option
@shared_options
def view(cube: Path, output: Path | None, plugins_path: Path | None, measurement: int | None, overwrite: bool) -> None:
    """Write a page that shows CUBE: false colour, bands, spectra at clicked points, what its file says.

    One file that needs no network. CUBE is what --cube-path of restore-pipeline takes.
    """
    from cuvis_ai_core._atomic_writes import write_atomic
    from cuvis_ai_core.cli.shared.plugin_loading import load_plugins
    from cuvis_ai_core.cli.shared.progress import working
    from cuvis_ai_core.data import read_cube
    from cuvis_ai_core.data.cube_files import split_array
    from cuvis_ai_core.errors import OutputError
    from cuvis_ai_core.registry import NodeRegistry
    from cuvis_ai_core.results.cube_page import cube_page
    from cuvis_ai_core.results.folder import safe_name

    target = output or Path(f"{safe_name(split_array(cube)[0].stem)}.html")
    # A link counts wherever it leads: it is the link that would be replaced.
    if os.path.lexists(target) and not overwrite:
        raise OutputError(
            f"'{target}' is there already; it is not overwritten.", hint="Name another with --output, or --overwrite."
        )
    with NodeRegistry() as registry:
        if plugins_path is not None:
            load_plugins(registry, plugins_path)
        with working(f"Reading {cube}"):
            text = cube_page(read_cube(cube, registry.cube_readers(), index=measurement), cube.name)
    try:
        write_atomic(target, text)
    except OSError as error:
        raise OutputError(
            f"'{target}' cannot be written: {error.strerror or error}.", hint="Name another with --output."
        ) from error
    say(f"Written to {target}; open it in a browser.")
