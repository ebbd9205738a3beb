"""The token that lets a call pass, and the files that a server with TLS reads."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from cuvis_ai_core.errors import ServiceError
from cuvis_ai_core.grpc.server.settings import Settings
from cuvis_ai_core.grpc.server.tls_and_token import credentials, read_authority, read_token, token_guard


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file."""
    return tmp_path / "file"


@pytest.mark.parametrize("content", [b"s3cret!", b"s3cret!\n", b"  s3cret!\r\n"])
def test_a_token_is_one_line_of_its_file(file: Path, content: bytes) -> None:
    """Editors end a file with a line break."""
    file.write_bytes(content)
    assert read_token(file) == b"s3cret!"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no token."),
        (b" \n", "no token."),
        (b"two words", "no token that a header could carry."),
        (b"two\nlines", "no token that a header could carry."),
        ("ä".encode(), "no token that a header could carry."),
    ],
)
def test_what_is_no_token_is_told(file: Path, content: bytes, message: str) -> None:
    """By the file."""
    file.write_bytes(content)
    with pytest.raises(ServiceError) as caught:
        read_token(file)
    assert (caught.value.message, caught.value.code) == (f"'{file}' holds {message}", "FAILED_PRECONDITION")


HEALTH = "/grpc.health.v1.Health/Check"
CALL = "/cuvis_ai.v1.CuvisAIService/CreateSession"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


@pytest.mark.parametrize(
    ("method", "headers", "passes"),
    [
        (CALL, [("authorization", "Bearer s3cret")], True),
        (CALL, [("other", "x"), ("authorization", "Bearer s3cret")], True),
        (CALL, [("authorization", b"Bearer s3cret")], True),
        (REFLECTION, [("authorization", "Bearer s3cret")], True),
        (HEALTH, [], True),
        (CALL, [], False),
        (CALL, [("authorization", "s3cret")], False),
        (CALL, [("authorization", "Bearer s3cre")], False),
        (CALL, [("authorization", "Bearer s3crets")], False),
        (CALL, [("authorization", "Bearer ä")], False),
        (CALL, [("authorization", "Bearer s3cret"), ("authorization", "Bearer x")], False),
        (REFLECTION, [], False),
        ("/evil/grpc.health.v1.Health/", [], False),
    ],
)
def test_a_call_passes_with_the_token_alone(file: Path, method: str, headers: Any, *, passes: bool) -> None:
    """But for those that ask for the server's health."""
    file.write_bytes(b"s3cret\n")
    guard = token_guard(Settings(token_file=file))
    asked: list[Any] = []
    details = SimpleNamespace(method=method, invocation_metadata=headers)
    handler = guard.intercept_service(asked.append, details)
    assert asked == [details] * passes
    if passes:
        return
    refused: list[Any] = []
    context = SimpleNamespace(abort=lambda code, words: refused.append((code, words)))
    assert handler.request_streaming
    assert handler.response_streaming is (method == REFLECTION)
    (handler.stream_stream if handler.response_streaming else handler.stream_unary)(iter(()), context)
    assert refused == [
        (grpc.StatusCode.UNAUTHENTICATED, "The call has no valid token: send 'authorization: Bearer …'.")
    ]


def test_files_that_are_not_there_are_told_with_their_option(file: Path) -> None:
    """Each with its own."""
    here = file.with_name("here")
    here.touch()
    missing: list[tuple[dict[str, Any], str]] = [
        ({"tls_key": file, "tls_certificate": here}, "--tls-key"),
        ({"tls_key": here, "tls_certificate": file}, "--tls-cert"),
        ({"tls_key": here, "tls_certificate": here, "client_ca": file}, "--client-ca"),
    ]
    for given, option in missing:
        with pytest.raises(ServiceError) as caught:
            credentials(grpc, Settings(**given))
        assert caught.value.message == f"'{file}' cannot be read: No such file or directory."
        assert caught.value.hint == f"Check the path of {option}."
    with pytest.raises(ServiceError, match="--token-file"):
        read_token(file)
    with pytest.raises(ServiceError, match=r"'.*here' cannot be used: ") as caught:
        read_authority(here, "--client-ca")
    assert caught.value.hint == "Give the certificate of an authority as PEM: --client-ca."
    with pytest.raises(ServiceError, match=r"'.*here' and '.*here' cannot be used: "):
        credentials(grpc, Settings(tls_key=here, tls_certificate=here))
