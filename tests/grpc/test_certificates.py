"""Certificates that are none, are old, or are another's: told before anything listens, and to clients with a cure."""

import logging
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc import Client
from cuvis_ai_core.grpc.server.server import Server
from cuvis_ai_core.grpc.server.settings import Settings

_AUTHORITY = """\
[ca]
default_ca = own
[own]
new_certs_dir = .
database = index.txt
serial = serial
default_md = sha256
policy = any
x509_extensions = names
[any]
commonName = supplied
[names]
subjectAltName = DNS:localhost,IP:127.0.0.1
basicConstraints = CA:TRUE
"""


def certificate(folder: Path, name: str, years: tuple[int, int] = (2020, 2120)) -> tuple[Path, Path]:
    """Make a certificate for localhost, valid from one year to another, and return it with its key."""
    made = folder / name
    made.mkdir()
    for file, text in (("ca.cnf", _AUTHORITY), ("index.txt", ""), ("serial", "01\n")):
        (made / file).write_text(text, encoding="ascii")
    request = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", "key", "-out", "csr"]
    signed = ["ca", "-selfsign", "-config", "ca.cnf", "-batch", "-notext", "-in", "csr", "-keyfile", "key"]
    begin, end = years
    signed += ["-startdate", f"{begin}0101000000Z", "-enddate", f"{end}0101000000Z", "-out", "chain"]
    for command in (request, signed):
        subprocess.run(["openssl", *command], cwd=made, check=True, capture_output=True, timeout=60)
    return made / "chain", made / "key"


def settings(chain: Path, key: Path, **more: Any) -> Settings:
    """Return those of a server on this machine."""
    return Settings(host="127.0.0.1", port=0, tls_certificate=chain, tls_key=key, **more)


def refusal(action: Callable[[], Any]) -> str:
    """Return the text of the error that something ends with."""
    with pytest.raises(ServiceError) as caught:
        action()
    return str(caught.value)


@pytest.mark.parametrize(("years", "words"), [((2001, 2002), "has expired"), ((2120, 2121), "is not valid yet")])
def test_a_certificate_of_another_time_is_told_on_both_sides(
    tmp_path: Path, years: tuple[int, int], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The server warns when it starts, and the client says what to do."""
    chain, key = certificate(tmp_path, "old", years)
    with caplog.at_level(logging.WARNING), Server(settings(chain, key)) as server:
        assert re.search(rf"{words} \(it is valid from Jan .* {years[0]} GMT to Jan .* {years[1]} GMT\)", caplog.text)
        found = refusal(lambda: Client(server.address, root_certificates=chain.read_bytes()))
    assert f"cannot be reached: the server's certificate {words}" in found


def test_a_certificate_with_more_than_one_fault_ends_no_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As one whose authority has expired, and had another key when it signed: the warning has no dates then."""
    (tmp_path / "renewed").mkdir()
    expired, _ = certificate(tmp_path, "authority", (2001, 2002))
    authority, key = certificate(tmp_path / "renewed", "authority")
    chain = tmp_path / "chain"
    request = ["x509", "-req", "-in", str(authority.with_name("csr")), "-subj", "/CN=leaf", "-out", str(chain)]
    signed = ["-CA", str(authority), "-CAkey", str(key), "-set_serial", "7"]
    subprocess.run(["openssl", *request, *signed], check=True, capture_output=True, timeout=60)
    chain.write_bytes(chain.read_bytes() + expired.read_bytes())
    with caplog.at_level(logging.WARNING), Server(settings(chain, key)):
        assert "has expired: clients refuse it" in caplog.text


def test_a_certificate_of_now_warns_of_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also one whose authority nobody here knows; and its client is served."""
    chain, key = certificate(tmp_path, "good")
    with caplog.at_level(logging.WARNING), Server(settings(chain, key)) as server:
        with Client(server.address, root_certificates=chain.read_bytes()) as client:
            assert client.nodes()
        assert "certificate" not in caplog.text


def test_clients_are_told_what_keeps_them_from_a_server(tmp_path: Path, server: Server) -> None:
    """An unknown authority, TLS on one side alone, nobody there, a machine and a socket that are not there."""
    chain, key = certificate(tmp_path, "good")
    root = chain.read_bytes()
    with Server(settings(chain, key)) as secure:
        other = certificate(tmp_path, "other")[0].read_bytes()
        assert "not known.\nGive the certificate of its authority" in refusal(
            lambda: Client(secure.address, root_certificates=other)
        )
        assert "a server does that asks for TLS" in refusal(lambda: Client(secure.address))
        gone = secure.address
    assert "speaks no TLS" in refusal(lambda: Client(server.address, root_certificates=root))
    assert f"'{gone}' cannot be reached: nothing listens there.\nSee that it runs there" in refusal(
        lambda: Client(gone)
    )
    assert "no such socket" in refusal(lambda: Client(f"unix:{tmp_path}/absent"))
    assert "no machine of that name" in refusal(lambda: Client("absent.invalid:50051"))


@pytest.mark.parametrize("given", [Path("ca.pem"), "ca.pem", b"ca.pem"])
def test_what_is_no_pem_is_told(given: Any) -> None:
    """A path in place of its content."""
    assert "it is the content of a PEM file, as bytes" in refusal(lambda: Client(root_certificates=given))


@pytest.mark.parametrize("token", ["schlüssel", "one\ntwo", "nul\0"])
def test_a_token_that_cannot_be_sent_is_told(token: str) -> None:
    """Before anything is sent, and without the token."""
    assert refusal(lambda: Client(token=token)).startswith("The token has characters that cannot be sent")


def test_files_that_are_no_certificates_are_told(tmp_path: Path) -> None:
    """A key of another certificate, the two exchanged, text, a key with a passphrase, no authority."""
    chain, key = certificate(tmp_path, "one")
    other = certificate(tmp_path, "two")[1]
    text, locked = tmp_path / "text", tmp_path / "locked"
    text.write_text("no certificate", encoding="ascii")
    command = ["openssl", "rsa", "-aes256", "-passout", "pass:secret", "-in", str(key), "-out", str(locked)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    for pair in ((chain, other), (key, chain), (text, key), (chain, text), (chain, locked)):
        wrong = settings(*pair)
        with pytest.raises(ServiceError, match="Give a certificate chain and its private key without a password"):
            Server(wrong).start()
    with pytest.raises(ServiceError, match="Give the certificate of an authority as PEM"):
        Server(settings(chain, key, client_ca=text)).start()
