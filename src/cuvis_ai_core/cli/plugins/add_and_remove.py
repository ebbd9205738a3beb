"""`cuvis-ai plugins add` and `remove`: put a plugin into a manifest, and take one out, and lock what is left."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cuvis_ai_core.cli.shared.options import GivenText, allow_build_option, dry_run_option, path_option, shared_options
from cuvis_ai_core.cli.shared.output import say
from cuvis_ai_core.errors import ManifestError

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.lock.lockfile import Declared, Lock

_manifest_option = path_option("--manifest", description="The manifest.  [default: plugins.yaml]")


@click.command()
@click.argument("source", type=GivenText(), metavar="URL[@TAG]|PATH")
@_manifest_option
@click.option("--name", metavar="NAME", help="Its name in the manifest.  [default: that of the repository]")
@dry_run_option
@allow_build_option
@shared_options
def add(source: str, manifest: Path | None, name: str | None, dry_run: bool) -> None:
    """Put a plugin into a manifest, and lock it: a tag of a repository, the newest if none is named, or a folder.

    What it provides is read from its project. All else in the manifest stays as it is written; where there is none, one
    is made. Nothing is written if the plugins cannot be locked together.
    """
    from cuvis_ai_core.cli.plugins.check.subject import find
    from cuvis_ai_core.cli.plugins.check.trial_run import entry_of, provided
    from cuvis_ai_core.plugins.lock.manifest_editing import with_entry
    from cuvis_ai_core.plugins.manifest.manifest_schema import parse_plugin, read_manifest

    file = manifest or Path("plugins.yaml")
    subject = find(source, None)
    nodes = provided(subject)
    chosen = name or subject.plugin
    if not nodes:
        raise ManifestError(
            f"No node class is found in {source}, and a manifest names one at least.",
            hint=f"See what is wrong with it: cuvis-ai plugins check {source}",
            plugin=chosen,
        )
    entry = entry_of(subject, nodes)
    if subject.repo is None:
        # As a manifest is read: from its own folder, and with `/` on every system.
        entry["path"] = Path(os.path.relpath(subject.folder, file.absolute().parent)).as_posix()
    added = parse_plugin(chosen, entry, base=file.absolute().parent)
    text = with_entry(file, chosen, entry)
    present = read_manifest(file).plugins if file.exists() else {}
    _lock_and_write(file, text, {**present, chosen: added}, chosen, dry_run=dry_run)
    where = f"{subject.repo[1]} of {subject.repo[0]}" if subject.repo else entry["path"]
    say(f"{'Would add' if dry_run else 'Added'} '{chosen}', {where}, to {file}: {', '.join(nodes)}.")


@click.command()
@click.argument("name", type=GivenText())
@_manifest_option
@dry_run_option
@shared_options
def remove(name: str, manifest: Path | None, dry_run: bool) -> None:
    """Take the plugin NAME out of a manifest, and lock the others anew; what the plugin cache has of it stays.

    All else in the manifest stays as it is written.
    """
    from cuvis_ai_core.plugins.lock.manifest_editing import without_entry
    from cuvis_ai_core.plugins.manifest.manifest_schema import read_manifest

    file = manifest or Path("plugins.yaml")
    text = without_entry(file, name)
    left = {key: each for key, each in read_manifest(file).plugins.items() if key != name}
    _lock_and_write(file, text, left, None, dry_run=dry_run)
    say(f"{'Would take' if dry_run else 'Took'} '{name}' out of {file}.")


def _lock_and_write(
    manifest: Path, text: str, plugins: "dict[str, Declared]", moving: str | None, *, dry_run: bool
) -> None:
    """Lock what a manifest will have, and then write both, each of them wholly or not at all."""
    from cuvis_ai_core._atomic_writes import write_atomic
    from cuvis_ai_core.cli.plugins.lock import print_locked
    from cuvis_ai_core.cli.plugins.locker_with_progress import locker
    from cuvis_ai_core.plugins.lock.lockfile import write_lock
    from cuvis_ai_core.plugins.manifest.manifest_schema import lock_path

    # A removal makes no lock file where there was none.
    lock: Lock | None = None
    if moving is not None or (plugins and lock_path(manifest).exists()):
        with locker() as make:
            found = make.lock(manifest, plugins, moving=[moving] if moving else [], dry_run=dry_run)
        print_locked(found)
        lock = found.lock
    if dry_run:
        return
    try:
        manifest.parent.mkdir(parents=True, exist_ok=True)
        if lock is not None:
            write_lock(lock)
        elif not plugins:
            lock_path(manifest).unlink(missing_ok=True)
        # Where a link leads: replacing the link itself would part it from the file that others read.
        write_atomic(manifest.resolve(), text)
    except OSError as error:
        raise ManifestError(f"{manifest} cannot be written: {error.strerror or error}.", path=manifest) from error
