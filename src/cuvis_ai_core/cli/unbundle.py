"""`cuvis-ai plugins unbundle`: fill the plugin cache from an archive."""

from pathlib import Path

import click

from cuvis_ai_core.cli.options import path_option, shared_options
from cuvis_ai_core.cli.output import say


@click.command()
@click.argument("archive", type=click.Path(path_type=Path))
@path_option("--output-dir", description="Folder for the manifest, its lock file and local plugins.  [default: .]")
@shared_options
def unbundle(archive: Path, output_dir: Path | None) -> None:
    """Fill the plugin cache from ARCHIVE, which `cuvis-ai plugins bundle` wrote, and unpack its manifest.

    Nothing is fetched, and no code is run. Afterwards the manifest loads without a network: CUVIS_OFFLINE=1.
    """
    from cuvis_ai_core.cli.logs import warn
    from cuvis_ai_core.plugins.bundle.unpacking import unpack_bundle
    from cuvis_ai_core.plugins.cache.store import Store
    from cuvis_ai_core.registry import NodeRegistry

    found = unpack_bundle(archive, output_dir or Path(), Store(NodeRegistry.get_cache_dir()))
    for name in found.absent:
        warn(f"plugin '{name}' was not in the bundle, and is not where {found.manifest} says; copy it there.")
    say(f"Unpacked {len(found.plugins)} plugins; their manifest is {found.manifest}.")
