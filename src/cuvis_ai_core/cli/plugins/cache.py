"""`cuvis-ai plugins cache`: what lies in the plugin cache, and removing it."""

import re
from datetime import datetime
from typing import TYPE_CHECKING, Final

import click

from cuvis_ai_core._printable_text import shown_size
from cuvis_ai_core.cli.shared.lazy_groups import NamedGroup
from cuvis_ai_core.cli.shared.options import GivenText, json_option, number_of_bytes, shared_options
from cuvis_ai_core.cli.shared.output import say

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.cache.housekeeping import Entry
    from cuvis_ai_core.plugins.cache.store import Store

_SECONDS: Final = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def _age(_: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([mhdw])\w*", value.strip().lower())
    if found is None:
        raise click.BadParameter(f"'{value}' is no age such as 30d or 12h.", param=parameter)
    return float(found[1]) * _SECONDS[found[2]]


def _bytes(_: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    return None if value is None else number_of_bytes(value, parameter)


@click.group(cls=NamedGroup)
@shared_options
def cache() -> None:
    """See what lies in the plugin cache, and remove it; nothing that a process uses is removed."""


@cache.command("list")
@json_option
@shared_options
def list_entries(as_json: bool) -> None:
    """List checkouts and target directories with size, last use, and the processes that use them."""
    from cuvis_ai_core.cli.shared.list_output import print_list
    from cuvis_ai_core.cli.shared.tables import print_table
    from cuvis_ai_core.plugins.cache.housekeeping import entries, size_of

    store = _store()
    found = entries(store)
    rows = [
        (each.plugin or "-", each.kind, str(each.path.relative_to(store.root)), *_state(each), _users(each))
        for each in sorted(found, key=lambda entry: (entry.plugin, entry.kind, entry.path))
    ]
    empty = f"The plugin cache {store.root} is empty. Loading plugins fills it, and so does `cuvis-ai plugins lock`."
    headings = ("plugin", "what", "folder", "size", "last use", "in use by")
    if as_json:
        print_list("cache", headings, rows, as_json=True, notes=[str(store.root)])
        return
    print_table(headings, rows, title=str(store.root), empty=empty)
    if found:
        say(f"{shown_size(size_of(found))} in all")


@cache.command("prune")
@click.option("--older-than", callback=_age, metavar="AGE", help="What was not used for so long, as in 30d or 12h.")
@click.option(
    "--max-size", callback=_bytes, metavar="SIZE", help="What was used longest ago, until the rest is as small as 2GB."
)
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@shared_options
def prune_entries(older_than: float | None, max_size: int | None, dry_run: bool) -> None:
    """Remove what was not used for some time, or what is too much."""
    from cuvis_ai_core.plugins.cache.housekeeping import prune

    if older_than is None and max_size is None:
        raise click.UsageError("What is to go? Give --older-than, as in 30d, or --max-size, as in 2GB, or both.")
    store = _store()
    _report(store, prune(store, unused_for=older_than, max_size=max_size, dry_run=dry_run), dry_run=dry_run)


@cache.command("clear")
@click.argument("name", type=GivenText(), required=False)
@shared_options
def clear_entries(name: str | None) -> None:
    """Remove everything of the plugin NAME, or everything."""
    from cuvis_ai_core._nearest import did_you_mean
    from cuvis_ai_core.plugins.cache.housekeeping import clear, entries

    store = _store()
    # Wheels that bundles brought belong to no plugin.
    known = {entry.plugin for entry in entries(store)} - {""}
    if name is not None and name not in known:
        say(f"Nothing to remove. The plugin cache has nothing of '{name}'.{did_you_mean(name, known)}")
    else:
        _report(store, clear(store, name))


def _store() -> "Store":
    from cuvis_ai_core.plugins.cache.store import Store
    from cuvis_ai_core.registry import NodeRegistry

    return Store(NodeRegistry.get_cache_dir())


def _report(store: "Store", removed: "list[Entry]", *, dry_run: bool = False) -> None:
    from cuvis_ai_core.plugins.cache.housekeeping import freed_by

    did = "would remove" if dry_run else "removed"
    for entry in removed:
        say(f"{did} {entry.path} ({shown_size(entry.size)})")
    say(f"{did} {shown_size(freed_by(removed, store))}" if removed else "Nothing to remove.")


def _state(entry: "Entry") -> tuple[str, str]:
    return shown_size(entry.size), datetime.fromtimestamp(entry.last_use).astimezone().strftime("%Y-%m-%d %H:%M")


def _users(entry: "Entry") -> str:
    return ", ".join(map(str, entry.users())) or "-"
