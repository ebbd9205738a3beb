"""A click group that imports its commands late and asks back when a name is wrong."""

import shlex
from collections.abc import Mapping
from importlib import import_module
from typing import ClassVar

import click

from cuvis_ai_core._nearest import did_you_mean


class NamedGroup(click.Group):
    """A group that names the nearest command where there is none of that name.

    Attributes:
        programs: Names of programs beside it, which are easily taken for commands of it.
    """

    programs: tuple[str, ...] = ()

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first argument names, and the arguments that are left for it."""
        known = self.list_commands(ctx)
        # Of options click itself asks back.
        if args[0] in known or args[0].startswith("-"):
            return super().resolve_command(ctx, args)
        if args[0] in self.programs:
            raise click.UsageError(f"'{args[0]}' is a program of its own: {shlex.join(args)}", ctx)
        meant = did_you_mean(args[0], known)
        raise click.UsageError(f"There is no command '{args[0]}'.{meant} Commands: {', '.join(known)}.", ctx)


class LazyGroup(NamedGroup):
    """A group that knows only where its commands are.

    Attributes:
        places: Name of a command to `module:attribute`.
    """

    places: ClassVar[Mapping[str, str]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return sorted(self.places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in self.places:
            return None
        module, _, attribute = self.places[cmd_name].partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command
