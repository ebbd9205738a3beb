"""The options that several commands share."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from cuvis_ai_core.plugins.cache.offline import OFFLINE_VARIABLE

DEBUG: Final = "cuvis_ai_core.cli.debug"
"""Key of `ctx.meta` under which `--debug` is remembered."""

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])


def _remember_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[DEBUG] = True


def debug_option(command: _Decorated) -> _Decorated:
    """Add `--debug`, which shows the traceback of an error."""
    return click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        callback=_remember_debug,
        help="Show the traceback of an error.",
    )(command)


def path_option(
    name: str, *, description: str, required: bool = False, short: str | None = None
) -> Callable[[_Decorated], _Decorated]:
    """Return a decorator that adds an option for one path; `~` is the home folder, twice is an error."""
    # click would silently take the last of several.
    return click.option(
        *([short] if short else []),
        name,
        type=click.Path(path_type=str),
        multiple=True,
        required=required,
        callback=_single_path,
        metavar="PATH",
        help=description,
    )


def plugins_option(command: _Decorated) -> _Decorated:
    """Add `--plugins-path`, the manifest."""
    return path_option("--plugins-path", description="Manifest of plugins (plugins.yaml).")(command)


def manifest_argument(command: _Decorated) -> _Decorated:
    """Add the argument MANIFEST, by default `plugins.yaml` in the working directory."""
    return click.argument("manifest", type=click.Path(path_type=Path), default=Path("plugins.yaml"))(command)


def dry_run_option(command: _Decorated) -> _Decorated:
    """Add `--dry-run`, which shows what would be done."""
    return click.option("--dry-run", is_flag=True, help="Show what would be done, and change no file.")(command)


def offline_option(command: _Decorated) -> _Decorated:
    """Add `--offline`, which keeps everything that the command does from opening a connection."""
    return click.option(
        "--offline",
        is_flag=True,
        expose_value=False,
        callback=_go_offline,
        help="Open no connection, and name what is missing; as CUVIS_OFFLINE=1.",
    )(command)


def _go_offline(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        before = os.environ.get(OFFLINE_VARIABLE)
        os.environ[OFFLINE_VARIABLE] = "1"
        ctx.call_on_close(lambda: _restore(before))


def _restore(before: str | None) -> None:
    if before is None:
        del os.environ[OFFLINE_VARIABLE]
    else:
        os.environ[OFFLINE_VARIABLE] = before


def _single_path(_: click.Context, parameter: click.Parameter, values: Sequence[str]) -> Path | None:
    if len(values) > 1:
        given = " and ".join(f"'{value}'" for value in values)
        raise click.BadParameter(f"given {len(values)} times ({given}); it takes one path.", param=parameter)
    if not values:
        return None
    if not values[0]:
        raise click.BadParameter("is empty; it takes a path.", param=parameter)
    try:
        return Path(values[0]).expanduser()
    except RuntimeError as error:
        raise click.BadParameter(f"'{values[0]}': {error}", param=parameter) from error
