"""What a client makes of what a server, or nobody, answers; and what it sends to be let in."""

from typing import Any

import grpc
import pytest

from cuvis_ai_core.errors import CuvisError, NodeNotFoundError, ServiceError
from cuvis_ai_core.grpc.client.channel import LARGEST, Again, authorization, open_channel
from cuvis_ai_core.grpc.server.rpc_dispatch import ERROR, ERROR_ID

PEM = b"-----BEGIN CERTIFICATE-----\n"
RUNS = "See that it runs there (cuvis-ai serve), and give host:port or unix:/path, without http://."


class Answered(grpc.RpcError):  # type: ignore[misc]
    """An error as gRPC raises it."""

    def __init__(self, code: str, details: str | None, **trailing: str) -> None:
        self._code = grpc.StatusCode[code]
        self._details = details
        self._trailing = tuple((key.replace("_", "-"), value) for key, value in trailing.items())

    def code(self) -> grpc.StatusCode:
        """Return the status."""
        return self._code

    def details(self) -> str | None:
        """Return the words."""
        return self._details

    def trailing_metadata(self) -> Any:
        """Return what the server sent besides."""
        return self._trailing or None


def raised(error: BaseException) -> CuvisError:
    """Return what becomes of an error."""
    with pytest.raises(CuvisError) as caught, Again("there:1"):
        raise error
    assert caught.value.__suppress_context__
    return caught.value


@pytest.mark.parametrize(
    ("words", "what", "hint"),
    [
        ("x: Connection refused (111)", "nothing listens there", RUNS),
        ("No such file or directory", "there is no such socket", RUNS),
        ("ssl: WRONG_VERSION_NUMBER", "the server speaks no TLS", "Leave root_certificates= (--tls-ca) away."),
        ("certificate is not yet valid", "the server's certificate is not valid yet", "Compare the clocks of both"),
        ("Cancelling all calls", "it was stopped during the call", "Start it again (cuvis-ai serve), and make a new"),
        ("Stream removed (recvmsg)", "it ended, or the connection broke off, during the call", "Start it again"),
        ("something new", "something new", RUNS),
        (None, "UNAVAILABLE", RUNS),
    ],
)
def test_a_server_that_is_not_reached_is_told_with_what_to_do(words: str | None, what: str, hint: str) -> None:
    """By the words of gRPC, where they are known."""
    error = raised(Answered("UNAVAILABLE", words))
    assert error.message == f"The server 'there:1' cannot be reached: {what}."
    assert str(error.hint).startswith(hint)
    assert vars(error)["code"] == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        ("401", "Give what it asks for"),
        ("404", RUNS),
        ("413", "Have whoever runs it raise"),
        ("503", "Try again later, and see that the server behind it runs"),
    ],
)
def test_who_answers_and_is_no_server_of_grpc_is_told(status: str, hint: str) -> None:
    """As a proxy, with its status; words of a server of ours are its own."""
    words = f"Received http2 header with status: {status}"
    error = raised(Answered("UNKNOWN", words))
    assert f"answers with the HTTP status {status}, which no gRPC server does" in error.message
    assert (str(error.hint).startswith(hint), vars(error)["code"]) == (True, "UNKNOWN")
    assert raised(Answered("UNKNOWN", words, **{ERROR: "ServiceError"})).message == words


@pytest.mark.parametrize(
    ("named", "kind"),
    [
        ("NodeNotFoundError", NodeNotFoundError),
        ("ServiceError", ServiceError),
        ("PluginsLoadError", ServiceError),
        ("Path", ServiceError),
        ("NoSuchError", ServiceError),
        ("annotations", ServiceError),
    ],
)
@pytest.mark.parametrize("code", ["NOT_FOUND", "UNAVAILABLE"])
def test_what_a_server_refuses_is_the_error_that_it_was_there(named: str, kind: type[CuvisError], code: str) -> None:
    """Where it names one that can be made of its words; with the number by which the server's log has it."""
    error = raised(Answered(code, "why", **{ERROR: named, ERROR_ID: "7"}))
    assert type(error) is kind
    assert (error.message, vars(error)["code"], vars(error)["id"]) == ("why", code, "7")


def test_without_a_name_it_is_one_of_the_service() -> None:
    """What is no error of gRPC goes through."""
    error = raised(Answered("INTERNAL", None))
    assert (type(error), error.message, vars(error)["id"]) == (ServiceError, "INTERNAL", None)
    with pytest.raises(KeyError), Again("there:1"):
        raise KeyError("own")
    with Again("there:1"):
        pass


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((b"", None), "root_certificates is 0 bytes without a PEM block; it is the content of a PEM file, as bytes."),
        (("ca.pem", None), "root_certificates is a str; it is the content of a PEM file, as bytes."),
        ((PEM, (b"x", PEM)), "certificate is 1 bytes without a PEM block; it is the content of a PEM file, as bytes."),
        ((PEM, (PEM, "key")), "certificate is a str; it is the content of a PEM file, as bytes."),
    ],
)
def test_certificates_are_given_by_their_content(given: Any, message: str) -> None:
    """Before anything is asked for."""
    with pytest.raises(ServiceError) as caught:
        open_channel(grpc, "there:1", *given)
    assert (caught.value.message, caught.value.code) == (message, "INVALID_ARGUMENT")


def test_a_channel_takes_messages_of_a_gibibyte(monkeypatch: pytest.MonkeyPatch) -> None:
    """With TLS where an authority is given, by both certificates that are there."""
    made: list[Any] = []
    monkeypatch.setattr(grpc, "insecure_channel", lambda *given: made.append(given))
    monkeypatch.setattr(grpc, "secure_channel", lambda *given: made.append(given))
    monkeypatch.setattr(grpc, "ssl_channel_credentials", lambda *given: given)
    options = [("grpc.max_receive_message_length", LARGEST), ("grpc.max_send_message_length", LARGEST)]
    open_channel(grpc, "there:1", None, None)
    open_channel(grpc, "there:2", PEM, None)
    open_channel(grpc, "there:3", PEM, (PEM + b"chain", PEM + b"key"))
    assert made == [
        ("there:1", options),
        ("there:2", (PEM, None, None), options),
        ("there:3", (PEM, PEM + b"key", PEM + b"chain"), options),
    ]
    assert LARGEST == 2**30


@pytest.mark.parametrize("token", ["ä", "a\n", "a\0"])
def test_a_token_is_sent_as_it_is(token: str) -> None:
    """Or refused, and not shown."""
    assert authorization(None) == []
    assert authorization("s3cret") == [("authorization", "Bearer s3cret")]
    with pytest.raises(ServiceError) as caught:
        authorization(token)
    assert caught.value.code == "INVALID_ARGUMENT"
    assert token not in str(caught.value)
