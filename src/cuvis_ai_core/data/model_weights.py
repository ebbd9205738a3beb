"""The published command `download-model`, beside the index of weights that it reads."""

import json
import shutil
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from cuvis_ai_core._nearest import did_you_mean
from cuvis_ai_core.data.fetched_weights import fetch, status_of, weights_cache
from cuvis_ai_core.data.weights_index import ModelWeights, index_json
from cuvis_ai_core.errors import CuvisError

__all__ = ["ModelWeights", "download_model_cli", "index_json"]

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
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def _download_model() -> None:
    """Weights of models that plugins need: what there is, what is there, and fetching it."""


@_download_model.command("list")
@_PLUGINS_DIRS
@_JSON
def _list(*, plugins_dirs: Sequence[Path], as_json: bool) -> None:
    """List what manifests name."""
    payload = _index(plugins_dirs)
    if as_json:
        click.echo(index_json(payload), nl=False)
        return
    for row in payload["models"]:
        click.echo(f"{row['name']:34} {row['plugin']:12} {_size(row['total_bytes']):>10}  {_place(row)}")


@_download_model.command("status")
@click.argument("names", nargs=-1)
@_PLUGINS_DIRS
@_CACHE_DIR
@click.option("--verify", is_flag=True, help="Read each file, and compare its SHA-256.")
@_JSON
def _status(
    *, names: Sequence[str], plugins_dirs: Sequence[Path], cache_dir: Path | None, verify: bool, as_json: bool
) -> None:
    """Tell which of them are there; nothing is fetched."""
    cache = cache_dir or weights_cache()
    rows = [status_of(row, cache, verify=verify) for row in _chosen(_index(plugins_dirs), names)]
    if as_json:
        click.echo(json.dumps({"schema_version": 1, "cache_dir": str(cache), "models": rows}, indent=2))
        return
    for row in rows:
        click.echo(f"{row['name']:34} {row['state']:8} {_size(row['size_bytes_on_disk']):>10}  {row['path'] or '-'}")


@_download_model.command("download")
@click.argument("names", nargs=-1)
@_PLUGINS_DIRS
@_CACHE_DIR
@click.option("--force", is_flag=True, help="Fetch what is there too.")
@click.option("--repo-id", help="Repository of weights that no manifest names.")
@click.option("--filename", help="File in it.")
@click.option("--revision", help="Its revision.")
@click.option("--token", help="For a private repository.  [default: $HF_TOKEN]")
@click.option("--out", type=click.Path(path_type=Path), help="Copy the one file that is fetched to this place too.")
def _download(  # noqa: PLR0913 - the published options
    *,
    names: Sequence[str],
    plugins_dirs: Sequence[Path],
    cache_dir: Path | None,
    force: bool,
    repo_id: str | None,
    filename: str | None,
    revision: str | None,
    token: str | None,
    out: Path | None,
) -> None:
    """Fetch weights by their names, or one file by its repository."""
    if bool(repo_id) != bool(filename) or bool(names) == bool(repo_id):
        raise click.UsageError("Give names of weights, or --repo-id and --filename.")
    if repo_id:
        own: dict[str, Any] = {
            "name": filename,
            "repo_id": repo_id,
            "filename": filename,
            "revision": revision,
            "sha256": None,
        }
        rows = [own | {"aux_files": []}]
    else:
        rows = _chosen(_index(plugins_dirs), names)
    if out is not None and len(rows) != 1:
        raise click.UsageError("--out is for one file; give one name.")
    try:
        for row in rows:
            path = fetch(row, cache_dir or weights_cache(), force=force, token=token)
            click.echo(f"Fetched to {path}")
            if out is not None:
                shutil.copyfile(path, out)
    except (CuvisError, OSError) as error:
        raise click.ClickException(str(error)) from error


def download_model_cli() -> None:
    """Run the command `download-model`."""
    _download_model(prog_name="download-model")


def _index(folders: Iterable[Path]) -> dict[str, Any]:
    given = list(folders)
    if not given and (spec := find_spec("cuvis_ai")) is not None:
        packaged = [Path(each) / "configs" / "plugins" for each in spec.submodule_search_locations or ()]
        given = [each for each in packaged if each.is_dir()]
    if not given:
        raise click.UsageError("No manifest is known: give the folder of manifests with --plugins-dir.")
    ModelWeights.reset()
    try:
        ModelWeights.load_manifests(given)
    except CuvisError as error:
        raise click.ClickException(str(error)) from error
    return ModelWeights.list_payload()


def _chosen(payload: dict[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    known: dict[str, dict[str, Any]] = {row["name"]: row for row in payload["models"]}
    aliases = {alias: row for row in known.values() for alias in row["aliases"]}
    for name in names:
        if name not in known and name not in aliases:
            meant = did_you_mean(name, known)
            raise click.UsageError(f"There are no weights '{name}'.{meant} There are {', '.join(known) or 'none'}.")
    return [known.get(name) or aliases[name] for name in names] or list(known.values())


def _place(row: dict[str, Any]) -> str:
    return f"{row['repo_id']}/{row['filename']}" if row["repo_id"] else "-"


def _size(size: int | None) -> str:
    from rich.filesize import decimal

    return decimal(size) if size else "-"
