"""`cuvis-ai`: the group of all commands about plugins and nodes."""

from typing import ClassVar

import click

from cuvis_ai_core.cli.errors import Guarded
from cuvis_ai_core.cli.lazy import LazyGroup
from cuvis_ai_core.cli.options import HELP_NAMES, shared_options


class _CuvisAi(Guarded, LazyGroup):
    """The outermost group; a command's module is imported when the command is named or help is shown."""

    places: ClassVar = {
        "demo": "cuvis_ai_core.cli.demo.command:demo",
        "doctor": "cuvis_ai_core.cli.doctor:doctor",
        "git-host": "cuvis_ai_core.cli.git_host:git_host",
        "hooks": "cuvis_ai_core.cli.contributions:hooks",
        "nodes": "cuvis_ai_core.cli.nodes:nodes",
        "pipelines": "cuvis_ai_core.cli.contributions:pipelines",
        "policy": "cuvis_ai_core.cli.policy:policy",
        "plugins": "cuvis_ai_core.cli.plugins:plugins",
        "readers": "cuvis_ai_core.cli.contributions:readers",
        "remote": "cuvis_ai_core.grpc.client.remote_command:remote",
        "schema": "cuvis_ai_core.cli.schema:schema",
        "serve": "cuvis_ai_core.grpc.server.serve_command:serve",
        "view": "cuvis_ai_core.cli.view:view",
    }
    programs = ("restore-pipeline", "restore-trainrun")


@click.group(cls=_CuvisAi, context_settings=HELP_NAMES)
@click.version_option(package_name="cuvis-ai-core", message="%(package)s %(version)s")
@shared_options
def main() -> None:
    """Hyperspectral-imaging pipelines that grow by plugins."""
