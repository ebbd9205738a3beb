"""`cuvis-ai plugins unbundle`: fill the plugin cache from an archive, once the user believes what it says."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cuvis_ai_core.cli.shared.options import GivenPath, number_of_bytes, path_option, shared_options
from cuvis_ai_core.cli.shared.output import say

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.bundle.size_limits import Limits
    from cuvis_ai_core.plugins.bundle.unpacking import OpenBundle


def _limits(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> "Limits":
    from cuvis_ai_core.plugins.bundle.size_limits import Limits

    found: dict[str, int] = {}
    for name, equals, text in (value.partition("=") for value in values):
        if not equals:
            raise click.BadParameter(f"'{name}' is no NAME=NUMBER, such as size=50GB.", param=parameter)
        if name not in Limits._fields:
            raise click.BadParameter(f"'{name}' is none of {', '.join(Limits._fields)}.", param=parameter)
        found[name] = number_of_bytes(text, parameter)
    return Limits(**found)


@click.command()
@click.argument("archive", type=GivenPath())
@path_option("--output-dir", description="Folder for the manifest, its lock file and local plugins.  [default: .]")
@click.option("--accept", is_flag=True, help="Believe what the bundle says, without a question.")
@path_option("--lock", description="A lock file of your own: a bundle that agrees with it needs no --accept.")
@click.option(
    "--limit",
    "limits",
    multiple=True,
    callback=_limits,
    metavar="NAME=NUMBER",
    help="Allow more of what is unpacked: size (bytes, as 50GB), ratio, files, depth, name; repeatable.",
)
@shared_options
def unbundle(archive: Path, output_dir: Path | None, accept: bool, lock: Path | None, limits: "Limits") -> None:
    """Fill the plugin cache from ARCHIVE, which `cuvis-ai plugins bundle` wrote, and unpack its manifest.

    What it would have you trust is shown first. No code is run. Afterwards the manifest loads without a network:
    CUVIS_OFFLINE=1.
    """
    from cuvis_ai_core.cli.shared.log_lines import warn
    from cuvis_ai_core.plugins.bundle.trust import not_accepted, own_lock
    from cuvis_ai_core.plugins.bundle.unpacking import open_bundle
    from cuvis_ai_core.plugins.cache.store import Store
    from cuvis_ai_core.registry import NodeRegistry

    output = output_dir or Path()
    own = own_lock(lock, output)
    with open_bundle(archive, Store(NodeRegistry.get_cache_dir()), own, limits) as bundle:
        _show(archive, bundle)
        for each in bundle.asked:
            if each.is_told_by_bundle_alone:
                warn(f"plugin '{each.name}': that {each.tag} of {each.where} is {each.commit} says {each.told_by}")
        if not (accept or bundle.is_agreed or _is_confirmed()):
            raise not_accepted(archive, own, bundle.differing)
        found = bundle.unpack(output)
    for name in found.absent:
        warn(f"plugin '{name}' was not in the bundle, and is not where {found.manifest} says; copy it there.")
    say(f"Unpacked {len(found.plugins)} plugins; their manifest is {found.manifest}.")


def _show(archive: Path, bundle: "OpenBundle") -> None:
    from cuvis_ai_core.cli.shared.tables import print_table

    rows = [
        (
            *(each.name, each.kind or "-", each.where, each.tag or "-", each.commit or "-"),
            *(each.told_by, each.signature or "-"),
        )
        for each in bundle.asked
    ]
    print_table(
        ("plugin", "kind", "from", "tag", "commit", "says who", "signed"),
        rows,
        title=f"What {archive} would have you trust",
        empty=f"{archive} has no plugins.",
    )
    say(f"{bundle.wheels} wheels of dependencies and for builds, by the hashes in its lock file")


def _is_confirmed() -> bool:
    """Ask on a terminal."""
    # Nobody answers where there is no terminal: --accept, or a lock file of one's own, says it there.
    return _is_terminal() and click.confirm("Put these into the plugin cache?", err=True)


def _is_terminal() -> bool:
    return sys.stdin.isatty()
