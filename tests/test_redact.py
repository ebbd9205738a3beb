import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuvis_ai_core._redact import redact

SECRETS = st.text(string.ascii_letters + string.digits + "!$%&*+;~-._", min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:secret@host/x.git", "https://***@host/x.git"),
        ("https://token@host/x.git", "https://***@host/x.git"),
        ("https://user:@host/", "https://***@host/"),
        ("HTTP://user:secret@host:8080/x", "HTTP://***@host:8080/x"),
        ("https://user:p@ss@host/x", "https://***@host/x"),
        ("https://user:p/ss@host/x", "https://***@host/x"),
        ("https://user:p#s?s@host/x", "https://***@host/x"),
        ("ssh://git:secret@host/x", "ssh://***@host/x"),
        ("git+https://user:secret@host/x", "git+https://***@host/x"),
        ("fatal: 'https://user:secret@host/x' not found", "fatal: 'https://***@host/x' not found"),
        ("https://a:1@b/c then https://d:2@e/f", "https://***@b/c then https://***@e/f"),
        ("user:secret@github.com/owner/x", "***@github.com/owner/x"),
        ("https://host/a.tif?sv=1&sig=ab%2Bc&se=2", "https://host/a.tif?sv=1&sig=***&se=2"),
        ("s: 'https://h/a?X-Amz-Signature=ab&x=1' b", "s: 'https://h/a?X-Amz-Signature=***&x=1' b"),
    ],
)
def test_credentials_become_stars(text: str, shown: str) -> None:
    """User name and password go; scheme, host and path stay."""
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "git@github.com:owner/x.git",
        "ssh://git@host/x.git",
        "https://host:8080/@scope/x",
        "https://host/x.git@v1",
        "https://host/x a@b",
        "plugin @ https://host/x",
        "write to someone@example.org",
        "",
    ],
)
def test_text_without_credentials_stays(text: str) -> None:
    """An @ alone is no secret."""
    assert redact(text) == text


@given(before=st.text(), user=SECRETS, password=SECRETS, after=st.text())
def test_no_password_survives_in_any_text(before: str, user: str, password: str, after: str) -> None:
    """Whatever stands around a URL, its user name and password are replaced."""
    text = f"{before} https://{user}:{password}@host.example/x {after}"
    assert f"{user}:{password}@" not in redact(text)
    assert " https://***@host.example/x " in redact(text)


@given(st.text(alphabet=st.sampled_from("ab1@:/. '?#[")))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    """A text that was redacted can be put into another one."""
    assert redact(redact(text)) == redact(text)


@given(st.text().filter(lambda text: "@" not in text))
def test_text_without_an_at_sign_stays(text: str) -> None:
    """Nothing but credentials is touched."""
    assert redact(text) == text
