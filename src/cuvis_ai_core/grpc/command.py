"""`cuvis-ai serve`: the gRPC server, from its options to its end."""

import logging
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cuvis_ai_core.cli.errors import Guarded
from cuvis_ai_core.cli.options import HELP_NAMES, shared_options
from cuvis_ai_core.cli.output import say

if TYPE_CHECKING:
    from cuvis_ai_core.grpc.settings import Settings

_PATH: Final = click.Path(path_type=Path)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _seconds(_: click.Context, parameter: click.Parameter, text: str) -> float:
    """Return the seconds that a text such as `24h`, `90s` or `1.5d` means."""
    try:
        seconds = float(text[:-1]) * _UNITS[text[-1]] if text[-1:] in _UNITS else float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise click.BadParameter(f"'{text}' is no time, such as 90s, 30m or 24h.", param=parameter)
    return seconds


def _generation(_: click.Context, parameter: click.Parameter, text: str) -> tuple[int, int]:
    from cuvis_ai_core.errors import ServiceError
    from cuvis_ai_core.grpc.service import parse_generation

    try:
        return parse_generation(text)
    except ServiceError as error:
        raise click.BadParameter(error.message, param=parameter) from error


@click.command(cls=Guarded, context_settings=HELP_NAMES)
@click.option(
    "--host",
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    envvar="GRPC_HOST",
    help="Address to listen on.",
)
@click.option(
    "--port",
    metavar="PORT",
    default=50051,
    type=click.IntRange(0, 65535),
    show_default=True,
    envvar="GRPC_PORT",
    help="Port; 0 takes a free one.",
)
@click.option("--uds", type=_PATH, metavar="PATH", help="Listen on a Unix socket instead.")
@click.option(
    "--root", "roots", type=_PATH, multiple=True, metavar="FOLDER", help="Folder that may be read; repeatable."
)
@click.option(
    "--write-root", "write_roots", type=_PATH, multiple=True, metavar="FOLDER", help="Folder that may be written."
)
@click.option(
    "--configs-dir",
    type=_PATH,
    default=Path("configs"),
    show_default=True,
    envvar="CUVIS_CONFIGS_DIR",
    help="Folder of configurations; pipelines lie in 'pipeline' below it.",
)
@click.option("--tls-cert", "tls_certificate", type=_PATH, envvar="GRPC_TLS_CERT_PATH", help="Certificate chain (PEM).")
@click.option("--tls-key", type=_PATH, envvar="GRPC_TLS_KEY_PATH", help="Private key (PEM).")
@click.option(
    "--tls/--no-tls",
    "tls",
    default=None,
    envvar="GRPC_USE_TLS",
    help="Whether the certificate is used.  [default: yes]",
)
@click.option("--client-ca", type=_PATH, help="Authority of the client certificates to ask for (PEM).")
@click.option("--token-file", type=_PATH, help="File with the token that clients send as 'authorization: Bearer …'.")
@click.option("--insecure", is_flag=True, help="Be open to other machines without TLS, token or client certificates.")
@click.option(
    "--workers",
    metavar="NUMBER",
    type=click.IntRange(min=2),
    default=32,
    show_default=True,
    envvar="GRPC_MAX_WORKERS",
    help="Threads that work on calls.",
)
@click.option(
    "--max-message",
    metavar="BYTES",
    type=click.IntRange(min=1024),
    default=300 * 1024 * 1024,
    show_default=True,
    envvar="GRPC_MAX_MSG_SIZE",
    help="Bytes of a message.",
)
@click.option(
    "--max-sessions",
    metavar="NUMBER",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    help="Sessions at a time.",
)
@click.option(
    "--max-plugins",
    metavar="NUMBER",
    type=click.IntRange(min=0),
    default=64,
    show_default=True,
    help="Plugins of a session.",
)
@click.option(
    "--max-queue",
    metavar="NUMBER",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Waiting calls of a session.",
)
@click.option(
    "--max-calls", metavar="NUMBER", type=click.IntRange(min=1), default=512, show_default=True, help="Calls at a time."
)
@click.option(
    "--session-idle",
    metavar="TIME",
    default="24h",
    show_default=True,
    callback=_seconds,
    help="Close idle sessions after it.",
)
@click.option(
    "--drain",
    metavar="TIME",
    default="30s",
    show_default=True,
    callback=_seconds,
    help="Time for calls to end in at SIGTERM.",
)
@click.option(
    "--generation",
    metavar="VERSION",
    default="0.14",
    show_default=True,
    callback=_generation,
    help="Version of the schemas that is spoken where a call does not tell.",
)
@click.option(
    "--metrics-port", metavar="PORT", type=click.IntRange(0, 65535), help="Port of the metrics for Prometheus."
)
@click.option(
    "--log-format",
    metavar="FORMAT",
    type=click.Choice(["json", "text"]),
    default="text",
    show_default=True,
    envvar="LOG_FORMAT",
    help="Form of the lines: json or text.",
)
@click.option(
    "--log-level",
    metavar="LEVEL",
    default="info",
    show_default=True,
    envvar="LOG_LEVEL",
    help="Least level of what is logged.",
)
@shared_options
def serve(*, tls: bool | None, log_level: str, **options: Any) -> None:
    """Serve sessions, plugins, pipelines and training by gRPC.

    Listens on this machine only unless told otherwise; other addresses need TLS and a token or client certificates.
    SIGTERM lets calls end, then ends.
    """
    if tls is False:
        options |= {"tls_certificate": None, "tls_key": None}
    elif tls and options["tls_certificate"] is None:
        raise click.UsageError("TLS needs a certificate: give --tls-cert and --tls-key.")
    if log_level.upper() not in logging.getLevelNamesMapping():
        raise click.UsageError(f"There is no level '{log_level}' of a log; levels are DEBUG, INFO, WARNING, ERROR.")
    from cuvis_ai_core.grpc.settings import Settings

    run(Settings(**options), log_level)


def run(settings: "Settings", log_level: str) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        ServiceError: The server would be open to strangers, or cannot listen.
        MissingExtraError: The extra `grpc` is not installed.
    """
    from cuvis_ai_core.grpc.server import Server
    from cuvis_ai_core.grpc.watching import log_to_stderr

    ended = threading.Event()
    before = {number: signal.signal(number, lambda *_: ended.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server = Server(settings)
        log_to_stderr(settings.log_format, log_level)
        server.start()
        say(server.describe())
        _flush()
        ended.wait()
        server.stop()
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _flush() -> None:
    from cuvis_ai_core.cli.output import results

    results().flush()
    sys.stderr.flush()
