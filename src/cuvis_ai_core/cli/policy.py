"""`cuvis-ai policy`: which plugins may be loaded on this machine. Nothing is loaded, fetched or imported for that."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from cuvis_ai_core.cli.shared.error_messages import FAILED
from cuvis_ai_core.cli.shared.lazy_groups import LazyGroup
from cuvis_ai_core.cli.shared.options import json_option, manifest_argument, shared_options
from cuvis_ai_core.cli.shared.output import say

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.policy.policy_rules import Policy


class _Policy(LazyGroup):
    """The group of the commands about the policy."""

    places: ClassVar = {
        "check": "cuvis_ai_core.cli.policy:check",
        "show": "cuvis_ai_core.cli.policy:show",
    }


@click.group(cls=_Policy)
@shared_options
def policy() -> None:
    """See which plugins may be loaded on this machine."""


@click.command()
@json_option
@shared_options
def show(as_json: bool) -> None:
    """Show the policy of this machine: its rules, and what is asked of every plugin."""
    from cuvis_ai_core.plugins.policy.file_location import places
    from cuvis_ai_core.plugins.policy.policy_rules import find_policy

    found = find_policy()
    if as_json:
        content = {} if found is None else found.content.model_dump(mode="json", exclude_none=True)
        path = None if found is None else str(found.path)
        say(json.dumps({"policy": path, "looked_for": places(), **content}, indent=2))
    elif found is None:
        where = " and ".join(places())
        say(f"There is no policy: everything that you name may be loaded. One is looked for at {where}.")
    else:
        _show(found)


def _show(found: "Policy") -> None:
    from cuvis_ai_core.cli.shared.tables import print_table

    print_table(
        ("line", "allowed", "kind", "signed by"),
        [(str(line), *_rule_cells(rule.model_dump())) for rule, line in found.rules()],
        title=f"Policy {found.path}",
        empty=f"The policy {found.path} allows nothing.",
    )
    asked = [name for name, wanted in found.require if wanted]
    say(f"Asked of every plugin: {', '.join(asked) or 'nothing'}.")
    apart = [kind for kind, place in found.content.isolation.items() if place == "process"]
    say(f"In a process of their own, whatever their manifest says: {', '.join(apart) or 'none'}.")


def _rule_cells(rule: Mapping[str, Any]) -> tuple[str, str, str]:
    subject = next(key for key in ("repo", "path", "distribution") if key in rule)
    return f"{subject} {rule[subject]}", rule["kind"], rule.get("signed_by") or "-"


@click.command()
@manifest_argument
@json_option
@shared_options
def check(manifest: Path, as_json: bool) -> None:
    """Say for each plugin of MANIFEST whether it may be loaded on this machine, by which rule, and why not.

    Exit status: 0 all may, 1 one may not. Who signed a tag is known of what is in the plugin cache.
    """
    from cuvis_ai_core.cli.shared.tables import ADD_A_PLUGIN, print_table

    rows = list(_checked(manifest))
    refused = [row for row in rows if not row["allowed"]]
    if as_json:
        say(json.dumps({"manifest": str(manifest), "allowed": not refused, "plugins": rows}, indent=2))
    else:
        print_table(
            ("plugin", "kind", "allowed", "rule", "signature"),
            [
                (row["plugin"], row["kind"], "yes" if row["allowed"] else "no", row["rule"], row["signature"])
                for row in rows
            ],
            empty=f"{manifest} declares no plugins. {ADD_A_PLUGIN}",
        )
        for row in refused:
            # On standard error: whoever reads the table by a program gets rows alone.
            click.echo(f"Error: {row['why']}", err=True)
    if refused:
        raise click.exceptions.Exit(FAILED)


def _checked(manifest: Path) -> Iterator[dict[str, Any]]:
    from cuvis_ai_core.plugins.cache.policy_status import standing_of
    from cuvis_ai_core.plugins.cache.store import Store
    from cuvis_ai_core.plugins.lock.lockfile import read_lock
    from cuvis_ai_core.plugins.manifest.manifest_schema import read_manifest
    from cuvis_ai_core.registry import NodeRegistry

    declared, lock = read_manifest(manifest).plugins, read_lock(manifest)
    store = Store(NodeRegistry.get_cache_dir())
    for name, each in declared.items():
        found = standing_of(name, each, store, locked=lock is not None and name in lock.plugins)
        yield {"plugin": name, **found._asdict(), "allowed": not found.why}
