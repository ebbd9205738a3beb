"""`cuvis-ai schema`: the JSON Schema of each kind of file, with the nodes of the plugins that are loaded."""

import json
from pathlib import Path
from typing import Any, Final

import click

from cuvis_ai_core.cli.shared.options import offline_option, path_option, plugins_option, shared_options
from cuvis_ai_core.cli.shared.output import say

_KINDS: Final = ("lock", "manifest", "pipeline", "policy", "trainrun")


@click.command()
@click.argument("kind", type=click.Choice(_KINDS), metavar="|".join(_KINDS))
@plugins_option
@path_option("--output", short="-o", description="Write it to a file, and show the line for an editor.")
@offline_option
@shared_options
def schema(kind: str, plugins_path: Path | None, output: Path | None) -> None:
    """Print the JSON Schema of a kind of file: editors complete and check with it.

    For a pipeline or a trainrun it has the names of all nodes with their parameters: those that are built in, those of
    pip-installed plugins, and those of a manifest, which are loaded for this.
    """
    if plugins_path is not None and kind not in {"pipeline", "trainrun"}:
        raise click.UsageError(f"--plugins-path is for pipeline and trainrun: a {kind} has no nodes.")
    found = _schema(kind, plugins_path)
    text = json.dumps(found, indent=2, ensure_ascii=False)
    if output is None:
        say(text)
        return
    from cuvis_ai_core._atomic_writes import write_atomic
    from cuvis_ai_core.errors import OutputError

    try:
        write_atomic(output, f"{text}\n")
    except OSError as error:
        raise OutputError(f"'{output}' cannot be written: {error.strerror or error}.") from error
    say(f"Wrote {output}. As the first line of a file:")
    # TOML has the directive of Taplo, YAML that of yaml-language-server; none is read by both.
    say(f"#:schema {output}" if kind == "lock" else f"# yaml-language-server: $schema={output}")


def _schema(kind: str, manifest: Path | None) -> dict[str, Any]:
    if kind == "manifest":
        from cuvis_ai_core.plugins.manifest.manifest_schema import manifest_schema

        return manifest_schema()
    if kind == "policy":
        from cuvis_ai_core.plugins.policy.policy_schema import policy_schema

        return policy_schema()
    if kind == "lock":
        from cuvis_ai_core.plugins.lock.lockfile import lock_schema

        return lock_schema()
    from cuvis_ai_core.cli.shared.plugin_loading import load_plugins
    from cuvis_ai_core.pipeline.file.json_schema import pipeline_schema
    from cuvis_ai_core.registry import NodeRegistry

    with NodeRegistry() as registry:
        if manifest is not None:
            load_plugins(registry, manifest)
        found = pipeline_schema(registry)
    if kind == "pipeline":
        return found
    from cuvis_ai_core.training.config import trainrun_schema

    return trainrun_schema(found)
