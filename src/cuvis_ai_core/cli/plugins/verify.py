"""`cuvis-ai plugins verify`: whether the plugin cache and the repositories still hold what was fetched."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cuvis_ai_core.cli.shared.error_messages import FAILED, NOT_ASKED
from cuvis_ai_core.cli.shared.options import GivenPath, shared_options
from cuvis_ai_core.cli.shared.output import say, tell
from cuvis_ai_core.cli.shared.progress import working

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cuvis_ai_core.plugins.cache.store import Store
    from cuvis_ai_core.plugins.cache.verification import Finding
    from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin


@click.command()
@click.argument("manifest", required=False, type=GivenPath())
@shared_options
def verify(manifest: Path | None) -> None:
    """Compare the plugin cache with what was fetched and installed, and its tags with their repositories.

    All files are read. With MANIFEST, for the plugins of that file; without, for everything in the cache. Exit status:
    0 all is as it was, 1 something differs, 3 nothing differs, but a repository could not be asked.
    """
    from cuvis_ai_core.cli.shared.tables import print_table
    from cuvis_ai_core.plugins.cache.store import Store
    from cuvis_ai_core.plugins.manifest.manifest_schema import read_manifest
    from cuvis_ai_core.plugins.offline import is_offline
    from cuvis_ai_core.registry import NodeRegistry

    declared = read_manifest(manifest).plugins if manifest else None
    store = Store(NodeRegistry.get_cache_dir())
    with working("Reading files" if is_offline() else "Reading files and asking repositories"):
        # All of it now: what is read must be read before the progress ends.
        found = list(_findings(declared, store))
    if not found:
        what = f"has nothing of {manifest}" if manifest else "is empty"
        say(f"The plugin cache {store.root} {what}. Loading plugins fills it, and so does `cuvis-ai plugins lock`.")
        return
    print_table(
        ("plugin", "what", "where", "state"), [(each.plugin, each.what, each.where, _state(each)) for each in found]
    )
    # Silence about these would pass for 'as it was'.
    if absent := [name for name in declared or () if name not in {each.plugin for each in found}]:
        say(f"The plugin cache has nothing of {', '.join(absent)}: that was not compared.")
    for each in found:
        if each.problem is not None:
            tell(f"{'Error' if each.differs else 'Not asked'}: {each.problem}")
    if any(each.problem for each in found):
        # A host that is down is no alteration: a script may ask again (a repository that could not be asked counted as
        # different).
        raise click.exceptions.Exit(FAILED if any(each.differs for each in found) else NOT_ASKED)


def _state(finding: "Finding") -> str:
    if finding.problem is None:
        return "as it was"
    return "differs" if finding.differs else "not asked"


def _findings(declared: "Mapping[str, GitPlugin | LocalPlugin] | None", store: "Store") -> "Iterator[Finding]":
    from cuvis_ai_core.plugins.cache.verification import verify_plugin, verify_store

    if declared is None:
        yield from verify_store(store)
        return
    for name, config in declared.items():
        yield from verify_plugin(name, config, store)
