"""`cuvis-ai serve`: the gRPC server, from its options to its end."""

import logging
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Final

import click

from cuvis_ai_core.cli.shared.error_messages import Guarded
from cuvis_ai_core.cli.shared.options import HELP_NAMES, GivenPath, GivenText, WholeNumber, shared_options
from cuvis_ai_core.cli.shared.output import say
from cuvis_ai_core.grpc.server.settings import NEWEST, Settings

_PATH: Final = GivenPath()
_FOLDER: Final = GivenPath(file_okay=False)
_READ: Final = GivenPath(exists=True, file_okay=False)
_MOST: Final = 2**30
"""What gRPC can count to, in bytes and in calls."""

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
    from cuvis_ai_core.grpc.messages.schema_generations import parse_generation

    try:
        generation = parse_generation(text)
    except ServiceError as error:
        raise click.BadParameter(error.message, param=parameter) from error
    if generation > NEWEST:
        newest = ".".join(map(str, NEWEST))
        raise click.BadParameter(f"'{text}' is newer than this server; it speaks up to {newest}.", param=parameter)
    return generation


def _default(flag: str) -> Any:
    """Return the default that an option has in `Settings`: it stands there, and nowhere else."""
    (found,) = (field for field in fields(Settings) if field.name == flag.removeprefix("--").replace("-", "_"))
    return f"{found.default:o}" if flag.endswith("-mode") else found.default


def _text(flag: str, text: str, metavar: str = "ADDRESS", **more: Any) -> Callable[[Any], Any]:
    return click.option(flag, metavar=metavar, default=_default(flag), show_default=True, help=text, **more)


def _number(flag: str, least: int, text: str, metavar: str = "NUMBER", **more: Any) -> Callable[[Any], Any]:
    return _text(flag, text, metavar, type=WholeNumber(least, _MOST), **more)


def _time(flag: str, text: str) -> Callable[[Any], Any]:
    seconds = _default(flag)
    shown = f"{seconds / 3600:g}h" if seconds >= _UNITS["h"] else f"{seconds:g}s"
    return click.option(flag, metavar="TIME", default=shown, show_default=True, callback=_seconds, help=text)


def _path(flag: str, text: str, name: str | None = None, **more: Any) -> Callable[[Any], Any]:
    return click.option(*filter(None, (flag, name)), **{"type": _PATH, "help": text, **more})


@click.command(cls=Guarded, context_settings=HELP_NAMES)
@_text("--host", "Address to listen on.", type=GivenText(), envvar="GRPC_HOST")
@_text("--port", "Port; 0 takes a free one.", "PORT", type=WholeNumber(0, 65535), envvar="GRPC_PORT")
@_path("--uds", "Listen on a Unix socket instead.", metavar="PATH")
@_text(
    "--uds-mode",
    "Who may use that socket.",
    "MODE",
    type=click.Choice(["600", "660", "666"]),
    callback=lambda _, __, given: int(given, 8),
)
@_path("--root", "Folder that may be read; repeatable.", "roots", multiple=True, metavar="FOLDER", type=_READ)
@_path("--write-root", "Folder that may be written.", "write_roots", multiple=True, metavar="FOLDER", type=_FOLDER)
@_path(
    "--configs-dir",
    "Folder of configurations; pipelines lie in 'pipeline' below it.",
    default=_default("--configs-dir"),
    show_default=True,
    type=_FOLDER,
    metavar="PATH",
    envvar="CUVIS_CONFIGS_DIR",
)
@_path("--tls-cert", "Certificate chain (PEM).", "tls_certificate", envvar="GRPC_TLS_CERT_PATH")
@_path("--tls-key", "Private key (PEM).", envvar="GRPC_TLS_KEY_PATH")
@click.option(
    "--tls/--no-tls",
    "tls",
    default=None,
    envvar="GRPC_USE_TLS",
    help="Whether the certificate is used.  [default: yes]",
)
@_path("--client-ca", "Authority of the client certificates to ask for (PEM).")
@_path("--token-file", "File with the token that clients send as 'authorization: Bearer …'.")
@click.option("--insecure", is_flag=True, help="Be open to other machines without TLS, token or client certificates.")
@_number("--workers", 2, "Calls that are worked on at a time.", envvar="GRPC_MAX_WORKERS")
@_number("--max-message", 1024, "Bytes of a message.", "BYTES", envvar="GRPC_MAX_MSG_SIZE")
@_number("--max-sessions", 1, "Sessions at a time.")
@_number("--max-plugins", 0, "Plugins of a session.")
@_number("--max-queue", 1, "Waiting calls of a session.")
@_number("--max-calls", 1, "Calls at a time.")
@_time("--message-time", "Time for a message to come, and for its answer to be taken.")
@_time("--session-idle", "Close idle sessions after it.")
@_time("--drain", "Time for calls to end in at SIGTERM.")
@click.option(
    "--generation",
    metavar="VERSION",
    default=".".join(map(str, _default("--generation"))),
    show_default=True,
    callback=_generation,
    help="Version of the schemas that is spoken where a call does not tell.",
)
@click.option("--metrics-port", metavar="PORT", type=WholeNumber(0, 65535), help="Port of the metrics for Prometheus.")
@_text(
    "--log-format",
    "Form of the lines: json or text.",
    "FORMAT",
    type=click.Choice(["json", "text"]),
    envvar="LOG_FORMAT",
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
    run(Settings(**options), log_level)


def run(settings: Settings, log_level: str) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        ServiceError: The server would be open to strangers, or cannot listen.
        MissingExtraError: The extra `grpc` is not installed.
    """
    from cuvis_ai_core.grpc.server.access_log import log_to_stderr
    from cuvis_ai_core.grpc.server.server import Server
    from cuvis_ai_core.grpc.server.systemd import tell
    from cuvis_ai_core.grpc.server.temporary_folder import own_temporary_folder

    ended = threading.Event()
    # An event: gRPC's threads hold the server, and an exception in the main one would not stop them.
    before = {number: signal.signal(number, lambda *_: ended.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with own_temporary_folder():
            server = Server(settings)
            log_to_stderr(settings.log_format, log_level)
            server.start()
            # After `start`: who waits for this line may connect at once.
            say(server.describe())
            # Into a pipe or a file Python writes in blocks: who waits for the line would wait on.
            _flush()
            tell("READY=1")
            ended.wait()
            tell("STOPPING=1")
            server.stop()
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _flush() -> None:
    from cuvis_ai_core.cli.shared.output import results

    results().flush()
    sys.stderr.flush()
