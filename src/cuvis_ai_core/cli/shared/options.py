"""The options that several commands share."""

import math
import os
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from cuvis_ai_core._printable_text import bytes_in
from cuvis_ai_core.cli.shared.log_lines import DEBUG, QUIET, VERBOSE, told
from cuvis_ai_core.cli.shared.output import only_results_on_stdout
from cuvis_ai_core.errors import CuvisError
from cuvis_ai_core.plugins.offline import OFFLINE_VARIABLE

HELP_NAMES: Final = {"help_option_names": ["-h", "--help"]}
"""Settings of the outermost commands; those below have them too."""

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])


def shared_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what all commands have: `--quiet`, `--verbose` and `--debug`, and an output that only results go to."""

    @wraps(command)
    def clean(*args: Any, **kwargs: Any) -> Any:
        ctx = click.get_current_context()
        with only_results_on_stdout(ctx), told(ctx):
            return command(*args, **kwargs)

    decorated = _flag("--debug", DEBUG, "Show the traceback of an error.")(clean)
    decorated = _flag("--verbose", VERBOSE, "Log what is done, as CUVIS_LOG=info.")(decorated)
    return _flag("--quiet", QUIET, "Show results, warnings and errors only, no progress.")(decorated)


def _flag(name: str, key: str, description: str) -> Callable[[_Decorated], _Decorated]:
    """Return a decorator that adds a flag, which is remembered wherever it stands: `cuvis-ai --quiet nodes list`."""

    def remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            ctx.meta[key] = True

    return click.option(name, is_flag=True, expose_value=False, callback=remember, help=description)


class GivenPath(click.Path):
    """A path that somebody gave: an empty one, as of a variable that is not set, is no working folder, but an error."""

    def __init__(self, **what: Any) -> None:
        super().__init__(path_type=Path, **what)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if not os.fspath(value).strip():
            self.fail("is empty; it takes a path.", param, ctx)
        return super().convert(value, param, ctx)


class GivenText(click.types.StringParamType):
    """A name or an address that somebody gave."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return it."""
        if not str(value).strip():
            self.fail("is empty.", param, ctx)
        return super().convert(value, param, ctx)


class WholeNumber(click.IntRange):
    """A whole number within bounds; click's own says `is not a valid integer range` of a word."""

    name = "whole number"


class Number(click.FloatRange):
    """A number within bounds."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number: what compares with nothing is none."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no number that can be reached.", param, ctx)
        return number


def number_of_bytes(value: str, parameter: click.Parameter) -> int:
    """Return what somebody means by a size such as 2GB.

    Raises:
        click.BadParameter: It is none.
    """
    size = bytes_in(value)
    if size is None:
        raise click.BadParameter(f"'{value}' is no size such as 2GB or 500MB.", param=parameter)
    return size


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
    return click.argument("manifest", type=GivenPath(), default=Path("plugins.yaml"))(command)


def dry_run_option(command: _Decorated) -> _Decorated:
    """Add `--dry-run`, which shows what would be done."""
    return click.option("--dry-run", is_flag=True, help="Show what would be done, and change no file.")(command)


def memory_option(command: _Decorated) -> _Decorated:
    """Add `--memory`, which says how much of it tiles may take."""
    return click.option(
        "--memory",
        callback=_memory,
        metavar="SIZE",
        help="How much memory tiles may take: 2GiB, 500MB.  [default: a quarter of what is free]",
    )(command)


def _memory(_: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    from cuvis_ai_core.pipeline.tiling.memory_limit import parse_memory

    try:
        return parse_memory(text)
    except CuvisError as error:
        raise click.BadParameter(str(error), param=parameter) from error


def json_option(command: _Decorated) -> _Decorated:
    """Add `--json`, which prints one JSON object instead of tables."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for programs.")(command)


def offline_option(command: _Decorated) -> _Decorated:
    """Add `--offline`, which keeps everything that the command does from opening a connection."""
    return click.option(
        "--offline",
        is_flag=True,
        expose_value=False,
        callback=_go_offline,
        help="Open no connection, and name what is missing; as CUVIS_OFFLINE=1.",
    )(command)


