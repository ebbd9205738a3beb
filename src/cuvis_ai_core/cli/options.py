"""The options that several commands share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click

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


def path_option(name: str, *, description: str, required: bool = False) -> Callable[[_Decorated], _Decorated]:
    """Return a decorator that adds an option for one path; `~` is the home folder, twice is an error."""
    # click would silently take the last of several.
    return click.option(
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
