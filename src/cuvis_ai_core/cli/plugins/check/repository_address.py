"""An address of a repository as people write it: `URL@TAG`, and what pip takes."""

import re
from typing import NamedTuple
from urllib.parse import parse_qsl

import click

_NAMED = re.compile(r"\s*[\w.-]+\s*(?:\[[^]]*\]\s*)?@\s*(?=git\+)")


class Address(NamedTuple):
    """What somebody gave.

    Attributes:
        repo: Address of the repository.
        tag: The tag, if one is named.
        below: Folder of the project in it; empty for the top folder.
    """

    repo: str
    tag: str | None
    below: str


def is_address(text: str) -> bool:
    """Tell whether a text is an address of a repository, not a path and no name."""
    return "://" in text or re.match(r"[\w.+-]+@[\w.-]+:", text) is not None


def parse_address(text: str) -> Address:
    """Return what `URL@TAG` names; `git+URL@TAG#subdirectory=FOLDER` and `NAME @ git+URL`, as pip has them, too.

    Raises:
        UsageError: What stands behind `#` is none of it.
    """
    address, _, fragment = _NAMED.sub("", text).strip().removeprefix("git+").partition("#")
    known = dict(parse_qsl(fragment, keep_blank_values=True))
    below = known.pop("subdirectory", "")
    known.pop("egg", None)  # the name, which its project says
    if fragment and (known or not (below or fragment.startswith("egg="))):
        raise click.UsageError(
            f"'#{fragment}' says nothing of a repository.\n"
            "Write URL@TAG, and for a project in a folder of it URL@TAG#subdirectory=FOLDER"
        )
    return Address(*_split_tag(address), below)


def _split_tag(address: str) -> tuple[str, str | None]:
    """Return address and tag of `URL@TAG`; the `@` of a user is none of a tag."""
    path = address.rpartition("/")[2] if "://" in address else address.partition(":")[2].rpartition("/")[2]
    tag = path.partition("@")[2]
    if not tag and "@" in address.rpartition(".git")[2]:  # a tag with '/'
        tag = address.rpartition(".git")[2].partition("@")[2]
    return (address[: -len(tag) - 1], tag) if tag else (address, None)