def allow_build_option(command: _Decorated) -> _Decorated:
    """Add `--allow-build`, which names dependencies that may be built from source."""
    return click.option(
        "--allow-build",
        multiple=True,
        expose_value=False,
        callback=_allow_builds,
        metavar="NAME",
        help="Let a dependency be built from source, which runs its code; repeatable.",
    )(command)


def numbers_option(_: click.Context, parameter: click.Parameter, text: str) -> tuple[int, ...]:
    """Return the numbers of an option that takes several: `0,3,5`."""
    try:
        numbers = tuple(int(each) for each in text.split(",")) if text.strip() else ()
    except ValueError as error:
        raise click.BadParameter(f"'{text}' is no list of numbers, such as 0,3,5.", param=parameter) from error
    if min(numbers, default=0) < 0 or len(set(numbers)) < len(numbers):
        raise click.BadParameter(f"'{text}': numbers count from 0, each once.", param=parameter)
    return numbers


def allow_env_option(command: _Decorated) -> _Decorated:
    """Add `--allow-env`, which names environment variables that a file may ask for."""
    return click.option(
        "--allow-env",
        multiple=True,
        expose_value=False,
        callback=_allow_variables,
        metavar="NAME",
        help="Let the file know an environment variable: ${oc.env:NAME}; repeatable.",
    )(command)


def unpack_limit_option(command: _Decorated) -> _Decorated:
    """Add `--unpack-limit`, which says how much a packed file may come to."""
    return click.option(
        "--unpack-limit",
        expose_value=False,
        callback=_limit_unpacking,
        metavar="SIZE",
        help="What a packed file may unpack to, as 8GiB.  [default: 200 times its size, and 256 MiB at least]",
    )(command)


def _limit_unpacking(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        from cuvis_ai_core.data.decompression_bombs import LIMIT

        number_of_bytes(value, parameter)
        # Workers and trainings in processes of their own read it there.
        _set(ctx, LIMIT, value)


def _allow_builds(ctx: click.Context, parameter: click.Parameter, names: Sequence[str]) -> None:
    if names:
        from packaging.utils import InvalidName, canonicalize_name

        for name in names:
            try:
                canonicalize_name(name, validate=True)
            except InvalidName as error:
                raise click.BadParameter(f"'{name}' is no name of a package, as mahotas.", param=parameter) from error
        from cuvis_ai_core.plugins.cache.policy_checks import BUILD_VARIABLE

        _add_names(ctx, BUILD_VARIABLE, names)


def _allow_variables(ctx: click.Context, parameter: click.Parameter, names: Sequence[str]) -> None:
    for name in names:
        if not name.strip() or set(name) & set(" =,$"):
            raise click.BadParameter(f"'{name}' is no name of an environment variable, as HOME.", param=parameter)
    if names:
        from cuvis_ai_core.pipeline.file.interpolation import ALLOWED

        _add_names(ctx, ALLOWED, names)


def _add_names(ctx: click.Context, variable: str, names: Sequence[str]) -> None:
    """Add names to a variable that lists them, until the command ends."""
    before = os.environ.get(variable)
    _set(ctx, variable, ",".join([*([before] if before else []), *names]))


def _go_offline(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        _set(ctx, OFFLINE_VARIABLE, "1")


def _set(ctx: click.Context, variable: str, value: str) -> None:
    """Set an environment variable until the command ends."""
    before = os.environ.get(variable)
    os.environ[variable] = value

    def restore() -> None:
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before

    ctx.call_on_close(restore)


def _single_path(_: click.Context, parameter: click.Parameter, values: Sequence[str]) -> Path | None:
    if len(values) > 1:
        given = " and ".join(f"'{value}'" for value in values)
        raise click.BadParameter(f"given {len(values)} times ({given}); it takes one path.", param=parameter)
    if not values:
        return None
    if not values[0].strip():
        raise click.BadParameter("is empty; it takes a path.", param=parameter)
    try:
        # Shells leave the `~` in `--option=~/file` as it is: they expand it where a word begins (POSIX 2.6.1).
        return Path(values[0]).expanduser()
    # So pathlib says that there is no such user, or no home.
    except RuntimeError as error:
        raise click.BadParameter(f"'{values[0]}': {error}", param=parameter) from error
