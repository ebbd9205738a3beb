"""How a server is set up, and what it refuses to be set up as."""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cuvis_ai_core.errors import ServiceError

MIB: Final = 1024 * 1024
NEWEST: Final = (0, 14)


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server is set up.

    Attributes:
        host: The address to listen on; beyond this machine it takes TLS and a token or client certificates.
        port: The port; 0 takes a free one.
        uds: The path of a Unix socket to listen on instead.
        uds_mode: Who may use that socket, as a mode of a file: by default its owner alone.
        workers: Calls that are worked on at a time.
        message_time: Seconds that the message of a call may take to come, and its answer to be taken.
        max_message: Bytes of a message, of what a client sends and of what it is answered.
        max_sessions: Sessions at a time.
        max_plugins: Plugins of a session.
        max_queue: Calls of a session that wait for their turn.
        max_calls: Calls at a time, of all sessions, those that wait included.
        session_idle: Seconds after which a session that nobody calls is closed.
        drain: Seconds that calls have to end in when the server is told to end.
        configs_dir: The folder of configurations; pipelines lie in `pipeline` below it.
        roots: Folders below which files may be read, beside `configs_dir`.
        write_roots: Folders below which files may be written.
        generation: The version of the schemas that is spoken where a call does not tell.
        tls_certificate: File of the certificate chain.
        tls_key: File of its private key.
        client_ca: File of the authority whose client certificates are accepted.
        token_file: File with the token that clients send.
        insecure: Whether it may be open to other machines without any of these.
        metrics_port: Port of the metrics for Prometheus, on the same host; None offers none.
        log_format: `json` or `text`.
    """

    host: str = "127.0.0.1"
    port: int = 50051
    uds: Path | None = None
    uds_mode: int = 0o600
    workers: int = 32
    message_time: float = 300.0
    max_message: int = 300 * MIB
    max_sessions: int = 10_000
    max_plugins: int = 64
    max_queue: int = 16
    max_calls: int = 512
    session_idle: float = 24 * 3600.0
    drain: float = 30.0
    configs_dir: Path = Path("configs")
    roots: tuple[Path, ...] = ()
    write_roots: tuple[Path, ...] = ()
    generation: tuple[int, int] = NEWEST
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None
    token_file: Path | None = None
    insecure: bool = False
    metrics_port: int | None = None
    log_format: str = "text"
    working_directory: Path = field(default_factory=Path.cwd)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.uds is not None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    @property
    def uses_tls(self) -> bool:
        """Whether there is a certificate."""
        return self.tls_certificate is not None

    def read_roots(self) -> list[Path]:
        """Return the folders below which files may be read."""
        own = [self.working_directory] if self.is_local else []
        return _resolved([*own, self.configs_dir, *self.roots, *self.writable_roots()])

    def writable_roots(self) -> list[Path]:
        """Return the folders below which files may be written: by default, for this machine only, those it reads."""
        if self.write_roots or not self.is_local:
            return _resolved(self.write_roots)
        return _resolved([self.working_directory, self.configs_dir])

    def check(self) -> None:
        """Refuse what would let strangers in.

        Raises:
            ServiceError: The server would be open to other machines without TLS, or to anybody.
        """
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise _refused("TLS needs both a certificate and its key.", "Give --tls-cert and --tls-key.")
        if self.client_ca is not None and not self.uses_tls:
            raise _refused("Client certificates need TLS.", "Give --tls-cert and --tls-key.")
        if self.is_local or self.insecure:
            return
        if not self.uses_tls:
            raise _refused(
                f"{self.host} can be reached from other machines, and nothing would be encrypted.",
                "Give --tls-cert and --tls-key, listen on 127.0.0.1, or say --insecure.",
            )
        if self.token_file is None and self.client_ca is None:
            raise _refused(
                f"{self.host} can be reached from other machines, and everybody there could make this one run code.",
                "Give --token-file or --client-ca, listen on 127.0.0.1, or say --insecure.",
            )


def _resolved(folders: list[Path] | tuple[Path, ...]) -> list[Path]:
    return list(dict.fromkeys(folder.expanduser().resolve() for folder in folders))


def _refused(text: str, hint: str) -> ServiceError:
    return ServiceError(text, hint=hint, code="FAILED_PRECONDITION")
