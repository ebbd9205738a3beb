"""Credentials are taken out of every text before a person or a log sees it."""

import re
from typing import Final

# A `/`, `?` or `#` that should be escaped in a password but is not: told from a port by not being digits.
_RAW_PASSWORD: Final = r"[^\s/:@]*:(?!\d*(?:[/?#\s'\"),;>\]]|$))\S*@"
_CREDENTIALS: Final = re.compile(
    rf"""
    (?P<scheme> [a-z][a-z0-9+.-]*:// )
    (?: (?P<name> [^\s/?#@:]+ )@(?![^\s/?#]*@)     # no password: a name for ssh, a token for others
      | [^\s/?#]*@                                 # up to the last @ of the host part
      | {_RAW_PASSWORD} )
    | (?<![^\s'"(\[{{<=,]) [^\s/:@'"]+:[^\s/@]+@(?=[\w\[])    # user:password@host, without a scheme
    """,
    re.VERBOSE | re.IGNORECASE,
)


def redact(text: str) -> str:
    """Return `text` with `***` for the user name and the password of every URL in it.

    A user name alone stays for ssh (`ssh://git@host/…`, `git@host:…`), where it is no secret. Where the end of
    a password cannot be told, rather more than too little is removed.
    """
    return _CREDENTIALS.sub(_stars, text) if "@" in text else text


def _stars(match: re.Match[str]) -> str:
    scheme = match["scheme"] or ""
    return match[0] if match["name"] and scheme.lower().endswith("ssh://") else f"{scheme}***@"
