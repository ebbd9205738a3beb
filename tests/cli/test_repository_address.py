"""Addresses of repositories as people write them."""

import click
import pytest

from cuvis_ai_core.cli.plugins.check.repository_address import is_address, parse_address


@pytest.mark.parametrize(
    ("text", "repo", "tag", "below"),
    [
        ("https://host/o/r.git", "https://host/o/r.git", None, ""),
        ("https://host/o/r@v1.0", "https://host/o/r", "v1.0", ""),
        ("https://me@host/o/r.git", "https://me@host/o/r.git", None, ""),
        ("https://me:word@host/o/r.git@v1", "https://me:word@host/o/r.git", "v1", ""),
        ("https://host/o/r.git@release/v1", "https://host/o/r.git", "release/v1", ""),
        ("git@host:o/r.git", "git@host:o/r.git", None, ""),
        ("git@host:o/r.git@v1", "git@host:o/r.git", "v1", ""),
        ("git@host:r@v1", "git@host:r", "v1", ""),
        ("git@host:o/r.git@release/v1", "git@host:o/r.git", "release/v1", ""),
        (" git+https://host/o/r@v1#subdirectory=a/b&egg=name ", "https://host/o/r", "v1", "a/b"),
        ("my-plugin[all] @ git+https://host/o/r@v1", "https://host/o/r", "v1", ""),
        ("https://host/o/r#egg=name", "https://host/o/r", None, ""),
        ("file:///folder/r.git@v1", "file:///folder/r.git", "v1", ""),
    ],
)
def test_what_an_address_names(text: str, repo: str, tag: str | None, below: str) -> None:
    """Repository, tag and folder in it; the `@` of a user is none of a tag."""
    assert parse_address(text) == (repo, tag, below)
    assert is_address(text.strip())


@pytest.mark.parametrize("fragment", ["x", "x=1", "subdirectory=", "subdirectory=a&x=1", "egg"])
def test_what_says_nothing_of_a_repository_is_refused(fragment: str) -> None:
    """With what may stand there."""
    with pytest.raises(click.UsageError, match=r"says nothing of a repository\.\nWrite URL@TAG"):
        parse_address(f"https://host/o/r#{fragment}")


@pytest.mark.parametrize("text", ["folder/r", "./r@v1", "/folder/r.git", "name", "C\\folder", "me@host"])
def test_what_is_no_address(text: str) -> None:
    """Paths and names."""
    assert not is_address(text)
