"""The published command `dataset`: listing, fetching and removing public data sets."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cuvis_ai_core._printable_text import shown_size
from cuvis_ai_core.cli.downloads.command_parts import (
    AS_EVENTS,
    AS_JSON,
    Interruptible,
    emitter,
    print_payload,
    refuse_unknown,
    remove_each,
    schema_command,
)
from cuvis_ai_core.data.downloads.dataset_specs import DatasetSpec
from cuvis_ai_core.data.downloads.dataset_status import DatasetStatus
from cuvis_ai_core.data.public_datasets import DownloadResult, PublicDatasets
from cuvis_ai_core.errors import CuvisError

_DATA_DIR = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=lambda: Path.cwd() / "data",
    show_default="./data",
    help="Folder of all data sets; each has one of its own in it.",
)
_NAMES = click.argument("names", nargs=-1, required=True)


@click.group(cls=Interruptible, context_settings={"help_option_names": ["-h", "--help"]})
def dataset() -> None:
    """Public data sets: what there is, what is there, fetching it, removing it."""


@dataset.command("list")
@AS_JSON
@click.option("-v", "--verbose", is_flag=True, help="Show repositories, revisions, licences and folders too.")
def _list(*, as_json: bool, verbose: bool) -> None:
    """List them."""
    if as_json:
        click.echo(json.dumps(PublicDatasets.list_payload(), indent=2))
    else:
        PublicDatasets.list_datasets(verbose)


@dataset.command("status")
@click.argument("names", nargs=-1)
@_DATA_DIR
@AS_JSON
def _status(*, names: Sequence[str], data_dir: Path, as_json: bool) -> None:
    """Tell which of them are there: present, incomplete, outdated, damaged, foreign or absent."""
    refuse_unknown(names, PublicDatasets.get_spec)
    found = PublicDatasets.status_all(data_dir, names or None)
    if as_json:
        print_payload("data_dir", data_dir, "datasets", [_row(each) for each in found])
        return
    for each in found:
        size = "-" if each.bytes_on_disk is None else shown_size(each.bytes_on_disk)
        click.echo(f"{each.spec.name:28} {each.state:10} {size:>10}  {each.path}")


@dataset.command("download")
@_NAMES
@_DATA_DIR
@click.option("--force", is_flag=True, help="Fetch what is there too.")
@click.option(
    "--adopt",
    is_flag=True,
    help="Take over a folder that was not fetched, if its files are those of the data set; `remove` removes it then.",
)
@click.option("--prune-stale", is_flag=True, help="Remove files that an earlier revision had.")
@AS_JSON
@AS_EVENTS
def _download(*, names: Sequence[str], data_dir: Path, as_json: bool, as_events: bool, **how: bool) -> None:
    """Fetch them, going on with what is there."""
    progress = emitter(as_json=as_json, as_events=as_events)
    refuse_unknown(names, PublicDatasets.get_spec)
    rows, failed = [], []
    for spec in _each_once(names):
        done = None
        try:
            done = PublicDatasets.download(spec.name, data_dir, progress=progress, **how)
        except (CuvisError, OSError) as error:
            failed.append(str(error))
            progress.error(spec.name, str(error))
        else:
            progress.done(spec.name, done.path)
            _say(spec, done, quietly=as_json or as_events)
        fate = {"downloaded": done is not None, "stale_files": list(done.stale_files) if done else []}
        rows.append(_row(PublicDatasets.status(spec.name, data_dir)) | fate)
    if as_json:
        print_payload("data_dir", data_dir, "datasets", rows)
    if failed:
        raise click.ClickException("\n".join(failed))


@dataset.command("remove")
@_NAMES
@_DATA_DIR
@AS_JSON
def _remove(*, names: Sequence[str], data_dir: Path, as_json: bool) -> None:
    """Remove the folders of data sets that were fetched or adopted, with all that is in them."""
    refuse_unknown(names, PublicDatasets.get_spec)
    progress = emitter(as_json=as_json, as_events=False)
    remove_each(
        [spec.name for spec in _each_once(names)],
        lambda name: PublicDatasets.remove(name, data_dir, progress=progress),
        ("data_dir", data_dir),
        as_json=as_json,
    )


dataset.add_command(schema_command)


def download_data_cli() -> None:
    """Run the command `dataset`."""
    dataset(prog_name="dataset")


def _each_once(names: Sequence[str]) -> list[DatasetSpec]:
    """Return what is named, each once: a name and its alias are one."""
    found = {spec.name: spec for spec in map(PublicDatasets.get_spec, names)}
    return list(found.values())


def _say(spec: DatasetSpec, done: DownloadResult, *, quietly: bool) -> None:
    """Print where a data set is, and what else is there."""
    if not quietly:
        click.echo(done.path)
    if done.stale_files:
        click.echo(
            f"{spec.name}: an earlier revision had {', '.join(done.stale_files)}, which this one has not. To have that "
            "removed: --prune-stale",
            err=True,
        )


def _row(status: DatasetStatus) -> dict[str, Any]:
    return status.spec.to_json_dict() | status.to_json_dict()
