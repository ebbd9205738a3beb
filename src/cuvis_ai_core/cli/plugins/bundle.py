"""`cuvis-ai plugins bundle`: everything that a manifest needs in one archive."""

from pathlib import Path

import click

from cuvis_ai_core.cli.shared.options import allow_build_option, manifest_argument, path_option, shared_options
from cuvis_ai_core.cli.shared.output import say


@click.command()
@manifest_argument
@path_option("--output", short="-o", description="The archive.  [default: <stem of the manifest>.tar.gz]")
@allow_build_option
@shared_options
def bundle(manifest: Path, output: Path | None) -> None:
    """Write checkouts, wheels and what builds need, with MANIFEST and its lock file, for machines without a network.

    They must have the same platform and Python version as this one. A manifest without a lock file is locked first.
    """
    from cuvis_ai_core.cli.plugins.locker_with_progress import locker
    from cuvis_ai_core.cli.shared.log_lines import warn
    from cuvis_ai_core.plugins.bundle.writing import write_bundle
    from cuvis_ai_core.plugins.lock.lockfile import read_lock, write_lock
    from cuvis_ai_core.plugins.manifest.manifest_schema import read_manifest

    archive = output or manifest.with_suffix(".tar.gz")
    plugins = read_manifest(manifest).plugins
    with locker() as make:
        lock = read_lock(manifest)
        # A bundle is a lock file and what it names (decision 6).
        if lock is None:
            lock = make.lock(manifest, plugins).lock
            write_lock(lock)
        found = write_bundle(manifest, plugins, lock, archive, make.store, make.announce)
    for name, path in found.left_out.items():
        warn(f"plugin '{name}' is not in the bundle, because {path} is not below {manifest.parent}; carry it along.")
    say(f"Wrote {archive}: {found.files} files, {found.size / 1e6:.1f} MB.")
