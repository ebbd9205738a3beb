"""The published command `download-model`: listing, fetching, carrying and removing weights of models."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from cuvis_ai_core._printable_text import shown_size
from cuvis_ai_core.cli.downloads.command_parts import (
    AS_EVENTS,
    AS_JSON,
    Interruptible,
    Saying,
    emitter,
    print_payload,
    refuse_unknown,
    remove_each,
    schema_command,
)
from cuvis_ai_core.data.downloads.weights_index import default_plugins_dirs, index_json
from cuvis_ai_core.data.downloads.weights_status import ModelStatus
from cuvis_ai_core.data.model_weights import ModelWeights
from cuvis_ai_core.errors import CuvisError

_PLUGINS_DIRS = click.option(
    "--plugins-dir",
    "plugins_dirs",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    help="Folder with a manifest for each plugin; repeatable.  [default: those of an installed catalogue]",
)
_CACHE_DIR = click.option(
    "--cache-dir", type=click.Path(file_okay=False, path_type=Path), help="Folder of weights.  [default: shared one]"
)
_NAMES = click.argument("names", nargs=-1)
_Function = Callable[..., None]


def _weights(function: _Function) -> _Function:
    """Add the options of commands that work on weights."""
    return _PLUGINS_DIRS(_CACHE_DIR(AS_JSON(function)))


@click.group(cls=Interruptible, context_settings={"help_option_names": ["-h", "--help"]})
def download_model() -> None:
    """Weights of models that plugins need: what there is, what is there, fetching it, carrying it, removing it."""


@download_model.command("list")
@_PLUGINS_DIRS
@AS_JSON
def _list(*, plugins_dirs: Sequence[Path], as_json: bool) -> None:
    """List what is known of weights: what manifests name, and the published trained pipelines."""
    _read(plugins_dirs)
    payload = ModelWeights.list_payload()
    if as_json:
        click.echo(index_json(payload), nl=False)
        return
    for row in payload["models"]:
        place = f"{row['repo_id']}/{row['filename']}"
        click.echo(f"{row['name']:34} {row['plugin']:12} {shown_size(row['total_bytes']):>10}  {place}")


@download_model.command("status")
@_NAMES
@_weights
@click.option("--verify", is_flag=True, help="Read each file, and compare its SHA-256.")
def _status(
    *, names: Sequence[str], plugins_dirs: Sequence[Path], cache_dir: Path | None, verify: bool, as_json: bool
) -> None:
    """Tell which of them are there; nothing is fetched."""
    _read(plugins_dirs, names)
    found = ModelWeights.status_all(names or None, cache_dir, verify=verify)
    if as_json:
        _print_rows(cache_dir, [_row(each) for each in found])
        return
    for each in found:
        size = "-" if each.size_bytes_on_disk is None else shown_size(each.size_bytes_on_disk)
        click.echo(f"{each.weight.name:34} {each.state:8} {size:>10}  {each.path}")


@download_model.command("download")
@_NAMES
@_weights
@AS_EVENTS
@click.option("--force", is_flag=True, help="Fetch what is there too.")
@click.option("--repo-id", help="Repository of a file that no manifest names.")
@click.option("--filename", help="The file in it.")
@click.option("--revision", help="Its revision.")
@click.option("--token", help="For a private repository.  [default: $HF_TOKEN]")
@click.option("--out", type=click.Path(path_type=Path), help="Copy the one file that is fetched to this place too.")
def _download(
    *,
    names: Sequence[str],
    plugins_dirs: Sequence[Path],
    cache_dir: Path | None,
    as_json: bool,
    as_events: bool,
    force: bool,
    out: Path | None,
    **other: str | None,
) -> None:
    """Fetch weights by their names, or one file by its repository."""
    progress = emitter(as_json=as_json, as_events=as_events)
    if bool(other["repo_id"]) != bool(other["filename"]) or bool(names) == bool(other["repo_id"]):
        raise click.UsageError("Give names of weights, or --repo-id and --filename.")
    if out is not None and len(names) > 1:
        raise click.UsageError("--out is for one file; give one name.")
    _read(plugins_dirs, names)
    failed: dict[str, str] = {}
    for name in dict.fromkeys(names) or (f"{other['repo_id']}/{other['filename']}",):
        given: dict[str, Any] = {"name": name} if names else other
        try:
            path = ModelWeights.download_model(**given, cache_dir=cache_dir, out=out, force=force, progress=progress)
        except (CuvisError, OSError) as error:
            # The others are fetched all the same.
            failed[name] = str(error)
            progress.error(name, str(error))
            continue
        progress.done(name, path)
        if not (as_events or (as_json and names)):
            click.echo(f"Fetched to {path}")
    if as_json and names:
        _print_rows(cache_dir, [_row(each) | _outcome(failed, name) for name, each in _each(names, cache_dir)])
    if failed:
        raise click.ClickException("\n".join(failed.values()))


@download_model.command("export")
@_NAMES
@_weights
@AS_EVENTS
@click.option(
    "--to", "folder", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to copy them to."
)
def _export(
    *,
    names: Sequence[str],
    plugins_dirs: Sequence[Path],
    cache_dir: Path | None,
    as_json: bool,
    as_events: bool,
    folder: Path,
) -> None:
    """Copy weights that are there to a folder, for a machine without a network."""
    progress = emitter(as_json=as_json, as_events=as_events)
    _read(plugins_dirs, names)
    with Saying():
        rows = ModelWeights.export_to(folder, names or None, cache_dir, progress=progress)
    if as_json:
        print_payload("export_dir", folder, "models", rows)
    elif not as_events:
        for row in rows:
            click.echo(f"{row['name']}: {row['path'] or 'not there, left out'}")
    if not any(row["exported"] for row in rows):
        raise click.ClickException("None of them is there; fetch them: download-model download NAME")


@download_model.command("import")
@click.argument("source_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
@_NAMES
@_weights
@AS_EVENTS
def _import(
    *,
    source_dir: Path,
    names: Sequence[str],
    plugins_dirs: Sequence[Path],
    cache_dir: Path | None,
    as_json: bool,
    as_events: bool,
) -> None:
    """Take in weights from a folder that `export` made, all of them or none."""
    progress = emitter(as_json=as_json, as_events=as_events)
    _read(plugins_dirs, names)
    with Saying():
        rows = ModelWeights.import_from(source_dir, names or None, cache_dir, progress=progress)
    if as_json:
        known = {row["name"]: row for row in rows if row.get("reason") != "unknown model"}
        shown = [(known[name], each) for name, each in _each(list(known), cache_dir)]
        _print_rows(cache_dir, [_row(each) | _only(row, "imported", "reason") for row, each in shown])
    elif not as_events:
        for row in rows:
            click.echo(f"{row['name']}: {row.get('path') or row['reason']}")


@download_model.command("remove")
@_NAMES
@_weights
@click.option("--dir", "folder", help="Remove the whole folder of a repository, models--OWNER--NAME.")
def _remove(
    *, names: Sequence[str], plugins_dirs: Sequence[Path], cache_dir: Path | None, as_json: bool, folder: str | None
) -> None:
    """Remove weights from the folder of weights."""
    if bool(names) == bool(folder):
        raise click.UsageError("Give names of weights, or --dir.")
    _read(plugins_dirs, names)
    progress = emitter(as_json=as_json, as_events=False)
    remove = ModelWeights.remove_dir if folder else ModelWeights.remove
    remove_each(
        (folder,) if folder else names,
        lambda name: remove(name, cache_dir, progress=progress),
        ("cache_dir", ModelWeights.resolve_cache_dir(cache_dir)),
        key="dir" if folder else "name",
        as_json=as_json,
    )


download_model.add_command(schema_command)


def download_model_cli() -> None:
    """Run the command `download-model`."""
    download_model(prog_name="download-model")


def _read(folders: Iterable[Path], names: Sequence[str] = ()) -> None:
    """Read the manifests, and look whether what is named is known."""
    # The index is that of the process: what another command read does not count for this one.
    ModelWeights.reset()
    try:
        ModelWeights.load_manifests(list(folders) or default_plugins_dirs())
    except CuvisError as error:
        raise click.ClickException(str(error)) from error
    refuse_unknown(names, ModelWeights.get)


def _each(names: Sequence[str], cache_dir: Path | None) -> Iterable[tuple[str, ModelStatus]]:
    return [(name, ModelWeights.status(name, cache_dir)) for name in names]


def _row(status: ModelStatus) -> dict[str, Any]:
    return status.weight.to_json_dict() | status.to_json_dict()


def _outcome(failed: dict[str, str], name: str) -> dict[str, Any]:
    return {"downloaded": False, "reason": failed[name]} if name in failed else {"downloaded": True}


def _only(row: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: row[key] for key in keys if key in row}


def _print_rows(cache_dir: Path | None, rows: list[dict[str, Any]]) -> None:
    print_payload("cache_dir", ModelWeights.resolve_cache_dir(cache_dir), "models", rows)
