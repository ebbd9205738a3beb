"""Addresses of repositories in one form: a policy's pattern means the same ones however they are written.

`https://github.com/our-lab/x.git`, `git@github.com:our-lab/x` and `ssh://git@GitHub.com:22//our-lab/x/` are one. What
cannot be told for sure is no address that a pattern matches: a dot part, an escaped one, a host in other letters.
"""

import re
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

_PORTS: Final = {"https": 443, "http": 80, "ssh": 22}

# git-clone(1): `[<user>@]<host>:/<path-to-git-repo>`.
_SCP: Final = re.compile(r"((?P<user>[\w.+-]+)@)?(?P<host>\[[\w:.]+\]|[\w.*-]+):(?P<path>[^:\\]+)")

_HOST: Final = re.compile(r"[a-z0-9*:_.-]+")

USER: Final = "git"
"""Under which hosts of repositories take ssh connections; another account may have repositories of its own."""


class Address(NamedTuple):
    """An address of a repository, or a pattern for some.

    Attributes:
        secure: Whether nobody on the way can answer in the host's stead.
        user: The account on the host that answers, of an ssh connection; "" where that says nothing.
        host: The host, in small letters.
        port: The port, where it is not the usual one.
        parts: The parts of the path.
    """

    secure: bool
    user: str
    host: str
    port: str
    parts: tuple[str, ...]

    def __str__(self) -> str:
        where = f"{self.user}@" if self.user not in {"", USER} else ""
        scheme = "" if self.secure else "http://"
        return f"{scheme}{where}{self.host}{f':{self.port}' if self.port else ''}/{'/'.join(self.parts)}"


def address_of(text: str) -> Address | None:
    """Return an address, or a pattern, in its one form; None for one that is not plain enough to be compared."""
    if not text.isprintable() or " " in text:  # of which parsers take some away
        return None
    if "://" not in text:
        match = _SCP.fullmatch(text)
        if match is None:
            return _address("https", "", text.partition("/")[0], text.partition("/")[2]) if "/" in text else None
        # Nothing is unescaped in this form.
        path = match["path"] if "%" not in match["path"] else ".."
        return _address("ssh", match["user"] or "", match["host"].strip("[]"), path)
    try:
        url = urlsplit(text)
        port = "*" if url.netloc.endswith(":*") else str(url.port or "")
        host, user = (url.hostname or "").removesuffix(":*"), unquote(url.username or "")
    except ValueError:
        return None
    # Some parsers take a backslash for a slash (WHATWG URL), others do not.
    if not set("?#\\").isdisjoint(text):  # also where nothing stands behind them: git puts the rest of its path there
        return None
    return _address(url.scheme.lower(), user if url.scheme == "ssh" else "", host, unquote(url.path), port)


def _address(scheme: str, user: str, host: str, path: str, port: str = "") -> Address | None:
    parts = tuple(part for part in path.split("/") if part)
    if parts:
        # Hosts answer for a repository by both names.
        parts = (*parts[:-1], parts[-1].removesuffix(".git"))
    # A host's whole name ends in a dot, with and without which it is the same one (RFC 1034, section 3.1).
    host = host.removesuffix(".")
    plain = host.isascii() and _HOST.fullmatch(host.lower()) and all(map(_is_plain, parts))
    if scheme not in _PORTS or not plain or not parts:
        return None
    usual = port == str(_PORTS[scheme])
    return Address(scheme != "http", user, host.lower(), "" if usual else port, parts)


def _is_plain(part: str) -> bool:
    return part.strip(".") != "" and part.isprintable() and not set(part) & set("%\\?#")
