"""`cuvis-ai plugins update`: move plugins to newer tags, and their dependencies to newer versions."""

from pathlib import Path

import click

from cuvis_ai_core.cli.shared.options import allow_build_option, dry_run_option, path_option, shared_options
from cuvis_ai_core.cli.shared.output import say


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@path_option("--plugins-path", description="The manifest.  [default: plugins.yaml]")
@dry_run_option
@allow_build_option
@shared_options
def update(names: tuple[str, ...], plugins_path: Path | None, dry_run: bool) -> None:
    """Move the plugins NAME, or all, to the newest version among the tags of their repositories, and lock again.

    In the manifest only the tags change, where they stand. Pre-releases count only for a plugin that has one.
    """
    from cuvis_ai_core.cli.plugins.locker_with_progress import locker
    from cuvis_ai_core.cli.shared.tables import print_table
    from cuvis_ai_core.plugins.lock.updating import find_update

    manifest = plugins_path or Path("plugins.yaml")
    with locker() as make:
        found = find_update(manifest, names, make, make.store, dry_run=dry_run)
    if not found.changes:
        say("Everything is at its newest version already.")
        return
    print_table(
        ("plugin", "what", "before", "after"),
        [(each.plugin, each.what, each.before or "-", each.after or "-") for each in found.changes],
    )
    if dry_run:
        say("Nothing was written.")
        return
    found.write()
    say(f"Wrote {f'{manifest} and ' if found.text else ''}{found.lock.path}.")
