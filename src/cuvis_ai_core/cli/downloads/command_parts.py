"""What the commands `download-model` and `dataset` have in common."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import click

from cuvis_ai_core._printable_text import shown_size
from cuvis_ai_core.cli.downloads.printed_schemas import schema, schema_names
from cuvis_ai_core.data.downloads.progress_events import SCHEMA_VERSION, ProgressEmitter
from cuvis_ai_core.errors import CuvisError

_INTERRUPTED: Final = 130
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
AS_EVENTS = click.option(
    "--progress-json", "as_events", is_flag=True, help="Print a line of JSON for each event, as it comes."
)


@click.command("schema")
@click.argument("name", type=click.Choice(schema_names()), metavar="|".join(schema_names()))
def schema_command(*, name: str) -> None:
    """Print the JSON Schema of what these commands print."""
    click.echo(json.dumps(schema(name), indent=2))


class Interruptible(click.Group):
    """A command that Ctrl-C ends in a sentence, with the status that all commands have then."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Interrupted. Run the same command again: it goes on with what is there.", err=True)
            ctx.exit(_INTERRUPTED)


class Saying:
    """Have errors end the command with their texts: `with Saying():`."""

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: object, _trace: object) -> None:
        if isinstance(error, CuvisError | OSError):
            raise click.ClickException(str(error)) from error


class ForPeople(ProgressEmitter):
    """Tells people what would else look like a command that hangs."""

    def __init__(self) -> None:
        super().__init__(False)

    def waiting(self) -> None:
        """Another program works in the folder."""
        # Standard output is for what programs read.
        click.echo("Another program works in this folder; waiting for it. Ctrl-C ends the waiting.", err=True)


def emitter(*, as_json: bool, as_events: bool) -> ProgressEmitter:
    """Return whom progress is told.

    Raises:
        click.UsageError: Two ways to print are asked for.
    """
    if as_json and as_events:
        raise click.UsageError("Give --json or --progress-json, not both.")
    return ProgressEmitter() if as_events else ForPeople()


def refuse_unknown(names: Iterable[str], get: Callable[[str], object]) -> None:
    """Look whether what is named is known, before anything is done."""
    for name in names:
        try:
            get(name)
        except CuvisError as error:
            raise click.UsageError(str(error)) from error


def remove_each(
    names: Iterable[str], remove: Callable[[str], int], head: tuple[str, Path], *, key: str = "name", as_json: bool
) -> None:
    """Remove what is named, and print what that freed; where one cannot be removed, the others are all the same.

    Args:
        names: The names.
        remove: Removes what has a name, and returns the bytes of it.
        head: What JSON calls the folder of all of them, and the folder.
        key: What JSON calls a name.
        as_json: Whether to print JSON.
    """
    removed: list[dict[str, Any]] = []
    failed = []
    for name in names:
        try:
            freed = remove(name)
        except (CuvisError, OSError) as error:
            failed.append(str(error))
            continue
        removed.append({key: name, "freed_bytes": freed})
        if not as_json:
            click.echo(f"{name}: {shown_size(freed)} removed")
    if as_json:
        print_payload(*head, "removed", removed)
    if failed:
        raise click.ClickException("\n".join(failed))


def print_payload(folder_key: str, folder: Path | str, rows_key: str, rows: list[dict[str, Any]]) -> None:
    """Print rows as the schemas have them."""
    click.echo(json.dumps({"schema_version": SCHEMA_VERSION, folder_key: str(folder), rows_key: rows}, indent=2))
