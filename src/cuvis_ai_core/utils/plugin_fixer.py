"""Naming in a pipeline file the plugins that its nodes come from."""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from cuvis_ai_core._printable_text import shown
from cuvis_ai_core._untrusted_files import load_yaml
from cuvis_ai_core.errors import CuvisError
from cuvis_ai_core.pipeline.file.writer import to_yaml
from cuvis_ai_core.plugins.manifest.published_catalogue import class_paths
from cuvis_ai_core.plugins.manifest_folders import BUILTIN, folders_above, manifests_in

__all__ = ["reorder_pipeline_with_plugins", "suggest_plugins_field", "suggest_plugins_fix_cli"]


def suggest_plugins_field(
    pipeline_config: Any,
    raw_pipeline_dict: Mapping[str, Any],
    plugins_dirs: Iterable[str | Path],
) -> tuple[list[str], dict[str, Any]]:
    """Return the names of the plugins that the nodes of a pipeline come from, and the file's content with them.

    Args:
        pipeline_config: The pipeline, which is not looked at.
        raw_pipeline_dict: The content of its file.
        plugins_dirs: Folders with a manifest for each plugin.

    Raises:
        ManifestError: A manifest cannot be read.
    """
    del pipeline_config
    owners = {
        path: name for name, manifest in manifests_in(plugins_dirs).items() for path in class_paths(manifest) or ()
    }
    classes = [str(node.get("class_name", node.get("class", ""))) for node in raw_pipeline_dict.get("nodes") or ()]
    # So published files name what the catalogue itself brings, for which there is no manifest.
    own = [BUILTIN] if any(each.startswith("cuvis_ai.") for each in classes) else []
    names = list(dict.fromkeys([*own, *(owners[each] for each in classes if each in owners)]))
    return names, reorder_pipeline_with_plugins(raw_pipeline_dict, names)


def reorder_pipeline_with_plugins(original: Mapping[str, Any], plugin_names: Iterable[str]) -> dict[str, Any]:
    """Return the content of a pipeline file with `metadata` first and `plugins` behind it."""
    metadata = {"metadata": original["metadata"]} if "metadata" in original else {}
    rest = {key: value for key, value in original.items() if key not in {"metadata", "plugins"}}
    return {**metadata, "plugins": list(plugin_names), **rest}


def _are(values: object, kind: type) -> bool:
    """Tell whether something is a list of values of a kind, or not there."""
    return values is None or (isinstance(values, list) and all(isinstance(each, kind) for each in values))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--pipeline-path", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option(
    "--plugins-dir",
    "plugins_dirs",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    help="Folder with a manifest for each plugin; repeatable.  [default: configs/plugins above the file]",
)
@click.option("--output", type=click.Choice(["yaml", "diff", "json"]), default="yaml", show_default=True)
def _suggest(pipeline_path: Path, plugins_dirs: Sequence[Path], output: str) -> None:
    """Print a pipeline file with the field `plugins` that it lacks; the file stays as it is."""
    try:
        raw = load_yaml(pipeline_path).data
        # A file that is none ended in a traceback, further below.
        if not isinstance(raw, dict) or not _are(raw.get("nodes"), dict) or not _are(raw.get("plugins"), str):
            raise click.ClickException(
                f"{pipeline_path} is no pipeline file: it is a mapping, with a list of mappings under 'nodes' and a "
                "list of names under 'plugins'."
            )
        if raw.get("plugins"):
            click.echo(shown(f"{pipeline_path} names its plugins already: {', '.join(raw['plugins'])}"), err=True)
            return
        folders = plugins_dirs or folders_above(pipeline_path)
        plugins, content = suggest_plugins_field(None, raw, folders)
    except (CuvisError, OSError) as error:
        raise click.ClickException(str(error)) from error
    text = to_yaml(content)
    before = pipeline_path.read_text(encoding="utf-8").splitlines(keepends=True)
    diff = "".join(difflib.unified_diff(before, text.splitlines(keepends=True), str(pipeline_path), str(pipeline_path)))
    answer = {"pipeline": str(pipeline_path), "plugins": plugins, "diff": diff}
    # The texts end in a line break of their own.
    click.echo({"yaml": text, "diff": diff}.get(output) or json.dumps(answer, indent=2) + "\n", nl=False)


def suggest_plugins_fix_cli(argv: Sequence[str] | None = None) -> int:
    """Run the command `suggest-plugins-fix`.

    Args:
        argv: Its arguments; by default those of the process.

    Returns:
        The exit code: 0 where the file was printed, or names its plugins already.
    """
    try:
        _suggest.main(args=None if argv is None else list(argv), prog_name="suggest-plugins-fix")
    # click ends the program; a published entry point returns its exit status.
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    return 0
