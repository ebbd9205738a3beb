"""`cuvis-ai plugins audit`: what there is to know about the plugins of a manifest before they are trusted."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cuvis_ai_core.cli.shared.error_messages import FAILED
from cuvis_ai_core.cli.shared.options import json_option, manifest_argument, offline_option, path_option, shared_options
from cuvis_ai_core.cli.shared.output import say
from cuvis_ai_core.cli.shared.progress import working

if TYPE_CHECKING:
    from cuvis_ai_core.plugins.audit.auditing import Audit, AuditedPlugin


@click.command()
@manifest_argument
@json_option
@path_option("--sbom", description="File for a bill of materials (CycloneDX 1.6, JSON); needs the extra audit.")
@offline_option
@shared_options
def audit(manifest: Path, as_json: bool, sbom: Path | None) -> None:
    """Look for what whoever trusts the plugins of MANIFEST should know; nothing of them is fetched, built or run.

    Bounds of dependencies, hashes, what is built from source or was yanked, licences, age and signature of tags, and
    what the policy of this machine says. Exit status: 0 nothing was found, 1 something was.
    """
    from cuvis_ai_core.plugins.audit.auditing import audit as look
    from cuvis_ai_core.plugins.audit.sbom import require_sbom, write_sbom
    from cuvis_ai_core.plugins.cache.store import Store
    from cuvis_ai_core.plugins.offline import is_offline
    from cuvis_ai_core.registry import NodeRegistry

    # Before the index is asked, which takes its time.
    if sbom is not None:
        require_sbom()
    offline = is_offline()
    with working("Looking at plugins" if offline else "Looking at plugins and asking the package index"):
        found = look(manifest, Store(NodeRegistry.get_cache_dir()), offline=offline)
    if sbom is not None:
        write_sbom(found, sbom)
    if as_json:
        say(json.dumps(_plain(found), indent=2))
    else:
        _print(found)
        if sbom is not None:
            say(f"Wrote {sbom}.")
    if any(each.findings for each in found.plugins):
        raise click.exceptions.Exit(FAILED)


def _print(found: "Audit") -> None:
    from cuvis_ai_core.cli.shared.tables import ADD_A_PLUGIN, print_table

    print_table(
        ("plugin", "source", "tag", "days old", "kind", "signature", "licence", "dependencies"),
        [_cells(each) for each in found.plugins],
        empty=f"{found.manifest} declares no plugins. {ADD_A_PLUGIN}",
    )
    for each in found.plugins:
        for finding in each.findings:
            say(f"{each.name}: {finding.about}: {finding.text}")
    if found.not_asked:
        say(f"Whether dependencies were yanked was not asked: {found.not_asked}.")


def _cells(each: "AuditedPlugin") -> tuple[str, ...]:
    age = "-" if each.age is None else str(each.age)
    standing = each.standing.kind, each.standing.signature
    return each.name, each.source, each.tag or "-", age, *standing, each.licence or "-", str(len(each.dependencies))


def _plain(found: "Audit") -> dict[str, Any]:
    plugins = [
        {
            **each._asdict(),
            "standing": each.standing._asdict(),
            "dependencies": [dependency._asdict() for dependency in each.dependencies],
            "findings": [finding._asdict() for finding in each.findings],
        }
        for each in found.plugins
    ]
    lock = str(found.lock.path) if found.lock is not None else None
    return {"manifest": str(found.manifest), "lock": lock, "plugins": plugins, "not_asked": found.not_asked}
