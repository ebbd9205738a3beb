"""`cuvis-ai plugins lock`: write down which commits and versions a manifest means."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cuvis_ai_core.cli.shared.options import (
    allow_build_option,
    dry_run_option,
    manifest_argument,
    offline_option,
    shared_options,
)
from cuvis_ai_core.cli.shared.output import say

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.lock.locker import LockResult


@click.command()
@manifest_argument
@dry_run_option
@allow_build_option
@offline_option
@shared_options
def lock(manifest: Path, dry_run: bool) -> None:
    """Resolve all plugins of MANIFEST together, and write commits, versions and hashes to its lock file.

    The lock file lies beside the manifest and is loaded with it from then on. What it says of other platforms stays;
    so do versions that are locked already, where that is possible. See `cuvis-ai plugins update` for newer ones.
    """
    from cuvis_ai_core.cli.plugins.locker_with_progress import locker
    from cuvis_ai_core.plugins.lock.lockfile import write_lock
    from cuvis_ai_core.plugins.manifest.manifest_schema import read_manifest

    plugins = read_manifest(manifest).plugins
    with locker() as make:
        # A dry run, too, says which versions there would be; it runs no build back end for that.
        found = make.lock(manifest, plugins, dry_run=dry_run)
    print_locked(found)
    if dry_run:
        say(f"Nothing was written; {_to_fetch(found)}.")
    else:
        write_lock(found.lock)
        say(f"Wrote {found.lock.path}.")


def print_locked(found: "LockResult") -> None:
    """Print what is locked of each plugin."""
    from cuvis_ai_core.cli.shared.tables import ADD_A_PLUGIN, print_table

    print_table(
        ("plugin", "source", "commit", "dependencies"),
        _rows(found),
        empty=f"The manifest declares no plugins. {ADD_A_PLUGIN}",
    )


def _rows(found: "LockResult") -> Iterator[tuple[str, str, str, str]]:
    environment = found.environment
    for name, entry in found.lock.plugins.items():
        source = f"{entry['repo']} {entry['tag']}" if "repo" in entry else entry["path"]
        pins = environment.dependencies.get(name, ())
        yield name, source, entry.get("commit", "-")[:12], ", ".join(pins) or "-"


def _to_fetch(found: "LockResult") -> str:
    wanted = found.missing()
    size = sum(wheel.size for wheel in wanted)
    return f"{len(wanted)} wheels with {size / 1e6:.1f} MB would be installed" if wanted else "no wheel is missing"
