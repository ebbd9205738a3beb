"""`cuvis-ai`: the group of all commands about plugins and nodes."""

from typing import ClassVar

import click

from cuvis_ai_core.cli.shared.error_messages import Guarded
from cuvis_ai_core.cli.shared.lazy_groups import LazyGroup
from cuvis_ai_core.cli.shared.options import HELP_NAMES, shared_options


class _CuvisAi(Guarded, LazyGroup):
    """The outermost group; a command's module is imported when the command is named or help is shown."""

    places: ClassVar = {
        "demo": "cuvis_ai_core.cli.demo.demo_command:demo",
        "doctor": "cuvis_ai_core.cli.doctor:doctor",
        "git-host": "cuvis_ai_core.cli.git_host_command:git_host",
        "hooks": "cuvis_ai_core.cli.pipelines_readers_hooks:hooks",
        "nodes": "cuvis_ai_core.cli.nodes:nodes",
        "pipelines": "cuvis_ai_core.cli.pipelines_readers_hooks:pipelines",
        "policy": "cuvis_ai_core.cli.policy:policy",
        "plugins": "cuvis_ai_core.cli.plugins.group_and_list:plugins",
        "readers": "cuvis_ai_core.cli.pipelines_readers_hooks:readers",
        "remote": "cuvis_ai_core.grpc.client.remote_command:remote",
        "schema": "cuvis_ai_core.cli.schema:schema",
        "serve": "cuvis_ai_core.grpc.server.serve_command:serve",
        "view": "cuvis_ai_core.cli.view:view",
    }
    # People ask for them as commands of this one; the nearest name of a command would be the wrong answer.
    programs = ("restore-pipeline", "restore-trainrun")


@click.group(cls=_CuvisAi, context_settings=HELP_NAMES)
@click.version_option(package_name="cuvis-ai-core", message="%(package)s %(version)s")
@shared_options
def main() -> None:
    """Hyperspectral-imaging pipelines that grow by plugins."""
