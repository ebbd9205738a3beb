"""`cuvis-ai plugins`: which plugins there are, and what the plugin cache has of them. Nothing imports plugin code."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import click

from cuvis_ai_core._redact import without_credentials
from cuvis_ai_core.cli.shared.lazy_groups import LazyGroup
from cuvis_ai_core.cli.shared.options import json_option, plugins_option, shared_options
from cuvis_ai_core.cli.shared.output import say
from cuvis_ai_core.errors import NotAllowedError

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.cache.store import Store
    from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, LocalPlugin
    from cuvis_ai_core.plugins.policy.policy_rules import Policy


class _Plugins(LazyGroup):
    """The group of the commands about plugins."""

    places: ClassVar = {
        "add": "cuvis_ai_core.cli.plugins.add_and_remove:add",
        "audit": "cuvis_ai_core.cli.plugins.audit:audit",
        "bundle": "cuvis_ai_core.cli.plugins.bundle:bundle",
        "cache": "cuvis_ai_core.cli.plugins.cache:cache",
        "check": "cuvis_ai_core.cli.plugins.check.check_command:check",
        "list": "cuvis_ai_core.cli.plugins.group_and_list:list_plugins",
        "lock": "cuvis_ai_core.cli.plugins.lock:lock",
        "new": "cuvis_ai_core.cli.plugins.new.new_command:new",
        "remove": "cuvis_ai_core.cli.plugins.add_and_remove:remove",
        "try": "cuvis_ai_core.cli.plugins.try_plugin:try_plugin",
        "unbundle": "cuvis_ai_core.cli.plugins.unbundle:unbundle",
        "update": "cuvis_ai_core.cli.plugins.update:update",
        "verify": "cuvis_ai_core.cli.plugins.verify:verify",
    }


@click.group(cls=_Plugins)
@shared_options
def plugins() -> None:
    """See which plugins there are, and what the plugin cache has of them."""


@click.command("list")
@plugins_option
@json_option
@shared_options
def list_plugins(plugins_path: Path | None, as_json: bool) -> None:
    """List the plugins of a manifest and the pip-installed ones; none is loaded."""
    if as_json:
        _print_json(plugins_path)
        return
    if plugins_path is not None:
        _print_declared(plugins_path)
        say()
    _print_discovered()
    if plugins_path is None:
        say("Give --plugins-path to see the plugins of a manifest.")


def _print_json(manifest: Path | None) -> None:
    from cuvis_ai_core.cli.shared.list_output import print_list
    from cuvis_ai_core.plugins.policy import policy

    rows: list[tuple[str, ...]] = []
    if manifest is not None:
        from cuvis_ai_core.plugins.cache.store import Store
        from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, read_manifest
        from cuvis_ai_core.registry import NodeRegistry

        store = Store(NodeRegistry.get_cache_dir())
        standing = _standing(manifest, store)
        for name, each in read_manifest(manifest).plugins.items():
            cells = _git_cells(name, each, store) if isinstance(each, GitPlugin) else _local_cells(each)
            rows.append((name, *cells, "-", "-", *standing.get(name, ("-", "-"))))
    for name, distribution, version, point, *kind in _discovered_rows(policy()):
        rows.append((name, distribution, "-", "discovered", version, point, *(kind or ["-"]), "-"))
    headings = ("name", "source", "tag", "state", "version", "entry point", "kind", "signature")
    print_list("plugins", headings, rows, as_json=True)


def _print_declared(manifest: Path) -> None:
    from cuvis_ai_core.cli.shared.tables import ADD_A_PLUGIN, print_table
    from cuvis_ai_core.plugins.cache.store import Store
    from cuvis_ai_core.plugins.manifest.manifest_schema import GitPlugin, read_manifest
    from cuvis_ai_core.registry import NodeRegistry

    declared = read_manifest(manifest).plugins
    store = Store(NodeRegistry.get_cache_dir())
    standing = _standing(manifest, store)
    print_table(
        ("name", "source", "tag", "state", *(("kind", "signature") if standing else ())),
        [
            (
                name,
                *(_git_cells(name, each, store) if isinstance(each, GitPlugin) else _local_cells(each)),
                *(standing.get(name, ())),
            )
            for name, each in declared.items()
        ],
        title=f"Declared in {manifest}",
        empty=f"{manifest} declares no plugins. {ADD_A_PLUGIN}",
    )


def _standing(manifest: Path, store: "Store") -> dict[str, tuple[str, str]]:
    """Return kind and signature of each plugin, where there is a policy that knows kinds and signers."""
    from cuvis_ai_core.plugins.policy import policy

    if policy() is None:
        return {}
    from cuvis_ai_core.plugins.cache.policy_status import standing_of
    from cuvis_ai_core.plugins.lock.lockfile import read_lock
    from cuvis_ai_core.plugins.manifest.manifest_schema import read_manifest

    lock = read_lock(manifest)
    found = {
        name: standing_of(name, each, store, locked=lock is not None and name in lock.plugins)
        for name, each in read_manifest(manifest).plugins.items()
    }
    return {name: (_kind(each.kind, allowed=not each.why), each.signature) for name, each in found.items()}


def _kind(kind: str, *, allowed: bool) -> str:
    return kind if allowed else f"{kind}, not allowed"


def _git_cells(name: str, plugin: "GitPlugin", store: "Store") -> tuple[str, str, str]:
    from cuvis_ai_core.plugins.cache.sources import cached_source

    source = cached_source(name, plugin, store)
    state = f"cached {source.commit[:12]}" if source and source.commit else "not fetched"
    return without_credentials(plugin.repo), plugin.tag, state


def _local_cells(plugin: "LocalPlugin") -> tuple[str, str, str]:
    return str(plugin.path), "-", "local" if plugin.path.is_dir() else "path does not exist"


def _print_discovered() -> None:
    from cuvis_ai_core.cli.shared.tables import print_table
    from cuvis_ai_core.plugins.policy import policy

    rules = policy()
    print_table(
        ("name", "distribution", "version", "entry point", *(("kind",) if rules else ())),
        _discovered_rows(rules),
        title="Discovered (pip-installed)",
        empty="No pip-installed plugins are discovered. `pip install` one, or declare plugins in a manifest.",
    )


def _discovered_rows(rules: "Policy | None") -> Iterator[tuple[str, ...]]:
    from cuvis_ai_core.plugins.hooks.discovery import discover

    for name, plugin in sorted(discover(frozenset()).items()):
        cells = name, plugin.distribution, plugin.version, plugin.value
        if rules is None:
            yield cells
            continue
        try:
            yield *cells, rules.judge_distribution(plugin.distribution).kind
        except NotAllowedError:
            # Community is what no rule names (kind in the schema of policies).
            yield *cells, _kind("community", allowed=False)
